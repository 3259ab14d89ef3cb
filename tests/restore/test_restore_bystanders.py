"""Whoever works in a worktree while it is restored notices nothing but the files that differ."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from pathlib import Path

import making
import pytest

from jvs.restore import run as restore
from jvs.store import changing
from jvs.store.store import Store

RESTORES = int(os.environ.get("JVS_TEST_RESTORES", "12"))
IN_ALL = 0x00000FFF
IN_CHANGES = 0x00000FCE  # without reading, opening and closing what was only read
IN_ATTRIB, IN_ISDIR = 0x00000004, 0x40000000
DIRECTORIES = ["", "a", "a/deep", "b"]
LIBC = ctypes.CDLL(None, use_errno=True)


class Bystander:
    """Sits in a directory: it is its current directory, and holds a file open, mapped and watched."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fd = os.open(directory, os.O_RDONLY)
        self.file = open(directory / "still", "rb")  # noqa: SIM115 - kept open on purpose
        self.map = mmap.mmap(self.file.fileno(), 0, prot=mmap.PROT_READ)
        self.before = self.facts()
        self.notify = LIBC.inotify_init1(os.O_NONBLOCK)
        assert LIBC.inotify_add_watch(self.notify, os.fsencode(directory), IN_ALL) >= 0

    def facts(self) -> tuple[object, ...]:
        here, still = os.fstat(self.fd), os.stat(self.directory / "still")
        return here.st_ino, still.st_ino, still.st_mtime_ns, still.st_ctime_ns, still.st_nlink

    def events(self) -> list[tuple[str, int]]:
        """Return the names that inotify told of since the last call, and what it said."""
        found = []
        try:
            data = os.read(self.notify, 1 << 16)
        except BlockingIOError:
            return []
        while data:
            _, mask, _, length = struct.unpack_from("iIII", data)
            found.append((data[16 : 16 + length].rstrip(b"\0").decode(), mask))
            data = data[16 + length :]
        return found

    def check(self) -> None:
        assert self.facts() == self.before
        assert self.map[:] == b"never changes"
        assert os.pread(self.file.fileno(), 20, 0) == b"never changes"
        assert os.path.samestat(os.fstat(self.fd), os.stat(self.directory))

    def close(self) -> None:
        self.map.close()
        self.file.close()
        os.close(self.fd)
        os.close(self.notify)


def aged(mask: int) -> bool:
    """Answer whether a directory only got the times that it had in the snapshot, because an entry of it changed."""
    return mask == IN_ATTRIB | IN_ISDIR


def prepare(store: Store) -> tuple[Path, list[str]]:
    main = making.main_of(store)
    for directory in DIRECTORIES:
        making.write(main, {f"{directory}/still".lstrip("/"): "never changes"})
    making.write(main, {"a/changes": "one", "b/only-in-first": "1"})
    first = making.snapshot(store)["snapshot_id"]
    (main / "b" / "only-in-first").unlink()
    making.write(main, {"a/changes": "two", "a/deep/only-in-second": "2"})
    return main, [first, making.snapshot(store)["snapshot_id"]]


def test_a_bystander_notices_only_the_files_that_differ(fs_dir: Path) -> None:
    store = making.make_store(fs_dir / "lab")
    main, snapshots = prepare(store)
    bystanders = [Bystander(main / directory) for directory in DIRECTORIES]
    touched: set[str] = set()
    try:
        for turn in range(RESTORES):
            with changing.worktree(store, "main"):
                restore.restore(store, "main", snapshots[turn % 2])
            assert (main / "a" / "changes").read_text() == ("one", "two")[turn % 2]
            for bystander in bystanders:
                touched |= {name for name, mask in bystander.events() if mask & IN_CHANGES and name and not aged(mask)}
                bystander.check()
    finally:
        for bystander in bystanders:
            bystander.close()
    assert "still" not in touched
    assert not touched & {"a", "b", "deep"}
    mine = {name for name in touched if not name.startswith(".jvs-tmp-")}
    assert mine <= {"changes", "only-in-first", "only-in-second"}


@pytest.mark.parametrize("directory", ["a/deep", "b"])
def test_a_process_goes_on_in_its_current_directory(fs_dir: Path, directory: str, monkeypatch) -> None:
    store = making.make_store(fs_dir / "lab")
    main, snapshots = prepare(store)
    monkeypatch.chdir(main / directory)
    for turn in range(4):
        with changing.worktree(store, "main"):
            restore.restore(store, "main", snapshots[turn % 2])
        assert Path("still").read_text() == "never changes"
        assert os.getcwd() == str(main / directory)
