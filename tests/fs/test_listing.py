"""Listing directories: order, kinds, stamps, and what must not be walked into."""

from __future__ import annotations

import os
import stat

import pytest
import zoo
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jvs.errors import CloneIncomplete
from jvs.fs import listing

NAMES = st.binary(min_size=1, max_size=40).filter(lambda n: b"/" not in n and b"\0" not in n and n not in (b".", b".."))


def listed(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return listing.list_dir(fd)
    finally:
        os.close(fd)


@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sets(NAMES, max_size=12))
def test_names_come_sorted_by_their_bytes_each_with_its_own_stat(tmp_path_factory, names):
    directory = os.fsencode(tmp_path_factory.mktemp("d"))
    for i, name in enumerate(names):
        with open(directory + b"/" + name, "wb") as file:
            file.write(b"x" * i)
    found, stats = listed(directory)
    assert found == sorted(names)
    for name, info in zip(found, stats, strict=True):
        assert info.st_ino == os.lstat(directory + b"/" + name).st_ino
        assert info.st_size == os.lstat(directory + b"/" + name).st_size


def test_an_empty_directory_is_two_empty_lists(tmp_path):
    assert listed(tmp_path) == ([], [])


def test_links_are_looked_at_and_not_followed(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dir").symlink_to("/")
    _, stats = listed(tmp_path)
    assert [listing.kind_of(info.st_mode) for info in stats] == [listing.SYMLINK, listing.SYMLINK]


def test_every_kind_of_file_has_its_number():
    kinds = [stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK]
    assert [listing.kind_of(kind | 0o644) for kind in kinds] == list(range(7))
    assert listing.KIND_NAMES == ("file", "dir", "symlink", "fifo", "socket", "char", "block")


def test_the_zoo_is_listed_whole_on_every_filesystem(fs_dir):
    zoo.make_zoo(fs_dir / "zoo", many=5)
    for name in ("zoo", "zoo/names"):
        if (fs_dir / name).is_dir():
            found, _ = listed(fs_dir / name)
            assert found == sorted(os.listdir(os.fsencode(fs_dir / name)))


def test_a_stamp_shows_every_change_that_the_kernel_shows(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"one")
    seen = set()

    def look():
        _, stats = listed(tmp_path)
        seen.add(listing.stamps(stats, with_inode=True))

    look()
    os.utime(path, ns=(0, 1))
    look()
    path.chmod(0o600)
    look()
    path.write_bytes(b"four")
    look()
    os.replace(tmp_path / "file", tmp_path / "other")
    (tmp_path / "file").write_bytes(b"four")
    (tmp_path / "other").unlink()
    look()
    assert len(seen) == 5


def test_stamps_without_inode_numbers_are_the_same_for_two_files_alike(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    os.link(tmp_path / "a", tmp_path / "b")
    _, stats = listed(tmp_path)
    width = listing.STAMP.size
    assert width == 44
    with_inode = listing.stamps(stats, with_inode=True)
    without = listing.stamps(stats, with_inode=False)
    assert len(with_inode) == len(without) == 2 * width
    assert without[:width] == without[width:]
    assert listing.STAMP.unpack(without[:width])[0] == 0


def test_another_device_is_refused_by_name(tmp_path):
    info = os.lstat(tmp_path)
    listing.check_same_device(info, info.st_dev, b"sub", btrfs=False)
    with pytest.raises(CloneIncomplete, match="sub\\\\xff") as caught:
        listing.check_same_device(info, info.st_dev + 1, b"sub\xff", btrfs=False)
    assert caught.value.hint


def test_joining_relative_names():
    assert listing.relative(b"", b"a") == b"a"
    assert listing.relative(b"a/b", b"c") == b"a/b/c"
