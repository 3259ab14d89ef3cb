"""Invariant 5: after any command, and after a crash at any moment, all that was in a worktree is still somewhere.

Somewhere is: the worktree, a visible snapshot, or `undo/`.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest
from crashing import dies_at
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from making import main_of, make_store, open_store, snapshot, violations, write
from treefacts import remove_tree
from zoo import describe_tree, diff_trees

from jvs import errors
from jvs.restore import run as restore
from jvs.store import changing, worktree
from jvs.store.store import Store
from jvs.worktrees import fork, move, undo


def everything(store: Store) -> set[bytes]:
    """Return the content of every file that jvs vouches for."""
    found = set()
    places = [str(store.layout.worktree_dir(name)) for name in worktree.names(store.layout)]
    places += [str(store.layout.snapshots), str(store.layout.undo), str(store.layout.forks)]
    for place in places:
        for where, _, files in os.walk(place):
            for file in files:
                path = Path(where, file)
                ours = file in ("op.json", "delta.cbor") or where.endswith("/config")
                if not path.is_symlink() and not (ours and place == str(store.layout.undo)):
                    found.add(path.read_bytes())
    return found


def recovered(root: Path | str) -> Store:
    """Let the next command recover what a dead one left."""
    store = open_store(root)
    with changing.worktree(store, "main"):
        pass
    return store


PATHS = ["a", "b", "d/a", "d/b", "d/e/c", "x/y/z"]


class Machine(RuleBasedStateMachine):
    """Random histories; the model is only the set of all contents that ever were in a worktree."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="jvs-lost-"))
        self.store = make_store(self.home / "repo", "undo.max_operations=1000")
        self.count = 0
        self.known: set[bytes] = set()

    def teardown(self) -> None:
        self.store.close()
        remove_tree(self.home)

    def note(self) -> None:
        for name in worktree.names(self.store.layout):
            for where, _, files in os.walk(str(self.store.layout.worktree_dir(name))):
                self.known |= {Path(where, file).read_bytes() for file in files}

    def place(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(worktree.names(self.store.layout)))

    def target(self, data: st.DataObject) -> str | None:
        from jvs.store import lineage

        ids = lineage.visible_ids(self.store.layout)
        return data.draw(st.sampled_from(ids)) if ids else None

    @rule(
        data=st.data(), path=st.sampled_from(PATHS), kind=st.sampled_from(["write", "remove", "empty", "swap", "chmod"])
    )
    def edit(self, data, path, kind):
        top = Path(str(self.store.layout.worktree_dir(self.place(data))))
        at = top / path
        self.count += 1
        for above in reversed(at.relative_to(top).parents[:-1]):
            if (top / above).is_file():
                return
        if kind == "write" and not at.is_dir():
            write(top, {path: f"content {self.count}"})
        elif kind == "swap" and at.is_file():
            at.unlink()
            write(at, {"inner": f"inner {self.count}"})
        elif kind == "remove" and at.is_file():
            at.unlink()
        elif kind == "chmod" and at.exists():
            at.chmod(0o700 if at.is_dir() else 0o640)
        elif kind == "empty" and at.is_dir():
            write(at, {f"more{self.count}": f"more {self.count}"})
        self.known &= everything(self.store)  # what went was overwritten by its owner
        self.note()

    @rule(data=st.data())
    def snapshot(self, data):
        snapshot(self.store, f"note {self.count}", self.place(data))

    @rule(data=st.data(), part=st.sampled_from([None, None, [b"d"], [b"a", b"x/y"]]))
    def restore(self, data, part):
        name, target = self.place(data), self.target(data)
        if target is None:
            return
        try:
            with changing.worktree(self.store, name):
                restore.restore(self.store, name, target, paths=part)
        except errors.NotFound:
            assert part is not None

    @rule(data=st.data(), redo=st.booleans())
    def undo(self, data, redo):
        try:
            undo.undo(self.store, self.place(data), redo=redo)
        except (errors.NotFound, errors.Exists):
            return

    @rule(data=st.data())
    def undo_any(self, data):
        name = self.place(data)
        found = undo.operations(self.store, name)
        if found:
            chosen = data.draw(st.sampled_from([record["operation_id"] for record in found]))
            try:
                undo.undo(self.store, name, operation_id=chosen)
            except errors.Exists:
                return

    @rule(data=st.data())
    def fork(self, data):
        target = self.target(data)
        if target is None or len(worktree.names(self.store.layout)) > 3:
            return
        self.count += 1
        name = f"w{self.count}"
        with changing.worktree(self.store, name):
            fork.fork(self.store, target, name)

    @rule(data=st.data())
    def rename(self, data):
        name = self.place(data)
        if name != "main":
            self.count += 1
            with changing.worktree(self.store, name):
                move.rename(self.store, name, f"r{self.count}")

    @rule(data=st.data())
    def remove(self, data):
        name = self.place(data)
        if name != "main":
            with changing.worktree(self.store, name):
                move.remove(self.store, name)

    @rule(data=st.data(), number=st.integers(1, 60), what=st.sampled_from(["restore", "undo", "remove"]))
    def crash(self, data, number, what):
        name, target = self.place(data), self.target(data)
        if target is None:
            return

        def work() -> None:
            store = open_store(self.store.root, "undo.max_operations=1000")
            try:
                if what == "undo":
                    undo.undo(store, name)
                elif what == "remove" and name != "main":
                    with changing.worktree(store, name):
                        move.remove(store, name)
                else:
                    with changing.worktree(store, name):
                        restore.restore(store, name, target)
            except (errors.NotFound, errors.Exists):
                return

        dies_at(number, work)
        assert self.known <= everything(self.store)
        with changing.worktree(self.store, "main"):
            pass
        assert os.listdir(str(self.store.layout.intents)) == []

    @invariant()
    def nothing_is_lost(self):
        assert self.known <= everything(self.store)
        for name in worktree.names(self.store.layout):
            assert not list(Path(str(self.store.layout.worktree_dir(name))).rglob(".jvs-tmp-*"))


