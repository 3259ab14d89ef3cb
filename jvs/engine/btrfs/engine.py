"""The engine `btrfs-snapshot`: one ioctl, whatever the size; works without root on a plain mount.

A worktree must be the root of a subvolume (`make_worktree` makes one), and the store must be on the same
filesystem. Snapshots are read-only, forks writable. What btrfs cannot take along, nested subvolumes and mounts, is
refused: in a snapshot they would be empty directories.
Source: linux/btrfs.h (UAPI) and btrfs-ioctl(2) for numbers and structures; jvs-engines(7).
"""

from __future__ import annotations

import errno
import os
import stat
import struct

from jvs import clock
from jvs.engine import base as engine
from jvs.engine.base import Cloned, Engine, Probe, Request
from jvs.errors import CloneIncomplete, JvsError, from_oserror
from jvs.fs import durable, listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    from jvs.tree import scan

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


class BtrfsEngine(Engine):
    """Clones by snapshot of a subvolume."""

    name = engine.BTRFS
    cost = "O(1)"
    search = True
    """Find changes by searching the filesystem's tree where we may; off: sweep. The answer is the same."""
    sweep = True
    """Find changes by sweeping the worktree; off: walk the snapshot. The answer is the same."""

    def probe(self, source_dir: str, store_dir: str) -> Probe:
        """The source must be a subvolume's root, or not exist yet, and the store on the same filesystem."""
        above, store = engine.nearest(source_dir), engine.nearest(store_dir)
        if not engine.is_btrfs(above):
            return self._answer(False, "the worktree is not on btrfs")
        fsid = filesystem_id(above)
        if fsid is None or fsid != filesystem_id(store):
            return self._answer(False, "the store is not on the same btrfs filesystem as the worktree")
        if os.path.isdir(source_dir) and not is_subvolume(source_dir):
            return self._answer(False, f"'{source_dir}' is a plain directory, not the root of a btrfs subvolume")
        if os.path.isdir(source_dir):
            inside = nested(source_dir)
            if inside:
                return self._answer(False, f"it holds the subvolume or mount '{inside}', which no snapshot can hold")
        return self._answer(True, "", "one ioctl; data blocks are shared until they are written")

    def clone(self, request: Request) -> Cloned:
        """Snapshot the source, read-only, in one ioctl. Errors: E_IO, E_NO_SPACE, E_CLONE_INCOMPLETE, E_EXISTS."""
        if request.paths is not None:  # a snapshot holds all or nothing
            from jvs.engine import copier

            return copier.run(request, engine_name=engine.REFLINK, share=True)
        moment = self._snapshot(request, RDONLY)
        degraded: list[dict[str, str]] = []
        tree = None
        if request.hash:
            tree = self._hash(request, moment)
            degraded = self._drop_unreadable(request.target, tree)
        return Cloned(self.name, degraded, tree, moment)

    def fork(self, request: Request) -> Cloned:
        """Snapshot the source as a subvolume that can be written. Errors: as `clone`."""
        return Cloned(self.name, [], None, self._snapshot(request, 0))

    def _snapshot(self, request: Request, flags: int) -> int:
        engine.check_source(request.source)
        engine.check_target(request.target)
        _refuse_nested(request.source)
        moment = clock.now_ns()  # the ioctl itself writes back all dirty pages first
        try:
            snapshot(request.source, request.target, flags)
        except OSError as error:
            raise from_oserror(error, f"snapshotting the subvolume '{request.source}'") from error
        _refuse_nested(request.source)  # one that appeared in between is an empty directory in the snapshot
        return moment

    def _hash(self, request: Request, moment: int) -> scan.Tree:
        """Hash the snapshot: it is frozen and keeps inodes and ctimes, so the rows of the worktree fit it."""
        from jvs.tree import hash_source, scan

        worker = hash_source.OriginalsWorker(
            request.source, moment_ns=moment, jobs=request.jobs, allow_unreadable=request.allow_unreadable
        )
        touched, gone = self._touched(request)
        scanner = scan.Scanner(
            worker,
            rows=request.rows,
            known=request.known,
            moment_ns=moment,
            btrfs=True,
            touched=touched,
            gone=gone,
        )
        return scanner.run(request.target)

    def _touched(self, request: Request) -> tuple[Set[bytes] | None, Set[bytes]]:
        """Return the directories in which anything may have changed, and those that are gone; None: it is to be walked.

        Where the filesystem does not tell, the worktree is swept, whose inodes are at hand: those of a new snapshot
        are all read anew. It comes after the snapshot, and a ctime never goes back: what has its old stamps by now had
        them in the snapshot. What came and went meanwhile has moved the times of its directory; those of the root
        stand in no row, so that its names are compared.
        """
        if request.known is None or not request.rows:
            return None, frozenset()
        if request.base_payload is not None and self.search:
            from jvs.engine.btrfs import search as btrfs_search

            touched = btrfs_search.changed_directories(request.target, request.base_payload)
            if touched is not None:
                return touched, frozenset()
        if not self.sweep:
            return None, frozenset()
        from jvs.tree import parallel
        from jvs.tree import rows as tree_rows

        rows = request.rows.all() if isinstance(request.rows, tree_rows.LazyRows) else request.rows
        request.rows = rows
        source = paths.open_dir(request.source)
        try:
            found = parallel.Sweeper(source, rows, with_inode=True).run()
        finally:
            os.close(source)
        if b"" not in rows or not tree_rows.has_names(rows[b""][0], _names(request.target), listing.STAMP.size):
            found.touched.add(b"")
        return found.touched, found.gone

    def _drop_unreadable(self, target: str, tree: scan.Tree) -> list[dict[str, str]]:
        """Take what could not be hashed out of the snapshot, so that it holds exactly what its hash says."""
        if not tree.unreadable:
            return []
        from jvs.fs import metadata

        losses = metadata.Losses()
        try:
            set_flags(target, 0)
            root = paths.open_dir(target)
            try:
                for path, why in tree.unreadable:
                    losses.add(path, "unreadable", why)
                    remove_keeping_times(root, path)
            finally:
                os.close(root)
            set_flags(target, RDONLY)
        except OSError as error:
            raise from_oserror(error, f"taking what cannot be read out of '{target}'") from error
        return losses.as_json()

    def remove(self, path: str) -> None:
        """Delete the subvolume; without that right empty it, then rmdir(2), which everybody may. Errors: E_IO."""
        if is_subvolume(path) and destroy(path):
            return
        try:
            self._remove_slowly(path)
        except OSError as error:
            raise from_oserror(error, f"removing '{path}'") from error

    def _remove_slowly(self, path: str) -> None:
        try:
            durable.remove_tree(path)
            return
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.ENOTEMPTY, errno.EPERM, errno.EACCES):
                raise
        for subvolume in [*_subvolumes_below(path), path]:  # read-only snapshots must be opened up first
            if is_subvolume(subvolume) and not destroy(subvolume):
                set_flags(subvolume, 0)
        durable.remove_tree(path)

    def make_worktree(self, path: str) -> None:
        """Make an empty subvolume. Errors: OSError."""
        make_subvolume(path)


