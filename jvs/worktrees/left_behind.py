"""Bringing into a fork what no snapshot holds: the excluded files of the worktree that it is a fork of.

Source: jvs-worktree-fork(1).
"""

from __future__ import annotations

import os
import stat

from jvs import progress
from jvs.engine import base as engine
from jvs.engine import registry
from jvs.fs import listing, metadata, mounts, paths
from jvs.fs.losses import Losses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.store.store import Store


def bring(store: Store, name: str, fork: Below) -> list[Loss]:
    """Copy what is excluded in a worktree to its place in a fork; return what could not be kept. Durable: no.

    Blocks are shared where the filesystem can. What is mounted is left where it is, and so is what lies in a directory
    that the fork has not. Errors: E_IO, E_NO_SPACE; OSError.
    """
    source = store.layout.worktree_dir(name)
    exclude = store.exclusion(name)
    points = [os.fsencode(os.path.relpath(point, str(source))) for point in mounts.points_below(str(source))]
    losses = Losses()
    made: list[Loss] = []
    listing.allow_deep_trees()
    root, target = paths.open_dir(source), paths.open_dir(fork)
    try:
        for path in [path for path in exclude.find(root) if path not in exclude.names]:
            if any(b"%s/" % point == b"%s/" % path or point.startswith(path + b"/") for point in points):
                progress.remark(f"'{_shown(path)}' is excluded, and has something mounted: it is not in the fork")
            else:
                made += _copy(store, (source, root), (fork, target), path, losses)
    finally:
        os.close(root)
        os.close(target)
    return [*made, *losses.as_json()]


def _copy(store: Store, source: tuple[Below, int], fork: tuple[Below, int], path: bytes, losses: Losses) -> list[Loss]:
    """Copy one entry; the directory that it comes into keeps its times."""
    parts = path.split(b"/")
    above = paths.open_parent(source[1], parts)
    try:
        st = os.lstat(parts[-1], dir_fd=above)
        try:
            there = paths.open_parent(fork[1], parts)
        except OSError:
            progress.remark(f"'{_shown(path)}' is excluded, and is not in the fork: it has no directory for it")
            return []
        try:
            before = os.fstat(there)
            if stat.S_ISDIR(st.st_mode):
                found = _copy_directory(store, paths.below(source[0], path), paths.below(fork[0], path))
            else:
                metadata.copy_entry(above, parts[-1], there, st, path, losses)
                found = []
            os.utime(there, ns=(before.st_atime_ns, before.st_mtime_ns))
            return found
        finally:
            os.close(there)
    finally:
        os.close(above)


def _copy_directory(store: Store, source: Below, target: Below) -> list[Loss]:
    """Copy a directory with the best engine; on btrfs it stays what it is, and becomes no subvolume."""
    options = store.settings.engine_options()
    chosen = registry.pick(None, source, target.parent, options)
    if chosen.name == engine.BTRFS:
        chosen = registry.get(engine.REFLINK, options)
    return chosen.clone(engine.Request(source, target, jobs=store.settings.jobs(), hash=False)).degraded


def _shown(path: bytes) -> str:
    return path.decode("utf-8", "backslashreplace")
