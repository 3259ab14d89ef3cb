"""Turns a supervised run into operations on inodes: writes, names made and removed, syncs.

A call is seen at its entry. Whether it will succeed is decided from the tree as all calls before left it; at the end
`finish` compares that tree with the disk, so that a call that was not understood cannot go unnoticed.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
import time
from collections.abc import Callable
from typing import Any

from lib import odd_files
from supervisor import process, supervise

from crashmodel.inodes import ROOT, Inode, Op, Tree

_AT_REMOVEDIR = 0x200
_NOREPLACE, _EXCHANGE = 1, 2
_O_TMPFILE = 0o20000000
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_HOW: dict[str, Callable[[Recorder, supervise.Event, list[int]], None]] = {}


def _for(*names: str) -> Callable[[Any], Any]:
    """Register a method for some system calls."""

    def register(method: Any) -> Any:
        _HOW.update(dict.fromkeys(names, method))
        return method

    return register


class Recorder:
    """Give `see` to the supervisor as the callback of every call below `root`; then `finish`, and read `ops`.

    `before` is the tree at the start; `born` holds the inodes that were made, as they were when they were new.
    Paths are shown relative to `shown`.
    """

    def __init__(self, root: str, shown: str) -> None:
        self.root, self.shown = os.path.realpath(root), os.path.realpath(shown)
        self.before = Tree.read(self.root)
        self.now = self.before.copy()
        self.born: dict[int, Inode] = {}
        self.ops: list[Op] = []
        self.unknown: list[str] = []
        self._unnumbered: set[int] = set()

    def see(self, event: supervise.Event) -> None:
        """Note one call that is about to happen."""
        self._number()
        how = _HOW.get(event.name)
        if how is None:
            self.unknown.append(str(event))
            return
        how(self, event, _arguments(event.pid))

    def _number(self) -> None:
        """Learn the numbers of the inodes that the last call made."""
        if not self._unnumbered:
            return
        for path, number in self.now.paths().items():
            if number in self._unnumbered:
                with contextlib.suppress(FileNotFoundError):
                    self.born[number].number = os.lstat(os.path.join(self.root, path)).st_ino
                    self._unnumbered.discard(number)

    def finish(self) -> list[str]:
        """Return where the disk is not what the operations lead to."""
        self._number()
        model, disk = self.now.facts(), Tree.read(self.root).facts()
        wrong = sorted(path for path in {*model, *disk} if model.get(path) != disk.get(path))
        wrong = [path for path in wrong if path.split("/")[0] != "home"]  # where the user's memory is, which is a cache
        return [f"{path}: {_short(disk.get(path))}, recorded {_short(model.get(path))}" for path in wrong]

    def _add(self, event: supervise.Event, kind: str, **facts: Any) -> None:
        path = " -> ".join(os.path.relpath(path, self.shown) for path in event.paths)
        op = Op(kind, path, call=event.name, **facts)
        self.ops.append(op)
        self.now.apply(op)

    def _relative(self, path: str) -> str:
        return os.path.relpath(path, self.root) if path != self.root else ""

    def _find(self, path: str) -> int | None:
        inside = path == self.root or path.startswith(self.root + "/")
        return self.now.find(self._relative(path)) if inside else None

    def _open_file(self, event: supervise.Event, fd: int, which: int = 0) -> int | None:
        """Return the inode of an open file, or None when its last name was removed."""
        if os.stat(f"/proc/{event.pid}/fd/{fd & 0xFFFFFFFF}").st_nlink == 0:
            return None
        return self._find(event.paths[which])

    def _new(self, event: supervise.Event, kind: int, mode: int, *, data: bytes = b"", rdev: int = 0) -> None:
        """Note a new inode under a name that is free; anything else fails without effect."""
        path = event.paths[-1]
        parent = self._find(os.path.dirname(path))
        if parent is None or path == self.root or self._find(path) is not None:
            return
        number = max(self.now.inodes) + 1
        inode = Inode(kind, mode, 0, os.geteuid(), os.getegid(), data, rdev)
        self.born[number] = inode
        self._unnumbered.add(number)
        self.now.inodes[number] = inode.copy()
        self._add(event, "link", dirs=(parent,), args=(parent, os.path.basename(path), number))

    @_for("open", "openat", "creat", "openat2")
    def _open(self, event: supervise.Event, args: list[int]) -> None:
        if event.name == "openat2":
            flags, mode = struct.unpack("=QQ", process.memory(event.pid, args[2], 16))
        elif event.name == "creat":
            flags, mode = os.O_CREAT | os.O_TRUNC | os.O_WRONLY, args[1]
        else:
            flags, mode = args[1:3] if event.name == "open" else args[2:4]
        if flags & _O_TMPFILE:
            return  # has no name, so that no crash leaves it
        number = self._find(event.paths[0])
        if number is None:
            if flags & os.O_CREAT:
                self._new(event, stat.S_IFREG, _masked(event.pid, mode))
        elif flags & os.O_TRUNC and not flags & os.O_EXCL and self.now.inodes[number].data:
            self._add(event, "size", inode=number, args=(0,))

    @_for("write", "pwrite64", "writev", "pwritev", "pwritev2")
    def _write(self, event: supervise.Event, args: list[int]) -> None:
        number = self._open_file(event, args[0])
        if number is None:
            return
        if event.name in ("write", "pwrite64"):
            data = process.memory(event.pid, args[1], args[2])
        else:
            vector = process.memory(event.pid, args[1], 16 * args[2])
            data = b"".join(process.memory(event.pid, *piece) for piece in struct.iter_unpack("=QQ", vector))
        offset = args[3] if event.name.startswith("p") else self._position(event, args[0], number)
        if data:
            self._add(event, "data", inode=number, args=(offset, data))

    def _position(self, event: supervise.Event, fd: int, number: int) -> int:
        with open(f"/proc/{event.pid}/fdinfo/{fd & 0xFFFFFFFF}") as lines:
            facts = dict(line.split(":", 1) for line in lines if line.startswith(("pos", "flags")))
        appends = int(facts["flags"], 8) & os.O_APPEND
        return len(self.now.inodes[number].data) if appends else int(facts["pos"])

    @_for("copy_file_range", "sendfile")
    def _copied(self, event: supervise.Event, args: list[int]) -> None:
        """Bytes that the kernel copies: from the offset of the source, to its end."""
        if event.name == "sendfile":
            source, target, size, at, to = args[1], args[0], args[3], args[2], 0
        else:
            source, target, size, at, to = args[0], args[2], args[4], args[1], args[3]
        number = self._open_file(event, target)
        if number is None:
            return
        with open(f"/proc/{event.pid}/fd/{source & 0xFFFFFFFF}", "rb") as file:
            data = file.read()
        start = _offset(event.pid, at) if at else self._position(event, source, ROOT)
        offset = _offset(event.pid, to) if to else self._position(event, target, number)
        if data[start : start + size]:
            self._add(event, "data", inode=number, args=(offset, data[start : start + size]))

    @_for("fsync", "fdatasync", "syncfs")
    def _sync(self, event: supervise.Event, args: list[int]) -> None:
        number = None if event.name == "syncfs" else self._open_file(event, args[0])
        if number is not None or event.name == "syncfs":
            self._add(event, "sync", inode=number, args=(event.name == "fdatasync",))

    @_for("truncate", "ftruncate")
    def _size(self, event: supervise.Event, args: list[int]) -> None:
        number = self._find(event.paths[0]) if event.name == "truncate" else self._open_file(event, args[0])
        if number is not None and len(self.now.inodes[number].data) != args[1]:
            self._add(event, "size", inode=number, args=(args[1],))

    @_for("rename", "renameat", "renameat2")
    def _rename(self, event: supervise.Event, args: list[int]) -> None:
        (one, name), (two, new_name) = (os.path.split(path) for path in event.paths)
        source, target = self._find(one), self._find(two)
        moved, there = self._find(event.paths[0]), self._find(event.paths[1])
        flags = args[4] & 0xFFFFFFFF if event.name == "renameat2" else 0
        if source is None or target is None or moved is None or moved == there or odd_files.is_fixed(event.paths[0]):
            return
        if flags & _EXCHANGE:
            if there is not None:
                facts = (source, name, moved, target, new_name, there)
                self._add(event, "exchange", dirs=(source, target), args=facts)
            return
        if there is not None:
            old, new = self.now.inodes[there], self.now.inodes[moved]
            if flags & _NOREPLACE or old.entries or (old.kind == stat.S_IFDIR) != (new.kind == stat.S_IFDIR):
                return
        self._add(event, "rename", dirs=(source, target), args=(source, name, target, new_name, moved))

    @_for("mkdir", "mkdirat", "mknod", "mknodat")
    def _make(self, event: supervise.Event, args: list[int]) -> None:
        mode, rdev = args[1:3] if event.name in ("mkdir", "mknod") else args[2:4]
        directory = event.name.startswith("mkdir")
        kind = stat.S_IFDIR if directory else stat.S_IFMT(mode) or stat.S_IFREG
        self._new(event, kind, _masked(event.pid, mode), rdev=0 if directory else rdev)

    @_for("rmdir", "unlink", "unlinkat")
    def _remove(self, event: supervise.Event, args: list[int]) -> None:
        directory = event.name == "rmdir" or (event.name == "unlinkat" and bool(args[2] & _AT_REMOVEDIR))
        number, parent = self._find(event.paths[0]), self._find(os.path.dirname(event.paths[0]))
        if number is None or parent is None or self.now.inodes[number].entries or odd_files.is_fixed(event.paths[0]):
            return
        if (self.now.inodes[number].kind == stat.S_IFDIR) == directory:
            self._add(event, "unlink", dirs=(parent,), args=(parent, os.path.basename(event.paths[0])))

    @_for("link", "linkat")
    def _link(self, event: supervise.Event, _args: list[int]) -> None:
        number, parent = self._find(event.paths[0]), self._find(os.path.dirname(event.paths[1]))
        if number is not None and parent is not None and self._find(event.paths[1]) is None:
            self._add(event, "link", dirs=(parent,), args=(parent, os.path.basename(event.paths[1]), number))

    @_for("symlink", "symlinkat")
    def _symlink(self, event: supervise.Event, args: list[int]) -> None:
        self._new(event, stat.S_IFLNK, 0o777, data=os.fsencode(process.text(event.pid, args[0])))

    @_for("chmod", "fchmod", "fchmodat", "fchmodat2")
    def _mode(self, event: supervise.Event, args: list[int]) -> None:
        mode = args[2 if event.name.startswith("fchmodat") else 1] & 0o7777
        self._attribute(event, args, "mode", (mode,))

    @_for("chown", "fchown", "lchown", "fchownat")
    def _owner(self, event: supervise.Event, args: list[int]) -> None:
        where = 2 if event.name == "fchownat" else 1
        self._attribute(event, args, "owner", tuple(process.c_int(value) for value in args[where : where + 2]))

    @_for("utimensat")
    def _times(self, event: supervise.Event, args: list[int]) -> None:
        if args[2] == 0:
            return
        seconds, nanoseconds = struct.unpack("=qq", process.memory(event.pid, args[2] + 16, 16))
        if nanoseconds not in (_UTIME_NOW, _UTIME_OMIT):
            self._attribute(event, args, "mtime", (seconds * 10**9 + nanoseconds,), on_fd=args[1] == 0)

    @_for("setxattr", "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr")
    def _xattr(self, event: supervise.Event, args: list[int]) -> None:
        value = process.memory(event.pid, args[2], args[3]) if "set" in event.name and args[3] else b""
        change = (process.text(event.pid, args[1]), None if "remove" in event.name else value)
        self._attribute(event, args, "xattr", change)

    def _attribute(
        self, event: supervise.Event, args: list[int], kind: str, change: tuple[Any, ...], *, on_fd: bool = False
    ) -> None:
        by_fd = on_fd or event.name in ("fchmod", "fchown", "fsetxattr", "fremovexattr")
        number = self._open_file(event, args[0]) if by_fd else self._find(event.paths[0])
        if number is not None and self.now.inodes[number].kind != stat.S_IFLNK:
            self._add(event, kind, inode=number, args=change)


def _arguments(pid: int) -> list[int]:
    """Return the six arguments of the call at whose entry a thread is stopped. Source: proc_pid_syscall(5)."""
    while True:
        with open(f"/proc/{pid}/syscall") as file:
            words = file.read().split()
        if words != ["running"]:  # it has told us of the call, and is about to sleep
            return [int(word, 16) for word in words[1:7]]
        time.sleep(0.001)


def _masked(pid: int, mode: int) -> int:
    with open(f"/proc/{pid}/status") as lines:
        mask = next(int(line.split()[1], 8) for line in lines if line.startswith("Umask:"))
    return mode & 0o7777 & ~mask


def _offset(pid: int, address: int) -> int:
    offset: int = struct.unpack("=q", process.memory(pid, address, 8))[0]
    return offset


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 200 else text[:100] + "..." + text[-60:]
