"""Whether a filesystem moves the ctime of a file for each change, a store through a mapping above all.

A stamp proves a content only where that is so. Some filesystems are known for it; others are tried out with a file
that has no name, each time: what an overlay does depends on its upper layer and its options.
Source: inode(7); mmap(2), under st_ctime; jvs-engines(7), Speed.
"""

from __future__ import annotations

import errno
import os

from jvs import clock
from jvs.fs import durable

_KNOWN = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # btrfs
        0xF2F52010,  # f2fs
    }
)
_NEVER = frozenset(
    {
        durable.TMPFS,  # its pages are never written back: a page that is dirty stays dirty
        durable.FUSE,  # JuiceFS is asked about by itself; for all others, what the server says may be anything
        # What another client of these changes shows only when the cache of attributes expires.
        0x6969,  # NFS
        0xFE534D42,  # SMB2
        0xFF534D42,  # CIFS
        0x00C36400,  # Ceph
        0x01021997,  # 9p
        0x0BD00BD0,  # Lustre
    }
)
_TICK_SECONDS = 0.012
_PAST_NS = 10**18


def is_moved(barrier: durable.Barrier) -> bool:
    """Answer whether changes move ctimes from here on: all dirty pages of the filesystem were written back.

    Leaves nothing. Where that cannot be found out the answer is no. Errors: OSError when the flush fails.
    """
    kind = barrier.filesystem_type
    if kind in _NEVER:
        return False
    if kind in _KNOWN:
        barrier.flush()
        return True
    return _try_out(barrier)


def _try_out(barrier: durable.Barrier) -> bool:
    """Store into a file through a mapping, before and after the flush, and set its times."""
    import mmap

    try:
        fd = os.open(b".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=barrier.fd)
    except OSError:  # vfat, exFAT and others know no files without a name; a directory may be read-only
        return False
    try:
        os.ftruncate(fd, 2 * mmap.PAGESIZE)
        with mmap.mmap(fd, 2 * mmap.PAGESIZE) as pages:
            pages[0] = pages[mmap.PAGESIZE] = 1
            barrier.flush()
            return _store_moves(fd, pages, 0) or _store_moves(fd, pages, mmap.PAGESIZE, _TICK_SECONDS)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    finally:
        os.close(fd)


def _store_moves(fd: int, pages: object, place: int, wait: float = 0) -> bool:
    """Answer whether a store moves the ctime, and a ctime stays when the mtime is set back."""
    before = os.fstat(fd).st_ctime_ns
    if wait:
        clock.sleep(wait)  # an older kernel gives all that happens within one tick of its clock the same time
    pages[place] = 2  # type: ignore[index]
    if os.fstat(fd).st_ctime_ns == before:
        return False
    os.utime(fd, ns=(_PAST_NS, _PAST_NS))
    return os.fstat(fd).st_ctime_ns > before
