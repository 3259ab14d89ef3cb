"""Merging three trees: the same as an independent merge of flat lists of paths, over random trees."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

from jvs.fs import listing
from jvs.tree import merge, node

Flat = dict[bytes, tuple[str, str]]
"""Shape: path -> kind (`dir`, `file`, `link`) and what it is (mode of a directory, content and mode of others)."""
NAMES = [b"a", b"b", b"c.txt", b"d"]


def change(tree: Flat, chance: random.Random, steps: int) -> Flat:
    """Change a tree at random: write, remove, replace, chmod."""
    tree = dict(tree)
    for _ in range(steps):
        path = b"/".join(chance.choice(NAMES) for _ in range(chance.randrange(1, 4)))
        above = [path[: path.find(b"/", i)] for i in range(len(path)) if path.find(b"/", i) == i]
        if any(tree.get(p, ("dir", ""))[0] != "dir" for p in above):
            if chance.random() < 0.6:
                continue
            for p in above:
                if tree.get(p, ("dir", ""))[0] != "dir":
                    del tree[p]
        if chance.random() < 0.35:
            for other in [p for p in tree if p == path or p.startswith(path + b"/")]:
                del tree[other]
            continue
        for p in above:
            tree.setdefault(p, ("dir", "755"))
        if chance.random() < 0.25:
            if path in tree and tree[path][0] == "dir":
                tree[path] = ("dir", chance.choice(["700", "755", "711"]))
            elif path not in tree:
                tree[path] = ("dir", "755")
            continue
        if tree.get(path, ("", ""))[0] == "dir":
            for other in [p for p in tree if p.startswith(path + b"/")]:
                del tree[other]
        tree[path] = (chance.choice(["file", "file", "link"]), chance.choice(["0", "1", "2"]))
    return tree


class Trees:
    """Flat trees as nodes."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, bytes] = {}

    def root(self, tree: Flat) -> node.Root:
        return 0o755, None, self._dir(tree, b"")

    def _dir(self, tree: Flat, path: bytes) -> bytes:
        entries: list[Any] = []
        for other, (kind, what) in tree.items():
            above, _, name = other.rpartition(b"/")
            if above != path:
                continue
            if kind == "dir":
                entries.append((name, listing.DIR, int(what, 8), 0, self._dir(tree, other), None))
            else:
                number = listing.FILE if kind == "file" else listing.SYMLINK
                entries.append((name, number, 0o644, 1, hashlib.sha256(what.encode()).digest(), None))
        data = node.encode_node(sorted(entries))
        self.nodes[node.node_digest(data)] = data
        return node.node_digest(data)

    def load(self, digest: bytes) -> Any:
        return node.decode_node(self.nodes[digest])


def reference(base: Flat, ours: Flat, theirs: Flat) -> tuple[Flat, set[bytes]]:
    """Merge flat trees path by path; return the result, and the paths that are in conflict."""
    result: Flat = {}
    conflicts: set[bytes] = set()
    weak: set[bytes] = set()
    for path in base.keys() | ours.keys() | theirs.keys():
        b, o, t = base.get(path), ours.get(path), theirs.get(path)
        if o == t or t == b:
            value = o
        elif o == b:
            value = t
        elif b is not None and b[0] == "dir" and (o is None or t is None) and (o or t)[0] == "dir":  # type: ignore[index]
            value = o or t
            weak.add(path)
        else:
            conflicts.add(path)
            value = o
        if value is not None:
            result[path] = value
    for path in sorted(result, key=lambda p: p.count(b"/"), reverse=True):
        above = path
        while b"/" in above:
            above = above.rpartition(b"/")[0]
            if above not in result:
                had = [side[above] for side in (ours, theirs) if side.get(above, ("", ""))[0] == "dir"]
                if had:
                    result[above] = had[0]
                else:
                    conflicts.add(above)
            elif result[above][0] != "dir":
                conflicts.add(above)
    for path in weak:
        if not any(other.startswith(path + b"/") for other in result):
            conflicts.add(path)
    return result, conflicts


def applied(ours: Flat, theirs: Flat, actions: list[merge.Action]) -> Flat:
    """Return what carrying out the actions makes of ours."""
    tree = dict(ours)
    for action in actions:
        path = action.path
        if action.how in (merge.DROP, merge.COPY):
            assert (path in ours) == (action.old is not None), path
            for other in [p for p in tree if p == path or p.startswith(path + b"/")]:
                del tree[other]
        if action.how == merge.COPY:
            for other, value in theirs.items():
                if other == action.source or other.startswith(action.source + b"/"):
                    tree[path + other[len(action.source) :]] = value
        if action.how in (merge.MAKE, merge.META):
            assert action.new is not None
            tree[path] = ("dir", f"{action.new[2]:o}")
    for path in tree:
        assert b"/" not in path or tree[path.rpartition(b"/")[0]][0] == "dir", "everything lies in a directory"
    return tree


