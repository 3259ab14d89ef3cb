"""What of one payload another one lacks, as the items that make the one from the other.

Both payloads are walked; contents are compared by the digests of their tree nodes, metadata by what is on the disk. So
what no hash covers (owners, times, groups of hard links, attributes) goes along as well.
Source: jvs-stream(5).
"""

from __future__ import annotations

import os
import stat

from jvs.errors import CloneIncomplete
from jvs.fs import listing, paths, xattrs
from jvs.stream import content, items

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.stream.items import ItemWriter
    from jvs.tree.leaves import Lists
    from jvs.tree.node import Entry

    Inode = tuple[int, int]


_OF_ONE_FILESYSTEM = ("btrfs.", "trusted.SGI_ACL_", "juicefs.")
"""How attributes begin that mean nothing elsewhere: properties of btrfs, the second view that XFS gives of an ACL."""


class Sendable:
    """One payload: its open root, the digest of its topmost node, and what loads nodes and lists of leaves."""

    def __init__(
        self, root: int, digest: bytes, load: Callable[[bytes], list[Entry]], lists: Callable[[], Lists]
    ) -> None:
        self.root = root
        self.digest = digest
        self.load = load
        self.lists = lists
        self._first: dict[Inode, bytes] = {}

    def first_of(self, st: os.stat_result, path: bytes) -> bytes:
        """Return the first name that a walk met of a file, which is `path` when it is this one."""
        return path if st.st_nlink < 2 else self._first.setdefault((st.st_dev, st.st_ino), path)


class _Dir:
    """One directory of a side: open, with its entries by name, and their stats."""

    def __init__(self, side: Sendable, fd: int, digest: bytes) -> None:
        self.fd = fd
        names, stats = listing.list_dir(fd)
        self.stats = dict(zip(names, stats, strict=True))
        self.entries = {entry[0]: entry for entry in side.load(digest)}
        self.names = names


