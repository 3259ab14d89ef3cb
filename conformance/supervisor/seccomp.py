"""The BPF filter and the kernel interface of seccomp user notification, by ctypes alone (x86_64 and aarch64).

Source: seccomp_unotify(2), linux/seccomp.h, linux/bpf_common.h; system call numbers from asm/unistd_64.h and
asm-generic/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import struct
from typing import NamedTuple

# name: (x86_64 number, aarch64 number or None, how to find the path)
#   ("at", dirfd argument, path argument), ("path", path argument), ("fd", fd argument)
# A call with two paths lists both.
CALLS: dict[str, tuple[int, int | None, tuple[tuple[str, int, int], ...]]] = {
    "write": (1, 64, (("fd", 0, 0),)),
    "open": (2, None, (("path", 0, 0),)),
    "ioctl": (16, 29, (("fd", 0, 0),)),
    "pwrite64": (18, 68, (("fd", 0, 0),)),
    "writev": (20, 66, (("fd", 0, 0),)),
    "sendfile": (40, 71, (("fd", 0, 0),)),
    "fsync": (74, 82, (("fd", 0, 0),)),
    "fdatasync": (75, 83, (("fd", 0, 0),)),
    "truncate": (76, 45, (("path", 0, 0),)),
    "ftruncate": (77, 46, (("fd", 0, 0),)),
    "rename": (82, None, (("path", 0, 0), ("path", 1, 0))),
    "mkdir": (83, None, (("path", 0, 0),)),
    "rmdir": (84, None, (("path", 0, 0),)),
    "creat": (85, None, (("path", 0, 0),)),
    "link": (86, None, (("path", 0, 0), ("path", 1, 0))),
    "unlink": (87, None, (("path", 0, 0),)),
    "symlink": (88, None, (("path", 1, 0),)),
    "chmod": (90, None, (("path", 0, 0),)),
    "fchmod": (91, 52, (("fd", 0, 0),)),
    "chown": (92, None, (("path", 0, 0),)),
    "fchown": (93, 55, (("fd", 0, 0),)),
    "lchown": (94, None, (("path", 0, 0),)),
    "mknod": (133, None, (("path", 0, 0),)),
    "setxattr": (188, 5, (("path", 0, 0),)),
    "lsetxattr": (189, 6, (("path", 0, 0),)),
    "fsetxattr": (190, 7, (("fd", 0, 0),)),
    "removexattr": (197, 14, (("path", 0, 0),)),
    "lremovexattr": (198, 15, (("path", 0, 0),)),
    "fremovexattr": (199, 16, (("fd", 0, 0),)),
    "openat": (257, 56, (("at", 0, 1),)),
    "mkdirat": (258, 34, (("at", 0, 1),)),
    "mknodat": (259, 33, (("at", 0, 1),)),
    "fchownat": (260, 54, (("at", 0, 1),)),
    "unlinkat": (263, 35, (("at", 0, 1),)),
    "renameat": (264, 38, (("at", 0, 1), ("at", 2, 3))),
    "linkat": (265, 37, (("at", 0, 1), ("at", 2, 3))),
    "symlinkat": (266, 36, (("at", 1, 2),)),
    "fchmodat": (268, 53, (("at", 0, 1),)),
    "splice": (275, 76, (("fd", 2, 0),)),
    "utimensat": (280, 88, (("at", 0, 1),)),
    "fallocate": (285, 47, (("fd", 0, 0),)),
    "pwritev": (296, 70, (("fd", 0, 0),)),
    "syncfs": (306, 267, (("fd", 0, 0),)),
    "renameat2": (316, 276, (("at", 0, 1), ("at", 2, 3))),
    "copy_file_range": (326, 285, (("fd", 2, 0),)),
    "pwritev2": (328, 287, (("fd", 0, 0),)),
    "openat2": (437, 437, (("at", 0, 1),)),
    "fchmodat2": (452, 452, (("at", 0, 1),)),
    "setxattrat": (463, 463, (("at", 0, 1),)),
}
IOCTLS = {
    0x40049409: "FICLONE",
    0x4020940D: "FICLONERANGE",
    0x50009401: "BTRFS_IOC_SNAP_CREATE",
    0x5000940E: "BTRFS_IOC_SUBVOL_CREATE",
    0x5000940F: "BTRFS_IOC_SNAP_DESTROY",
    0x50009417: "BTRFS_IOC_SNAP_CREATE_V2",
    0x50009418: "BTRFS_IOC_SUBVOL_CREATE_V2",
    0x4008941A: "BTRFS_IOC_SUBVOL_SETFLAGS",
    0x5000943F: "BTRFS_IOC_SNAP_DESTROY_V2",
    0x40086602: "FS_IOC_SETFLAGS",
}
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}  # column, AUDIT_ARCH, seccomp(2)
_LD_ABS, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_JMP|JSET|K, BPF_RET|K
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_PR_SET_NO_NEW_PRIVS, _SET_MODE_FILTER, _NEW_LISTENER, _WAIT_KILLABLE = 38, 1, 8, 1 << 5
_RECV, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, nr, arch, instruction pointer, arguments
_RESPONSE = struct.Struct("=QqiI")  # id, value, error, flags
_CONTINUE = 1


class Notification(NamedTuple):
    """A call that is stopped at its entry and waits for an answer."""

    ident: int
    pid: int
    name: str
    args: tuple[int, ...]


class Unsupported(RuntimeError):
    """This kernel or machine has no seccomp user notification that we can use."""


def _machine() -> tuple[int, int, int]:
    try:
        return _MACHINES[platform.machine()]
    except KeyError:
        raise Unsupported(f"no table of system calls for {platform.machine()}") from None


def numbers() -> dict[int, str]:
    """Return the names of the watched calls by their numbers on this machine."""
    column = _machine()[0]
    return {entry[column]: name for name, entry in CALLS.items() if entry[column] is not None}  # type: ignore[misc]


def _program() -> bytes:
    """Return the filter: notify for each watched call, for opens only when they may write."""
    code = bytearray()

    def put(op: int, jt: int, jf: int, k: int) -> None:
        code.extend(struct.pack("=HBBI", op, jt, jf, k))

    put(_LD_ABS, 0, 0, 4)  # the architecture
    put(_JEQ, 1, 0, _machine()[1])
    put(_RET, 0, 0, _ALLOW)
    put(_LD_ABS, 0, 0, 0)  # the number
    for number, name in numbers().items():
        if name in ("open", "openat"):
            argument = 1 if name == "open" else 2
            put(_JEQ, 0, 4, number)
            put(_LD_ABS, 0, 0, 16 + 8 * argument)
            put(_JSET, 0, 1, WRITE_FLAGS)
            put(_RET, 0, 0, _NOTIFY)
            put(_RET, 0, 0, _ALLOW)
        elif name == "ioctl":
            put(_JEQ, 0, 2 + 2 * len(IOCTLS), number)
            put(_LD_ABS, 0, 0, 16 + 8)
            for request in IOCTLS:
                put(_JEQ, 0, 1, request)
                put(_RET, 0, 0, _NOTIFY)
            put(_RET, 0, 0, _ALLOW)
        else:
            put(_JEQ, 0, 1, number)
            put(_RET, 0, 0, _NOTIFY)
    put(_RET, 0, 0, _ALLOW)
    return bytes(code)


def install() -> int:
    """Install the filter in this process for good, and return the listener's descriptor.

    Errors: Unsupported. Called in a child between fork and exec; needs no privilege.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    code = _program()
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("@HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
        raise Unsupported("PR_SET_NO_NEW_PRIVS was refused")
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):  # before Linux 5.19 without WAIT_KILLABLE
        fd = libc.syscall(_machine()[2], _SET_MODE_FILTER, flags, program)
        if fd >= 0:
            return int(fd)
    raise Unsupported(f"seccomp(2): {os.strerror(ctypes.get_errno())}")


_names: dict[int, str] = {}


def receive(listener: int) -> Notification | None:
    """Return the next call that waits, or None when its process has ended meanwhile."""
    if not _names:
        _names.update(numbers())
    buffer = bytearray(_NOTIFICATION.size)
    try:
        fcntl.ioctl(listener, _RECV, buffer)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    ident, pid, _flags, number, _arch, _ip, *args = _NOTIFICATION.unpack(buffer)
    return Notification(ident, pid, _names.get(number, str(number)), tuple(args))


def answer(listener: int, ident: int, *, error: int = 0, value: int | None = None) -> bool:
    """Let the call continue, or end it with an errno or a value; False when the process has ended."""
    if error:
        data = _RESPONSE.pack(ident, 0, -error, 0)
    elif value is not None:
        data = _RESPONSE.pack(ident, value, 0, 0)
    else:
        data = _RESPONSE.pack(ident, 0, 0, _CONTINUE)
    try:
        fcntl.ioctl(listener, _SEND, data)
    except OSError as failure:
        if failure.errno == errno.ENOENT:
            return False
        raise
    return True
