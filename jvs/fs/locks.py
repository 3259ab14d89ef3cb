"""Locks that die with their holder: flock(2), with waiting, fairness for the exclusive ones, and holder's name.

flock works across the mounts and hosts of one JuiceFS volume. A lock file is never removed. Its content is only a
remark for whoever has to wait (pid, host, command); the lock is the flock itself.
Source: jvs-protocol(7), flock(2).
"""

from __future__ import annotations

import errno
import fcntl
import os

from jvs import clock
from jvs.errors import Busy, from_oserror
from jvs.fs import rooted
from jvs.fs.rooted import Below

DEFAULT_WAIT_SECONDS = 30.0
BRIEF_SECONDS = 5.0


class Lock:
    """A held lock; closing it, or dying, releases it."""

    def __init__(self, path: Below, fd: int) -> None:
        self.path = path
        self._fd = fd

    def fileno(self) -> int:
        """Return the descriptor, for a program that passes the lock on to a child."""
        return self._fd

    def close(self) -> None:
        """Release the lock."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def acquire(path: Below, *, exclusive: bool = True, wait: float = DEFAULT_WAIT_SECONDS, command: str = "") -> Lock:
    """Take a lock, waiting up to `wait` seconds for others to release it.

    Units: seconds; 0 fails at once.
    Errors: E_BUSY with the holder's pid, host and command when it stays held; E_IO when the file cannot be opened.
    """
    fd = _open(path, exclusive)
    try:
        _wait_for(fd, path, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, wait)
        if exclusive:
            _sign(fd, command)
    except BaseException:
        os.close(fd)
        raise
    return Lock(path, fd)


def acquire_brief(path: Below, *, wait: float) -> Lock:
    """Take a lock that everybody holds for an instant only, when an operation is past the point of giving up.

    Whoever asked not to wait for other operations (`wait` 0) still waits here: refused now, the operation would be
    called busy, and be completed by the next command all the same. Errors: as `acquire`.
    """
    return acquire(path, wait=max(wait, BRIEF_SECONDS))


def acquire_repository(directory: Below, *, exclusive: bool, wait: float, command: str = "") -> Lock:
    """Take the repository lock after its gate, so that a stream of sharers cannot starve one who needs it alone.

    Everyone passes the gate; who wants the lock alone stays in it until the sharers of before are done.
    """
    gate, lock = directory / "gate.lock", directory / "repo.lock"
    with acquire(gate, exclusive=exclusive, wait=wait, command=command):
        return acquire(lock, exclusive=exclusive, wait=wait, command=command)


def acquire_directory(directory: Below, *, wait: float) -> Lock:
    """Lock a directory itself, where there is no place for a lock file yet. Errors: E_BUSY, E_IO."""
    try:
        fd = _open_at(directory, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise from_oserror(error, f"opening '{directory}'") from error
    try:
        _wait_for(fd, directory, fcntl.LOCK_EX, wait)
    except BaseException:
        os.close(fd)
        raise
    return Lock(directory, fd)


def _open(path: Below, exclusive: bool) -> int:
    try:
        if path.root.refuses():
            if exclusive:
                path.root.check_writable()
            return _open_at(path, os.O_RDONLY)
        fd = _open_at(path, os.O_RDWR | os.O_CREAT, 0o600)
        rooted.give_to_owner(path.root, fd)
        return fd
    except OSError as error:
        if not exclusive and error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            # a reader of a repository that it cannot write: share the lock through a read-only descriptor
            try:
                return _open_at(path, os.O_RDONLY)
            except OSError:
                pass
        raise from_oserror(error, f"opening the lock '{path}'") from error


def _open_at(path: Below, flags: int, mode: int = 0) -> int:
    return rooted.open_at(path, flags | os.O_NONBLOCK, mode)


def _wait_for(fd: int, path: Below, how: int, wait: float) -> None:
    deadline = clock.monotonic() + wait
    pause = 0.001
    while True:
        try:
            fcntl.flock(fd, how | fcntl.LOCK_NB)
            return
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise from_oserror(error, f"locking '{path}'") from error
        left = deadline - clock.monotonic()
        if left <= 0:
            raise _busy(fd, path, wait)
        clock.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.05)


def _busy(fd: int, path: Below, wait: float) -> Busy:
    name = path.name.removesuffix(".lock")
    holder = holder_of(fd)
    who = f", held by {holder}" if holder else ""
    hint = "wait for it to end and run the command again; '--wait SECONDS' waits longer"
    return Busy(f"lock '{name}' is busy{who} (waited {wait:g} s)", hint=hint, lock=name, holder=holder or None)


def _sign(fd: int, command: str) -> None:
    """Leave our name for those who will wait. Not synced: after a crash nobody waits."""
    text = f"{os.getpid()} {os.uname().nodename} {command}".encode("utf-8", "replace")[:400]
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, text, 0)
    except OSError:  # a full disk must not keep anybody from locking: reading and gc work at zero free bytes
        return


def holder_of(fd: int) -> str:
    """Return `pid N on HOST (COMMAND)` of the last exclusive holder, or an empty text."""
    try:
        parts = os.pread(fd, 400, 0).decode("utf-8", "replace").split(" ", 2)
    except OSError:  # a directory holds no remark
        return ""
    if len(parts) < 3:
        return ""
    command = "".join(c if c.isprintable() else "?" for c in parts[2])
    return f"pid {parts[0]} on {parts[1]}" + (f" ({command})" if command else "")