class Difference:
    """Writes what `new` has and `old` lacks; without `old`, all of it."""

    def __init__(self, writer: ItemWriter, new: Sendable, old: Sendable | None) -> None:
        self._writer = writer
        self._new = new
        self._old = old
        self._elsewhere: dict[bytes, bytes] | None = None
        self._entering: list[tuple[int, bytes]] = []

    def _put(self, *values: object) -> None:
        """Write one item, after those that enter the directories that lead to it."""
        for entering in self._entering:
            self._writer.put(*entering)
        self._entering.clear()
        self._writer.put(*values)

    def write(self) -> None:
        """Write the items of a tree, the leave of its root last.

        Errors: OSError; E_CLONE_INCOMPLETE when a payload is not what its tree says.
        """
        listing.allow_deep_trees()
        old = None if self._old is None else _Dir(self._old, os.dup(self._old.root), self._old.digest)
        new = _Dir(self._new, os.dup(self._new.root), self._new.digest)
        try:
            self._below(new, old, b"")
            self._put(items.LEAVE, described(os.fstat(new.fd), xattrs.read_all(new.fd)))
        finally:
            os.close(new.fd)
            if old is not None:
                os.close(old.fd)

    def _below(self, new: _Dir, old: _Dir | None, path: bytes) -> None:
        """Write what differs in one directory."""
        if sorted(new.entries) != new.names:
            raise _not_as_hashed(path)
        if old is not None:
            for name in old.names:
                now = new.stats.get(name)
                if now is None or stat.S_IFMT(now.st_mode) != stat.S_IFMT(old.stats[name].st_mode):
                    self._put(items.REMOVE, name)
                    del old.stats[name]
        for name in new.names:
            self._entry(new, old, name, listing.relative(path, name))

    def _entry(self, new: _Dir, old: _Dir | None, name: bytes, path: bytes) -> None:
        st = new.stats[name]
        before = None if old is None else old.stats.get(name)
        if stat.S_ISDIR(st.st_mode):
            self._directory(new, old if before is not None else None, name, path)
            return
        first = self._new.first_of(st, path)
        if before is not None and old is not None and self._old is not None:
            first_before = self._old.first_of(before, path)
            if first == first_before and self._is_same(new, old, name):
                return
        if first != path:
            self._put(items.LINK, name, first)
            return
        entry = new.entries[name]
        if entry[1] != listing.kind_of(st.st_mode):
            raise _not_as_hashed(path)
        if entry[1] == listing.FILE:
            self._file(new, entry, st, path, None if before is None or old is None else old.entries.get(name))
        else:
            self._special(new, name, st)

    def _is_same(self, new: _Dir, old: _Dir, name: bytes) -> bool:
        """Answer whether an entry is the same on both sides: one inode, or one content and the same metadata."""
        one, other = new.stats[name], old.stats[name]
        if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino):
            return True
        if new.entries[name] != old.entries.get(name) or _facts(one) != _facts(other):
            return False
        return xattrs.read_at(name, new.fd) == xattrs.read_at(name, old.fd)

    def _directory(self, new: _Dir, old: _Dir | None, name: bytes, path: bytes) -> None:
        below = _Dir(self._new, paths.open_dir(name, new.fd, one_mount=True), new.entries[name][4])
        counterpart = None
        try:
            if old is not None and self._old is not None:
                counterpart = _Dir(self._old, paths.open_dir(name, old.fd, one_mount=True), old.entries[name][4])
            mark = len(self._entering)
            self._entering.append((items.MAKE if counterpart is None else items.ENTER, name))
            self._below(below, counterpart, path)
            facts = described(os.fstat(below.fd), xattrs.read_all(below.fd))
            same = counterpart is not None and facts == described(
                os.fstat(counterpart.fd), xattrs.read_all(counterpart.fd)
            )
            if same and len(self._entering) > mark:
                self._entering.pop()  # nothing was written below it
            else:
                self._put(items.LEAVE, facts)
        finally:
            os.close(below.fd)
            if counterpart is not None:
                os.close(counterpart.fd)

    def _file(self, new: _Dir, entry: Entry, st: os.stat_result, path: bytes, before: Entry | None) -> None:
        """Write a regular file: what it is made of, and the parts of it that the other side lacks."""
        fd = paths.open_file(entry[0], new.fd)
        origin, known = self._origin(entry, path, before)
        source = -1
        try:
            facts = described(st, xattrs.read_all(fd))
            if origin is not None and self._old is not None:
                source = paths.open_file_below(self._old.root, origin)
            self._put(items.FILE, entry[0], facts, st.st_size, origin)
            if known is None or known[4] != entry[4]:
                changed = content.Changed(fd, st.st_size, source, entry, known)
                changed.write(self._writer, self._lists)
            self._put(items.FILE_END)
        finally:
            os.close(fd)
            if source >= 0:
                os.close(source)

    def _lists(self) -> Lists:
        return {**({} if self._old is None else self._old.lists()), **self._new.lists()}

    def _origin(self, entry: Entry, path: bytes, before: Entry | None) -> tuple[bytes | None, Entry | None]:
        """Return the path of the file of the base that has most of the content, and its entry; None: send all."""
        if self._old is None:
            return None, None
        is_near = before is not None and before[1] == listing.FILE and min(entry[3], before[3]) > content.BLOCK_BYTES
        if before is not None and (is_near or (before[1], before[4]) == (listing.FILE, entry[4])):
            return path, before
        if entry[3] <= content.BLOCK_BYTES:
            return None, None
        if self._elsewhere is None:
            self._elsewhere = {}
            _find_large(self._old, self._old.digest, b"", self._elsewhere)
        origin = self._elsewhere.get(entry[4])
        return origin, None if origin is None else entry

    def _special(self, new: _Dir, name: bytes, st: os.stat_result) -> None:
        facts = described(st, xattrs.read_at(name, new.fd))
        kind, value = listing.kind_of(st.st_mode), b""
        if kind == listing.SYMLINK:
            value = os.readlink(name, dir_fd=new.fd)
        elif kind in (listing.CHAR, listing.BLOCK):
            value = b"%d:%d" % (os.major(st.st_rdev), os.minor(st.st_rdev))
        self._put(items.SPECIAL, name, facts, kind, value)


def _find_large(side: Sendable, digest: bytes, path: bytes, found: dict[bytes, bytes]) -> None:
    """Note the first path of each content of a tree that is worth looking for."""
    for entry in side.load(digest):
        here = listing.relative(path, entry[0])
        if entry[1] == listing.DIR:
            _find_large(side, entry[4], here, found)
        elif entry[1] == listing.FILE and entry[3] > content.BLOCK_BYTES:
            found.setdefault(entry[4], here)


def _facts(st: os.stat_result) -> tuple[int, ...]:
    mtime = st.st_mtime_ns
    return st.st_mode, st.st_uid, st.st_gid, mtime, st.st_rdev if not stat.S_ISREG(st.st_mode) else st.st_size


def described(st: os.stat_result, attributes: xattrs.Attributes) -> list[object]:
    """Return the metadata of an entry as an item holds it: mode, owner, group, time, attributes."""
    kept = {os.fsencode(name): value for name, value in attributes.items() if not name.startswith(_OF_ONE_FILESYSTEM)}
    return [stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_mtime_ns, kept or None]


def _not_as_hashed(path: bytes) -> CloneIncomplete:
    shown = path.decode("utf-8", "backslashreplace") or "."
    return CloneIncomplete(
        f"the files of the snapshot are not what was hashed, at '{shown}'",
        hint="'jvs verify' names what differs; nothing that is damaged is sent",
    )
