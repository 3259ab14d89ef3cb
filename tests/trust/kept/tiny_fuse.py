"""A filesystem in this directory that behaves like another kind: it shows a directory through FUSE, with oddities.

`fold` takes names of another case for the same, as vfat, exFAT and APFS do; `ctime_is_mtime` shows the mtime as ctime,
as exFAT and others without one do; `refuse` answers the opening of some names with an errno, though lstat finds them;
`on_open` is called before a name is opened or listed, so that something can change in the middle of a walk.
Source: linux/fuse.h, protocol 7.31.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import stat
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest

_HEAD = struct.Struct("<IIQQIIII")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_PLAIN = {"FORGET": 2, "BATCH_FORGET": 42, "INTERRUPT": 36}
_KIND_SHIFT = 12
_SETS_MODE, _SETS_UID, _SETS_GID, _SETS_SIZE, _SETS_ATIME, _SETS_MTIME = (1 << i for i in range(6))
_NOW_A, _NOW_M = 1 << 7, 1 << 8
_NOREPLACE, _EXCHANGE = 1, 2


def show(
    source: Path,
    at: Path,
    *,
    fold: bool = False,
    ctime_is_mtime: bool = False,
    refuse: dict[bytes, int] | None = None,
    on_open: Callable[[bytes], None] | None = None,
) -> Path:
    """Mount it; the server ends with this process. Skips where FUSE is missing."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        fd = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        pytest.skip(f"no FUSE here: {error}")
    at.mkdir(parents=True, exist_ok=True)
    options = b"fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other,default_permissions" % fd
    if libc.mount(b"tiny", os.fsencode(at), b"fuse.tiny", 0, options) != 0:
        pytest.skip(f"FUSE does not mount: {os.strerror(ctypes.get_errno())}")
    if os.fork() == 0:
        libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: the mounts of a test go with it
        try:
            Server(fd, os.fsencode(source), fold, ctime_is_mtime, refuse or {}, on_open).serve()
        finally:
            os._exit(0)
    os.close(fd)
    return at


