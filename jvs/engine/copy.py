"""The engine `copy`: reads and writes what changed; works everywhere.

Cost: the first snapshot is O(bytes); later ones hard-link what has not changed from the payload before.
Source: jvs-engines(7).
"""

from __future__ import annotations

import contextlib
import os

from jvs.engine import base as engine
from jvs.engine.base import Cloned, Engine, Probe, Request
from jvs.fs import listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.tree.exclusion import Exclusion


class CopyEngine(Engine):
    """Copies bytes."""

    name = engine.COPY
    cost = "O(bytes)"

    def probe(self, source_dir: Below, store_dir: Below) -> Probe:
        """Works wherever files can be written."""
        return self._answer(True, "", "what did not change is hard-linked from the snapshot before")

    def clone(self, request: Request) -> Cloned:
        """Copy the tree. Errors: E_IO, E_NO_SPACE before anything is written when it clearly does not fit."""
        from jvs.engine import copy_tree

        engine.check_source(request.source)
        check_space(request)
        return copy_tree.run(request, engine_name=self.name, share=False)


def check_space(request: Request) -> None:
    """Refuse a first copy that is clearly larger than the free space.

    Only the sizes of a tree of which nothing is known are added up; otherwise most of it will be linked.
    Errors: E_NO_SPACE.
    """
    if request.base_payload is not None or request.paths is not None:
        return
    store, used = _space(request.target.parent), _space(request.source)
    free = store.f_bavail * store.f_frsize
    if (used.f_blocks - used.f_bfree) * used.f_frsize <= free:  # the whole filesystem would fit
        return
    wanted = allocated_bytes(request.source, free, request.exclude)
    if wanted > free:
        from jvs.errors import NoSpace

        raise NoSpace(
            f"copying needs at least {wanted} bytes, and {free} are free",
            hint="free some space ('jvs gc plan' shows what can go), or use a filesystem that shares blocks",
            wanted_bytes=wanted,
            free_bytes=free,
        )


def _space(directory: Below) -> os.statvfs_result:
    fd = paths.open_dir(directory)
    try:
        return os.statvfs(fd)
    finally:
        os.close(fd)


def allocated_bytes(directory: Below, limit: int, exclude: Exclusion | None = None) -> int:
    """Return the bytes that the files of a tree occupy, or some number above `limit` once it is passed."""
    listing.allow_deep_trees()
    fd = paths.open_dir(directory)
    try:
        return _allocated(fd, limit, b"", exclude)
    finally:
        os.close(fd)


def _allocated(fd: int, limit: int, path: bytes, exclude: Exclusion | None) -> int:
    total = 0
    below = []
    with contextlib.suppress(OSError), os.scandir(fd) as entries:  # unreadable or deleted: the copy itself will say
        for entry in entries:
            is_dir = entry.is_dir(follow_symlinks=False)
            if exclude is not None and exclude.drops(listing.relative(path, os.fsencode(entry.name)), is_dir=is_dir):
                continue
            if is_dir:
                below.append(os.fsencode(entry.name))
            elif entry.is_file(follow_symlinks=False):
                st = entry.stat(follow_symlinks=False)
                total += st.st_blocks * 512 // max(st.st_nlink, 1)
    for name in below:
        if total > limit:
            break
        try:
            child = paths.open_dir(name, fd)
        except OSError:  # unreadable or deleted: the copy itself will say
            continue
        try:
            total += _allocated(child, limit - total, listing.relative(path, name), exclude)
        finally:
            os.close(child)
    return total
