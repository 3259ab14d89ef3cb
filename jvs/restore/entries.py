"""Entries below an open root: reached by relative paths, seen with all their metadata, following no link."""

from __future__ import annotations

import hashlib
import os
import stat

from jvs import canon
from jvs.fs import listing, metadata, paths
from jvs.fs.xattrs import covered, read_all, read_at, read_covered
from jvs.tree import hasher, node, scan
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.tree.node import Entry

    Meta = list[Any]
    """Shape: permission bits, uid, gid, atime_ns, mtime_ns, all xattrs that can be carried over (bytes -> bytes); then
    the kind, unless it is a directory."""

    Seen = list[Any]
    """Shape: kind, permission bits, uid, gid, size (of a directory 0), mtime_ns; then the digest of all that a tree
    holds of the entry, or nothing where the others tell it from what it trades places with."""

_OPEN_DIRECTORIES = 16


class RootedDir:
    """A root below which entries are reached by relative paths, one component at a time, following no link.

    `layered` says that it is made of several directories, in which inode numbers tell nothing together.
    """

    layered = False

    def __init__(self, root: Below) -> None:
        self.fd = paths.open_dir(root)
        self._open: dict[bytes, int] = {}

    def parent(self, path: bytes, *, make: bool = False, writable: bool = False) -> tuple[int, bytes]:
        """Return the open directory that holds a path, and the last component.

        `make` makes directories that are missing, 0700; `writable` gives us, the owner, the right to change it.
        Errors: OSError.
        """
        above, _, name = path.rpartition(b"/")
        fd = self._open.get(above)
        if fd is None:
            while len(self._open) >= _OPEN_DIRECTORIES:
                os.close(self._open.pop(next(iter(self._open))))
            parts = paths.split_relative(above)
            fd = self._make(parts) if make else paths.open_below(self.fd, parts)
            self._open[above] = fd
        if writable and os.geteuid() != 0 and os.fstat(fd).st_mode & 0o300 != 0o300:
            os.fchmod(fd, 0o700)  # the journal knows the mode; it is set again when everything inside is done
        return fd, name

    def _make(self, parts: list[bytes]) -> int:
        fd = os.dup(self.fd)
        try:
            for part in parts:
                try:
                    child = paths.open_dir(part, fd)
                except FileNotFoundError:
                    child = metadata.make_dir(part, fd)
                os.close(fd)
                fd = child
        except BaseException:
            os.close(fd)
            raise
        return fd

    def path_of(self, path: bytes) -> bytes:
        """Return where an entry is that is asked for under a path: there, but in a source that renames some."""
        return path

    def lstat(self, path: bytes) -> os.stat_result | None:
        """Return the stat of a path, or None when it, or a directory on the way, is not there."""
        return paths.lstat_below(self.fd, paths.split_relative(path))

    def lstat_spelled(self, path: bytes) -> os.stat_result | None:
        """Return the stat of a path whose last name is spelled just so: where case is folded, others find it too."""
        st = self.lstat(path)
        if st is None or not path:
            return st
        parent, name = self.parent(path)
        return st if is_spelled(name, parent) else None

    def forget(self) -> None:
        """Close the directories that were kept open."""
        while self._open:
            os.close(self._open.popitem()[1])

    def close(self) -> None:
        """Close everything."""
        self.forget()
        os.close(self.fd)

    def __enter__(self) -> RootedDir:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def meta_of(fd: int) -> Meta:
    """Return the metadata of an open directory."""
    st = os.fstat(fd)
    xattrs = {os.fsencode(name): value for name, value in read_all(fd).items()}
    return [stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_atime_ns, st.st_mtime_ns, xattrs]


def kind_of_meta(meta: Meta) -> int:
    """Return the kind of the entry that some metadata is of."""
    return meta[6] if len(meta) > 6 else listing.DIR


def meta_at(root: RootedDir, path: bytes, kind: int = listing.DIR) -> Meta | None:
    """Return the metadata of an entry, or None when there is none of that name and kind."""
    if not path:
        return meta_of(root.fd)
    try:
        parent, name = root.parent(path)
    except OSError as error:
        if listing.is_absent(error):
            return None
        raise
    st = lstat_at(name, parent)
    if st is None or listing.kind_of(st.st_mode) != kind:
        return None
    if kind == listing.DIR:
        fd = paths.open_dir(name, parent)
        try:
            return meta_of(fd)
        finally:
            os.close(fd)
    mode = 0 if kind == listing.SYMLINK else stat.S_IMODE(st.st_mode)
    xattrs = {os.fsencode(key): value for key, value in read_at(name, parent).items()}
    return [mode, st.st_uid, st.st_gid, st.st_atime_ns, st.st_mtime_ns, xattrs, kind]


