"""What a directory tells about the JuiceFS mount that it lies on.

Source: jvs-engines(7), juicefs-clone.
"""

from __future__ import annotations

import os

from jvs.errors import CloneIncomplete
from jvs.fs import mounts, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.tree.exclusion import Exclusion

CONTROL_INODE = 0x7FFFFFFF00000002
"""The inode of the control file; the same in every directory of every version since 1.0."""
CONTROL_NAMES = (".control", ".jfs.control")
_ROOT_INODE = 1


def is_juicefs(directory: Below) -> bool:
    """Answer whether a directory lies on JuiceFS: its control file can be looked up in every directory there."""
    return control_file(directory) is not None


def control_file(directory: Below) -> Below | None:
    """Return the control file as seen from a directory, or None when it is not on JuiceFS."""
    for name in CONTROL_NAMES:
        try:
            if paths.lstat(directory / name).st_ino == CONTROL_INODE:
                return directory / name
        except OSError:
            continue
    return None


def mount_root(directory: Below) -> str | None:
    """Return the mount point that a directory is below; None for a bind mount of a part of a volume."""
    path = os.path.realpath(str(directory))
    device = os.stat(path).st_dev
    while True:
        if os.stat(path).st_ino == _ROOT_INODE:
            return path
        above = os.path.dirname(path)
        if above == path or os.stat(above).st_dev != device:
            return None
        path = above


def point_or_path(directory: Below) -> str:
    """Return the mount point that a directory is below; in a bind mount of a part of a volume its own path.

    It tells mounts apart and is never opened: whoever exchanges a part of it makes jvs use another index, no more.
    """
    return mount_root(directory) or os.path.realpath(str(directory))


def refuse_mounts(source: Below, exclude: Exclusion | None = None) -> None:
    """Errors: E_CLONE_INCOMPLETE when something is mounted inside: the clone would hold what lies below it."""
    below = mounts.points_below(str(source))
    if exclude is not None:
        below = exclude.points(below, str(source))
    if below:
        raise CloneIncomplete(
            f"'{below[0]}' is a mount point, which a snapshot of the worktree cannot hold",
            hint="unmount it and try again",
            path=below[0],
        )
