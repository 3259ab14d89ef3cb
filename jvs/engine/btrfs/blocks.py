"""What removing btrfs subvolumes frees, asked of the filesystem: leaves that only they have, extents that go.

A subvolume shares the leaves of its tree with those that it was snapshotted from and into. A leaf is never written
twice: its generation and its first key tell it from all others, and what is older than the snapshot before is in that
one too. Of an extent that exclusive leaves name, the tree of extents says how many leaves name it altogether.
Source: linux/btrfs.h and linux/btrfs_tree.h (UAPI); btrfs_statfs() in fs/btrfs/super.c.
"""

from __future__ import annotations

import bisect
import contextlib
import os
import struct

from jvs import system
from jvs.engine.btrfs import ioctl
from jvs.fs import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jvs.engine.sharing import Part
    from jvs.fs.rooted import Below

    Key = tuple[int, int, int, int]
    """Shape: generation of the leaf, inode, type, offset."""
    Items = dict[Key, tuple[int, int, int]]
    """Shape: key of an item -> its bytes in the leaf, and the place and length of the extent that it names, or 0."""

TREE_SEARCH_V2 = 0xC0709411  # _IOWR(0x94, 17, struct btrfs_ioctl_search_args_v2), 112 bytes and a buffer
SPACE_INFO = 0xC0109414  # _IOWR(0x94, 20, struct btrfs_ioctl_space_args), 16 bytes and slots
SYNC = 0x9408  # _IO(0x94, 8)
GET_SUBVOL_INFO = 0x81F8943C  # _IOR(0x94, 60, struct btrfs_ioctl_get_subvol_info_args), 504 bytes
_SEARCH = struct.Struct("=QQQQQQQIIIIQQQQ")
_HEADER = struct.Struct("=QQQII")
_EXTENT_DATA, _ROOT_ITEM, _EXTENT_ITEM = 108, 132, 168
_ROOT_TREE, _EXTENT_TREE = 1, 2
_BYTES_USED = slice(192, 200)  # of struct btrfs_root_item
_INLINE = 0
_ITEM_BYTES = 25
_BUFFER_BYTES = 1 << 20
_FILL = 0.8
"""How full leaves are, about, in a tree of more than `_READ_BYTES`: what is split is half full."""
_READ_BYTES = 32 << 20
_MOST = (1 << 64) - 1
_NO_UUID = bytes(16)
_DATA, _METADATA = 1, 4
_COPIES = {16: 2, 32: 2, 64: 2, 512: 3, 1024: 4}  # RAID1, DUP, RAID10, RAID1C3, RAID1C4


class Subvolume:
    """One subvolume: open, its tree, what it is a snapshot of, and the generation in which it was made."""

    __slots__ = ("fd", "frozen", "made", "number", "source", "uuid")

    def __init__(self, fd: int) -> None:
        data = bytearray(504)
        system.ioctl(fd, GET_SUBVOL_INFO, data)
        self.fd = fd
        self.number = int.from_bytes(data[:8], "little")
        self.frozen = bool(int.from_bytes(data[288:296], "little") & 1)
        self.uuid, self.source = bytes(data[296:312]), bytes(data[312:328])
        self.made = int.from_bytes(data[352:360], "little")


def measure(going: list[Below], kept: Iterable[Below], staying: Iterable[Part] = ()) -> tuple[list[int], int] | None:
    """Return what each of some subvolumes frees when it alone goes, and what all of them free, in bytes of `df`.

    `kept` are others that may share with them, `staying` parts of the disk that stay in any case. None where that
    cannot be asked: no btrfs, no subvolumes, no right (CAP_SYS_ADMIN). Commits first, so that what was just written
    counts. Errors: OSError.
    """
    with contextlib.ExitStack() as opened:
        mine = _open_all(going, opened)
        if not mine or len(mine) < len(going):
            return None
        others = _open_all(kept, opened)
        try:
            for _ in _search(mine[0].fd, mine[0].number, 0, most=1):  # the right to ask comes before the cost of it
                system.ioctl(mine[0].fd, SYNC)
            return _Family(mine, others, staying).measure()
        except PermissionError:
            return None


