"""btrfs snapshots: one ioctl, read-only, nothing silently empty, removable by everybody; and reflink copies."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import making
import own_filesystem
import pytest
from treefacts import describe_tree, diff_trees

from jvs.engine import base as engine
from jvs.engine import reflink, registry
from jvs.engine.btrfs import ioctl
from jvs.engine.btrfs.engine import BtrfsEngine
from jvs.errors import CloneIncomplete

OTHER = 1234


@pytest.fixture
def place(btrfs_dir: Path) -> Path:
    """A directory with a subvolume `main` that holds a little, and a store."""
    BtrfsEngine(making.engine_options()).make_worktree(making.at(btrfs_dir / "main"))
    (btrfs_dir / "main" / "dir").mkdir()
    (btrfs_dir / "main" / "dir" / "file").write_bytes(b"content")
    (btrfs_dir / "store").mkdir()
    return btrfs_dir


@pytest.fixture
def as_other(place: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    for path in (place, place / "main", place / "store", place / "main" / "dir", place / "main" / "dir" / "file"):
        os.chown(path, OTHER, OTHER)
    for above in [place, *place.parents][:4]:
        os.chmod(above, os.stat(above).st_mode | 0o755)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(OTHER)
    os.seteuid(OTHER)
    yield
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)


def clone(place: Path, name: str = "one", **options) -> engine.Cloned:
    return BtrfsEngine(making.engine_options()).clone(
        engine.Request(making.at(place / "main"), making.at(place / "store" / name), **options)
    )


def test_numbers_of_the_ioctls():
    """_IOC(direction, 0x94, number, size) of linux/ioctl.h, with the sizes of the structures of linux/btrfs.h."""

    def ioc(direction: int, number: int, size: int) -> int:
        return direction << 30 | size << 16 | 0x94 << 8 | number

    assert ioc(1, 15, 4096) == ioctl.SNAP_DESTROY
    assert ioc(1, 23, 4096) == ioctl.SNAP_CREATE_V2
    assert ioc(1, 24, 4096) == ioctl.SUBVOL_CREATE_V2
    assert ioc(2, 25, 8) == ioctl.SUBVOL_GETFLAGS
    assert ioc(1, 26, 8) == ioctl.SUBVOL_SETFLAGS
    assert ioc(2, 31, 1024) == ioctl.FS_INFO
    assert ioc(3, 61, 4096) == ioctl.GET_SUBVOL_ROOTREF
    assert ioc(3, 62, 4096) == ioctl.INO_LOOKUP_USER


def test_snapshot_is_one_ioctl_and_read_only(place: Path, monkeypatch: pytest.MonkeyPatch):
    real, seen = fcntl.ioctl, []

    def counted(fd: int, number: int, *rest: object) -> object:
        seen.append(number)
        return real(fd, number, *rest)

    monkeypatch.setattr(fcntl, "ioctl", counted)
    clone(place, hash=False)
    assert seen.count(ioctl.SNAP_CREATE_V2) == 1
    assert set(seen) <= {ioctl.SNAP_CREATE_V2, ioctl.GET_SUBVOL_ROOTREF, ioctl.INO_LOOKUP_USER}
    assert ioctl.get_flags(making.at(place / "store" / "one")) == ioctl.RDONLY
    with pytest.raises(OSError, match="Read-only"):
        (place / "store" / "one" / "new").write_bytes(b"x")


def test_snapshot_can_be_renamed_next_to(place: Path):
    clone(place, "one.tmp")
    os.rename(place / "store" / "one.tmp", place / "store" / "one")
    assert (place / "store" / "one" / "dir" / "file").read_bytes() == b"content"


def test_fork_is_writable_and_a_subvolume(place: Path):
    clone(place)
    BtrfsEngine(making.engine_options()).fork(
        engine.Request(making.at(place / "store" / "one"), making.at(place / "fork"), hash=False)
    )
    assert ioctl.is_subvolume(making.at(place / "fork"))
    assert ioctl.get_flags(making.at(place / "fork")) == 0
    (place / "fork" / "dir" / "file").write_bytes(b"changed")
    assert (place / "store" / "one" / "dir" / "file").read_bytes() == b"content"


def test_unchanged_files_are_not_read_again(place: Path, monkeypatch: pytest.MonkeyPatch):
    import time

    from jvs.tree import batches, leaves

    monkeypatch.setattr(batches, "_hash_small", lambda fd, name: None)  # one way of reading is enough to watch
    time.sleep(0.05)
    first = clone(place, "one")
    rows = {path: (row, digest) for path, row, digest in first.tree.rows}
    read: list[int] = []
    monkeypatch.setattr(leaves, "hash_open_file", lambda fd, **more: read.append(fd))
    second = clone(place, "two", rows=rows, known=making.Known(first.tree.nodes))
    assert second.tree.root_hash == first.tree.root_hash
    assert read == []


def test_nested_subvolume_is_refused_and_named(place: Path):
    ioctl.make_subvolume(making.at(place / "main" / "dir" / "inner"))
    (place / "main" / "dir" / "inner" / "file").write_bytes(b"x")
    for hashed in (True, False):
        with pytest.raises(CloneIncomplete) as caught:
            clone(place, hash=hashed)
        assert caught.value.facts["path"].endswith("main/dir/inner")
        assert not (place / "store" / "one").exists()
    answer = BtrfsEngine(making.engine_options()).probe(making.at(place / "main"), making.at(place / "store"))
    assert not answer.works
    assert "inner" in answer.why


def test_mount_point_inside_is_refused(place: Path):
    point = place / "main" / "dir" / "mounted"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        with pytest.raises(CloneIncomplete):
            clone(place)
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_stand_in_for_a_nested_subvolume_is_no_empty_directory(place: Path, monkeypatch: pytest.MonkeyPatch):
    """A subvolume that came in between both looks still does not pass: the walk over the snapshot finds it."""
    ioctl.make_subvolume(making.at(place / "main" / "inner"))
    monkeypatch.setattr(ioctl, "nested", lambda *_: "")
    with pytest.raises(CloneIncomplete):
        clone(place)


def test_plain_directory_is_no_source(place: Path):
    (place / "plain").mkdir()
    answer = BtrfsEngine(making.engine_options()).probe(making.at(place / "plain"), making.at(place / "store"))
    assert not answer.works
    assert "subvolume" in answer.why


def test_worktree_that_is_not_there_yet_would_work(place: Path):
    assert BtrfsEngine(making.engine_options()).probe(making.at(place / "new"), making.at(place / "store")).works


def test_without_root_everything_works_and_everything_goes(place: Path, as_other: None):
    clone(place)
    assert diff_trees(describe_tree(place / "main"), describe_tree(place / "store" / "one")) == []
    BtrfsEngine(making.engine_options()).make_worktree(making.at(place / "own"))
    BtrfsEngine(making.engine_options()).remove(making.at(place / "store" / "one"))
    BtrfsEngine(making.engine_options()).remove(making.at(place / "own"))
    assert not (place / "store" / "one").exists()
    assert not (place / "own").exists()


def test_without_root_a_plain_tree_with_snapshots_inside_goes(place: Path, as_other: None):
    clone(place)
    clone(place, "two")
    registry.remove_any(making.at(place / "store"), making.engine_options())
    assert not (place / "store").exists()


def test_unreadable_file_is_taken_out_of_the_snapshot(place: Path, as_other: None):
    secret = place / "main" / "dir" / "secret"
    secret.write_bytes(b"x")
    os.chmod(secret, 0)
    os.utime(place / "main" / "dir", ns=(1, 10**18))
    cloned = clone(place, allow_unreadable=True)
    assert [(loss["path"], loss["what"]) for loss in cloned.degraded] == [("dir/secret", "unreadable")]
    target = place / "store" / "one"
    assert os.listdir(target / "dir") == ["file"]
    assert os.stat(target / "dir").st_mtime_ns == 10**18
    assert ioctl.get_flags(making.at(target)) == ioctl.RDONLY


def test_full_disk_is_a_class_of_its_own(place: Path, monkeypatch: pytest.MonkeyPatch):
    from jvs.errors import NoSpace

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ioctl, "snapshot", full)
    with pytest.raises(NoSpace):
        clone(place)


def test_reflink_copy_shares_blocks(own_fs):
    xfs_dir = own_fs("xfs")
    source, store = xfs_dir / "main", xfs_dir / "store"
    source.mkdir()
    store.mkdir()
    (source / "big").write_bytes(os.urandom(8 << 20))
    before = own_filesystem.used(xfs_dir)
    registry.get("reflink-copy", making.engine_options()).clone(
        engine.Request(making.at(source), making.at(store / "one"))
    )
    assert own_filesystem.used(xfs_dir) - before < 4 << 20


def test_reflink_between_subvolumes_of_one_filesystem(place: Path):
    ioctl.make_subvolume(making.at(place / "other"))
    assert reflink.same_filesystem(making.at(place / "main"), making.at(place / "other"))
    assert (
        registry.get("reflink-copy", making.engine_options())
        .probe(making.at(place / "main"), making.at(place / "other"))
        .works
    )


def test_file_that_cannot_share_blocks_is_copied(place: Path):
    """btrfs refuses to share between a file without copy-on-write and an ordinary one."""
    odd = place / "main" / "nocow"
    odd.touch()
    if subprocess.run(["chattr", "+C", str(odd)], check=False).returncode:
        pytest.skip("chattr +C does not work here")
    odd.write_bytes(b"data" * 1000)
    request = engine.Request(making.at(place / "main"), making.at(place / "store" / "one"))
    assert registry.get("reflink-copy", making.engine_options()).clone(request).degraded == []
    assert (place / "store" / "one" / "nocow").read_bytes() == b"data" * 1000


def test_reflink_probe_says_why_not(ext4_dir: Path):
    answer = registry.get("reflink-copy", making.engine_options()).probe(making.at(ext4_dir), making.at(ext4_dir))
    assert not answer.works
    assert answer.why == "this filesystem cannot share blocks between files"