TestNothingIsLost = Machine.TestCase
TestNothingIsLost.settings = settings(
    max_examples=int(os.environ.get("JVS_TEST_EXAMPLES", "12")),
    stateful_step_count=18,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


def prepare(home: Path) -> tuple[Path, str, str]:
    """Make a repository whose two snapshots differ in many ways, with a dirty main."""
    store = make_store(home / "repo")
    main = main_of(store)
    write(main, {"same": "s", "changed": "one", "gone": "gone", "dir/x": "x", "swap/in": "in", "links/a": "l"})
    os.link(main / "links/a", main / "links/b")
    os.symlink("changed", main / "link")
    first = snapshot(store, "first")["snapshot_id"]
    write(main, {"changed": "two", "added": "added", "fresh/a": "fresh", "dir/x": "x2"})
    for name in ("gone", "swap/in", "link", "links/b"):
        (main / name).unlink()
    (main / "swap").rmdir()
    write(main, {"swap": "file now", "link/is": "a directory"})
    second = snapshot(store, "second")["snapshot_id"]
    write(main, {"changed": "dirty", "untracked/deep/file": "never in a snapshot", "dir/new": "new"})
    with changing.worktree(store, "side"):
        fork.fork(store, first, "side")
    write(str(store.layout.worktree_dir("side")), {"mine": "only here"})
    store.close()
    return Path(store.root), first, second


def do_restore(store: Store, first: str) -> None:
    with changing.worktree(store, "main"):
        restore.restore(store, "main", first)


def do_discard(store: Store, first: str) -> None:
    with changing.worktree(store, "main"):
        restore.restore(store, "main", first, discard=True)


def do_paths(store: Store, first: str) -> None:
    with changing.worktree(store, "main"):
        restore.restore(store, "main", first, paths=[b"swap/in", b"dir"])


def do_undo(store: Store, first: str) -> None:
    undo.undo(store, "main")


def do_fork(store: Store, first: str) -> None:
    with changing.worktree(store, "third"):
        fork.fork(store, first, "third")


def do_rename(store: Store, first: str) -> None:
    with changing.worktree(store, "side"):
        move.rename(store, "side", "other")


def do_remove(store: Store, first: str) -> None:
    with changing.worktree(store, "side"):
        move.remove(store, "side")


CRASHES = {
    "restore": (do_restore, None),
    "restore paths": (do_paths, None),
    "undo": (do_undo, do_restore),
    "redo": (lambda store, first: undo.undo(store, "main", redo=True), lambda s, f: (do_restore(s, f), do_undo(s, f))),
    "fork": (do_fork, None),
    "rename": (do_rename, None),
    "remove": (do_remove, None),
    "give back": (do_undo, do_remove),
    "rename back": (lambda store, first: undo.undo(store, "other"), do_rename),
    "discard": (do_discard, None),
}


def contents_of(store: Store) -> dict[str, dict]:
    return {name: describe_tree(str(store.layout.worktree_dir(name))) for name in worktree.names(store.layout)}


def same(a: dict[str, dict], b: dict[str, dict]) -> bool:
    ignored = ["mtime_ns", "data"]
    return a.keys() == b.keys() and all(not diff_trees(a[name], b[name], ignored) for name in a)


@pytest.mark.parametrize("fs", ["tmpfs", "btrfs"])
@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_anywhere_is_recovered_wholly_and_loses_nothing(fs_at, fs: str, name: str):
    home = fs_at(fs)
    work, setup = CRASHES[name]
    root, first, _ = prepare(home)
    if setup is not None:
        setup(open_store(root), first)
    store = open_store(root)
    before = contents_of(store)
    known = everything(store)
    store.close()
    after = None
    number = 0
    while True:
        number += 1 if fs == "tmpfs" else 4  # the same steps, but for copies across subvolumes
        here = home / "copy" / "repo"
        here.parent.mkdir()
        subprocess.run(["cp", "-a", str(root), str(here)], check=True)
        died = dies_at(number, lambda: work(open_store(here), first))  # noqa: B023
        if name != "discard":
            assert known <= everything(open_store(here)), number
        store = recovered(here)
        if name != "discard":
            assert known <= everything(store), number
        assert os.listdir(str(store.layout.intents)) == [], number
        assert violations(here) == [], number
        now = contents_of(store)
        after = now if after is None and not same(before, now) else after
        assert same(before, now) or same(after or before, now), number
        store.close()
        remove_tree(here.parent)
        if not died:
            assert not same(before, now)
            break
    assert number > 10
