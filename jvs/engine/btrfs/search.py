"""Which directories of a btrfs subvolume changed since an earlier snapshot of it, without walking it.

The filesystem keeps with every inode the transaction that changed it last. Searching the tree of a new, frozen
snapshot for what is younger than the earlier one costs what changed, whatever the number of files. It needs the
right to search trees (root); whoever has it not walks instead, and finds the same.
Source: linux/btrfs.h and linux/btrfs_tree.h (UAPI) for numbers and structures; jvs-engines(7).
"""

from __future__ import annotations

import os
import struct

from jvs import system
from jvs.engine.btrfs import ioctl
from jvs.fs import paths as fs_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.fs.rooted import Below

TREE_SEARCH_V2 = 0xC0709411  # _IOWR(0x94, 17, struct btrfs_ioctl_search_args_v2), 112 bytes
INO_LOOKUP = 0xD0009412  # _IOWR(0x94, 18, struct btrfs_ioctl_ino_lookup_args), 4096 bytes
GET_SUBVOL_INFO = 0x81F8943C  # _IOR(0x94, 60, struct btrfs_ioctl_get_subvol_info_args), 504 bytes
_KEY = struct.Struct("=7Q4I4QQ")  # struct btrfs_ioctl_search_key and buf_size
_HEADER = struct.Struct("=3Q2I")  # struct btrfs_ioctl_search_header: transid, objectid, offset, type, len
_INODE_ITEM, _INODE_REF, _INODE_EXTREF = 1, 12, 13
_ROOT = 256
_MAX = (1 << 64) - 1
_BUFFER_BYTES = 256 << 10
MOST_INODES = 20_000
"""More changed inodes than this are found faster by walking."""


class SubvolumeInfo:
    """What the filesystem says of a subvolume. `born` and `changed` are transactions: made, changed last."""

    def __init__(self, data: bytes) -> None:
        self.uuid = data[296:312]
        self.parent_uuid = data[312:328]
        self.changed = int.from_bytes(data[344:352], "little")
        self.born = int.from_bytes(data[352:360], "little")


def info(fd: int) -> SubvolumeInfo:
    """Ask for the subvolume around an open directory. Errors: OSError."""
    buffer = bytearray(504)
    system.ioctl(fd, GET_SUBVOL_INFO, buffer)
    return SubvolumeInfo(bytes(buffer))


def never_changed(snapshot: Below) -> bool:
    """Answer whether a read-only snapshot is as it was made; needs no privilege. False when it is not read-only."""
    try:
        fd = fs_paths.open_dir(snapshot)
    except OSError:
        return False
    try:
        about = info(fd)
        return ioctl.get_flags_at(fd) & ioctl.RDONLY != 0 and about.changed <= about.born
    except OSError:
        return False
    finally:
        os.close(fd)


def changed_directories(snapshot: Below, base: Below) -> frozenset[bytes] | None:
    """Return the directories in which `snapshot` may differ from `base`.

    A directory is named when its own inode changed, or that of something whose name is in it; not one that only
    leads to such a directory. Both are read-only snapshots of the same subvolume, `base` the earlier one. None when
    that is not so, when we have no right to search, or when so much changed that walking is cheaper. Shape: relative
    paths; the root is the empty one. Too many are named rather than too few.
    """
    try:
        new, old = fs_paths.open_dir(snapshot), -1
    except OSError:
        return None
    try:
        old = fs_paths.open_dir(base)
        after, before = info(new), info(old)
        if after.parent_uuid != before.parent_uuid or not any(after.parent_uuid) or before.born >= after.born:
            return None
        return _changed(new, before.born + 1)
    except OSError:  # EPERM above all: not root; then the tree is walked
        return None
    finally:
        os.close(new)
        if old >= 0:
            os.close(old)


def _changed(fd: int, since: int) -> frozenset[bytes] | None:
    """Collect the directories of all inodes that a transaction from `since` on has touched."""
    inodes: set[int] = set()
    for objectid, kind, _, item in _search(fd, 0, _MAX, _INODE_ITEM, _INODE_ITEM, since):
        if kind == _INODE_ITEM and int.from_bytes(item[8:16], "little") >= since:
            inodes.add(objectid)
            if len(inodes) > MOST_INODES:
                return None
    known: dict[int, bytes] = {_ROOT: b""}
    paths: set[bytes] = set()
    for inode in inodes:
        for directory in {inode, *_parents(fd, inode)} if inode != _ROOT else {_ROOT}:
            path = known.get(directory)
            if path is None:
                path = known[directory] = _path_of(fd, directory)
            paths.add(path)
    return frozenset(paths)


def _parents(fd: int, inode: int) -> set[int]:
    """Return the directories in which an inode has names."""
    found = set()
    for objectid, kind, offset, item in _search(fd, inode, inode, _INODE_REF, _INODE_EXTREF, 0):
        if objectid == inode and kind == _INODE_REF:
            found.add(offset)
        elif objectid == inode and kind == _INODE_EXTREF:
            found.add(int.from_bytes(item[:8], "little"))
    return found


def _path_of(fd: int, inode: int) -> bytes:
    """Return the path of a directory; for another kind of inode that of the name it was found by, which is harmless.

    Errors: OSError; ENAMETOOLONG for paths of 4 KiB and more: then the tree is walked.
    """
    buffer = bytearray(4096)
    struct.pack_into("=QQ", buffer, 0, 0, inode)
    system.ioctl(fd, INO_LOOKUP, buffer)
    return bytes(buffer[16 : buffer.index(0, 16)]).strip(b"/")


def _search(
    fd: int, first: int, last: int, lowest: int, highest: int, since: int
) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (objectid, type, offset, item) of the subvolume's tree from leaves that are not older than `since`."""
    objectid, kind, offset = first, lowest if first == last else 0, 0
    top = highest if first == last else 255
    while True:
        buffer = bytearray(_KEY.size + _BUFFER_BYTES)
        key = (0, objectid, last, offset, _MAX, since, _MAX, kind, top, 0xFFFFFFFF, 0, 0, 0, 0, 0)
        _KEY.pack_into(buffer, 0, *key, _BUFFER_BYTES)
        system.ioctl(fd, TREE_SEARCH_V2, buffer)
        count = int.from_bytes(buffer[64:68], "little")
        if count == 0:
            return
        position = _KEY.size
        for _ in range(count):
            _, objectid, offset, kind, length = _HEADER.unpack_from(buffer, position)
            position += _HEADER.size
            if lowest <= kind <= highest:
                yield objectid, kind, offset, bytes(buffer[position : position + length])
            position += length
        if offset < _MAX:
            offset += 1
        elif kind < 255:
            kind, offset = kind + 1, 0
        elif objectid < last:
            objectid, kind, offset = objectid + 1, 0, 0
        else:
            return