def related(path: bytes, others: Any) -> bool:
    return any(path == o or path.startswith(o + b"/") or o.startswith(path + b"/") for o in others)


def cases(count: int) -> Any:
    chance = random.Random(20261128)
    for _ in range(count):
        base = change({}, chance, chance.randrange(1, 12))
        yield base, change(base, chance, chance.randrange(5)), change(base, chance, chance.randrange(5))


def merged(base: Flat, ours: Flat, theirs: Flat, **more: Any) -> merge.Merger:
    trees = Trees()
    return merge.Merger(trees.load, **more).run(trees.root(base), trees.root(ours), trees.root(theirs))


def test_it_is_what_merging_flat_lists_of_paths_gives() -> None:
    disputed = 0
    for base, ours, theirs in cases(1500):
        wanted, conflicts = reference(base, ours, theirs)
        found = merged(base, ours, theirs)
        paths = {conflict.path for conflict in found.conflicts}
        assert bool(paths) == bool(conflicts), (base, ours, theirs)
        assert all(related(path, conflicts) for path in paths), (base, ours, theirs, paths, conflicts)
        assert all(related(path, paths) for path in conflicts), (base, ours, theirs, paths, conflicts)
        disputed += bool(paths)
        if not paths:
            assert applied(ours, theirs, found.actions) == wanted, (base, ours, theirs)
    assert 150 < disputed < 1350


def contents(tree: Flat) -> set[tuple[str, str]]:
    return {value for value in tree.values() if value[0] != "dir"}


@pytest.mark.parametrize("word", [merge.OURS, merge.THEIRS, merge.BOTH])
def test_a_word_decides_every_conflict_and_nothing_else(word: str) -> None:
    for base, ours, theirs in cases(700):
        found = merged(base, ours, theirs, choose=lambda path: word)
        assert found.conflicts == []
        result = applied(ours, theirs, found.actions)
        plain = merged(base, ours, theirs)
        assert {path for path, _ in found.decided} >= {c.path for c in plain.conflicts}
        if not plain.conflicts:
            assert result == applied(ours, theirs, plain.actions)
        if word == merge.BOTH:  # whatever both sides changed is there, each under a name
            changed = {p for p in ours if ours[p] != base.get(p) and ours[p][0] != "dir"}
            assert {p: ours[p] for p in changed}.items() <= result.items()
            new = {theirs[p] for p in theirs if theirs[p] != base.get(p) and theirs[p][0] != "dir"}
            assert new <= contents(result), (base, ours, theirs, result)


def test_with_paths_only_these_change_and_as_they_would_without() -> None:
    for base, ours, theirs in cases(700):
        plain = merged(base, ours, theirs)
        if plain.conflicts:
            continue
        whole = applied(ours, theirs, plain.actions)
        for want in (b"a", b"b/c.txt", b"d"):
            found = merged(base, ours, theirs, paths=[want])
            if found.conflicts:
                continue
            result = applied(ours, theirs, found.actions)
            inside = {p: v for p, v in whole.items() if p == want or p.startswith(want + b"/")}
            assert {p: v for p, v in result.items() if p == want or p.startswith(want + b"/")} == inside
            outside = {p: v for p, v in ours.items() if not related(p, [want])}
            assert {p: v for p, v in result.items() if not related(p, [want])} == outside


def test_merging_what_is_there_already_changes_nothing() -> None:
    for base, ours, theirs in cases(200):
        assert merged(base, ours, base).actions == []
        assert merged(base, ours, ours).actions == []
        assert applied(base, theirs, merged(base, base, theirs).actions) == theirs


@pytest.mark.parametrize(
    ("name", "taken", "wanted"),
    [
        (b"a", [], b"a.theirs"),
        (b"a", [b"a.theirs"], b"a.theirs2"),
        (b"a", [b"a.theirs", b"a.theirs2"], b"a.theirs3"),
        (b"x" * 255, [], b"x" * 248 + b".theirs"),
        ("ü".encode() * 127, [], "ü".encode() * 124 + b".theirs"),
        (b"\xff" * 255, [], b"\xff" * 248 + b".theirs"),
    ],
)
def test_the_other_side_gets_a_free_name_that_fits(name: bytes, taken: list[bytes], wanted: bytes) -> None:
    assert merge.free_name(name, taken) == wanted
