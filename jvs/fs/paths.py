"""Paths that stay where they belong: relative names below a root, opened without following any link.

User data is only ever reached from a directory descriptor, one component at a time, so that nobody can lead a
walk elsewhere by swapping a directory for a link. Source: open(2), O_NOFOLLOW.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import system
from jvs.errors import PathEscape
from jvs.fs import rooted
from jvs.fs.rooted import Below

DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_FIRST_FLAGS = FILE_FLAGS | os.O_NOATIME


def open_dir(name: Below | bytes, dir_fd: int | None = None, *, one_mount: bool = False) -> int:
    """Open a directory for reading without following a link and, where we may, without touching its atime.

    It is a place below a root, or a name in an open directory. `one_mount` refuses what is mounted there.
    Errors: OSError; ELOOP or ENOTDIR when it is not a directory itself; EXDEV.
    """
    try:
        return _open(name, DIR_FLAGS | os.O_NOATIME, dir_fd, one_mount)
    except PermissionError:  # O_NOATIME needs the owner or root: EPERM for all others
        return _open(name, DIR_FLAGS, dir_fd, one_mount)


def open_file(name: Below | bytes, dir_fd: int | None = None) -> int:
    """Open a regular file for reading; never a fifo or device (which could block or act), never through a link.

    Errors: OSError; EINVAL when it is not a regular file.
    """
    return open_file_with_stat(name, dir_fd)[0]


def open_file_with_stat(name: Below | bytes, dir_fd: int | None = None) -> tuple[int, os.stat_result]:
    """Open a regular file as `open_file` does; return its stat as well, which that has to ask for. Errors: as there."""
    try:
        if type(name) is bytes and dir_fd is not None:  # what `_open` comes to, for every file of a tree
            fd = os.open(name, _FIRST_FLAGS, dir_fd=dir_fd)
        else:
            fd = _open(name, _FIRST_FLAGS, dir_fd)
    except PermissionError:  # as above
        fd = _open(name, FILE_FLAGS, dir_fd)
    st = os.fstat(fd)
    if not stat.S_ISREG(st.st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "not a regular file", shown(name))
    return fd, st


def _open(name: Below | bytes, flags: int, dir_fd: int | None, one_mount: bool = False) -> int:
    if isinstance(name, Below):
        return rooted.open_at(name, flags, one_mount=one_mount)
    if not isinstance(name, bytes) or dir_fd is None:
        raise TypeError(f"a place below a root is needed, or a name in an open directory, not {name!r}")
    if one_mount:
        return rooted.open_child(dir_fd, name, flags)
    return os.open(name, flags, dir_fd=dir_fd)


def shown(name: Below | bytes) -> str:
    """Return a name or a place for a message."""
    return str(name) if isinstance(name, Below) else os.fsdecode(name)


def lstat(place: Below) -> os.stat_result:
    """Return the stat of a place, following no link. Errors: OSError."""
    with rooted.holding(place) as (fd, name):
        return os.lstat(name, dir_fd=fd)


def exists(place: Below) -> bool:
    """Answer whether there is an entry of any kind at a place; False where a link, or nothing, is on the way."""
    return mode_of(place) != 0


def is_dir(place: Below) -> bool:
    """Answer whether a place is a directory itself."""
    return stat.S_ISDIR(mode_of(place))


def mode_of(place: Below) -> int:
    """Return kind and mode of an entry; 0 when it is not there, or a directory on the way is none. Errors: OSError."""
    try:
        return lstat(place).st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return 0
        raise


def may(place: Below, how: int) -> bool:
    """Answer whether we may use an entry in the ways of access(2)."""
    if how & os.W_OK and place.root.refuses():
        return False
    try:
        with rooted.holding(place) as (fd, name):
            return os.access(name, how, dir_fd=fd)
    except OSError:
        return False


def read_file(path: Below, limit: int | None = None) -> bytes:
    """Return the bytes of a small control file, never through a link.

    Errors: OSError; EFBIG when it is longer than `limit` bytes.
    """
    fd = open_file(path)
    try:
        parts = []
        size = 0
        while part := os.read(fd, 1 << 16):
            parts.append(part)
            size += len(part)
            if limit is not None and size > limit:
                raise OSError(errno.EFBIG, "larger than such a file can be", shown(path))
        return b"".join(parts)
    finally:
        os.close(fd)


def split_relative(path: bytes) -> list[bytes]:
    """Return the components of a path that must stay below its root.

    Errors: E_PATH_ESCAPE for absolute paths, `..` and NUL. `.` and doubled slashes vanish; the root itself is `[]`.
    """
    parts = [part for part in path.split(b"/") if part not in (b"", b".")]
    if path.startswith(b"/") or b".." in parts or b"\0" in path:
        raise PathEscape(
            f"path '{path.decode('utf-8', 'backslashreplace')}' leads outside",
            hint="name paths relative to the worktree, without '..'",
        )
    return parts


def below(place: Below, path: bytes) -> Below:
    """Return the place of a relative path in a directory. Errors: E_PATH_ESCAPE for a path that leads out of it."""
    return Below(place.root, (*place.parts, *split_relative(path)))


def is_inside(place: Below, directory: Below) -> bool:
    """Answer whether a place lies below a directory, by the paths that both are reached by, links resolved."""
    above = os.path.realpath(str(directory)).rstrip("/") + "/"
    return (os.path.realpath(str(place)) + "/").startswith(above)


def open_parent(root_fd: int, parts: list[bytes]) -> int:
    """Open the directory that holds the last component, following no link and crossing no mount.

    Errors: OSError; the caller closes the descriptor.
    """
    above = tuple(parts[:-1])
    if not above:
        return os.dup(root_fd)
    try:
        return rooted.open_within(root_fd, above, DIR_FLAGS | os.O_NOATIME)
    except PermissionError:  # as in `open_dir`
        return rooted.open_within(root_fd, above, DIR_FLAGS)


def open_below(root_fd: int, parts: list[bytes]) -> int:
    """Open a directory below a root, following no link and crossing no mount; errors: OSError."""
    return open_parent(root_fd, [*parts, b""])


def open_file_below(root_fd: int, path: bytes) -> int:
    """Open a file by its path below an open directory for reading. Errors: OSError, E_PATH_ESCAPE."""
    parts = split_relative(path)
    above = open_parent(root_fd, parts)
    try:
        return open_file(parts[-1], above)
    finally:
        os.close(above)


def lstat_below(root_fd: int, parts: list[bytes]) -> os.stat_result | None:
    """Return the stat of a path below a root, or None when it, or a directory on the way, is not there."""
    if not parts:
        return os.fstat(root_fd)
    try:
        fd = open_parent(root_fd, parts)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # a link is where a directory was
            return None
        raise
    try:
        return os.lstat(parts[-1], dir_fd=fd)
    except FileNotFoundError:
        return None
    finally:
        os.close(fd)


def open_up(name: bytes, dir_fd: int) -> None:
    """Give ourselves, the owner, all rights to a directory that we may not even read: mode 0700.

    By descriptor, so that nothing else can be under the name by then. Errors: OSError; ENOTDIR for anything else.
    """
    fd = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.chmod(system.path_of(fd), 0o700)
    except FileNotFoundError:  # no /proc mounted
        system.fchmodat2(fd, 0o700)
    finally:
        os.close(fd)
