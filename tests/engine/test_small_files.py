"""Small files are copied with few calls: the same copies as in the usual way, and whatever is odd goes that way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import making
import pytest
from treefacts import describe_tree, diff_trees

from jvs.engine import base as engine
from jvs.engine import copier, registry, small_files
from jvs.fs import metadata
from jvs.tree import scan, workers

FILESYSTEMS = [("ext4", engine.COPY), ("xfs", engine.REFLINK), ("btrfs", engine.REFLINK), ("tmpfs", engine.COPY)]


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the paths of the files that go the usual way."""
    found: list[bytes] = []
    real = copier.Copier.copy_regular

    def note(self, inside, fd, path, *more):
        found.append(path)
        return real(self, inside, fd, path, *more)

    monkeypatch.setattr(copier.Copier, "copy_regular", note)
    return found


def fill(root: Path) -> None:
    making.write(root, {f"d{i}/f{j}": f"{i} {j} " * (7 * j) for i in range(3) for j in range(12)})
    os.link(root / "d0/f3", root / "d1/name of it")
    os.link(root / "d2/f4", root / "d2/another")
    (root / "d0/f5").chmod(0o640)
    (root / "d0/f6").chmod(0o4755)
    os.chown(root / "d0/f7", 1234, 4321)
    (root / "d1/empty").write_bytes(b"")
    with (root / "d1/hole").open("wb") as file:
        file.truncate(40_000)
    (root / "d1/large").write_bytes(os.urandom(300_000))
    os.setxattr(root / "d2/f7", "user.note", b"kept")
    for i, path in enumerate(sorted(root.glob("d?/f*"))):
        os.utime(path, ns=(10**18 + i, 10**18 + 7 * i))


def clone(root: Path, name: str, kind: str, *, hash: bool = True) -> engine.Cloned:
    request = engine.Request(making.at(root / "main"), making.at(root / name), jobs=2, hash=hash)
    return registry.get(kind, making.engine_options()).clone(request)


@pytest.mark.parametrize(("fs", "kind"), FILESYSTEMS)
@pytest.mark.parametrize("shared", [True, False])
def test_the_copy_is_the_same_as_without(fs, kind, shared, fs_at, usual, monkeypatch):
    root = fs_at(fs)
    fill(root / "main")
    if shared:
        monkeypatch.setattr("jvs.tree.parallel.has_threads", lambda: False)
        monkeypatch.setattr(workers, "LEAST_ENTRIES", 1)
        monkeypatch.setattr(workers, "LEAST_FILES", 1)
        monkeypatch.setattr(workers.Workers, "processes", 3)
    quick = clone(root, "quick", kind)
    if not shared:  # the others were noted in other processes
        assert {b"d0/f6", b"d2/f7", b"d1/hole", b"d1/large"} <= set(usual)
        young = kind == engine.REFLINK  # what is younger than the copy is hashed from the copy
        assert young or len(usual) < 8
    monkeypatch.setattr(small_files.SmallFiles, "on", False)
    slow = clone(root, "slow", kind)
    assert quick.tree is not None and slow.tree is not None
    fresh = scan.Scanner(scan.Hasher()).run(making.at(root / "quick"))
    assert quick.tree.root_hash == slow.tree.root_hash == fresh.root_hash
    assert quick.degraded == slow.degraded == []
    assert diff_trees(describe_tree(root / "slow"), describe_tree(root / "quick")) == []
    assert diff_trees(describe_tree(root / "main"), describe_tree(root / "quick")) == []


@pytest.mark.parametrize("change", ["longer", "shorter", "touched"])
def test_a_file_that_changes_meanwhile_is_copied_again_and_whole(change, fs_at, usual, monkeypatch):
    root = fs_at("ext4")
    making.write(root / "main", {"a": "a" * 900, "b": "b" * 900})
    real = metadata.new_file
    done: list[bytes] = []

    def alter(name, dir_fd, *mode):
        if name == b"a" and not done:
            done.append(name)
            path = root / "main/a"
            if change == "longer":
                path.write_text("longer" * 900)
            elif change == "shorter":
                path.write_text("s")
            else:
                os.utime(path, ns=(5, 5))
        return real(name, dir_fd, *mode)

    monkeypatch.setattr(metadata, "new_file", alter)
    made = clone(root, "copy", engine.COPY)
    assert usual == [b"a"] and made.degraded == []
    assert (root / "copy/a").read_text() == (root / "main/a").read_text()
    assert (root / "copy/a").stat().st_mtime_ns == (root / "main/a").stat().st_mtime_ns
    assert made.tree is not None
    assert made.tree.root_hash == scan.Scanner(scan.Hasher()).run(making.at(root / "copy")).root_hash


@pytest.mark.parametrize("umask", [0o022, 0o077, 0, 0o777])
def test_the_umask_takes_nothing_and_nobody_sees_more_meanwhile(umask, fs_at, usual, monkeypatch):
    root = fs_at("ext4")
    modes = {f"{mode:o}": mode for mode in (0o644, 0o600, 0o755, 0o664, 0o777, 0o400, 0o040, 0)}
    making.write(root / "main", dict.fromkeys(modes, "content"))
    for name, mode in modes.items():
        (root / "main" / name).chmod(mode)
    changed: list[int] = []
    real = os.chmod

    def note(target, mode, **more):
        if isinstance(target, int) and stat.S_ISREG(now := os.fstat(target).st_mode):
            assert stat.S_IMODE(now) & ~mode == 0
            changed.append(mode)
        return real(target, mode, **more)

    monkeypatch.setattr(os, "chmod", note)
    before = os.umask(umask)
    try:
        made = clone(root, "copy", engine.COPY)
    finally:
        os.umask(before)
    assert usual == [] and made.degraded == []
    assert {path.name: path.stat().st_mode & 0o7777 for path in (root / "copy").iterdir()} == modes
    assert sorted(changed) == sorted(mode for mode in modes.values() if mode & umask)


def test_what_is_refused_goes_the_usual_way_and_is_said(fs_at, usual, monkeypatch):
    root = fs_at("ext4")
    making.write(root, {"main/f": "content", "main/g": "more"})
    real = os.utime

    def refuse(target, *args, **more):
        if os.fstat(target).st_size == 7:
            raise PermissionError(1, "not allowed")
        return real(target, *args, **more)

    monkeypatch.setattr(os, "utime", refuse)
    made = clone(root, "copy", engine.COPY)
    assert usual == [b"f"]
    assert [(loss["path"], loss["what"]) for loss in made.degraded] == [("f", "times")]
    assert (root / "copy/f").read_text() == "content"