def entry_at(parent: int, name: bytes, *, plain: bool = False, known: dict[int, bytes] | None = None) -> Entry | None:
    """Return an entry as a tree holds it, reading all of it; None when it is not there.

    `plain`: as a tree of `sha256-tree-1` holds it; `known` are leaves of a large file that need not be read.
    Errors: OSError, E_IO.
    """
    try:
        st = os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None
    kind = listing.kind_of(st.st_mode)
    mode = 0 if kind == listing.SYMLINK else st.st_mode & 0o7777
    if kind == listing.DIR:
        fd, shown = paths.open_dir(name, parent), name.decode("utf-8", "backslashreplace")
        found = scan.Scanner(scan.Hasher(jobs=os.cpu_count() or 1, plain=plain)).run_open(fd, shown)
        return name, kind, mode, found.bytes, found.digest, found.root[1]
    if kind != listing.FILE:
        xattrs = None if kind == listing.SYMLINK else covered(metadata.entry_xattrs(name, parent))
        size = st.st_size if kind == listing.SYMLINK else 0
        return name, kind, mode, size, node.special_digest(kind, name, st, parent), xattrs
    fd = paths.open_file(name, parent)
    try:
        digest, size = hasher.hash_quickly(fd, plain=plain, known=known)
        return name, kind, mode, size, digest, read_covered(fd)
    finally:
        os.close(fd)


def seen(st: os.stat_result) -> Seen:
    """Return what a stat tells of an entry that a copy of it has as well."""
    kind = listing.kind_of(st.st_mode)
    size = 0 if kind == listing.DIR else st.st_size
    return [kind, stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, size, st.st_mtime_ns, b""]


def seen_apart(
    a: tuple[int, bytes], a_st: os.stat_result | None, b: tuple[int, bytes], b_st: os.stat_result
) -> tuple[Seen | None, Seen]:
    """Return what tells two entries apart; where their stats do not, their contents are read. Errors: OSError."""
    one, other = None if a_st is None else seen(a_st), seen(b_st)
    if one == other and one is not None:
        one[6], other[6] = fingerprint(*a), fingerprint(*b)
    return one, other


def fingerprint(parent: int, name: bytes) -> bytes:
    """Return a digest of all that a tree holds of an entry but its name. Errors: OSError."""
    entry = entry_at(parent, name)
    if entry is None:
        return b""
    return hashlib.sha256(canon.cbor_encode([entry[1], entry[2], entry[4], entry[5] or None])).digest()


def is_entry(parent: int, name: bytes, wanted: Entry | None, known: dict[int, bytes] | None = None) -> bool:
    """Answer whether what is under a name is an entry of a tree in either algorithm. Errors: as `entry_at`."""
    have = entry_at(parent, name, known=known)
    if not same_entry(have, wanted) and have is not None and wanted is not None and have[3] == wanted[3] > LEAF_BYTES:
        have = entry_at(parent, name, plain=True)
    return same_entry(have, wanted)


def has_digest(parent: int, name: bytes, digest: bytes) -> bool:
    """Answer whether what is under a name has a digest, in either algorithm. Errors: as `entry_at`."""
    have = entry_at(parent, name)
    if have is not None and have[4] != digest and have[3] > LEAF_BYTES:
        have = entry_at(parent, name, plain=True)
    return have is not None and have[4] == digest


def same_entry(a: Entry | None, b: Entry | None) -> bool:
    """Answer whether two entries are the same but for their names."""
    if a is None or b is None:
        return a is b
    return (a[1], a[2], a[4], a[5] or None) == (b[1], b[2], b[4], b[5] or None)


def lstat_at(name: bytes, parent: int) -> os.stat_result | None:
    """Return the stat of a name in an open directory, or None when it is not there."""
    try:
        return os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None


def is_spelled(name: bytes, parent: int) -> bool:
    """Answer whether a directory lists a name just so; a filesystem that folds case finds other spellings as well."""
    return name in map(os.fsencode, os.listdir(parent))


class Movable:
    """Lets a directory that we own and may not write be moved: its `..` entry is written. Only without root."""

    def __init__(self, parent: int, name: bytes) -> None:
        self.parent = parent
        self.name = name
        self.fd = -1
        self.mode = 0

    def __enter__(self) -> None:
        if os.geteuid() == 0:
            return
        st = lstat_at(self.name, self.parent)
        if st is not None and stat.S_ISDIR(st.st_mode) and st.st_mode & 0o200 == 0:
            self.mode = stat.S_IMODE(st.st_mode)
            try:
                self.fd = paths.open_dir(self.name, self.parent)
            except PermissionError:
                paths.open_up(self.name, self.parent)
                self.fd = paths.open_dir(self.name, self.parent)
            os.fchmod(self.fd, self.mode | 0o700)

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.fchmod(self.fd, self.mode)
            os.close(self.fd)
