"""Reading one directory at a time: sorted bytes names with their stat, without following links, without atime.

Everything that walks (hashing, copying, comparing, restoring) lists directories through `list_dir`, so that order,
races and odd names are handled in one place.
Source: readdir(3), fstatat(2).
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from jvs.errors import CloneIncomplete
from jvs.fs import paths
from jvs.fs.rooted import Below

FILE, DIR, SYMLINK, FIFO, SOCKET, CHAR, BLOCK = range(7)
KIND_NAMES = ("file", "dir", "symlink", "fifo", "socket", "char", "block")
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

_BTRFS_EMPTY_SUBVOLUME = 2  # inode of the empty directory that represents in a snapshot a nested subvolume
STAMP = struct.Struct("<QIIIQqq")
"""Shape of one entry's stamp: inode, mode, uid, gid, size, mtime_ns, ctime_ns; 44 bytes, little endian."""

LONG_LISTING = 5_000
TRIES = 8
"""How often an entry is looked at again that changes its kind each time, or cannot be opened, before that is said."""
_deep = False


def kind_of(mode: int) -> int:
    """Return the kind of a file from its st_mode."""
    return _KINDS[mode & 0o170000]  # S_IFMT, without a call for every entry


def names(place: Below) -> list[str]:
    """Return the names in a directory of the control plane, sorted. Errors: OSError."""
    return sorted(unsorted_names(place))


def unsorted_names(place: Below) -> list[str]:
    """Return the names in a directory of the control plane as they come. Errors: OSError."""
    fd = paths.open_dir(place)
    try:
        return os.listdir(fd)
    finally:
        os.close(fd)


def list_dir(fd: int) -> tuple[list[bytes], list[os.stat_result]]:
    """Return the names in a directory, sorted by their bytes, and the stat of each.

    An entry that vanishes between the listing and its stat is left out. On FUSE this is the one way of looking
    that is always fresh, because the listing brings new attributes with it, which last for a second; so in a long
    directory each piece of the listing is followed by its stats.
    Errors: OSError.
    """
    found = os.listdir(fd)
    if len(found) > LONG_LISTING:
        return _list_long(fd)
    if not found:
        return [], []
    if "".join(found).isascii():  # text order is bytes order
        found.sort()
        names = os.fsencode("\0".join(found)).split(b"\0")
    else:
        names = sorted(map(os.fsencode, found))
    look = os.stat
    try:
        return names, [look(name, dir_fd=fd, follow_symlinks=False) for name in names]
    except FileNotFoundError:
        return _list_long(fd)


def _list_long(fd: int) -> tuple[list[bytes], list[os.stat_result]]:
    found: list[tuple[bytes, os.stat_result]] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            try:
                found.append((os.fsencode(entry.name), entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue
    found.sort(key=lambda pair: pair[0])
    return [name for name, _ in found], [st for _, st in found]


def some(
    names: list[bytes], stats: list[os.stat_result], wanted: Set[bytes]
) -> tuple[list[bytes], list[os.stat_result]]:
    """Return those entries of a listing whose names are wanted."""
    places = [i for i, name in enumerate(names) if name in wanted]
    return [names[i] for i in places], [stats[i] for i in places]


def stamps(stats: list[os.stat_result], *, with_inode: bool, with_dirs: bool = True) -> bytes:
    """Return the stamps of a whole directory, one after the other; directories count without size and mtime.

    A directory's size, and on some filesystems its mtime, say nothing about what is below it; its own walk does.
    Who knows that there are no directories says so.
    """
    pack = STAMP.pack
    try:
        if with_inode and not with_dirs:  # places cost less than names: mode, inode, uid, gid, size
            return b"".join([pack(s[1], s[0], s[4], s[5], s[6], s.st_mtime_ns, s.st_ctime_ns) for s in stats])
        return b"".join(
            [
                pack(
                    st.st_ino if with_inode else 0,
                    st.st_mode,
                    st.st_uid,
                    st.st_gid,
                    0 if st.st_mode & 0o170000 == 0o040000 else st.st_size,
                    0 if st.st_mode & 0o170000 == 0o040000 else st.st_mtime_ns,
                    st.st_ctime_ns,
                )
                for st in stats
            ]
        )
    except struct.error:
        return stamps([_Wrapped(st) for st in stats], with_inode=with_inode)  # type: ignore[misc]


class _Wrapped:
    """A stat whose times fit into 64 bits: nanoseconds before 1677 and after 2262 do not, and are taken modulo 2^64."""

    def __init__(self, st: os.stat_result) -> None:
        self.st_ino, self.st_mode, self.st_uid, self.st_gid, self.st_size = st[1], st[0], st[4], st[5], st[6]
        self.st_mtime_ns, self.st_ctime_ns = _wrap(st.st_mtime_ns), _wrap(st.st_ctime_ns)


def _wrap(time_ns: int) -> int:
    return (time_ns + (1 << 63)) % (1 << 64) - (1 << 63)


def allow_deep_trees() -> None:
    """Let a walk go as deep as the kernel lets directories nest: more open files and more recursion, once."""
    global _deep
    if _deep:
        return
    import resource
    import sys

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sys.setrecursionlimit(max(sys.getrecursionlimit(), 200_000))
    _deep = True


def check_same_device(st: os.stat_result, device: int, path: bytes, *, btrfs: bool) -> None:
    """Refuse a directory on another device and, on btrfs, the empty placeholder for a nested subvolume.

    Errors: E_CLONE_INCOMPLETE: a clone would hold an empty directory there, and say nothing.
    """
    if st.st_dev == device and not (btrfs and st.st_ino == _BTRFS_EMPTY_SUBVOLUME):
        return
    shown = path.decode("utf-8", "backslashreplace")
    raise CloneIncomplete(
        f"'{shown}' is a mount point or a nested subvolume, which a snapshot of the worktree cannot hold",
        hint="unmount it, or turn the subvolume into a plain directory (cp -a, then rename), and try again",
        path=shown,
    )


def relative(path: bytes, name: bytes) -> bytes:
    """Join two relative names; the root is the empty name."""
    return path + b"/" + name if path else name


class Vanished(FileNotFoundError):
    """An entry that was listed and is proved to be gone: neither a new listing nor a stat finds it."""


def look_again(fd: int, name: bytes) -> os.stat_result:
    """Return the stat of an entry that could not be taken as what it was listed as.

    The directory is listed first: on FUSE that alone brings what another mount did to the name meanwhile.
    Errors: Vanished when it is gone; OSError.
    """
    try:
        listed = name in map(os.fsencode, os.listdir(fd))
    except FileNotFoundError:  # the directory itself was removed
        listed = False
    try:
        return os.lstat(name, dir_fd=fd)
    except FileNotFoundError as error:
        if listed:
            raise
        raise Vanished(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(name)) from error


def may_have_changed(error: OSError) -> bool:
    """Answer whether an entry may have gone away, or changed its kind, while it was being looked at.

    That is no proof: FUSE and NFS answer so for names that are there as well; see `look_again`.
    """
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.ENXIO, errno.ESTALE)


def is_absent(error: OSError) -> bool:
    """Answer whether a path does not lead to a directory: something on the way is missing, a file or a link."""
    return error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
