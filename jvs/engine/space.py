"""How much space comes free when trees are removed, as `df` sees it: blocks and metadata, shared ones left out.

A file with other names frees nothing, and neither does an extent that another file shares. On filesystems without
shared extents and with inodes in fixed tables (ext4, tmpfs) the answer is exact; elsewhere it is an estimate, and says
so.
Source: fiemap in the kernel's Documentation/filesystems/fiemap.rst.
"""

from __future__ import annotations

import os
import stat
import struct

from jvs import system
from jvs.fs import durable, listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from jvs.fs.rooted import Below

    Entries = dict[bytes, bytes]
    """Shape: name of an entry -> its digest."""

EXT, XFS, BTRFS, F2FS = 0xEF53, 0x58465342, 0x9123683E, 0xF2F52010
_IN_TABLES = frozenset({EXT, durable.TMPFS})
"""Inodes take no blocks of their own, and no extent is shared."""
_INODE_BYTES = {XFS: 512, BTRFS: 512, F2FS: 4096, durable.FUSE: 4096}
"""What an entry takes besides its blocks: an XFS inode by default, items in btrfs trees, 4 KiB of a JuiceFS quota."""
_BLOCK = 512  # of st_blocks
_FIEMAP = 0xC020660B  # _IOWR('f', 11, struct fiemap)
_HEADER, _EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL")
_EXTENTS_AT_ONCE = 128
_LAST, _SHARED = 0x1, 0x2000
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
    """Adds up what comes free when all trees are removed that it is given.

    `kept` are the digests of contents that stay in other trees: extents of such a file that are shared are taken to be
    shared with those. Without a digest what is shared counts as staying.
    """

    def __init__(self, place: Below, *, kept: Container[bytes] = (), most: int = MOST_ENTRIES) -> None:
        fd = paths.open_dir(place)
        try:
            self._type = system.filesystem_type(fd)
        finally:
            os.close(fd)
        self.bytes = 0
        self.exact = self._type in _IN_TABLES
        self.left = most
        self._kept = kept
        self._links: dict[tuple[int, int], int] = {}
        self._seen: set[int] = set()
        self._counted: set[bytes] = set()
        self._maps = self._type in (XFS, BTRFS)

    @property
    def may_share(self) -> bool:
        """Whether files may share blocks here, so that what a digest stands for matters."""
        return self._type not in _IN_TABLES

    @property
    def inode_bytes(self) -> int:
        """What an entry takes besides its blocks."""
        return _INODE_BYTES.get(self._type, 0)

    def freed(self) -> Freed:
        """Return what was added up so far."""
        return Freed(self.bytes, self.exact and self.left >= 0)

    def add(
        self, tree: Below, top: bytes | None = None, entries: Callable[[bytes], Entries | None] | None = None
    ) -> None:
        """Add a tree; `top` is the digest of its root, and `entries` gives what a digest of a directory holds.

        What cannot be looked at makes the answer an estimate. No mount is crossed.
        """
        try:
            fd = paths.open_dir(tree, one_mount=True)
        except OSError:
            self.exact = False
            return
        stack: list[tuple[int, list[tuple[bytes, bytes | None]]]] = []
        try:
            stack.append((fd, self._directory(fd, top, entries)))
            while stack:
                fd, below = stack[-1]
                if not below or self.left < 0:
                    os.close(stack.pop()[0])
                    continue
                name, digest = below.pop()
                try:
                    child = paths.open_dir(name, fd, one_mount=True)
                except OSError:
                    self.exact = False
                    continue
                stack.append((child, []))
                stack[-1][1].extend(self._directory(child, digest, entries))
        finally:
            for fd, _ in stack:
                os.close(fd)

    def _directory(
        self, fd: int, digest: bytes | None, entries: Callable[[bytes], Entries | None] | None
    ) -> list[tuple[bytes, bytes | None]]:
        """Add a directory and the files in it; return its subdirectories with their digests."""
        self._own(os.fstat(fd))
        known = (entries(digest) if entries is not None and digest is not None and self.may_share else None) or {}
        try:
            names, stats = listing.list_dir(fd)
        except OSError:
            self.exact = False
            return []
        self.left -= len(names) + 1
        below: list[tuple[bytes, bytes | None]] = []
        for name, st in zip(names, stats, strict=True):
            if stat.S_ISDIR(st.st_mode):
                below.append((name, known.get(name)))
            elif self._goes(st):
                self._file(fd, name, st, known.get(name))
        return below

    def _goes(self, st: os.stat_result) -> bool:
        """Answer whether this is the last name of an inode."""
        if st.st_nlink < 2:
            return True
        key = (st.st_dev, st.st_ino)
        seen = self._links.get(key, 0) + 1
        self._links[key] = seen
        return seen == st.st_nlink

    def _own(self, st: os.stat_result) -> None:
        self.bytes += st.st_blocks * _BLOCK + self.inode_bytes

    def _file(self, above: int, name: bytes, st: os.stat_result, digest: bytes | None) -> None:
        if self._type in _IN_TABLES or not stat.S_ISREG(st.st_mode) or not st.st_blocks:
            self._own(st)
            return
        shared = self._shared(above, name) if self._maps else None
        if shared is None:  # no telling extent by extent: contents that stay elsewhere count as shared, others once
            if digest is not None and (digest in self._kept or digest in self._counted):
                self.bytes += self.inode_bytes
                return
            if digest is not None:
                self._counted.add(digest)
            self._own(st)
            return
        self._own(st)
        goes_nowhere = digest is None or digest in self._kept
        for physical, length in shared:
            if goes_nowhere or physical in self._seen:
                self.bytes -= length
            self._seen.add(physical)

    def _shared(self, above: int, name: bytes) -> list[tuple[int, int]] | None:
        """Return (physical position, length) of each shared extent of a file; None when there is no telling."""
        try:
            fd = paths.open_file(name, above)
        except OSError:
            return None
        try:
            return shared_extents(fd)
        except OSError:
            return None
        finally:
            os.close(fd)


def of_tree(place: Below) -> Freed:
    """Return what removing one tree frees; what it shares with anything counts as staying."""
    if not paths.exists(place):
        return Freed(0, exact=True)
    meter = Meter(place.parent, most=_ALL)
    meter.add(place)
    return meter.freed()


def shared_extents(fd: int) -> list[tuple[int, int]]:
    """Return (physical position, length) of each extent of an open file that another file shares. Errors: OSError."""
    found: list[tuple[int, int]] = []
    start = 0
    while True:
        buffer = bytearray(_HEADER.size + _EXTENTS_AT_ONCE * _EXTENT.size)
        _HEADER.pack_into(buffer, 0, start, (1 << 64) - 1 - start, 0, 0, _EXTENTS_AT_ONCE, 0)
        system.ioctl(fd, _FIEMAP, buffer)
        mapped = _HEADER.unpack_from(buffer, 0)[3]
        for i in range(mapped):
            logical, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(buffer, _HEADER.size + i * _EXTENT.size)
            start = logical + length
            if flags & _SHARED:
                found.append((physical, length))
            if flags & _LAST:
                return found
        if not mapped:
            return found
