"""A few files that are there to be removed: on a full disk a collection needs room for its records before it frees any.

Without a free inode no intent and no tombstone can be made, and an XFS with parent pointers refuses to rename and to
unlink when no block is free. The reserve is made again when there is room.
Source: jvs-format(5), Reserve; the kernel's fs/xfs/xfs_inode.c, xfs_remove.
"""

from __future__ import annotations

import contextlib
import os

from jvs import system
from jvs.fs import durable, listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.layout import Layout

FILES = 6
"""An intent, a plan, tombstones, an index that is made again."""
XFS = 0x58465342
BLOCK_BYTES = 128 << 10
"""Of each file where removing a name takes blocks first."""
ENOUGH_BYTES, ENOUGH_INODES = 16 << 20, 64
"""What a disk has left where a reserve is made."""


def fill(layout: Layout) -> None:
    """Make what is missing of the reserve; a disk that has little room is left alone. Durable: no."""
    with contextlib.suppress(OSError):
        if not _has_room(layout):
            return
        if not paths.exists(layout.reserve):
            durable.make_dir(layout.reserve)
        there = set(listing.names(layout.reserve))
        for number in range(FILES):
            if str(number) not in there:
                _make(layout, number)


def _has_room(layout: Layout) -> bool:
    fd = paths.open_dir(layout.gc)
    try:
        st = os.statvfs(fd)
    finally:
        os.close(fd)
    return st.f_bavail * st.f_frsize >= ENOUGH_BYTES and (st.f_files == 0 or st.f_favail >= ENOUGH_INODES)


def _make(layout: Layout, number: int) -> None:
    durable.create_file(layout.reserve / str(number), b"", sync=False)
    with durable.inside(layout.reserve / str(number)) as (above, name):
        fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            if system.filesystem_type(fd) == XFS:
                os.posix_fallocate(fd, 0, BLOCK_BYTES)
        finally:
            os.close(fd)


def release(layout: Layout) -> bool:
    """Give up the reserve; answer whether there was any. Durable: no."""
    try:
        names = listing.names(layout.reserve)
    except OSError:
        return False
    freed = False
    for name in names:  # truncating takes no block anywhere; only then can the names go
        with contextlib.suppress(OSError):
            durable.truncate(layout.reserve / name, 0)
            freed = True
    for name in names:
        with contextlib.suppress(OSError):
            durable.unlink(layout.reserve / name)
    with contextlib.suppress(OSError):
        durable.rmdir(layout.reserve)
    return freed