def _open_all(places: Iterable[Below], opened: contextlib.ExitStack) -> list[Subvolume]:
    found = []
    for place in places:
        if not ioctl.is_subvolume(place):
            continue
        fd = paths.open_dir(place)
        opened.callback(os.close, fd)
        with contextlib.suppress(OSError):
            found.append(Subvolume(fd))
    return found


class _Family:
    """The subvolumes that may share with each other."""

    def __init__(self, going: list[Subvolume], kept: list[Subvolume], staying: Iterable[Part]) -> None:
        self._going = going
        self._staying = sorted({start: start + length for start, length in staying}.items())
        self._kept = kept
        self._all = [*going, *kept]
        self._fill = _fill(going[0])
        self._node_bytes, self._copies = _node_bytes(going[0].fd), _copies(going[0].fd)

    def measure(self) -> tuple[list[int], int]:
        each: list[int] = []
        union: Items = {}
        for one in self._going:
            base = self._base(one, self._all)
            own = _items(one, base + 1)
            union.update(own)
            for other in self._successors(one):
                _remove(own, other, base + 1)
            each.append(self._bytes(own, 1))
        if union:
            oldest = min(key[0] for key in union)
            for other in self._kept:
                _remove(union, other, max(oldest, self._base(other, self._kept) + 1))
        return each, self._bytes(union, len(self._going))

    def _base(self, one: Subvolume, among: list[Subvolume]) -> int:
        """Return a generation up to which all leaves of a subvolume are in one of the others, too; 0 for none."""
        base = 0
        source = next((other for other in among if other.uuid == one.source != _NO_UUID), None)
        if source is not None and source.frozen:
            base = one.made
        for other in among:
            before = other.source == one.source != _NO_UUID and other.made < one.made
            if other is not one and (before or other.source == one.uuid):
                base = max(base, other.made)
        if source is not None and any(other.uuid == source.source and other.frozen for other in among):
            base = max(base, source.made)
        return min(base, one.made) if one.frozen else base

    def _successors(self, one: Subvolume) -> list[Subvolume]:
        """Return the subvolumes that have a leaf of this one if any of those made later has it."""
        later = [other for other in self._all if other.source == one.source != _NO_UUID and other.made > one.made]
        found = [min(later, key=lambda other: other.made)] if later else []
        found += [other for other in self._all if other.uuid == one.source != _NO_UUID and not later]
        for child in (other for other in self._all if other.source == one.uuid):
            grandchildren = [other for other in self._all if other.source == child.uuid]
            found += [child, *([min(grandchildren, key=lambda other: other.made)] if grandchildren else [])]
        return found

    def _bytes(self, items: Items, trees: int) -> int:
        """Return what comes free with some items, which are those of whole leaves, and the extents that they name."""
        total = sum(size for size, _, _ in items.values())
        leaves = -(-total // max(int(self._node_bytes * self._fill), 1)) if total else 0
        nodes = leaves + (trees if leaves else 0)
        named: dict[tuple[int, int], int] = {}
        for _, place, length in items.values():
            if length:
                named[place, length] = named.get((place, length), 0) + 1
        fd = self._going[0].fd
        data = 0
        for (place, length), count in named.items():
            if not self._stays(place, length) and _references(fd, place, length) == count:
                data += length
        return int(nodes * self._node_bytes * self._copies) + data

    def _stays(self, place: int, length: int) -> bool:
        """Answer whether something that stays lies in an extent, which is freed as a whole."""
        at = bisect.bisect_left(self._staying, (place + length,))
        return at > 0 and any(end > place for _, end in self._staying[max(at - 2, 0) : at])


def _fill(one: Subvolume) -> float:
    """Return how full the leaves of a tree are: all of its items by the space of its blocks."""
    used = 0
    for _, _, _, _, size, data in _search(one.fd, _ROOT_TREE, 0, (one.number, _ROOT_ITEM, 0), most=1):
        used = int.from_bytes(data[_BYTES_USED], "little") if size >= _BYTES_USED.stop else 0
    if not 0 < used <= _READ_BYTES:
        return _FILL
    total = sum(size + _ITEM_BYTES for _, _, _, _, size, _ in _search(one.fd, one.number, 0))
    return min(max(total / used, 0.05), 1.0)


def _items(one: Subvolume, oldest: int) -> Items:
    """Return the items in the leaves of a subvolume that are not older than a generation."""
    found: Items = {}
    for generation, inode, kind, offset, size, data in _search(one.fd, one.number, oldest):
        place = length = 0
        if kind == _EXTENT_DATA and size >= 37 and data[20] != _INLINE:
            place, length = struct.unpack_from("=QQ", data, 21)
        found[generation, inode, kind, offset] = (size + _ITEM_BYTES, place, length if place else 0)
    return found


def _remove(items: Items, other: Subvolume, oldest: int) -> None:
    """Remove what another subvolume has as well."""
    if items:
        for generation, inode, kind, offset, _, _ in _search(other.fd, other.number, oldest):
            items.pop((generation, inode, kind, offset), None)


def _references(fd: int, place: int, length: int) -> int:
    """Return how many leaves name an extent; 0 when it is not there."""
    for _, _, _, _, size, data in _search(fd, _EXTENT_TREE, 0, (place, _EXTENT_ITEM, length), most=1):
        if size >= 8:
            return int.from_bytes(data[:8], "little")
    return 0


def _search(
    fd: int, tree: int, oldest: int, only: tuple[int, int, int] | None = None, *, most: int = 0
) -> Iterator[tuple[int, int, int, int, int, memoryview]]:
    """Yield generation, inode, type, offset, size and data of the items of a tree; `only` one of them. Errors: OSError.

    An offset of 0 in `only` is any.
    """
    inode, kind, offset = only or (0, 0, 0)
    last = (inode, kind, offset or _MOST) if only else (_MOST, 255, _MOST)
    buffer = bytearray(_SEARCH.size + 8 + (4096 if most else _BUFFER_BYTES))
    while True:
        _SEARCH.pack_into(
            buffer, 0, tree, inode, last[0], offset, last[2], oldest, _MOST, kind, last[1], most or 1 << 31, *[0] * 5
        )
        struct.pack_into("=Q", buffer, _SEARCH.size, len(buffer) - _SEARCH.size - 8)
        system.ioctl(fd, TREE_SEARCH_V2, buffer)
        count = struct.unpack_from("=I", buffer, 64)[0]
        if not count:
            return
        at, view = _SEARCH.size + 8, memoryview(buffer)
        for _ in range(count):
            generation, inode, offset, kind, size = _HEADER.unpack_from(buffer, at)
            at += _HEADER.size
            yield generation, inode, kind, offset, size, view[at : at + size]
            at += size
        if most:
            return
        inode, kind, offset = _after(inode, kind, offset)


def _after(inode: int, kind: int, offset: int) -> tuple[int, int, int]:
    if offset < _MOST:
        return inode, kind, offset + 1
    return (inode, kind + 1, 0) if kind < 255 else (inode + 1, 0, 0)


def _node_bytes(fd: int) -> int:
    data = bytearray(1024)
    system.ioctl(fd, ioctl.FS_INFO, data)
    return int.from_bytes(data[32:36], "little") or 16384


def _copies(fd: int) -> float:
    """Return how often `df` counts a block of metadata: as often as it is on the disk, by the same for data."""
    slots = 64
    data = bytearray(16 + 24 * slots)
    struct.pack_into("=QQ", data, 0, slots, 0)
    system.ioctl(fd, SPACE_INFO, data)
    copies = {_DATA: 1, _METADATA: 1}
    for number in range(min(struct.unpack_from("=Q", data, 8)[0], slots)):
        flags = struct.unpack_from("=Q", data, 16 + 24 * number)[0]
        for kind in copies:
            if flags & kind:
                copies[kind] = next((times for bit, times in _COPIES.items() if flags & bit), 1)
    return copies[_METADATA] / copies[_DATA]
