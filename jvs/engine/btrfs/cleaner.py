"""Space on btrfs: a deleted subvolume disappears at once, and its blocks only when a kernel thread comes to it.

Left to itself that takes half a minute or more, and a full filesystem stays full meanwhile.
Source: linux/btrfs.h, BTRFS_IOC_SYNC and BTRFS_IOC_SUBVOL_SYNC_WAIT; btrfs-subvolume(8), sync.
"""

from __future__ import annotations

import errno
import os
import struct

from jvs import clock, system
from jvs.engine.btrfs import ioctl
from jvs.fs import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below

SYNC = 0x9408  # _IO(0x94, 8); commits, and wakes the thread that cleans up
SUBVOL_SYNC_WAIT = 0x40109441  # _IOW(0x94, 65, struct btrfs_ioctl_subvol_wait), 16 bytes; since Linux 6.13
_COUNT = 2
_PAUSE_SECONDS = 0.02
MOST_SECONDS = 60.0


def wait_for_space(directory: Below) -> None:
    """Wait until deleted subvolumes of a filesystem have given their blocks back; does nothing on any but btrfs.

    After a minute it goes on without: the kernel still frees them. Errors: OSError.
    """
    if not ioctl.is_btrfs(directory):
        return
    fd = paths.open_dir(directory)
    try:
        deadline = clock.monotonic() + MOST_SECONDS
        system.ioctl(fd, SYNC)
        while _waiting(fd) and clock.monotonic() < deadline:
            clock.sleep(_PAUSE_SECONDS)
            system.ioctl(fd, SYNC)
        system.ioctl(fd, SYNC)  # what the thread has released is free after the next commit
    finally:
        os.close(fd)


def _waiting(fd: int) -> int:
    """Return how many deleted subvolumes were not cleaned up yet; 0 when the kernel does not say."""
    data = bytearray(struct.pack("=QII", 0, _COUNT, 0))
    try:
        system.ioctl(fd, SUBVOL_SYNC_WAIT, data)
    except OSError as error:
        if error.errno in (errno.ENOTTY, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            clock.sleep(5 * _PAUSE_SECONDS)
            return 0
        raise
    waiting: int = struct.unpack("=QII", data)[2]
    return waiting
