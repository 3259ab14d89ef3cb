"""How much space comes free when trees are removed, as `df` sees it: blocks and metadata, shared ones left out.

A file with other names frees nothing, and neither does an extent that another file shares. On filesystems without
shared extents and with inodes in fixed tables (ext4, tmpfs) the answer is exact; elsewhere it is an estimate, and says
so. Source: statfs(2).
"""

from __future__ import annotations

import os
import stat

from jvs import system
from jvs.engine import sharing
from jvs.engine.sharing import Group, Holding
from jvs.fs import durable, listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from jvs.engine.sharing import Part
    from jvs.fs.rooted import Below

    Entries = dict[bytes, bytes]
    """Shape: name of an entry -> its digest."""
    LoadEntries = Callable[[bytes], Entries | None]
    """Gives the entries of a directory by its digest; None when they are not known."""

EXT, XFS, BTRFS, F2FS = 0xEF53, 0x58465342, 0x9123683E, 0xF2F52010
_IN_TABLES = frozenset({EXT, durable.TMPFS})
"""Inodes take no blocks of their own, and no extent is shared."""
_INODE_BYTES = {XFS: 512, BTRFS: 512, F2FS: 4096}
"""What an entry takes besides its blocks: an XFS inode by default, items in btrfs trees."""
_BLOCK = 512  # of st_blocks
_UNIT = 4096  # of what JuiceFS counts: each entry takes one at least
MOST_ENTRIES = 200_000
"""So many entries are looked at; what is beyond is estimated from them."""

_ALL = 1 << 62


class Freed:
    """Shape: `bytes` that come free; `exact` when that is no estimate."""

    def __init__(self, bytes: int, exact: bool) -> None:
        self.bytes = bytes
        self.exact = exact

    def add(self, other: Freed) -> None:
        """Add what another removal frees."""
        self.bytes += other.bytes
        self.exact = self.exact and other.exact


