"""What the filesystem below a directory, and each engine, is known for.

Source: jvs-engines(7).
"""

from __future__ import annotations

from jvs.engine.base import BTRFS, JUICEFS
from jvs.engine.btrfs import ioctl
from jvs.engine.btrfs.ioctl import is_btrfs
from jvs.fs import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below


def scan_flags(directory: Below) -> tuple[bool, bool]:
    """Return (with_inode, btrfs) for walking a tree with `scan.Scanner`.

    On JuiceFS a clone has inode numbers of its own but the source's ctimes; on btrfs a snapshot keeps both, and
    shows a nested subvolume as an empty directory that must not be taken for one.
    """
    from jvs.engine.juicefs import mount as juicefs_mount

    return not juicefs_mount.is_juicefs(directory), is_btrfs(directory)


def commit_writes(directory: Below) -> None:
    """Let what processes of this host wrote to files that they hold open show, where it does not at once: on JuiceFS.

    What cannot be committed is looked at as the mount tells it.
    """
    from jvs.engine.juicefs import mount as juicefs_mount
    from jvs.errors import JvsError

    if juicefs_mount.is_juicefs(directory):
        from jvs.engine.juicefs import writers

        try:
            writers.flush_open_files(directory)
        except JvsError:
            return


def keeps_stamps(name: str) -> bool:
    """Answer whether a clone of this engine shows the stamps of its source, so that its rows describe both."""
    return name in (JUICEFS, BTRFS)


def is_committed(name: str) -> bool:
    """Answer whether a clone of this engine is durable as soon as it is there.

    The metadata engine of JuiceFS commits a clone in transactions; the btrfs ioctl ends with a commit of its own.
    """
    return name in (JUICEFS, BTRFS)


def make_worktree(path: Below) -> None:
    """Make an empty worktree: a subvolume where the directory above is on btrfs. Errors: OSError."""
    if is_btrfs(path.parent):
        ioctl.make_subvolume(path)
    else:
        durable.make_dir(path, mode=0o777)
