"""What only Linux has: whether this is one, the system calls that Python does not offer, and the files of /proc.

Everything else asks here (tests/house holds it), so that this is the list of what a port to another system needs.
Source: openat2(2), renameat2(2), fchmodat2(2), syncfs(2), fstatfs(2), ioctl(2), fallocate(2),
posix_fadvise(2), proc(5).
"""

from __future__ import annotations

import errno
import os
import sys

from jvs.errors import IOFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Openat2 = Callable[[int, bytes, int, int, int], int]
    """Takes a directory, a path, flags, a mode, and RESOLVE_ flags; returns a descriptor."""

_OPENAT2, _FCHMODAT2 = 437, 452  # the same numbers on every architecture but alpha
_AT_EMPTY_PATH = 0x1000
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
_PUNCH_HOLE = 0x03  # with FALLOC_FL_KEEP_SIZE
_SETPIPE_SZ = 1031
MOUNT_TABLE = "/proc/self/mountinfo"


def check() -> None:
    """Refuse to work where the calls are missing that the promises rest on. Errors: E_IO.

    They are openat2(2), renameat2(2), syncfs(2), statx(2), O_PATH, O_NOATIME, the flags of unlinkat(2), and /proc.
    """
    if sys.platform != "linux":
        raise IOFailure(
            f"jvs works on Linux, and this is '{sys.platform}'",
            hint="run it in a Linux virtual machine or container, with the workspace on a filesystem of that",
            platform=sys.platform,
        )


# System calls.


def _library() -> Any:
    import ctypes

    return ctypes.CDLL(None, use_errno=True)


def _error(what: object = None) -> OSError:
    import ctypes

    number = ctypes.get_errno()
    return OSError(number, os.strerror(number)) if what is None else OSError(number, os.strerror(number), what)


def openat2() -> Openat2:
    """Return openat2(2) as a function. It goes on after a signal whose handler returned. Errors of it: OSError."""
    import ctypes

    class How(ctypes.Structure):
        """struct open_how."""

        _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))

    syscall = _library().syscall
    syscall.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t]
    syscall.restype = ctypes.c_long
    size = ctypes.sizeof(How)

    def call(fd: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
        how = How(flags, mode, resolve)
        while True:
            found = syscall(_OPENAT2, fd, path, ctypes.addressof(how), size)
            if found >= 0:
                return int(found)
            number = ctypes.get_errno()
            if number != errno.EINTR:  # a signal: its handler has run by now, and may have raised
                raise OSError(number, os.strerror(number))

    return call


def renameat2(source: bytes, target: bytes, source_fd: int, target_fd: int, flags: int) -> bool:
    """Rename with flags; False where the filesystem knows none. Durable: no. Errors: OSError."""
    if _library().renameat2(source_fd, source, target_fd, target, flags) == 0:
        return True
    error = _error(os.fsdecode(target))
    if error.errno in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):  # NFS, 9p and other network filesystems
        return False
    raise error


def fchmodat2(fd: int, mode: int) -> None:
    """Set the mode of what an O_PATH descriptor names; since Linux 6.6. Errors: OSError."""
    if _library().syscall(_FCHMODAT2, fd, b"", mode, _AT_EMPTY_PATH) != 0:
        raise _error()


def syncfs(fd: int) -> None:
    """Sync the whole filesystem of a descriptor. Durable: everything on it. Errors: OSError; never try again then."""
    if _library().syncfs(fd) != 0:
        raise _error()


def filesystem_type(fd: int) -> int:
    """Return the f_type of fstatfs(2), which os.statvfs does not give; 0 when the system does not say."""
    import ctypes

    buffer = ctypes.create_string_buffer(256)
    if _library().fstatfs(fd, buffer) != 0:
        return 0
    return int.from_bytes(buffer.raw[: ctypes.sizeof(ctypes.c_long)], "little") & 0xFFFFFFFF


def ioctl(fd: int, request: int, argument: bytearray | int = 0) -> None:
    """Call ioctl(2); a buffer of any size is filled in place. Errors: OSError."""
    import fcntl

    fcntl.ioctl(fd, request, argument)


def punch_hole(fd: int, start: int, length: int) -> None:
    """Make a part of an open file a hole; its length stays. Errors: OSError, EOPNOTSUPP where there are no holes."""
    import ctypes

    offset = ctypes.c_int64
    if _library().fallocate64(fd, _PUNCH_HOLE, offset(start), offset(length)) != 0:
        raise _error()


def read_ahead(fd: int, start: int, length: int) -> None:
    """Let the system read bytes of an open file before they are asked for; returns at once. Errors: OSError."""
    os.posix_fadvise(fd, start, length, os.POSIX_FADV_WILLNEED)


