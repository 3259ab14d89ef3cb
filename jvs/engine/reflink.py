"""The engine `reflink-copy`: copies whose blocks are shared with the source until one of them is written.

Cost: O(entries), whatever the files hold. XFS, btrfs, bcachefs, OCFS2, NFS 4.2 and others can do it.
Source: jvs-engines(7); ioctl_ficlone(2), open(2) on O_TMPFILE.
"""

from __future__ import annotations

import os

from jvs.engine import base as engine
from jvs.engine.base import Cloned, Engine, Probe, Request
from jvs.fs import copyfile, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below


class ReflinkEngine(Engine):
    """Copies by sharing blocks."""

    name = engine.REFLINK
    cost = "O(entries)"

    def probe(self, source_dir: Below, store_dir: Below) -> Probe:
        """Clone one nameless file into another next to the store; nothing is written in the source."""
        source, store = engine.nearest(source_dir), engine.nearest(store_dir)
        if not same_filesystem(source, store):
            return self._answer(False, "the worktree and the store are on different filesystems")
        why = _try(store)
        return self._answer(not why, why, "" if why else "data blocks are shared until they are written")

    def clone(self, request: Request) -> Cloned:
        """Copy the tree, sharing blocks. Errors: E_IO, E_NO_SPACE."""
        from jvs.engine import copy_tree

        return copy_tree.run(request, engine_name=self.name, share=True)


def same_filesystem(one: Below, other: Below) -> bool:
    """Answer whether two directories are on one filesystem; subvolumes of one btrfs are, for all their devices."""
    if paths.lstat(one).st_dev == paths.lstat(other).st_dev:
        return True
    from jvs.engine.btrfs import ioctl

    fsid = ioctl.filesystem_id(one)
    return fsid is not None and fsid == ioctl.filesystem_id(other)


def _try(directory: Below) -> str:
    """Return why two files in a directory cannot share blocks, or nothing when they can."""
    try:
        source = _nameless(directory)
    except OSError as error:  # no filesystem that lacks nameless files is known to share blocks
        return f"cannot make a nameless file in '{directory}': {error.strerror}"
    try:
        target = _nameless(directory)
        try:
            if copyfile.reflink(source, target):
                return ""
            return "this filesystem cannot share blocks between files"
        except OSError as error:
            return error.strerror or str(error)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _nameless(directory: Below) -> int:
    fd = paths.open_dir(directory)
    try:
        return os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=fd)
    finally:
        os.close(fd)
