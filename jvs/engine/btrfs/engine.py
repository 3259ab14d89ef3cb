"""The engine `btrfs-snapshot`: one ioctl, whatever the size; works without root on a plain mount.

A worktree must be the root of a subvolume (`make_worktree` makes one), and the store must be on the same
filesystem. Snapshots are read-only, forks writable. What btrfs cannot take along, nested subvolumes and mounts, is
refused: in a snapshot they would be empty directories.
Source: jvs-engines(7).
"""

from __future__ import annotations

import errno
import os

from jvs import clock
from jvs.engine import base as engine
from jvs.engine.base import Cloned, Engine, Probe, Request
from jvs.engine.btrfs import ioctl
from jvs.errors import CloneIncomplete, JvsError, from_oserror
from jvs.fs import listing, paths, removal, rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Set

    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.tree import scan
    from jvs.tree.exclusion import Exclusion


class BtrfsEngine(Engine):
    """Clones by snapshot of a subvolume."""

    name = engine.BTRFS
    cost = "O(1)"
    search = True
    """Find changes by searching the filesystem's tree where we may; off: sweep. The answer is the same."""
    sweep = True
    """Find changes by sweeping the worktree; off: walk the snapshot. The answer is the same."""

    def probe(self, source_dir: Below, store_dir: Below) -> Probe:
        """The source must be a subvolume's root, or not exist yet, and the store on the same filesystem."""
        above, store = engine.nearest(source_dir), engine.nearest(store_dir)
        if not ioctl.is_btrfs(above):
            return self._answer(False, "the worktree is not on btrfs")
        fsid = ioctl.filesystem_id(above)
        if fsid is None or fsid != ioctl.filesystem_id(store):
            return self._answer(False, "the store is not on the same btrfs filesystem as the worktree")
        if paths.is_dir(source_dir) and not ioctl.is_subvolume(source_dir):
            return self._answer(False, f"'{source_dir}' is a plain directory, not the root of a btrfs subvolume")
        if paths.is_inside(store, source_dir):
            return self._answer(False, "the snapshots lie inside the worktree, and would be in each new one")
        if paths.is_dir(source_dir):
            inside = ioctl.nested(source_dir)
            if inside:
                return self._answer(False, f"it holds the subvolume or mount '{inside}', which no snapshot can hold")
        return self._answer(True, "", "one ioctl; data blocks are shared until they are written")

    def clone(self, request: Request) -> Cloned:
        """Snapshot the source, read-only, in one ioctl. Errors: E_IO, E_NO_SPACE, E_CLONE_INCOMPLETE, E_EXISTS."""
        if request.paths is not None:  # a snapshot holds all or nothing
            from jvs.engine import copy_tree

            return copy_tree.run(request, engine_name=engine.REFLINK, share=True)
        excluding = request.exclude is not None and engine.may_leave_out(request.source, request.exclude)
        moment = self._snapshot(request, 0 if excluding else ioctl.RDONLY)
        if request.exclude is not None and excluding:
            _leave_out(request.target, request.exclude)
        degraded: list[Loss] = []
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
        _refuse_nested(request.source, request.exclude)
        moment = clock.now_ns()  # the ioctl itself writes back all dirty pages first
        try:
            ioctl.snapshot(request.source, request.target, flags)
        except OSError as error:
            raise from_oserror(error, f"snapshotting the subvolume '{request.source}'") from error
        _refuse_nested(request.source, request.exclude)  # one that appeared meanwhile is an empty directory there
        return moment

    def _hash(self, request: Request, moment: int) -> scan.ScanResult:
        """Hash the snapshot: it is frozen and keeps inodes and ctimes, so the rows of the worktree fit it."""
        from jvs.tree import hash_source, scan

        worker = hash_source.OriginalsHasher(
            request.source, moment_ns=moment, jobs=request.jobs, allow_unreadable=request.allow_unreadable
        )
        worker.shared = request.shared
        touched, gone = self._touched(request)
        scanner = scan.Scanner(
            worker,
            rows=request.rows,
            known=request.known,
            moment_ns=moment,
            btrfs=True,
            exclude=request.exclude,
            touched=touched,
            gone=gone,
        )
        return scanner.run(request.target)

    def _touched(self, request: Request) -> tuple[Set[bytes] | None, Set[bytes]]:
        """Return the directories in which anything may have changed, and those that are gone; None: it is to be walked.

        Where the filesystem does not tell, the worktree is swept, whose inodes are at hand: those of a new snapshot
        are all read anew. It comes after the snapshot, and a ctime never goes back: what has its old stamps by now had
        them in the snapshot. What came and went meanwhile has moved the times of its directory; those of the root
        are in no row, so that its names are compared.
        """
        if request.known is None or not request.rows:
            return None, frozenset()
        excluding = request.exclude is not None and request.exclude.has_rules  # no generation tells of changed rules
        if request.base_payload is not None and request.base_is_all and self.search and not excluding:
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
            found = parallel.Sweeper(source, rows, with_inode=True, exclude=request.exclude).run()
        finally:
            os.close(source)
        if b"" not in rows or not tree_rows.has_names(rows[b""][0], _names(request.target), listing.STAMP.size):
            found.touched.add(b"")
        return found.touched, found.gone

    def _drop_unreadable(self, target: Below, tree: scan.ScanResult) -> list[Loss]:
        """Take what could not be hashed out of the snapshot, so that it holds exactly what its hash says."""
        if not tree.unreadable:
            return []
        from jvs.fs.losses import Losses

        losses = Losses()
        try:
            ioctl.set_flags(target, 0)
            root = paths.open_dir(target)
            try:
                for path, why in tree.unreadable:
                    losses.add(path, "unreadable", why)
                    remove_keeping_times(root, path)
            finally:
                os.close(root)
            ioctl.set_flags(target, ioctl.RDONLY)
        except OSError as error:
            raise from_oserror(error, f"taking what cannot be read out of '{target}'") from error
        return losses.as_json()

    def remove(self, path: Below) -> None:
        """Delete the subvolume; without that right empty it, then rmdir(2), which everybody may. Errors: E_IO."""
        if ioctl.is_subvolume(path) and ioctl.destroy(path):
            return
        try:
            self._remove_slowly(path)
        except OSError as error:
            raise from_oserror(error, f"removing '{path}'") from error

    def _remove_slowly(self, path: Below) -> None:
        try:
            removal.remove_tree(path)
            return
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.ENOTEMPTY, errno.EPERM, errno.EACCES):
                raise
        with rooted.changing(path) as (above, name):  # read-only snapshots must be opened up first
            ioctl.open_up_below(above, name)
        removal.remove_tree(path)

    def make_worktree(self, path: Below) -> None:
        """Make an empty subvolume. Errors: OSError."""
        ioctl.make_subvolume(path)


def _names(directory: Below) -> list[bytes]:
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
        removal.remove_tree(parts[-1], dir_fd=above)
        os.utime(above, ns=(st.st_atime_ns, st.st_mtime_ns))
    finally:
        os.close(above)


def _leave_out(target: Below, exclude: Exclusion) -> None:
    """Take what is excluded out of a snapshot that can still be written, and freeze it. Errors: E_IO."""
    from jvs.engine import left_out

    try:
        left_out.remove(target, exclude, lambda fd, path: removal.remove_tree(path.rpartition(b"/")[2], dir_fd=fd))
        ioctl.set_flags(target, ioctl.RDONLY)
    except OSError as error:
        raise from_oserror(error, f"taking what is excluded out of '{target}'") from error


def _refuse_nested(source: Below, exclude: Exclusion | None) -> None:
    """Errors: E_CLONE_INCOMPLETE when a snapshot would hold an empty directory in place of something."""
    try:
        inside = ioctl.nested(source, exclude)
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