def _names(directory: str) -> list[bytes]:
    """Return the sorted names in a directory, whose inodes are not read."""
    fd = paths.open_dir(directory)
    try:
        return sorted(os.fsencode(name) for name in os.listdir(fd))
    finally:
        os.close(fd)


def remove_keeping_times(root: int, path: bytes) -> None:
    """Remove an entry below an open directory and put the times of the directory that held it back."""
    parts = paths.split_relative(path)
    above = paths.open_parent(root, parts)
    try:
        st = os.fstat(above)
        durable.remove_tree(parts[-1], dir_fd=above)
        os.utime(above, ns=(st.st_atime_ns, st.st_mtime_ns))
    finally:
        os.close(above)


def _ioctl(fd: int, number: int, data: bytearray | bytes) -> None:
    import fcntl

    # Immutable data may have no more than 1,024 bytes, which is less than these structures.
    fcntl.ioctl(fd, number, data if isinstance(data, bytearray) else bytearray(data))


def is_subvolume(path: str) -> bool:
    """Answer whether a path is the root of a btrfs subvolume."""
    try:
        st = os.lstat(path)
    except OSError:
        return False
    return st.st_ino == ROOT_INODE and stat.S_ISDIR(st.st_mode) and engine.is_btrfs(path)


def filesystem_id(directory: str) -> bytes | None:
    """Return the 16 bytes that identify a btrfs filesystem, or None when it is another one."""
    try:
        fd = paths.open_dir(directory)
    except OSError:
        return None
    try:
        data = bytearray(1024)
        _ioctl(fd, FS_INFO, data)
        return bytes(data[16:32])  # after max_id and num_devices
    except OSError:
        return None
    finally:
        os.close(fd)


