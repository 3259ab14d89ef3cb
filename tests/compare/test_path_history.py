"""Paths through time: the same as comparing the files of each snapshot with those of the one before."""

from __future__ import annotations

import fnmatch
import itertools
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from making import main_of, make_store, open_store, run, snapshot, write

from jvs.compare import path_history
from jvs.errors import JvsError, NotFound
from jvs.operations import looking
from jvs.store import descriptor, lineage
from jvs.store.store import Store
from jvs.tree import alike

NAMES = ["a", "b.py", "d/a", "d/b.py", "d/e/a", "d/e/f.py", "g[1].py"]
PATTERNS = ["*.py", "d/*", "*/a", "g[1].py"]


def contents(payload: Path) -> dict[str, bytes]:
    """Return what the files, links and directories below a directory hold."""
    found: dict[str, bytes] = {}
    for path in payload.rglob("*"):
        name = str(path.relative_to(payload))
        if path.is_symlink():
            found[name] = b"link " + os.fsencode(os.readlink(path))
        elif path.is_file():
            found[name] = b"file " + path.read_bytes()
    return found


def change(main: Path, chance: random.Random) -> None:
    """Write, remove, touch or replace something at random."""
    for _ in range(chance.randrange(1, 4)):
        path = main / chance.choice(NAMES)
        for above in [*path.parents][::-1]:
            if main in above.parents and above.exists() and not above.is_dir():
                above.unlink()
        match chance.randrange(5):
            case 0:
                if path.is_dir():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
            case 1 if path.parent != main and path.parent.is_dir():
                shutil.rmtree(path.parent)
            case 2 if path.exists():
                path.chmod(0o600)  # which is no content
            case 3:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.symlink_to(str(chance.randrange(3)))
            case _:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.unlink(missing_ok=True)
                path.write_text(str(chance.randrange(3)))


def expected(states: list[tuple[str, dict[str, bytes]]], fits: Any) -> list[tuple[str, dict[str, str]]]:
    """Return which of some states, oldest first, changed which paths and how."""
    found, before = [], {}
    for snapshot_id, now in states:
        changed = {
            name: "added" if name not in before else "removed" if name not in now else "changed"
            for name in before.keys() | now.keys()
            if fits(name) and before.get(name) != now.get(name)
        }
        if changed:
            found.append((snapshot_id, changed))
        before = now
    return found[::-1]


def of(records: list[Any]) -> list[tuple[str, dict[str, str]]]:
    return [
        (r["snapshot_id"], {v["path"]: v["change"] for v in r["path_changes"] if v["kind"] != "dir"})
        for r in records
        if any(v["kind"] != "dir" for v in r["path_changes"])
    ]


def make_slow(patch: pytest.MonkeyPatch) -> None:
    """Turn off what makes a long history quick."""
    patch.setattr(path_history, "MOST_AHEAD", 1)
    patch.setattr(alike.Finder, "learns", False)
    patch.setattr(descriptor, "MANY", 1 << 60)


@pytest.mark.parametrize(("seed", "slow"), [(0, False), (1, False), (2, True), (3, True)])
def test_it_is_what_comparing_all_files_tells(
    tmp_path: Path, seed: int, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptor, "MANY", 0)
    if slow:
        make_slow(monkeypatch)
    chance = random.Random(seed)
    store = make_store(tmp_path / "repo")
    states = []
    for number in range(14):
        change(main_of(store), chance)
        made = snapshot(store, str(number))
        states.append((made["snapshot_id"], contents(Path(str(store.layout.payload(made["snapshot_id"]))))))
    for name in NAMES:
        wanted = expected(states, lambda other, name=name: other == name)
        if any(name in now for _, now in states):
            assert of(list(looking.history(store, paths=[name.encode()]))) == wanted, name
        elif not any(other.startswith(name + "/") for _, now in states for other in now):
            with pytest.raises(NotFound):
                looking.history(store, paths=[name.encode()])
    for pattern in PATTERNS:
        wanted = expected(states, lambda other, p=pattern: other == p or fnmatch.fnmatchcase(other, p))
        if wanted:
            assert of(list(looking.history(store, paths=[pattern.encode()]))) == wanted, pattern


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "1", "d/b": "1", "c": "1"})
    snapshot(store, "one")
    write(main_of(store), {"a": "2", "d/b": "2"})
    snapshot(store, "only d", paths=[b"d"])
    write(main_of(store), {"d/b": "3"})
    snapshot(store, "again d", paths=[b"d"])
    snapshot(store, "all")
    (main_of(store) / "a").unlink()
    (main_of(store) / "c").chmod(0o600)
    snapshot(store, "gone")
    return store


def notes(records: Any) -> list[str]:
    return [record["note"] for record in records]


