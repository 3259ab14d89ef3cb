"""Which parts of the disk only some trees hold: a part goes when all that share it go.

Source: fiemap in the kernel's Documentation/filesystems/fiemap.rst.
"""

from __future__ import annotations

import struct

from jvs import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    Part = tuple[int, int]
    """Shape: where it begins on the disk, and its length."""

_FIEMAP = 0xC020660B  # _IOWR('f', 11, struct fiemap)
_HEADER, _EXTENT = struct.Struct("=QQLLLL"), struct.Struct("=QQQQQLLLL")
_EXTENTS_AT_ONCE = 128
_LAST, _SHARED = 0x1, 0x2000
_STAYS, _SEVERAL = -1, -2
"""Owners of a part besides the trees: something that stays, an inode with names in several of them."""


class Group:
    """The names of one inode in a tree. Shape: `links` of it that there are, `seen` here; `bytes` of its own."""

    __slots__ = ("bytes", "links", "seen", "shared")

    def __init__(self, links: int, bytes: int, shared: list[Part]) -> None:
        self.links = links
        self.seen = 0
        self.bytes = bytes
        self.shared = shared


class Holding:
    """What one tree holds on the disk.

    Shape: `bytes` that go with it; inodes with several names; parts of the disk that other files share; and, where
    there is no telling, contents that others may share, by digest. `refers` counts all of it.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self.refers = 0
        self.groups: dict[tuple[int, int], Group] = {}
        self.parts: list[Part] = []
        self.contents: dict[bytes, int] = {}


def extents_of(fd: int, *, unshared: bool = False) -> list[Part]:
    """Return (physical position, length) of each extent of an open file that another file shares, or of all.

    Errors: OSError.
    """
    found: list[Part] = []
    start = 0
    while True:
        buffer = bytearray(_HEADER.size + _EXTENTS_AT_ONCE * _EXTENT.size)
        _HEADER.pack_into(buffer, 0, start, (1 << 64) - 1 - start, 0, 0, _EXTENTS_AT_ONCE, 0)
        system.ioctl(fd, _FIEMAP, buffer)
        mapped = _HEADER.unpack_from(buffer, 0)[3]
        for i in range(mapped):
            logical, physical, length, _, _, flags, *_ = _EXTENT.unpack_from(buffer, _HEADER.size + i * _EXTENT.size)
            start = logical + length
            if unshared or flags & _SHARED:
                found.append((physical, length))
            if flags & _LAST:
                return found
        if not mapped:
            return found


def free_alone(found: Holding) -> int:
    """Return what comes free when one tree goes and all that it shares with anything stays."""
    return found.bytes + sum(group.bytes for group in found.groups.values() if group.seen >= group.links)


def free(holdings: list[Holding], elsewhere: Iterable[Part] = ()) -> tuple[list[int], int]:
    """Return what comes free when one tree goes and the others stay, for each of them, and when all of them go.

    `elsewhere` are parts of the disk that something else holds.
    """
    each = [holding.bytes for holding in holdings]
    total = sum(each)
    owned = [(part, owner) for owner, holding in enumerate(holdings) for part in holding.parts]
    for groups in _by_inode(holdings):
        seen, links = sum(group.seen for _, group in groups), groups[0][1].links
        if seen < links:
            owner = _STAYS
        else:
            owner = groups[0][0] if len(groups) == 1 else _SEVERAL
            total += groups[0][1].bytes
            if owner >= 0:
                each[owner] += groups[0][1].bytes
        owned += [(part, owner) for part in groups[0][1].shared]
    total += _contents(holdings, each)
    owned += [(part, _STAYS) for part in elsewhere]
    return each, total + _parts(owned, each)


def _by_inode(holdings: list[Holding]) -> Iterable[list[tuple[int, Group]]]:
    found: dict[tuple[int, int], list[tuple[int, Group]]] = {}
    for owner, holding in enumerate(holdings):
        for inode, group in holding.groups.items():
            found.setdefault(inode, []).append((owner, group))
    return found.values()


def _contents(holdings: list[Holding], each: list[int]) -> int:
    """Add what is shared by content alone, each content once; return the sum."""
    owners: dict[bytes, list[int]] = {}
    for owner, holding in enumerate(holdings):
        for digest in holding.contents:
            owners.setdefault(digest, []).append(owner)
    total = 0
    for digest, found in owners.items():
        size = holdings[found[0]].contents[digest]
        total += size
        if len(found) == 1:
            each[found[0]] += size
    return total


def _parts(owned: list[tuple[Part, int]], each: list[int]) -> int:
    """Add what parts of the disk only one tree holds to it; return what nothing holds that stays."""
    events = sorted(
        event
        for (start, length), owner in owned
        for event in ((start, 1, owner), (start + length, -1, owner))
        if length > 0
    )
    active: dict[int, int] = {}
    total = last = 0
    for position, step, owner in events:
        length = position - last
        if length and active and _STAYS not in active:
            total += length
            if len(active) == 1:
                only = next(iter(active))
                if only >= 0:
                    each[only] += length
        last = position
        count = active.get(owner, 0) + step
        if count:
            active[owner] = count
        else:
            del active[owner]
    return total