class Meter:
    """Looks at trees and says what each of them holds.

    `kept` are the digests of contents that stay in other trees: what such a file shares is taken to be shared with
    those.
    """

    def __init__(self, place: Below, *, kept: Container[bytes] = (), most: int = MOST_ENTRIES) -> None:
        fd = paths.open_dir(place)
        try:
            self._type = system.filesystem_type(fd)
        finally:
            os.close(fd)
        self._counts_in_full = self._type == durable.FUSE and _is_juicefs(place)
        self.exact = self._type in _IN_TABLES
        self.left = most
        self._kept = kept
        self._maps = self._type in (XFS, BTRFS)

    @property
    def may_share(self) -> bool:
        """Whether files may share blocks here and `df` knows, so that the entries behind a digest matter."""
        return self._type not in _IN_TABLES and not self._counts_in_full

    @property
    def maps(self) -> bool:
        """Whether the filesystem tells which parts of the disk a file takes, and whether others share them."""
        return self._maps

    @property
    def inode_bytes(self) -> int:
        """What an entry takes besides its blocks."""
        return _INODE_BYTES.get(self._type, 0)

    def look(
        self,
        tree: Below,
        top: bytes | None = None,
        entries: LoadEntries | None = None,
        *,
        without: Iterable[bytes] = (),
    ) -> Holding:
        """Return what a tree holds; `top` is the digest of its root, `without` are paths of it that stay.

        What cannot be looked at makes the answer an estimate. No mount is crossed.
        """
        found, staying = Holding(), frozenset(without)
        try:
            fd = paths.open_dir(tree, one_mount=True)
        except OSError:
            self.exact = False
            return found
        stack: list[tuple[int, bytes, list[tuple[bytes, bytes | None]]]] = []
        try:
            stack.append((fd, b"", self._directory(found, fd, b"", top, entries, staying)))
            while stack:
                fd, path, below = stack[-1]
                if not below or self.left < 0:
                    os.close(stack.pop()[0])
                    continue
                name, digest = below.pop()
                try:
                    child = paths.open_dir(name, fd, one_mount=True)
                except OSError:
                    self.exact = False
                    continue
                here = listing.relative(path, name)
                stack.append((child, here, []))
                stack[-1][2].extend(self._directory(found, child, here, digest, entries, staying))
        finally:
            for fd, _, _ in stack:
                os.close(fd)
        return found

    def _directory(
        self,
        found: Holding,
        fd: int,
        path: bytes,
        digest: bytes | None,
        entries: LoadEntries | None,
        staying: frozenset[bytes],
    ) -> list[tuple[bytes, bytes | None]]:
        """Add a directory and the files in it; return its subdirectories with their digests."""
        self._own(found, os.fstat(fd))
        known = (entries(digest) if entries is not None and digest is not None and self.may_share else None) or {}
        try:
            names, stats = listing.list_dir(fd)
        except OSError:
            self.exact = False
            return []
        self.left -= len(names) + 1
        below: list[tuple[bytes, bytes | None]] = []
        for name, st in zip(names, stats, strict=True):
            if staying and listing.relative(path, name) in staying:
                continue
            if stat.S_ISDIR(st.st_mode):
                below.append((name, known.get(name)))
            else:
                self._file(found, fd, name, st, known.get(name))
        return below

    def _size(self, st: os.stat_result) -> int:
        """Return what an entry takes by itself."""
        if self._counts_in_full:
            length = 0 if stat.S_ISDIR(st.st_mode) else st.st_size
            return max(-(-length // _UNIT), 1) * _UNIT
        return st.st_blocks * _BLOCK + self.inode_bytes

    def _own(self, found: Holding, st: os.stat_result) -> None:
        found.bytes += self._size(st)
        found.refers += self._size(st)

    def _file(self, found: Holding, above: int, name: bytes, st: os.stat_result, digest: bytes | None) -> None:
        group = None
        if st.st_nlink > 1:
            key = (st.st_dev, st.st_ino)
            group = found.groups.get(key)
            if group is not None:
                group.seen += 1
                return
            group = found.groups[key] = Group(st.st_nlink, 0, [])
            group.seen = 1
        size = self._size(st)
        found.refers += size
        shared: list[Part] | None = []
        if self.may_share and stat.S_ISREG(st.st_mode) and st.st_blocks:
            shared = self._shared(above, name) if self._maps else None
        if shared is None:
            if digest is not None:
                if digest not in self._kept:
                    found.contents[digest] = size - self.inode_bytes
                size = self.inode_bytes
        elif shared:
            size -= sum(length for _, length in shared)
        stays = digest is not None and digest in self._kept
        parts = [] if stays or not shared else shared
        if group is not None:
            group.bytes, group.shared = size, parts
        else:
            found.bytes += size
            found.parts += parts

    def _shared(self, above: int, name: bytes) -> list[Part] | None:
        """Return the shared extents of a file; None when there is no telling."""
        try:
            fd = paths.open_file(name, above)
        except OSError:
            return None
        try:
            return sharing.extents_of(fd)
        except OSError:
            return None
        finally:
            os.close(fd)

    def parts_of(self, place: Below) -> list[Part]:
        """Return all parts of the disk that a file, or the files of a tree, take; nothing where there is no telling."""
        try:
            st = paths.lstat(place)
            if stat.S_ISREG(st.st_mode):
                fd = paths.open_file(place)
                try:
                    return sharing.extents_of(fd, unshared=True)
                finally:
                    os.close(fd)
            if not stat.S_ISDIR(st.st_mode):
                return []
            fd = paths.open_dir(place)
            try:
                names = listing.list_dir(fd)[0]
            finally:
                os.close(fd)
        except OSError:
            self.exact = False
            return []
        return [part for name in names for part in self.parts_of(place / name)]

    def shared_in(
        self, tree: Below, top: bytes | None, entries: LoadEntries | None, seen: set[bytes], at_least: int
    ) -> list[Part]:
        """Return the extents that the larger files of a tree share with anything; each known content once.

        `seen` are digests of directories and contents that were looked at already; those of this tree are added.
        """
        found: list[Part] = []
        stack: list[tuple[int, bytes | None]] = []
        try:
            stack.append((paths.open_dir(tree, one_mount=True), top))
            while stack and self.left >= 0:
                fd, digest = stack.pop()
                try:
                    below = self._shared_below(fd, digest, entries, seen, at_least, found)
                    stack += [(paths.open_dir(name, fd, one_mount=True), child) for name, child in below]
                finally:
                    os.close(fd)
        except OSError:
            self.exact = False
        finally:
            for fd, _ in stack:
                os.close(fd)
        return found

    def _shared_below(
        self,
        fd: int,
        digest: bytes | None,
        entries: LoadEntries | None,
        seen: set[bytes],
        at_least: int,
        found: list[Part],
    ) -> list[tuple[bytes, bytes | None]]:
        """Add the shared extents of the files in one directory; return the directories in it that are new."""
        known = (entries(digest) if entries is not None and digest is not None else None) or {}
        names, stats = listing.list_dir(fd)
        self.left -= len(names) + 1
        below: list[tuple[bytes, bytes | None]] = []
        for name, st in zip(names, stats, strict=True):
            child = known.get(name)
            is_dir = stat.S_ISDIR(st.st_mode)
            if (child is not None and child in seen) or not (is_dir or stat.S_ISREG(st.st_mode)):
                continue
            if is_dir:
                below.append((name, child))
            elif st.st_size >= at_least:
                found += self._shared(fd, name) or []
            else:
                continue
            if child is not None:
                seen.add(child)
        return below


def _is_juicefs(place: Below) -> bool:
    from jvs.engine.juicefs import mount

    return mount.is_juicefs(place)


def of_tree(place: Below) -> Freed:
    """Return what removing one tree frees; what it shares with anything counts as staying."""
    if not paths.exists(place):
        return Freed(0, exact=True)
    meter = Meter(place.parent, most=_ALL)
    found = meter.look(place)
    return Freed(sharing.free_alone(found), meter.exact)


def referred(place: Below) -> Freed:
    """Return what a file or tree takes on the disk, shared or not."""
    try:
        st = paths.lstat(place)
    except OSError:
        return Freed(0, exact=True)
    if not stat.S_ISDIR(st.st_mode):
        return Freed(st.st_blocks * _BLOCK, exact=True)
    meter = Meter(place.parent, most=_ALL)
    return Freed(meter.look(place).refers, meter.exact)
