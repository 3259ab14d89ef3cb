"""Where the content of a file lies: its holes, and its places on the disk.

Two files of one filesystem that have the same places hold the same bytes there. That is a proof only while nothing
moves: see `shared_ranges`.
Source: lseek(2), SEEK_DATA; fstatfs(2); Documentation/filesystems/fiemap.rst; jvs-engines(7), Shared extents.
"""

from __future__ import annotations

import os
import struct

from jvs import system
from jvs.fs import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    Device = tuple[str, bytes | int, int]
    """What tells one filesystem from another: its kind, and its id or device."""
    Extent = tuple[int, int, int]
    """Shape: where it begins in the file, where on the disk (`UNKNOWN`: not told, or not only there), its length."""

XFS, BTRFS = 0x58465342, 0x9123683E
_HOLES_ARE_TRUE = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        XFS,
        BTRFS,
        0xF2F52010,  # f2fs
        durable.TMPFS,
    }
)
"""Filesystems whose SEEK_DATA also knows of what is written and not on the disk yet; ZFS once did not."""
_COPIES_BYTES = frozenset({0xEF53, 0xF2F52010, durable.TMPFS})
UNKNOWN = -1
MOST_EXTENTS = 200_000
"""Files in more pieces are read instead: the list would take more than 30 MB."""
FS_IOC_FIEMAP = 0xC020660B
_FLAG_SYNC = 0x1
_HARMLESS = 0x1 | 0x1000 | 0x2000  # LAST, MERGED, SHARED; all others: inline, compressed, encrypted, unwritten, ...
_HEAD = struct.Struct("=QQLLLL")
_EXTENT = struct.Struct("=QQQ16xL12x")
_FIRST, _AT_ONCE = 16, 1024
"""How many extents are asked for: most files have few."""
_FSGETXATTR = 0x801C581F
_REALTIME = 0x1
_BTRFS_FS_INFO = 0x8400941F


def tells_holes(fd: int) -> bool:
    """Answer whether a filesystem says truly which parts of an open file were never written."""
    return system.filesystem_type(fd) in _HOLES_ARE_TRUE


def copies_bytes(fd: int) -> bool:
    """Answer whether a copy of an open file costs as much as reading and writing it, whoever makes it."""
    return system.filesystem_type(fd) in _COPIES_BYTES


def places(fd: int) -> list[Extent] | None:
    """Return the extents of an open file, without its holes; None when it has too many, or the system does not say."""
    found: list[Extent] = []
    start, last = 0, False
    wanted = min(_FIRST, _AT_ONCE)
    while not last:
        buffer = bytearray(_HEAD.size + wanted * _EXTENT.size)
        _HEAD.pack_into(buffer, 0, start, (1 << 64) - 1 - start, _FLAG_SYNC, 0, wanted, 0)
        wanted = _AT_ONCE
        try:
            system.ioctl(fd, FS_IOC_FIEMAP, buffer)
        except OSError:
            return None
        count = _HEAD.unpack_from(buffer)[3]
        if not count:
            break
        view = memoryview(buffer)[_HEAD.size : _HEAD.size + count * _EXTENT.size]
        for logical, physical, length, flags in _EXTENT.iter_unpack(view):
            if logical + length <= start or not length:  # no way forward: do not ask for ever
                return None
            place = UNKNOWN if flags & ~_HARMLESS else physical
            _append(found, logical, place, length)
            start, last = logical + length, bool(flags & 1)
        if len(found) > MOST_EXTENTS:
            return None
    return found


def _append(found: list[Extent], logical: int, place: int, length: int) -> None:
    """Add an extent, joined with the one before where it goes on."""
    if found:
        begin, before, size = found[-1]
        goes_on = place == before + size if before != UNKNOWN else place == UNKNOWN
        if begin + size == logical and goes_on:
            found[-1] = begin, before, size + length
            return
    found.append((logical, place, length))


def differing(one: list[Extent], other: list[Extent], size: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of two files, up to a size, that do not have the same places; holes equal holes."""
    position, i, j = 0, 0, 0
    while position < size:
        while i < len(one) and one[i][0] + one[i][2] <= position:
            i += 1
        while j < len(other) and other[j][0] + other[j][2] <= position:
            j += 1
        mine, my_end = _at(one, i, position, size)
        theirs, their_end = _at(other, j, position, size)
        end = min(my_end, their_end)
        if mine != theirs or mine == UNKNOWN:
            yield position, end
        position = end


def _at(extents: list[Extent], i: int, position: int, size: int) -> tuple[int | None, int]:
    """Return where a byte lies on the disk, None in a hole, and how far that goes on."""
    if i == len(extents):
        return None, size
    begin, place, length = extents[i]
    if position < begin:
        return None, min(begin, size)
    return (UNKNOWN if place == UNKNOWN else place + position - begin), min(begin + length, size)


def unchanged_parts(new: int, old: int, part: int) -> set[int]:
    """Return which parts of `part` bytes of an open file lie where the same parts of another one do.

    Both must be immutable, so that what lies in one place now has been the content of both since they were made.
    The map of the new file is read before and after that of the old one, and both times must be the same: else
    something (a balance, a defragmentation) is moving extents, and nothing is proved. Nothing is proved either where
    the system does not say, or where these are not two files of one XFS or btrfs.
    """
    if not _are_comparable(new, old):
        return set()
    size, before = os.fstat(new).st_size, os.fstat(old).st_size
    first = places(new)
    theirs = places(old) if first is not None else None
    if first is None or theirs is None or places(new) != first:
        return set()
    count = -(-size // part) if size == before else min(size, before) // part
    unchanged = set(range(count))
    for start, end in differing(first, theirs, min(count * part, size)):
        unchanged.difference_update(range(start // part, (end - 1) // part + 1))
    return unchanged


def _are_comparable(one: int, other: int) -> bool:
    """Answer whether the places of two open files are those of one device."""
    mine = device_of(one)
    return mine is not None and mine == device_of(other) and is_realtime(one) == is_realtime(other)


def device_of(fd: int) -> Device | None:
    """Return what the places of files on the filesystem of an open one belong to; None where they prove nothing.

    An overlay passes the question for places through to its layers: files of two disks would look alike.
    """
    kind = system.filesystem_type(fd)
    if kind == BTRFS:
        answer = _answer(fd, _BTRFS_FS_INFO, 1024)
        return None if answer is None else ("btrfs", answer[16:32], 0)
    return ("xfs", os.fstat(fd).st_dev, os.fstatvfs(fd).f_fsid) if kind == XFS else None


def is_realtime(fd: int) -> bool | None:
    """Answer whether a file lies on the real-time device of XFS, which counts its places by itself; None: unknown."""
    answer = _answer(fd, _FSGETXATTR, 28)
    return None if answer is None else bool(answer[0] & _REALTIME)


def _answer(fd: int, request: int, size: int) -> bytes | None:
    buffer = bytearray(size)
    try:
        system.ioctl(fd, request, buffer)
    except OSError:
        return None
    return bytes(buffer)
