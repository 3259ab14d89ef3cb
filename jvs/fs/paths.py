"""Paths that stay where they belong: relative names below a root, opened without following any link.

User data is only ever reached from a directory descriptor, one component at a time, so that nobody can lead a
walk elsewhere by swapping a directory for a link. Source: open(2), O_NOFOLLOW.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs.errors import PathEscape

DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def open_dir(name: bytes | str, dir_fd: int | None = None) -> int:
    """Open a directory for reading without following a link and, where we may, without touching its atime.

    Errors: OSError; ELOOP or ENOTDIR when it is not a directory itself.
    """
    try:
        return os.open(name, DIR_FLAGS | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:  # O_NOATIME needs the owner or root: EPERM for all others
        return os.open(name, DIR_FLAGS, dir_fd=dir_fd)


def open_file(name: bytes | str, dir_fd: int | None = None) -> int:
    """Open a regular file for reading; never a fifo or device (which could block or act), never through a link.

    Errors: OSError; EINVAL when it is not a regular file.
    """
    try:
        fd = os.open(name, FILE_FLAGS | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:  # as above
        fd = os.open(name, FILE_FLAGS, dir_fd=dir_fd)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", os.fsdecode(name))
    return fd


def read_file(path: str, limit: int | None = None) -> bytes:
    """Return the bytes of a small control file, never through a link.

    Errors: OSError; EFBIG when it is longer than `limit` bytes.
    """
    fd = open_file(path)
    try:
        parts = []
        size = 0
        while part := os.read(fd, 1 << 20):
            parts.append(part)
            size += len(part)
            if limit is not None and size > limit:
                raise OSError(errno.EFBIG, "larger than such a file can be", path)
        return b"".join(parts)
    finally:
        os.close(fd)


def split_relative(path: bytes) -> list[bytes]:
    """Return the components of a path that must stay below its root.

    Errors: E_PATH_ESCAPE for absolute paths, `..` and NUL. `.` and doubled slashes vanish; the root itself is `[]`.
    """
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if path.startswith(b"/") or b".." in parts or b"\0" in path:
        shown = path.decode("utf-8", "backslashreplace")
        raise PathEscape(f"path '{shown}' leads outside", hint="name paths relative to the worktree, without '..'")
    return parts


def open_parent(root_fd: int, parts: list[bytes]) -> int:
    """Open the directory that holds the last component, walking down without following links.

    Errors: OSError; the caller closes the descriptor.
    """
    fd = os.dup(root_fd)
    try:
        for part in parts[:-1]:
            child = open_dir(part, fd)
            os.close(fd)
            fd = child
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_below(root_fd: int, parts: list[bytes]) -> int:
    """Open a directory below a root, walking down without following links; errors: OSError."""
    return open_parent(root_fd, [*parts, b""])


def lstat_below(root_fd: int, parts: list[bytes]) -> os.stat_result | None:
    """Return the stat of a path below a root, or None when it, or a directory on the way, is not there."""
    if not parts:
        return os.fstat(root_fd)
    try:
        fd = open_parent(root_fd, parts)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link stands where a directory was
            return None
        raise
    try:
        return os.lstat(parts[-1], dir_fd=fd)
    except FileNotFoundError:
        return None
    finally:
        os.close(fd)