def test_partial_snapshots_count_for_their_own_paths(store: Store) -> None:
    assert notes(looking.history(store, paths=[b"d/b"])) == ["again d", "only d", "one"]
    assert notes(looking.history(store, paths=[b"a"])) == ["gone", "all", "one"]
    assert notes(looking.history(store, paths=[b"c"])) == ["one"]
    assert notes(looking.history(store, paths=[b"d", b"a"])) == ["gone", "all", "again d", "only d", "one"]
    assert notes(looking.history(store, paths=[b""])) == ["gone", "all", "again d", "only d", "one"]


def test_no_payload_is_read(store: Store) -> None:
    for snapshot_id in lineage.visible_ids(store.layout):
        payload = Path(str(store.layout.payload(snapshot_id)))
        for path in sorted(payload.rglob("*"), reverse=True):
            path.unlink() if not path.is_dir() else path.rmdir()
    assert notes(looking.history(open_store(store.root), paths=[b"d/b"])) == ["again d", "only d", "one"]


def test_without_the_index_it_is_the_same(store: Store) -> None:
    root = store.root
    store.close()
    other = open_store(root)
    other.settings.use_index = False
    assert notes(looking.history(other, paths=[b"d/b"])) == ["again d", "only d", "one"]


def test_limits_and_beginnings(store: Store) -> None:
    assert notes(looking.history(store, paths=[b"a"], limit=1)) == ["gone"]
    assert notes(looking.history(store, paths=[b"a"], start="again d")) == ["one"]
    assert notes(looking.history(store, start="only d")) == ["only d", "one"]
    assert notes(looking.history(store, paths=[b"a"], everything=True)) == ["gone", "all", "one"]
    with pytest.raises(NotFound):
        looking.history(store, paths=[b"a", b"nowhere"])
    with pytest.raises(NotFound):
        looking.history(store, paths=[b"no*where"])


def test_what_a_collected_snapshot_changed_counts_as_changed_by_the_one_after_it(store: Store) -> None:
    planned = run("-C", store.root, "gc", "plan", "--keep-last", "1", "--json").json
    assert run("-C", store.root, "gc", "run", "--plan-id", planned["plan_id"]).exit == 0
    found = list(path_history.along_line(store, store.head_of("main")[1], [b"d/b"]))
    assert [(r["note"], r["path_changes"][0]["change"]) for r in found] == [("gone", "added")]


def test_a_fork_shows_what_came_before_it(store: Store, tmp_path: Path) -> None:
    assert run("-C", store.root, "worktree", "fork", "side").exit == 0
    write(Path(store.root) / "worktrees/side", {"a": "back"})
    snapshot(store, "side", "side")
    assert notes(looking.history(store, "side", paths=[b"a"])) == ["side", "gone", "all", "one"]
    assert notes(looking.history(store, "main", paths=[b"a"])) == ["gone", "all", "one"]
    assert notes(looking.history(store, paths=[b"a"], everything=True)) == ["side", "gone", "all", "one"]


@pytest.mark.parametrize("limit", [2, None])
def test_what_is_read_ahead_changes_neither_the_answer_nor_the_error(
    tmp_path: Path, limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "repo")
    made = []
    for number in range(10):
        write(main_of(store), {"a": str(number // 2), "d/b": str(number // 3)})
        made.append(snapshot(store, str(number))["snapshot_id"])

    def answer(everything: bool) -> tuple[list[str], str]:
        found: list[str] = []
        try:
            if everything:
                found = notes(looking.history(store, paths=[b"a"], limit=limit, everything=True))
            else:
                line = path_history.along_line(store, store.head_of("main")[1], [b"a"])
                found += (record["note"] for record in itertools.islice(line, limit))
        except JvsError as error:
            return found, error.name
        return found, ""

    def both() -> list[tuple[list[str], str]]:
        return [answer(everything) for everything in (False, True)]

    def same() -> list[tuple[list[str], str]]:
        quick = both()
        with monkeypatch.context() as patch:
            make_slow(patch)
            assert quick == both()
        return quick

    assert same()[0] == (["8", "6", "4", "2", "0"][:limit], "")
    Path(str(store.layout.descriptor(made[2]))).write_bytes(b"{}")
    assert same()[0][1] == ("E_DESCRIPTOR_CORRUPT" if limit is None else "")


def test_long_nodes_are_not_fetched_by_the_hundred() -> None:
    sizes, size = [], path_history.FIRST_AHEAD
    for _ in range(20):
        sizes.append(size)
        size = path_history._next_size(size, size * (1 << 20))
    assert max(sizes) << 20 <= 2 * path_history.MOST_BYTES_AHEAD
    assert path_history._next_size(1, 1 << 40) == 1
    assert path_history._next_size(64, 0) == 128
