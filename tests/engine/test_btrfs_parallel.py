"""A snapshot that btrfs says nothing of, hashed by what the worktree shows after it: the answer of a walk over it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import making
import pytest

from jvs.engine import base as engine
from jvs.engine.btrfs.engine import BtrfsEngine
from jvs.tree import scan


class Line:
    """A worktree with one snapshot after the other, found by sweeping."""

    def __init__(self, root: Path) -> None:
        self.root, self.worktree = root, root / "main"
        self.engine = BtrfsEngine(making.engine_options())
        self.engine.search = False
        self.engine.make_worktree(making.at(self.worktree))
        (root / "store").mkdir()
        making.write(self.worktree, {f"{d}/f{i}": f"{d}{i}" for d in ("a", "b", "b/c", "b/c/d") for i in range(3)})
        making.write(self.worktree, {"top": "top"})
        self.rows: dict = {}
        self.known = making.Known({}, {})
        self.listed: list[bytes] = []

    def snapshot(self, name: str) -> scan.ScanResult:
        time.sleep(0.05)  # until no stamp is young
        target = str(self.root / "store" / name)
        cloned = self.engine.clone(
            engine.Request(making.at(self.worktree), making.at(target), rows=self.rows, known=self.known)
        )
        found = cloned.tree
        assert found is not None
        self.rows = {path: row for path, row in self.rows.items() if path not in found.gone}
        self.rows.update({path: (row, node) for path, row, node in found.rows})
        self.known.nodes.update(found.nodes)
        self.known.totals.update(found.totals)
        fresh = scan.Scanner(scan.Hasher(), btrfs=True).run(making.at(target))
        assert found.root_hash == fresh.root_hash
        assert found.payload() == fresh.payload()
        return found


@pytest.fixture
def line(btrfs_dir: Path) -> Line:
    made = Line(btrfs_dir)
    made.snapshot("base")
    return made


def meanwhile(line: Line, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object]) -> None:
    """Change the worktree behind the snapshot's ioctl and before the sweep."""
    real = BtrfsEngine._snapshot

    def late(self: BtrfsEngine, request: engine.Request, flags: int) -> int:
        moment = real(self, request, flags)
        change(line.worktree)
        return moment

    monkeypatch.setattr(BtrfsEngine, "_snapshot", late)


def test_only_what_changed_is_listed(line: Line, monkeypatch: pytest.MonkeyPatch):
    listed: list[bytes] = []
    monkeypatch.setattr(scan.Hasher, "listed", lambda self, path, names, *, proved: listed.append(path))
    (line.worktree / "b/c/f1").write_text("changed")
    target = str(line.root / "store" / "two")
    time.sleep(0.05)
    line.engine.clone(engine.Request(making.at(line.worktree), making.at(target), rows=line.rows, known=line.known))
    assert listed == [b"b/c"]


CHANGES: dict[str, Callable[[Path], object]] = {
    "write": lambda w: (w / "b/c/f1").write_text("changed"),
    "same size": lambda w: (w / "b/c/f1").write_text("B/c1"),
    "times put back": lambda w: keeping_times(w / "a/f1", lambda path: path.write_text("A1")),
    "new": lambda w: making.write(w, {"b/c/new": "new", "new/e/f": "f", "zz": "zz"}),
    "removed": lambda w: os.unlink(w / "b/c/f1"),
    "removed directory": lambda w: shutil.rmtree(w / "b/c"),
    "moved": lambda w: os.rename(w / "b/c", w / "a/moved"),
    "file for directory": lambda w: (shutil.rmtree(w / "b"), (w / "b").write_text("b")),
    "exchanged": lambda w: (os.rename(w / "a", w / "x"), os.rename(w / "b", w / "a"), os.rename(w / "x", w / "b")),
    "mode": lambda w: os.chmod(w / "b/c", 0o700),
    "attribute": lambda w: os.setxattr(w / "b/c/f1", "user.x", b"1"),
    "link": lambda w: os.link(w / "a/f1", w / "b/again"),
}
BACK: dict[str, tuple[Callable[[Path], object], Callable[[Path], object]]] = {
    "came and went": (lambda w: making.write(w, {"b/c/x": "x"}), lambda w: os.unlink(w / "b/c/x")),
    "came and went at the top": (lambda w: making.write(w, {"x": "x"}), lambda w: os.unlink(w / "x")),
    "a directory came and went": (lambda w: making.write(w, {"b/x/y": "y"}), lambda w: shutil.rmtree(w / "b/x")),
    "moved away and back": (lambda w: os.rename(w / "b/c", w / "x"), lambda w: os.rename(w / "x", w / "b/c")),
    "a file moved away and back": (lambda w: os.rename(w / "a/f1", w / "x"), lambda w: os.rename(w / "x", w / "a/f1")),
    "written, then removed": (lambda w: (w / "b/c/d/f1").write_text("x"), lambda w: shutil.rmtree(w / "b")),
    "mode and back": (lambda w: os.chmod(w / "b/c", 0o700), lambda w: os.chmod(w / "b/c", 0o755)),
}


def keeping_times(path: Path, change: Callable[[Path], object]) -> None:
    before = path.stat()
    change(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_before_the_snapshot_is_in_it(line: Line, what: str):
    CHANGES[what](line.worktree)
    changed = line.snapshot("two").root_hash
    (line.worktree / "top").write_text("after")
    assert line.snapshot("three").root_hash != changed


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_behind_the_snapshot_is_not(line: Line, monkeypatch: pytest.MonkeyPatch, what: str):
    before = line.snapshot("same").root_hash
    with monkeypatch.context() as patch:
        meanwhile(line, patch, CHANGES[what])
        assert line.snapshot("two").root_hash == before
    assert line.snapshot("three").root_hash != before or what == "link"


@pytest.mark.parametrize("what", BACK)
def test_what_was_put_back_behind_the_snapshot_is_in_it(line: Line, monkeypatch: pytest.MonkeyPatch, what: str):
    first, second = BACK[what]
    first(line.worktree)
    with monkeypatch.context() as patch:
        meanwhile(line, patch, second)
        line.snapshot("two")
    line.snapshot("three")


def test_without_it_the_answer_is_the_same(line: Line):
    for change in list(CHANGES.values())[:6]:
        change(line.worktree)
    before = dict(line.rows)
    swept = line.snapshot("two")
    line.rows = before
    line.engine.sweep = False
    assert line.snapshot("three").root_hash == swept.root_hash
