"""Paths stay below their root, and no link leads anywhere."""

from __future__ import annotations

import errno
import os

import hostile
import making
import pytest

from jvs.errors import PathEscape
from jvs.fs import paths


@pytest.fixture
def root(tmp_path):
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/file").write_bytes(b"inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"secret")
    (tmp_path / "root/link").symlink_to(tmp_path / "outside")
    (tmp_path / "root/a/filelink").symlink_to(tmp_path / "outside/secret")
    fd = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize("path", list(hostile.ESCAPING_PATHS))
def test_escaping_paths_are_refused(path):
    with pytest.raises(PathEscape) as caught:
        paths.split_relative(path)
    assert caught.value.hint


@pytest.mark.parametrize("path", hostile.INSIDE_PATHS)
def test_odd_paths_inside_are_taken_byte_for_byte(path):
    assert b"/".join(paths.split_relative(path)) == path


def test_dots_and_doubled_slashes_vanish():
    assert paths.split_relative(b"./a//b/./c/") == [b"a", b"b", b"c"]
    assert paths.split_relative(b".") == []
    assert paths.split_relative(b"") == []


def test_a_link_on_the_way_is_not_followed(root):
    with pytest.raises(OSError) as caught:
        paths.open_below(root, [b"link"])
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    with pytest.raises(OSError):
        paths.open_parent(root, [b"link", b"secret"])
    assert paths.lstat_below(root, [b"link", b"secret"]) is None


def test_what_is_below_can_be_looked_at(root):
    assert paths.lstat_below(root, [b"a", b"file"]).st_size == 6
    assert paths.lstat_below(root, [b"link"]) is not None
    assert paths.lstat_below(root, []).st_ino == os.fstat(root).st_ino
    assert paths.lstat_below(root, [b"a", b"none"]) is None
    assert paths.lstat_below(root, [b"none", b"x"]) is None
    assert paths.lstat_below(root, [b"a", b"file", b"x"]) is None


def test_directories_below_can_be_opened(root):
    fd = paths.open_below(root, [b"a", b"b"])
    assert os.listdir(fd) == []
    os.close(fd)


def test_control_files_are_never_read_through_a_link(root, tmp_path):
    with pytest.raises(OSError) as caught:
        paths.read_file(making.at(tmp_path / "root/a/filelink"))
    assert caught.value.errno == errno.ELOOP


def test_a_fifo_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError) as caught:
        paths.read_file(making.at(tmp_path / "fifo"))
    assert caught.value.errno == errno.EINVAL


def test_a_directory_is_not_read_as_a_file(tmp_path):
    with pytest.raises(OSError):
        paths.read_file(making.at(tmp_path))


def test_a_file_that_is_too_long_is_refused(tmp_path):
    (tmp_path / "long").write_bytes(b"x" * 100)
    assert paths.read_file(making.at(tmp_path / "long"), 100) == b"x" * 100
    with pytest.raises(OSError) as caught:
        paths.read_file(making.at(tmp_path / "long"), 99)
    assert caught.value.errno == errno.EFBIG


def test_refusals_leave_no_descriptor_open(root, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    fifo = making.at(tmp_path / "fifo")
    before = len(making.descriptors())
    for _ in range(10):
        with pytest.raises(OSError):
            paths.open_file(fifo)
        with pytest.raises(OSError):
            paths.open_below(root, [b"a", b"link"])
        paths.lstat_below(root, [b"a", b"b", b"c"])
    assert len(making.descriptors()) == before


def test_reading_leaves_the_access_time_alone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"x")
    os.utime(path, ns=(1, 2))
    os.utime(tmp_path, ns=(1, 2))
    paths.read_file(making.at(path))
    fd = paths.open_dir(making.at(tmp_path))
    os.listdir(fd)
    os.close(fd)
    assert os.stat(path).st_atime_ns == 1
    assert os.stat(tmp_path).st_atime_ns == 1
