"""A name never becomes a link to a file with another content, and a group that is too large becomes few files."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lab import Lab
from own_mounts import needs_root

MOST_LINKS = 4


def put_other_content(path: Path) -> None:
    path.write_bytes(b"ONE")


def put_other_content_at_the_same_time(path: Path) -> None:
    path.write_bytes(b"ONE")
    os.utime(path, ns=(10**18, 10**18))


def put_more(path: Path) -> None:
    path.write_bytes(b"longer than it was")


def put_a_link(path: Path) -> None:
    path.symlink_to("one")


def put_a_directory(path: Path) -> None:
    path.mkdir()


OTHERS = [put_other_content, put_other_content_at_the_same_time, put_more, put_a_link, put_a_directory]


@pytest.fixture
def linked(lab: Lab) -> Lab:
    """A snapshot `old` in which the names of the group have a time that anybody can give a file."""
    os.utime(lab.main / "a", ns=(10**18, 10**18))
    lab.take("old", "-t", "old")
    return lab


@pytest.mark.parametrize("put", OTHERS, ids=lambda put: put.__name__)
@pytest.mark.parametrize("path", ["a", "d", "d/linked"])
def test_a_restored_name_never_gets_the_content_of_another_file(
    linked: Lab, put: Callable[[Path], None], path: str
) -> None:
    """`a` and `d/linked` are one file in the snapshot; the one that is left is not what it was any more."""
    other = linked.main / ("d/linked" if path == "a" else "a")
    (linked.main / "a").unlink()
    (linked.main / "d/linked").unlink()
    put(other)
    before = other.lstat()
    linked.jvs("restore", "old", "--", path)
    restored = linked.main / ("d/linked" if path.startswith("d") else "a")
    assert restored.read_bytes() == b"one"
    assert (other.lstat().st_ino, other.lstat().st_size) == (before.st_ino, before.st_size)
    assert restored.stat().st_ino != before.st_ino


def test_a_name_that_is_left_and_unchanged_is_linked_again(linked: Lab) -> None:
    (linked.main / "a").unlink()
    linked.jvs("restore", "old", "--", "a")
    assert os.path.samefile(linked.main / "a", linked.main / "d/linked")


@needs_root
@pytest.mark.parametrize("what", ["attribute", "owner", "time"])
def test_a_link_is_not_made_to_a_file_with_other_metadata(linked: Lab, what: str) -> None:
    (linked.main / "a").unlink()
    left = linked.main / "d/linked"
    if what == "attribute":
        os.setxattr(left, "user.other", b"1")
    elif what == "owner":
        os.chown(left, 1000, 1001)
    else:
        os.utime(left, ns=(5, 5))
    linked.jvs("restore", "old", "--", "a")
    st = (linked.main / "a").stat()
    assert "user.other" not in os.listxattr(linked.main / "a")
    assert (st.st_uid, st.st_mtime_ns) == (0, 10**18)


@pytest.fixture
def few_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A filesystem that lets a file have four names."""
    real = os.link

    def link(name: object, other: object, *, src_dir_fd: int | None = None, **words: object) -> None:
        if os.stat(name, dir_fd=src_dir_fd, follow_symlinks=False).st_nlink >= MOST_LINKS:  # type: ignore[arg-type]
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK))
        real(name, other, src_dir_fd=src_dir_fd, **words)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", link)


NAMES = [f"n/{number:02}" for number in range(12)]


def files_of(directory: Path) -> int:
    """Return how many files the names of the group are."""
    return len({(directory / name).stat().st_ino for name in NAMES})


def make_group(lab: Lab) -> None:
    lab.write({NAMES[0]: "content"})
    for name in NAMES[1:]:
        os.link(lab.main / NAMES[0], lab.main / name)


def test_a_group_with_more_names_than_the_filesystem_allows_becomes_few_files(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    lab = Lab(tmp_path / "r")
    make_group(lab)
    request.getfixturevalue("few_links")
    taken = lab.take("first", "--engine", "copy")
    assert files_of(lab.jvs_dir / "snapshots" / taken) == len(NAMES) / MOST_LINKS
    lab.write({"other": "x"})
    later = lab.take("second", "--engine", "copy")
    assert files_of(lab.jvs_dir / "snapshots" / later) <= len(NAMES) / MOST_LINKS + 1
    for one in (taken, later):
        lab.jvs("verify", one)


def test_restoring_such_a_group_makes_few_files(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    lab = Lab(tmp_path / "r")
    make_group(lab)
    taken = lab.take("first")
    for name in NAMES:
        (lab.main / name).unlink()
    request.getfixturevalue("few_links")
    lab.jvs("restore", taken)
    assert files_of(lab.main) == len(NAMES) / MOST_LINKS
    assert {lab.read(name) for name in NAMES} == {b"content"}