def _parent_and_name(path: str) -> tuple[int, bytes]:
    absolute = os.fsencode(os.path.abspath(path))
    return paths.open_dir(os.path.dirname(absolute)), os.path.basename(absolute)


def snapshot(source: str, target: str, flags: int) -> None:
    """Snapshot a subvolume under a new name, in one ioctl. Durable: yes, the ioctl ends with a commit."""
    source_fd = paths.open_dir(source)
    try:
        parent, name = _parent_and_name(target)
        try:
            _ioctl(parent, SNAP_CREATE_V2, _VOL_ARGS_V2.pack(source_fd, 0, flags, b"", name))
        finally:
            os.close(parent)
    finally:
        os.close(source_fd)


def make_subvolume(path: str) -> None:
    """Make an empty subvolume."""
    parent, name = _parent_and_name(path)
    try:
        _ioctl(parent, SUBVOL_CREATE_V2, _VOL_ARGS_V2.pack(0, 0, 0, b"", name))
    finally:
        os.close(parent)


def destroy(path: str) -> bool:
    """Delete a subvolume; False when we may not, or when it holds others."""
    parent, name = _parent_and_name(path)
    try:
        _ioctl(parent, SNAP_DESTROY, _VOL_ARGS.pack(0, name))
    except OSError as error:
        # EPERM, EACCES: needs CAP_SYS_ADMIN or the mount option user_subvol_rm_allowed; EROFS: the same for
        # read-only ones; ENOTEMPTY: it holds another subvolume; EBUSY: it is the default one or in use
        if error.errno in (errno.EPERM, errno.EACCES, errno.EROFS, errno.ENOTEMPTY, errno.EBUSY):
            return False
        raise from_oserror(error, f"deleting the subvolume '{path}'") from error
    finally:
        os.close(parent)
    return True


def get_flags(path: str) -> int:
    """Return the flags of a subvolume."""
    fd = paths.open_dir(path)
    try:
        data = bytearray(8)
        _ioctl(fd, SUBVOL_GETFLAGS, data)
        return int.from_bytes(data, "little")
    finally:
        os.close(fd)


def set_flags(path: str, flags: int) -> None:
    """Set the flags of a subvolume: `RDONLY`, or 0 to open it up. Its owner may do that."""
    fd = paths.open_dir(path)
    try:
        _ioctl(fd, SUBVOL_SETFLAGS, flags.to_bytes(8, "little"))
    finally:
        os.close(fd)


def nested(directory: str) -> str:
    """Return a subvolume or mount point inside a subvolume, or nothing. Costs O(1) and needs no privilege."""
    below = listing.mount_points_below(directory)
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
            return os.path.join(directory, _name_of(fd, tree_id, directory_id))
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


def _subvolumes_below(directory: str) -> list[str]:
    """Return the subvolumes below a plain directory or subvolume, deepest first."""
    found = []
    for path, names, _ in os.walk(directory, topdown=False):
        found.extend(os.path.join(path, name) for name in names if is_subvolume(os.path.join(path, name)))
    return found


def _refuse_nested(source: str) -> None:
    """Errors: E_CLONE_INCOMPLETE when a snapshot would hold an empty directory in place of something."""
    try:
        inside = nested(source)
    except OSError as error:
        raise from_oserror(error, f"looking for subvolumes in '{source}'") from error
    if inside:
        raise _cannot_hold(inside)


def _cannot_hold(path: str) -> JvsError:
    shown = os.fsencode(path).decode("utf-8", "backslashreplace")
    return CloneIncomplete(
        f"'{shown}' is a mount point or a nested subvolume, which a snapshot of the worktree cannot hold",
        hint="unmount it, or turn the subvolume into a plain directory (cp -a, then rename), and try again",
        path=shown,
    )
