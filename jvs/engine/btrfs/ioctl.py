"""The ioctls of btrfs that jvs uses, each as a function.

Source: linux/btrfs.h (UAPI) and btrfs-ioctl(2) for numbers and structures.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct

from jvs import system
from jvs.errors import from_oserror
from jvs.fs import mounts, paths, rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.fs.rooted import Below
    from jvs.tree.exclusion import Exclusion

ROOT_INODE = 256  # BTRFS_FIRST_FREE_OBJECTID: the inode of every subvolume's root, and of nothing else
SNAP_DESTROY = 0x5000940F  # _IOW(0x94, 15, struct btrfs_ioctl_vol_args), 4096 bytes
SNAP_CREATE_V2 = 0x50009417  # _IOW(0x94, 23, struct btrfs_ioctl_vol_args_v2), 4096 bytes
SUBVOL_CREATE_V2 = 0x50009418  # _IOW(0x94, 24, struct btrfs_ioctl_vol_args_v2)
SUBVOL_GETFLAGS = 0x80089419  # _IOR(0x94, 25, __u64)
SUBVOL_SETFLAGS = 0x4008941A  # _IOW(0x94, 26, __u64)
FS_INFO = 0x8400941F  # _IOR(0x94, 31, struct btrfs_ioctl_fs_info_args), 1024 bytes
GET_SUBVOL_ROOTREF = 0xD000943D  # _IOWR(0x94, 61, struct btrfs_ioctl_get_subvol_rootref_args), 4096 bytes
INO_LOOKUP_USER = 0xD000943E  # _IOWR(0x94, 62, struct btrfs_ioctl_ino_lookup_user_args), 4096 bytes
RDONLY = 1 << 1  # BTRFS_SUBVOL_RDONLY
_VOL_ARGS = struct.Struct("=q4088s")
_VOL_ARGS_V2 = struct.Struct("=qQQ32s4040s")
_MAX_REFS = 255


def _ioctl(fd: int, number: int, data: bytearray | bytes) -> None:
    # Immutable data may have no more than 1,024 bytes, which is less than these structures.
    system.ioctl(fd, number, data if isinstance(data, bytearray) else bytearray(data))


def is_subvolume(path: Below) -> bool:
    """Answer whether a place is the root of a btrfs subvolume."""
    try:
        st = paths.lstat(path)
    except OSError:
        return False
    return st.st_ino == ROOT_INODE and stat.S_ISDIR(st.st_mode) and is_btrfs(path)


def is_subvolume_at(fd: int) -> bool:
    """Answer whether an open directory is the root of a btrfs subvolume."""
    return os.fstat(fd).st_ino == ROOT_INODE and filesystem_id_at(fd) is not None


def filesystem_id(directory: Below) -> bytes | None:
    """Return the 16 bytes that identify a btrfs filesystem, or None when it is another one."""
    try:
        fd = paths.open_dir(directory)
    except OSError:
        return None
    try:
        return filesystem_id_at(fd)
    finally:
        os.close(fd)


def filesystem_id_at(fd: int) -> bytes | None:
    """Return what identifies the btrfs filesystem of an open directory, or None when it is another one."""
    data = bytearray(1024)
    try:
        _ioctl(fd, FS_INFO, data)
    except OSError:
        return None
    return bytes(data[16:32])  # after max_id and num_devices


@contextlib.contextmanager
def _above(path: Below) -> Iterator[tuple[int, bytes]]:
    """Give a descriptor of the directory that holds a place, which ioctl(2) takes, and the name there."""
    path.root.check_writable()
    fd = paths.open_dir(path.parent)
    try:
        yield fd, path.parts[-1]
    finally:
        os.close(fd)


def snapshot(source: Below, target: Below, flags: int) -> None:
    """Snapshot a subvolume under a new name, in one ioctl. Durable: yes, the ioctl ends with a commit."""
    source_fd = paths.open_dir(source)
    try:
        with _above(target) as (parent, name):
            _ioctl(parent, SNAP_CREATE_V2, _VOL_ARGS_V2.pack(source_fd, 0, flags, b"", name))
    finally:
        os.close(source_fd)


def make_subvolume(path: Below) -> None:
    """Make an empty subvolume."""
    with _above(path) as (parent, name):
        _ioctl(parent, SUBVOL_CREATE_V2, _VOL_ARGS_V2.pack(0, 0, 0, b"", name))
    fd = paths.open_dir(path)
    try:
        rooted.give_to_owner(path.root, fd)
    finally:
        os.close(fd)


def destroy(path: Below) -> bool:
    """Delete a subvolume; False when we may not, or when it holds others."""
    try:
        with _above(path) as (parent, name):
            return destroy_at(parent, name)
    except OSError as error:
        raise from_oserror(error, f"deleting the subvolume '{path}'") from error


def destroy_at(parent: int, name: bytes) -> bool:
    """Delete a subvolume by its name in an open directory; False when we may not, or when it holds others."""
    try:
        _ioctl(parent, SNAP_DESTROY, _VOL_ARGS.pack(0, name))
    except OSError as error:
        # EPERM, EACCES: needs CAP_SYS_ADMIN or the mount option user_subvol_rm_allowed; EROFS: the same for
        # read-only ones; ENOTEMPTY: it holds another subvolume; EBUSY: it is the default one or in use
        if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOTEMPTY, errno.EBUSY):
            return False
        raise
    return True


def get_flags_at(fd: int) -> int:
    """Return the flags of a subvolume that is open."""
    data = bytearray(8)
    _ioctl(fd, SUBVOL_GETFLAGS, data)
    return int.from_bytes(data, "little")


def get_flags(path: Below) -> int:
    """Return the flags of a subvolume."""
    fd = paths.open_dir(path)
    try:
        return get_flags_at(fd)
    finally:
        os.close(fd)


def set_flags_at(fd: int, flags: int) -> None:
    """Set the flags of a subvolume that is open."""
    _ioctl(fd, SUBVOL_SETFLAGS, flags.to_bytes(8, "little"))


def set_flags(path: Below, flags: int) -> None:
    """Set the flags of a subvolume: `RDONLY`, or 0 to open it up. Its owner may do that."""
    path.root.check_writable()
    fd = paths.open_dir(path, one_mount=True)
    try:
        set_flags_at(fd, flags)
    finally:
        os.close(fd)


def nested(directory: Below, exclude: Exclusion | None = None) -> str:
    """Return a subvolume or mount point inside a subvolume that is not excluded, or nothing.

    Costs O(1) and needs no privilege.
    """
    below = mounts.points_below(str(directory))
    if exclude is not None:
        below = exclude.points(below, str(directory))
    if below:
        return below[0]
    try:
        fd = paths.open_dir(directory)
    except OSError:
        return ""
    try:
        data = bytearray(4096)
        try:
            _ioctl(fd, GET_SUBVOL_ROOTREF, data)
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EOVERFLOW):
                raise
            if error.errno == errno.ENOTTY:  # before Linux 4.18: the walk over the snapshot finds them
                return ""
        for number in range(data[4088]):  # num_items, after min_treeid and 255 references
            tree_id, directory_id = struct.unpack_from("=QQ", data, 8 + 16 * number)
            name = _name_of(fd, tree_id, directory_id)
            if exclude is None or not exclude.drops_any(os.fsencode(name), is_dir=True):
                return f"{directory}/{name}"
        return ""
    finally:
        os.close(fd)


def _name_of(fd: int, tree_id: int, directory_id: int) -> str:
    """Return the path of a nested subvolume relative to the one that holds it."""
    data = bytearray(4096)
    struct.pack_into("=QQ", data, 0, directory_id, tree_id)
    try:
        _ioctl(fd, INO_LOOKUP_USER, data)
    except OSError:  # not ours to look up: its number must do
        return f"(subvolume {tree_id})"
    name, path = bytes(data[16:272]), bytes(data[272:])
    return os.fsdecode(path.split(b"\0")[0] + name.split(b"\0")[0])


def open_up_below(parent: int, name: bytes) -> None:
    """Delete the subvolumes in and below a directory, deepest first, or make them writable where we may not.

    By descriptor, and never across a mount: no directory that is swapped meanwhile leads elsewhere. Errors: OSError.
    """
    fd = paths.open_dir(name, parent, one_mount=True)
    try:
        with os.scandir(fd) as entries:
            below = [os.fsencode(entry.name) for entry in entries if entry.is_dir(follow_symlinks=False)]
        for child in below:
            open_up_below(fd, child)
        if is_subvolume_at(fd) and not destroy_at(parent, name):
            set_flags_at(fd, 0)
    finally:
        os.close(fd)


def is_btrfs(directory: Below) -> bool:
    """Answer whether a directory is on btrfs, which alone knows this ioctl: asking for its id costs no ctypes."""
    return filesystem_id(directory) is not None
