"""Removing trees by descriptor: no link is followed, no mount is crossed, and no name leads elsewhere meanwhile.

Source: unlinkat(2); openat2(2), RESOLVE_NO_XDEV.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys

from jvs import system
from jvs.fs import durable, paths
from jvs.fs.rooted import Below

FS_IOC_GETFLAGS = 0x80086601
"""_IOR('f', 1, long), linux/fs.h."""
_FIXED = 0x30
"""FS_IMMUTABLE_FL and FS_APPEND_FL."""


def remove_tree(path: Below | bytes, *, missing_ok: bool = True, dir_fd: int | None = None) -> None:
    """Remove a file or a whole directory, whatever the modes inside; follows no link and crosses no mount.

    Directories that we own and may not read or write are made 0700 first. An empty btrfs subvolume goes by
    rmdir(2), which needs no privilege.
    Durable: no; the caller syncs the parent when that matters. Errors: OSError; EXDEV where something is mounted.
    """
    try:
        with durable.inside(path, dir_fd, one_mount=True) as (above, name):
            if not stat.S_ISDIR(os.lstat(name, dir_fd=above).st_mode):
                durable.unlink(name, missing_ok=missing_ok, dir_fd=above)
                return
            _remove_dir(above, name)
    except FileNotFoundError:
        if not missing_ok:
            raise


def check_removable(name: bytes, dir_fd: int) -> None:
    """Raise what would stop the removal of a tree half-way: EPERM for what nobody may change, EACCES.

    It is asked before a tree is copied to where no rename leads: the copy would be complete, and the original could not
    go. Shape: one entry of an open directory, and all that is below it. Errors: OSError.
    """
    if _is_fixed(name, dir_fd):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), os.fsdecode(name))
    if not stat.S_ISDIR(os.lstat(name, dir_fd=dir_fd).st_mode):
        return
    fd = paths.open_dir(name, dir_fd, one_mount=True)
    stack = [(fd, _directories_of(fd))]
    try:
        while stack:
            fd, below = stack[-1]
            if below:
                child = paths.open_dir(below.pop(), fd, one_mount=True)
                stack.append((child, []))
                stack[-1][1].extend(_directories_of(child))
            else:
                stack.pop()
                os.close(fd)
    finally:
        for fd, _ in stack:
            os.close(fd)


def _directories_of(fd: int) -> list[bytes]:
    """Return the directories in one. Errors: EPERM, EACCES for what cannot be removed from it."""
    ours = os.geteuid() in (0, os.fstat(fd).st_uid)
    if not ours and not os.access(".", os.W_OK | os.X_OK, dir_fd=fd, effective_ids=True):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with os.scandir(fd) as entries:
        listing = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, _ in listing:
        if _is_fixed(name, fd):
            shown = name.decode("utf-8", "backslashreplace")
            raise PermissionError(errno.EPERM, f"{os.strerror(errno.EPERM)}: '{shown}' is immutable, below", shown)
    return [name for name, is_dir in listing if is_dir]


def _is_fixed(name: bytes, dir_fd: int) -> bool:
    """Answer whether a file or a directory is immutable, or may only grow."""
    if stat.S_IFMT(os.lstat(name, dir_fd=dir_fd).st_mode) not in (stat.S_IFREG, stat.S_IFDIR):
        return False
    flags = bytearray(8)
    with contextlib.suppress(OSError):  # a filesystem without flags, or a file that cannot be opened: no copy either
        fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            system.ioctl(fd, FS_IOC_GETFLAGS, flags)
        finally:
            os.close(fd)
    return bool(int.from_bytes(flags[:4], sys.byteorder) & _FIXED)


def remove_possible(place: Below | bytes, dir_fd: int | None = None) -> list[tuple[bytes, OSError]]:
    """Remove what can be removed of a tree; return what could not, each relative to it and with its reason.

    Durable: no. Errors: none of single entries.
    """
    left: list[tuple[bytes, OSError]] = []
    with contextlib.suppress(FileNotFoundError), durable.inside(place, dir_fd, one_mount=True) as (above, name):
        _remove_possible(above, name, b".", left)
    return left


def _remove_possible(parent: int, name: bytes, shown: bytes, left: list[tuple[bytes, OSError]]) -> None:
    """Remove one entry and what lies below it; deeper trees than Python likes to recurse are left, with a reason."""
    try:
        remove_tree(name, dir_fd=parent)
        return
    except OSError as error:
        if not stat.S_ISDIR(os.lstat(name, dir_fd=parent).st_mode):
            left.append((shown, error))
            return
        reason = error
    count = len(left)
    try:
        fd = _open_for_removal(parent, name)
    except OSError as error:
        left.append((shown, error))
        return
    try:
        for child in os.listdir(fd):
            below = os.fsencode(child)
            try:
                _remove_possible(fd, below, below if shown == b"." else shown + b"/" + below, left)
            except (FileNotFoundError, RecursionError):
                continue
    finally:
        os.close(fd)
    try:
        durable.rmdir(name, dir_fd=parent)
    except OSError:
        if len(left) == count:
            left.append((shown, reason))


def _remove_dir(parent: int, name: bytes) -> None:
    """Remove a directory with an explicit stack: trees can be deeper than Python likes to recurse."""
    fd = _open_for_removal(parent, name)
    stack: list[tuple[int, bytes, int, list[bytes]]] = [(parent, name, fd, _remove_files(fd))]
    try:
        while stack:
            above, label, fd, below = stack[-1]
            if below:
                child = below.pop()
                child_fd = _open_for_removal(fd, child)
                stack.append((fd, child, child_fd, []))
                stack[-1][3].extend(_remove_files(child_fd))
                continue
            stack.pop()
            os.close(fd)
            durable.rmdir(label, dir_fd=above, missing_ok=True)
    finally:
        for _, _, fd, _ in stack:
            os.close(fd)


def _remove_files(fd: int) -> list[bytes]:
    """Unlink everything in a directory but subdirectories; return the names of those."""
    with os.scandir(fd) as entries:
        listing = [(os.fsencode(entry.name), entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_dir in listing:
        if not is_dir:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
    return [name for name, is_dir in listing if is_dir]


def _open_for_removal(parent: int, name: bytes) -> int:
    """Open a directory that is about to go, giving ourselves the rights that its owner may take."""
    try:
        fd = paths.open_dir(name, parent, one_mount=True)
    except PermissionError:
        paths.open_up(name, parent)
        fd = paths.open_dir(name, parent, one_mount=True)
    if os.geteuid() != 0 and stat.S_IMODE(os.fstat(fd).st_mode) & 0o700 != 0o700:
        os.fchmod(fd, 0o700)
    return fd


def remove_empty(place: Below) -> None:
    """Remove the directories of a tree that hold nothing, deepest first; whatever else there is stays.

    Durable: no. Errors: OSError; EXDEV where something is mounted.
    """
    with durable.inside(place, one_mount=True) as (above, name):
        _remove_if_empty(above, name)


def _remove_if_empty(parent: int, name: bytes) -> None:
    fd = _open_for_removal(parent, name)
    try:
        with os.scandir(fd) as entries:
            below = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for child in below:
            _remove_if_empty(fd, child)
    finally:
        os.close(fd)
    try:
        durable.rmdir(name, dir_fd=parent)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
