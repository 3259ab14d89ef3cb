"""Copying the content of one file: sharing its blocks, letting the kernel copy, or reading and writing.

Holes stay holes, and a file that changes meanwhile is copied again, so that a copy is one moment of its source.
Source: jvs-engines(7), Fidelity; ioctl_ficlone(2), copy_file_range(2), lseek(2).
"""

from __future__ import annotations

import errno
import os

from jvs import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.losses import Losses

FICLONE = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h
TRIES = 3
CHUNK_BYTES = 1 << 20
FIRST_BYTES = 1 << 16
"""What is asked for first: a buffer of a chunk costs 20 times what a file of a few kilobytes does."""
_RANGE_BYTES = 1 << 30
_NO_CLONE = frozenset(
    {
        errno.EOPNOTSUPP,  # ext4, tmpfs, FUSE
        errno.ENOTTY,  # filesystems that know no such ioctl
        errno.EXDEV,  # two filesystems
        errno.EINVAL,  # btrfs: a nodatacow file next to an ordinary one
        errno.ENOSYS,
        errno.EPERM,  # an immutable or append-only source
        errno.ETXTBSY,  # a swap file
    }
)
_NO_RANGE = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY})


def reflink(source: int, target: int) -> bool:
    """Share all of one file's blocks with another; False when these two files cannot.

    The kernel writes back the source's dirty pages first and clones under its lock: the copy is one moment of it.
    Errors: OSError for a full disk or broken storage.
    """
    try:
        system.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def copy_data(source: int, target: int, st: os.stat_result, digest: Any = None) -> None:
    """Copy the bytes of a file and keep its holes; feed them to `digest` on the way when there is one.

    A source that shrinks meanwhile ends the copy; it never makes it wait. Where the filesystem can copy by itself
    (`copy_file_range`) and nothing is hashed, no byte passes through here.
    Errors: OSError.
    """
    size = st.st_size
    if st.st_blocks * 512 >= size:
        _copy_range(source, target, 0, None, digest, size)
        return
    done = 0
    while done < size:
        start = _seek(source, done, os.SEEK_DATA)
        if start is None or start >= size:
            break
        if digest is not None:
            _feed_zeros(digest, start - done)
        stop = _seek(source, start, os.SEEK_HOLE)
        stop = size if stop is None or stop <= start else min(stop, size)
        done = _copy_range(source, target, start, stop, digest)
        if done < stop:  # the source became shorter
            break
    size = max(done, min(size, os.fstat(source).st_size))
    os.ftruncate(target, size)
    if digest is not None:
        _feed_zeros(digest, size - done)


def _seek(fd: int, position: int, whence: int) -> int | None:
    try:
        return os.lseek(fd, position, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole from here on
            return None
        if error.errno == errno.EINVAL:  # a filesystem that knows no holes: all is data
            return position if whence == os.SEEK_DATA else None
        raise


def _feed_zeros(digest: Any, count: int) -> None:
    zeros = bytes(min(count, CHUNK_BYTES))
    while count > 0:
        digest.update(zeros if count >= len(zeros) else zeros[:count])
        count -= len(zeros)


def _copy_range(source: int, target: int, start: int, stop: int | None, digest: Any, size: int = -1) -> int:
    """Copy from `start` up to `stop` (None: the end of the file) at the same place; return where it ended.

    `size` is where the file is said to end: a piece that is shorter than asked for and ends there is the last one.
    """
    position = start
    if digest is None:
        try:
            while stop is None or position < stop:
                wanted = _RANGE_BYTES if stop is None else min(_RANGE_BYTES, stop - position)
                count = os.copy_file_range(source, target, wanted, position, position)
                if count == 0:
                    break
                position += count
        except OSError as error:
            if error.errno not in _NO_RANGE:
                raise
        else:
            if position > start or (stop is None and os.fstat(source).st_size == start):
                return position
            # Some filesystems answer 0 for what they cannot copy: read it then.
    most = FIRST_BYTES
    while stop is None or position < stop:
        wanted = most if stop is None else min(most, stop - position)
        chunk = os.pread(source, wanted, position)
        most = CHUNK_BYTES
        if not chunk:
            break
        last = len(chunk) < wanted and position + len(chunk) == size
        if digest is not None:
            digest.update(chunk)
        view = memoryview(chunk)
        while view:
            count = os.pwrite(target, view, position)
            position += count
            view = view[count:]
        if last:
            break
    return position


def is_at_rest(fd: int) -> bool:
    """Answer whether nobody has a file open for writing, as far as the filesystem can prove that."""
    return _read_lease(fd) == 0


def is_open_for_writing(fd: int) -> bool:
    """Answer whether anybody could be writing to a file that is open for reading here.

    One write(2) moves the times when it begins, and may go on for seconds: nothing else shows that a file is between
    two states. The kernel grants a read lease only when nobody has the file open for writing; it is given back at
    once, and an open that meets it waits that long. False also where there are no leases (FUSE) or none for us.
    Source: fcntl(2), F_SETLEASE; the signal of a broken lease is set to one that is ignored unless it is handled.
    """
    return _read_lease(fd) == errno.EAGAIN


def _read_lease(fd: int) -> int | None:
    """Take a read lease and give it back; return why it was refused, 0 when it was granted."""
    import fcntl
    import signal

    try:
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno
    fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return 0


def unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Answer whether a file is the same as before as far as its stat tells."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def copy_content(source: int, target: int, path: bytes, losses: Losses, *, share: bool = True) -> os.stat_result:
    """Copy a file's content until it held still meanwhile, at most three times; then note `torn`.

    Returns the stat of the source that belongs to the content. `share` lets the copy share blocks.
    Errors: OSError.
    """
    before = os.fstat(source)
    if share and reflink(source, target):  # in one moment: nothing can be torn
        return before
    for attempt in range(1, TRIES + 1):
        copy_data(source, target, before)
        after = os.fstat(source)
        if unchanged(before, after):
            return after
        before = after
        if attempt < TRIES:
            os.ftruncate(target, 0)
    losses.add(path, "torn", f"the file changed during each of {TRIES} attempts to copy it")
    return before
