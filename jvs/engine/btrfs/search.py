"""Which directories of a btrfs subvolume changed since an earlier snapshot of it, without walking it.

The filesystem keeps with every inode the transaction that changed it last. Searching the tree of a new, frozen
snapshot, or of the subvolume itself, for what is younger than the earlier one costs what changed, whatever the number
of files. It needs the right to search trees (root); whoever has it not walks instead, and finds the same.
Source: linux/btrfs.h and linux/btrfs_tree.h (UAPI) for numbers and structures; jvs-engines(7).
"""

from __future__ import annotations

import errno
import os
import stat
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
_NLINK, _MODE = slice(40, 44), slice(52, 56)  # in struct btrfs_inode_item
_EXTREF = struct.Struct("=QQH")  # struct btrfs_inode_extref: parent, index, length of the name that follows
_ROOT = 256
_MAX = (1 << 64) - 1
_BUFFER_BYTES = 256 << 10
TRIES = 4
"""How often a worktree is asked again whose names moved meanwhile."""
MOST_INODES = 20_000
"""More changed inodes than this are found faster by walking."""


class SubvolumeInfo:
    """What the filesystem says of a subvolume. `born` and `changed` are transactions: made, changed last.

    So is `generation`: the last one that touched anything in it and is committed. `made_seconds` is when it was made,
    by the clock of then.
    """

    def __init__(self, data: bytes) -> None:
        self.uuid = data[296:312]
        self.parent_uuid = data[312:328]
        self.changed = int.from_bytes(data[344:352], "little")
        self.born = int.from_bytes(data[352:360], "little")
        self.generation = int.from_bytes(data[280:288], "little")
        self.made_seconds = int.from_bytes(data[392:400], "little")


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
        found = _changed(new, before.born + 1)
        return None if found is None else frozenset(found.values())
    except OSError:  # EPERM above all: not root; then the tree is walked
        return None
    finally:
        os.close(new)
        if old >= 0:
            os.close(old)


def changed_now(worktree: Below, base: Below, ready_seconds: float) -> dict[int, bytes] | None:
    """Return the directories in which a subvolume that is in use may differ from `base`, a read-only snapshot of it.

    It holds of a moment after this began: what changes later may be missed, as by a walk that has been there before.
    `ready_seconds`: when the snapshot was published; one that was made later took its place, and says nothing of what
    changed before. Shape: inode -> relative path. None: as `changed_directories`, and where names do not stop moving.

    The tree lacks what is in memory only: data that was not written back, whose inodes change when it is, and inodes
    that wait for the commit. So the filesystem is flushed first. A commit alone (BTRFS_IOC_START_SYNC) is not
    enough: it leaves data of write(2) unwritten, and the inode as it was. A read-only snapshot to search in would be
    flushed by itself and hold still, but it costs the same commit, and a look would write: a name that a crash leaves,
    and tree blocks that the next changes have to copy. A snapshot that the system refuses, for its name, flushes and
    leaves nothing, but no page promises that. How much there may be to flush is the caller's to bound.
    """
    try:
        now, old = fs_paths.open_dir(worktree), -1
    except OSError:
        return None
    try:
        old = fs_paths.open_dir(base)
        before = info(old)
        if before.parent_uuid != info(now).uuid or not any(before.parent_uuid):
            return None
        if before.made_seconds > ready_seconds or not ioctl.get_flags_at(old) & ioctl.RDONLY:
            return None
        next(_search(now, _ROOT, _ROOT, _INODE_ITEM, _INODE_ITEM, 0), None)  # EPERM before anything is flushed
        system.syncfs(now)
        return _changed_at_rest(now, before.born + 1)
    except OSError:  # EPERM, EIO of somebody's data
        return None
    finally:
        os.close(now)
        if old >= 0:
            os.close(old)


def _changed_at_rest(fd: int, since: int) -> dict[int, bytes] | None:
    """Do what `_changed` does until no name moved meanwhile; the filesystem was flushed.

    A changed file that is found where it is for a moment only would not be looked for where it is again afterwards.
    Whatever moves a name changes the directory.
    """
    for _ in range(TRIES):
        committed = info(fd).generation
        try:
            found = _changed(fd, since)
        except FileNotFoundError:  # a name went away
            found = {}
        system.syncfs(fd)
        if found is None:
            return None
        if not any(_changed_inodes(fd, committed + 1).values()):
            return found
    return None


def _changed_inodes(fd: int, since: int) -> dict[int, bool]:
    """Return the inodes that a transaction from `since` on has touched, and whether each is a directory.

    What has no name any more, but is open, is none of them.
    """
    found = {}
    for objectid, kind, _, item in _search(fd, 0, _MAX, _INODE_ITEM, _INODE_ITEM, since):
        if kind == _INODE_ITEM and int.from_bytes(item[8:16], "little") >= since and any(item[_NLINK]):
            found[objectid] = stat.S_ISDIR(int.from_bytes(item[_MODE], "little"))
            if len(found) > MOST_INODES:
                break
    return found


def _changed(fd: int, since: int) -> dict[int, bytes] | None:
    """Return the directories of all inodes that changed, and those of them that are directories."""
    inodes = _changed_inodes(fd, since)
    if len(inodes) > MOST_INODES:
        return None
    directories: set[int] = set()
    for inode, is_dir in inodes.items():
        above = _parents(fd, inode) if inode != _ROOT else {_ROOT}
        if not above:
            raise FileNotFoundError(errno.ENOENT, "an inode has lost its names")
        directories |= above | {inode} if is_dir else above
    return {inode: b"" if inode == _ROOT else _path_of(fd, inode) for inode in directories}


def _parents(fd: int, inode: int) -> set[int]:
    """Return the directories in which an inode has names."""
    found = set()
    for objectid, kind, offset, item in _search(fd, inode, inode, _INODE_REF, _INODE_EXTREF, 0):
        if objectid == inode and kind == _INODE_REF:
            found.add(offset)
        elif objectid == inode and kind == _INODE_EXTREF:
            place = 0
            while place < len(item):  # names with the same hash share an item, whatever their directories
                parent, _, length = _EXTREF.unpack_from(item, place)
                found.add(parent)
                place += _EXTREF.size + length
    return found


def _path_of(fd: int, inode: int) -> bytes:
    """Return the path of a directory.

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