def widen_pipe(fd: int, size_bytes: int) -> None:
    """Let a pipe hold more; does nothing where it is no pipe, or where that is more than we may."""
    import fcntl

    try:
        fcntl.fcntl(fd, _SETPIPE_SZ, size_bytes)
    except OSError:  # EBADF, EPERM
        return


# The files of /proc.


def has_proc() -> bool:
    """Answer whether /proc is mounted."""
    return os.path.isdir("/proc/self/fd")


def path_of(fd: int, name: bytes | None = None) -> bytes:
    """Return the path of a descriptor, or of a name in it, for calls that take no O_PATH descriptor."""
    return b"/proc/self/fd/%d" % fd if name is None else b"/proc/self/fd/%d/%s" % (fd, name)


def mount_id(fd: int) -> int | None:
    """Return the id of the mount that an open file lies on; None where the kernel does not say (before Linux 3.15).

    Source: proc(5), /proc/self/fdinfo, `mnt_id`; the same number as in the mount table.
    """
    text = _field(f"/proc/self/fdinfo/{fd}", b"mnt_id:")
    return int(text) if text.isdigit() else None


def unwritten_bytes() -> int | None:
    """Return how much data of files waits to be written to any disk; None where the system does not say.

    Source: proc(5), /proc/meminfo, `Dirty` and `Writeback` in KiB.
    """
    found = [_field("/proc/meminfo", key).removesuffix(b" kB") for key in (b"Dirty:", b"Writeback:")]
    return sum(map(int, found)) << 10 if all(number.isdigit() for number in found) else None


def boot_id() -> str:
    """Return what tells this boot of the system from every other, or nothing where that cannot be found out."""
    return _text("/proc/sys/kernel/random/boot_id").strip()


def machine_id() -> str:
    """Return what tells this installation from others, or nothing where it has no such id."""
    return _text("/etc/machine-id").strip()


def pid_namespace() -> str:
    """Return what tells the namespace of process ids from others, or nothing where that cannot be found out."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """Return field 22 of /proc/PID/stat, which tells a process from a later one with the same number."""
    text = _text(f"/proc/{pid}/stat")
    fields = text[text.rfind(")") + 2 :].split(" ") if text else []
    return fields[19] if len(fields) > 19 else ""


def threads() -> int | None:
    """Return how many threads this process has, those of libraries too; None without /proc."""
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return None


def processes() -> list[str]:
    """Return the numbers of all processes that can be seen."""
    return _numbers("/proc")


def mount_namespace(process: str) -> str:
    """Return the name of the mount namespace of a process; an empty text when it ended or does not show it."""
    try:
        return os.readlink(f"/proc/{process}/ns/mnt")
    except OSError:
        return ""


def open_mount_namespace() -> int:
    """Open the mount namespace of this process: while it is open, no other one gets its number. Errors: OSError."""
    return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


def namespace_of(opened: int) -> str:
    """Return the name of an open namespace, as `mount_namespace` gives it. Errors: OSError."""
    return os.readlink(f"/proc/self/fd/{opened}")


def open_files(process: str) -> list[tuple[str, str]]:
    """Return (number, path) of what a process has open; nothing of one that we may not look into, or that ended."""
    found = []
    directory = f"/proc/{process}/fd"
    for number in _numbers(directory):
        try:
            found.append((number, os.readlink(f"{directory}/{number}")))
        except OSError:  # closed meanwhile
            continue
    return found


def is_open_for_writing(process: str, number: str) -> bool:
    """Answer whether a descriptor of a process was opened for writing. Source: proc(5), fdinfo, `flags` in octal."""
    try:
        return int(_field(f"/proc/{process}/fdinfo/{number}", b"flags:"), 8) & os.O_ACCMODE != os.O_RDONLY
    except ValueError:
        return False


def writable_mappings(process: str) -> set[str]:
    """Return the files that a process may store into through memory. Source: proc(5), maps: `rw-s`, path last."""
    found = set()
    try:
        with open(f"/proc/{process}/maps", "rb") as lines:
            for line in lines:
                fields = line.rstrip(b"\n").split(maxsplit=5)
                if len(fields) == 6 and fields[1][1:2] == b"w" and fields[1][3:4] == b"s":
                    found.add(os.fsdecode(fields[5].replace(b"\\012", b"\n")))
    except OSError:  # another user's process, or one that ended
        pass
    return found


def _numbers(directory: str) -> list[str]:
    try:
        return [name for name in os.listdir(directory) if name.isdigit()]
    except OSError:  # another user's process, or one that ended
        return []


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _field(path: str, key: bytes) -> bytes:
    """Return what stands after a key in a file of /proc, or nothing."""
    try:
        with open(path, "rb") as lines:
            for line in lines:
                if line.startswith(key):
                    return line[len(key) :].strip()
    except OSError:
        pass
    return b""
