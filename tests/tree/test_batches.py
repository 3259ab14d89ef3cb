"""Files that are hashed together: the short way for small ones and the long way give the same answers."""

from __future__ import annotations

import hashlib
import os
import socket

import pytest

from jvs.fs import copyfile, listing
from jvs.tree import batches

SIZES = [0, 1, 4096, copyfile.FIRST_BYTES - 1, copyfile.FIRST_BYTES, copyfile.FIRST_BYTES + 1, 1 << 20]


@pytest.fixture
def directory(tmp_path):
    for size in SIZES:
        (tmp_path / f"size{size}").write_bytes(os.urandom(size))
    os.setxattr(tmp_path / "size1", "user.note", b"kept")
    os.setxattr(tmp_path / f"size{1 << 20}", "user.note", b"kept")
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(copyfile.FIRST_BYTES - 10)
    os.mkfifo(tmp_path / "fifo")
    os.symlink("size1", tmp_path / "link")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
    fd = os.open(tmp_path, os.O_RDONLY)
    yield fd
    os.close(fd)


def answers(fd: int, *, plain: bool) -> list:
    names = [*map(os.fsencode, sorted(os.listdir(fd))), b"missing"]
    return batches.as_plain(batches.hash_files(fd, names, plain=plain))


@pytest.mark.parametrize("plain", [False, True])
def test_the_short_way_gives_what_the_long_way_gives(directory, plain, monkeypatch):
    shortly = answers(directory, plain=plain)
    monkeypatch.setattr(batches, "_hash_small", lambda fd, name: None)
    assert shortly == answers(directory, plain=plain)
    assert sum(len(found) == 3 and isinstance(found[0], bytes) for found in shortly) == len(SIZES) + 1
    assert shortly[-1][0] is True, "what is gone is proved to be"


def test_a_file_that_grows_meanwhile_is_read_to_its_end(directory, monkeypatch):
    content, read = b"a" * 100, os.pread

    def grows(fd: int, size: int, at: int) -> bytes:
        monkeypatch.undo()
        with open(f"/proc/self/fd/{fd}", "ab") as file:
            file.write(content)
        return read(fd, size, at)

    monkeypatch.setattr(os, "pread", grows)
    with open(f"/proc/self/fd/{directory}/size0", "rb") as file:
        ((digest, size, _),) = batches.hash_files(directory, [b"size0"], plain=False)
        assert (digest, size) == (hashlib.sha256(content).digest(), 100) and file.read() == content


def test_a_file_that_cannot_be_read_brings_its_error(directory, monkeypatch):
    def fails(fd: int, size: int, at: int) -> bytes:
        raise OSError(5, "broken")

    monkeypatch.setattr(os, "pread", fails)
    (found,) = batches.hash_files(directory, [b"size1"], plain=False)
    assert isinstance(found, OSError) and found.errno == 5 and not isinstance(found, listing.Vanished)
