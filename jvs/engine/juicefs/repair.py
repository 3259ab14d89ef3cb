"""Repairing what a clone made by the filesystem does not keep: special files, and hard links.

What is repaired is still under its temporary name and ours alone, and no directory's times show that it was.
Source: jvs-engines(7), juicefs-clone.
"""

from __future__ import annotations

import os

from jvs.fs import copyfile, durable, metadata
from jvs.fs import paths as fs_paths
from jvs.fs.losses import Losses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.engine.juicefs.survey import Survey
    from jvs.fs.rooted import Below


def specials(source: Below, clone: Below, before: Survey, losses: Losses) -> set[bytes]:
    """Make the fifos, sockets and devices that Redis metadata drops; return the paths that cannot be made here.

    `before` is what was in the source. Errors: OSError.
    """
    refused: set[bytes] = set()
    if not before.specials:
        return refused
    origin, target = fs_paths.open_dir(source), fs_paths.open_dir(clone)
    try:
        for path, st in before.specials:
            if not _repair_special(origin, target, path, st, losses):
                refused.add(path)
    finally:
        os.close(origin)
        os.close(target)
    return refused


def _repair_special(source: int, target: int, path: bytes, st: os.stat_result, losses: Losses) -> bool:
    """Make one special file when the clone lacks it; False when the system does not let us."""
    parts = fs_paths.split_relative(path)
    if fs_paths.lstat_below(target, parts) is not None or fs_paths.lstat_below(source, parts) is None:
        return True
    above = _open_or_none(target, parts)
    original = _open_or_none(source, parts)
    try:
        if above is None or original is None:  # the directory itself is missing, which the check will see
            return True
        with _Times(above):
            return metadata.copy_special(original, parts[-1], above, st, path, losses) is not None
    finally:
        for fd in (above, original):
            if fd is not None:
                os.close(fd)


def links(clone: Below, before: Survey, losses: Losses) -> None:
    """Make the names of each hard-link group one file again. Errors: OSError."""
    if not before.groups:
        return
    target = fs_paths.open_dir(clone)
    try:
        for paths in before.groups.values():
            first = fs_paths.lstat_below(target, paths[0].split(b"/"))
            if first is not None:  # else it was deleted meanwhile, or the check would have said
                for path in paths[1:]:
                    _repair_link(target, paths[0].split(b"/"), first, path, losses)
    finally:
        os.close(target)


def _repair_link(target: int, first: list[bytes], wanted: os.stat_result, path: bytes, losses: Losses) -> None:
    """Replace a name by a link to the first one. Both were hashed already, and are equal when the stats are."""
    parts = path.split(b"/")
    other = fs_paths.lstat_below(target, parts)
    if other is None:
        return
    if wanted.st_mode != other.st_mode or not copyfile.unchanged(wanted, other):
        losses.add(path, "hardlink", "its names were cloned at different moments")
        return
    source_fd, above = fs_paths.open_parent(target, first), fs_paths.open_parent(target, parts)
    try:
        with _Times(above):
            durable.unlink(parts[-1], dir_fd=above)  # the clone is ours alone until it gets its name
            os.link(first[-1], parts[-1], src_dir_fd=source_fd, dst_dir_fd=above, follow_symlinks=False)
    finally:
        os.close(source_fd)
        os.close(above)


class _Times:
    """Keeps the times of an open directory over a change to its entries."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> None:
        self.st = os.fstat(self.fd)

    def __exit__(self, *_: object) -> None:
        os.utime(self.fd, ns=(self.st.st_atime_ns, self.st.st_mtime_ns))


def _open_or_none(root: int, parts: list[bytes]) -> int | None:
    try:
        return fs_paths.open_parent(root, parts)
    except OSError:
        return None