class Server:
    """Answers the kernel, one request after the other."""

    def __init__(
        self,
        fd: int,
        root: bytes,
        fold: bool,
        ctime_is_mtime: bool,
        refuse: dict[bytes, int],
        on_open: Callable[[bytes], None] | None,
    ) -> None:
        self.fd, self.fold, self.ctime_is_mtime = fd, fold, ctime_is_mtime
        self.refuse, self.on_open = refuse, on_open
        self.paths = {1: root}
        self.nodes = {root: 1}
        self.next = 2

    def serve(self) -> None:
        while True:
            try:
                data = os.read(self.fd, (1 << 20) + 4096)
            except OSError as error:
                if error.errno in (errno.EINTR, errno.EAGAIN, errno.ENOENT):
                    continue
                return
            _, code, unique, node, *_ = _HEAD.unpack_from(data)
            if code in _PLAIN.values():
                continue
            answer, number = b"", 0
            try:
                work = getattr(self, f"_op_{code}", None)
                if work is None:
                    number = errno.ENOSYS
                else:
                    answer = work(node, data[_HEAD.size :])
            except OSError as error:
                answer, number = b"", error.errno or errno.EIO
            try:
                os.write(self.fd, struct.pack("<IiQ", 16 + len(answer), -number, unique) + answer)
            except FileNotFoundError:  # the caller was interrupted
                continue

    # Names

    def _path(self, node: int) -> bytes:
        return self.paths[node]

    def _child(self, node: int, name: bytes) -> bytes:
        here = self._path(node)
        if self.fold and not os.path.lexists(here + b"/" + name):
            for there in os.listdir(here):
                if there.lower() == name.lower():
                    return here + b"/" + there
        return here + b"/" + name

    def _entry(self, path: bytes) -> bytes:
        attr = self._attr(path)
        node = self.nodes.get(path)
        if node is None:
            node, self.next = self.next, self.next + 1
            self.nodes[path], self.paths[node] = node, path
        return struct.pack("<QQQQII", node, 0, 0, 0, 0, 0) + attr

    def _attr(self, path: bytes) -> bytes:
        st = os.lstat(path)
        changed = st.st_mtime_ns if self.ctime_is_mtime else st.st_ctime_ns
        times = [divmod(ns, 1_000_000_000) for ns in (st.st_atime_ns, st.st_mtime_ns, changed)]
        return _ATTR.pack(
            *(st.st_ino, st.st_size, st.st_blocks, *(t[0] for t in times), *(t[1] for t in times)),
            *(st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev, 4096, 0),
        )

    def _moved(self, before: bytes, after: bytes) -> None:
        self.nodes.pop(after, None)
        for path, node in list(self.nodes.items()):
            if path == before or path.startswith(before + b"/"):
                del self.nodes[path]
                self.paths[node] = after + path[len(before) :]
                self.nodes[self.paths[node]] = node

    # Requests, by their numbers

    def _op_26(self, node: int, data: bytes) -> bytes:  # INIT
        ahead = struct.unpack_from("<IIII", data)[2]
        return struct.pack("<IIIIHHIIHHI28x", 7, 31, ahead, 0, 0, 0, 1 << 17, 1, 0, 0, 0)

    def _op_1(self, node: int, data: bytes) -> bytes:  # LOOKUP
        name = data.rstrip(b"\0")
        path = self._child(node, name)
        if os.path.basename(path) == name:
            return self._entry(path)
        # Another spelling gets a node of its own, or the kernel would take a rename of one to the other for nothing.
        attr = self._attr(path)
        number, self.next = self.next, self.next + 1
        self.paths[number] = path
        return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + attr

    def _op_3(self, node: int, data: bytes) -> bytes:  # GETATTR
        return struct.pack("<QII", 0, 0, 0) + self._attr(self._path(node))

    def _op_4(self, node: int, data: bytes) -> bytes:  # SETATTR
        valid, _, _, size, _, atime, mtime, _, ans, mns, _, mode, _, uid, gid, _ = struct.unpack_from(
            "<IIQQQQQQIIIIIIII", data
        )
        path = self._path(node)
        if valid & (_SETS_UID | _SETS_GID):
            os.lchown(path, uid if valid & _SETS_UID else -1, gid if valid & _SETS_GID else -1)
        if valid & _SETS_MODE:
            os.chmod(path, stat.S_IMODE(mode))
        if valid & _SETS_SIZE:
            os.truncate(path, size)
        if valid & (_SETS_ATIME | _SETS_MTIME | _NOW_A | _NOW_M):
            st, now = os.lstat(path), time.time_ns()
            a = now if valid & _NOW_A else atime * 10**9 + ans if valid & _SETS_ATIME else st.st_atime_ns
            m = now if valid & _NOW_M else mtime * 10**9 + mns if valid & _SETS_MTIME else st.st_mtime_ns
            os.utime(path, ns=(a, m), follow_symlinks=False)
        return self._op_3(node, b"")

    def _op_5(self, node: int, data: bytes) -> bytes:  # READLINK
        return os.readlink(self._path(node))

    def _op_6(self, node: int, data: bytes) -> bytes:  # SYMLINK
        name, target = data.split(b"\0")[:2]
        os.symlink(target, self._child(node, name))
        return self._entry(self._child(node, name))

    def _op_8(self, node: int, data: bytes) -> bytes:  # MKNOD
        mode, rdev = struct.unpack_from("<II", data)
        path = self._child(node, data[16:].rstrip(b"\0"))
        os.mknod(path, mode, rdev)
        return self._entry(path)

    def _op_9(self, node: int, data: bytes) -> bytes:  # MKDIR
        path = self._child(node, data[8:].rstrip(b"\0"))
        os.mkdir(path, stat.S_IMODE(struct.unpack_from("<I", data)[0]))
        return self._entry(path)

    def _op_10(self, node: int, data: bytes) -> bytes:  # UNLINK
        path = self._child(node, data.rstrip(b"\0"))
        os.unlink(path)
        self.nodes.pop(path, None)
        return b""

    def _op_11(self, node: int, data: bytes) -> bytes:  # RMDIR
        path = self._child(node, data.rstrip(b"\0"))
        os.rmdir(path)
        self.nodes.pop(path, None)
        return b""

    def _op_12(self, node: int, data: bytes) -> bytes:  # RENAME
        old, new = data[8:].split(b"\0")[:2]
        return self._rename(node, old, struct.unpack_from("<Q", data)[0], new, 0)

    def _op_45(self, node: int, data: bytes) -> bytes:  # RENAME2
        above, flags = struct.unpack_from("<QI", data)
        old, new = data[16:].split(b"\0")[:2]
        return self._rename(node, old, above, new, flags)

    def _rename(self, node: int, old: bytes, above: int, new: bytes, flags: int) -> bytes:
        if flags & ~_NOREPLACE:
            raise OSError(errno.EINVAL, "no exchange, as on exFAT")
        source, target = self._child(node, old), self._child(above, new)
        if os.path.lexists(target) and target != source:
            if flags & _NOREPLACE:
                raise FileExistsError(errno.EEXIST, "taken")
            os.rename(source, target)
            self._moved(source, target)
            source = target
        wanted = self._path(above) + b"/" + new
        if source != wanted:
            os.rename(source, wanted)
            self._moved(source, wanted)
        return b""

    def _op_13(self, node: int, data: bytes) -> bytes:  # LINK
        path = self._child(node, data[8:].rstrip(b"\0"))
        os.link(self._path(struct.unpack_from("<Q", data)[0]), path, follow_symlinks=False)
        return self._entry(path)

    def _op_14(self, node: int, data: bytes) -> bytes:  # OPEN
        path = self._path(node)
        name = os.path.basename(path)
        if self.on_open is not None:
            self.on_open(name)
        if name in self.refuse:
            raise OSError(self.refuse[name], "refused")
        flags = struct.unpack_from("<I", data)[0]
        mode = os.O_RDWR if flags & os.O_ACCMODE else os.O_RDONLY
        fd = os.open(path, mode | flags & os.O_TRUNC)
        return struct.pack("<QII", fd, 0, 0)

    def _op_15(self, node: int, data: bytes) -> bytes:  # READ
        fd, offset, size = struct.unpack_from("<QQI", data)
        return os.pread(fd, size, offset)

    def _op_16(self, node: int, data: bytes) -> bytes:  # WRITE
        fd, offset, size = struct.unpack_from("<QQI", data)
        return struct.pack("<II", os.pwrite(fd, data[40 : 40 + size], offset), 0)

    def _op_17(self, node: int, data: bytes) -> bytes:  # STATFS
        st = os.statvfs(self._path(node))
        counts = (st.f_blocks, st.f_bfree, st.f_bavail, st.f_files, st.f_ffree)
        return struct.pack("<QQQQQIIII24x", *counts, st.f_bsize, 255, st.f_frsize, 0)

    def _op_18(self, node: int, data: bytes) -> bytes:  # RELEASE
        os.close(struct.unpack_from("<Q", data)[0])
        return b""

    def _op_20(self, node: int, data: bytes) -> bytes:  # FSYNC
        return b""

    _op_25 = _op_30 = _op_29 = _op_20  # FLUSH, FSYNCDIR, RELEASEDIR

    def _op_27(self, node: int, data: bytes) -> bytes:  # OPENDIR
        if self.on_open is not None:
            self.on_open(os.path.basename(self._path(node)))
        return struct.pack("<QII", 0, 0, 0)

    def _op_28(self, node: int, data: bytes) -> bytes:  # READDIR
        _, offset, size = struct.unpack_from("<QQI", data)
        path, out = self._path(node), b""
        for number, name in enumerate([b".", b"..", *sorted(os.listdir(path))]):
            if number < offset:
                continue
            st = os.lstat(path + b"/" + name)
            piece = struct.pack("<QQII", st.st_ino, number + 1, len(name), st.st_mode >> _KIND_SHIFT) + name
            piece += bytes(-len(piece) % 8)
            if len(out) + len(piece) > size:
                break
            out += piece
        return out

    def _op_35(self, node: int, data: bytes) -> bytes:  # CREATE
        flags, mode = struct.unpack_from("<II", data)
        path = self._child(node, data[16:].rstrip(b"\0"))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | flags & (os.O_EXCL | os.O_TRUNC), stat.S_IMODE(mode))
        return self._entry(path) + struct.pack("<QII", fd, 0, 0)
