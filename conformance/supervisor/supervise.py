"""Runs a command and stops every file-system-changing call of all its threads and children at its entry.

Each call on something below `root` gets the next number in one global order. At call N the supervisor may kill the
whole process group, send it a signal, fail the call with an errno (once, or from then on), shorten a write, or call
back. Without an action it only counts.
"""

from __future__ import annotations

import array
import contextlib
import errno
import functools
import os
import select
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supervisor import process, seccomp

if TYPE_CHECKING:
    from supervisor.standby import Standby

_AT_FDCWD = -100
_TAKES_SPACE = frozenset(
    [
        *("write", "pwrite64", "writev", "pwritev", "pwritev2", "creat", "sendfile", "splice", "copy_file_range"),
        *("mkdir", "mkdirat", "rename", "renameat", "renameat2", "link", "linkat", "symlink", "symlinkat", "mknod"),
        *("mknodat", "setxattr", "lsetxattr", "fsetxattr", "setxattrat", "fallocate", "fsync", "fdatasync", "syncfs"),
    ]
)
SYNCS = frozenset(["fsync", "fdatasync", "syncfs"])
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Event:
    """One counted call. `paths` are absolute; two for renames and links."""

    number: int
    pid: int
    name: str
    paths: tuple[str, ...]
    detail: str = ""

    def __str__(self) -> str:
        return f"#{self.number} {self.name} {' -> '.join(self.paths)} {self.detail}".rstrip()


@dataclass(frozen=True)
class Action:
    """What to do at call `at` (from 1). `kind`: kill, signal, errno, short, call."""

    kind: str
    at: int
    number: int = 0  # the signal or errno
    sticky: bool = False
    callback: Callable[[Event], None] | None = None


@dataclass
class Outcome:
    """How a supervised run ended. `fired` is the call at which the action was taken, or None."""

    returncode: int = 0
    stdout: bytes = b""
    stderr: bytes = b""
    events: list[Event] = field(default_factory=list)
    fired: Event | None = None
    hits: int = 0
    timed_out: bool = False
    seconds: float = 0.0


def run(
    argv: list[str],
    *,
    root: str,
    cwd: str | None = None,
    env: dict[str, str] | None = None,
    stdin: bytes = b"",
    action: Action | None = None,
    timeout: float = 60.0,
    lie: bool = False,
    standby: Standby | None = None,
) -> Outcome:
    """Run a command under supervision and wait for it and all its children. Errors: seccomp.Unsupported.

    With `lie` every sync is answered with success and not done: a suite that then finds nothing proves nothing.
    With `standby` the run is a fork of that process, which must have loaded the same program.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write(stdin)
        given.flush()
        given.seek(0)
        ours, theirs = socket.socketpair()
        began = time.monotonic()
        stdio = (given.fileno(), out.fileno(), err.fileno())
        if standby is not None:
            variables = dict(os.environ) if env is None else env
            pid = standby.start(argv, cwd=cwd or os.getcwd(), env=variables, stdio=stdio, supervise=theirs)
        else:
            pid = os.fork()
            if pid == 0:
                ours.close()
                _child(argv, cwd, env, theirs, stdio)
        theirs.close()
        with ours:
            try:
                pidfd = os.pidfd_open(pid)  # it waits for us, so that the id is still its own
                listener = _receive_fd(ours)
            except seccomp.Unsupported:
                _status_of(pid, standby)
                raise
        try:
            watch = _Watch(listener, pid, os.path.realpath(root), action, began + timeout, lie)
            outcome = watch.follow(pidfd, lambda: _status_of(pid, standby))
        finally:
            os.close(listener)
            os.close(pidfd)
        outcome.seconds = time.monotonic() - began
        for file, name in ((out, "stdout"), (err, "stderr")):
            file.seek(0)
            setattr(outcome, name, file.read())
        return outcome


def _child(
    argv: list[str], cwd: str | None, env: dict[str, str] | None, sock: socket.socket, stdio: tuple[int, int, int]
) -> None:
    try:
        os.setsid()
        for number, fd in enumerate(stdio):
            os.dup2(fd, number)
        if cwd is not None:
            os.chdir(cwd)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        listener = seccomp.install()
        sock.sendmsg([b"L"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
        os.close(listener)
        sock.recv(1)  # until the supervisor listens
        sock.close()
        os.execvpe(argv[0], argv, os.environ if env is None else env)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.write(2, f"supervised child: {error!r}\n".encode())
    finally:
        os._exit(127)


def _status_of(pid: int, standby: Standby | None) -> int:
    return standby.wait() if standby is not None else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _receive_fd(sock: socket.socket) -> int:
    fds = array.array("i")
    message, ancillary, _, _ = sock.recvmsg(1, socket.CMSG_LEN(fds.itemsize))
    if not message or not ancillary:
        raise seccomp.Unsupported("the child could not install the filter")
    fds.frombytes(ancillary[0][2][: fds.itemsize])
    sock.sendall(b"G")
    return fds[0]


class _Watch:
    """The loop over notifications of one run."""

    def __init__(self, listener: int, pid: int, root: str, action: Action | None, deadline: float, lie: bool) -> None:
        self.listener, self.pid, self.root, self.lie = listener, pid, root, lie
        self.action, self.deadline = action, deadline
        self.outcome = Outcome()
        self.dead = False

    def follow(self, pidfd: int, status: Callable[[], int]) -> Outcome:
        """Answer calls until all processes have ended; `status` reaps the first one."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        reaped = hung_up = False
        while not (reaped and hung_up):
            for fd, what in poll.poll(100):
                if fd == pidfd:
                    self.outcome.returncode = status()
                    poll.unregister(pidfd)
                    reaped = True
                elif what & select.POLLIN:
                    self._one()
                elif what & (select.POLLHUP | select.POLLERR):
                    poll.unregister(self.listener)
                    hung_up = True
            if time.monotonic() > self.deadline and not self.dead:
                self.outcome.timed_out = True
                self._kill()
        return self.outcome

    def _kill(self) -> None:
        self.dead = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def _one(self) -> None:
        note = seccomp.receive(self.listener)
        if note is None:
            return
        if self.dead:
            with contextlib.suppress(ProcessLookupError):  # a child that left the process group
                os.kill(note.pid, signal.SIGKILL)
            return
        paths, detail, counts = self._describe(note)
        if not counts or not any(self._inside(path) for path in paths):
            seccomp.answer(self.listener, note.ident)
            return
        event = Event(len(self.outcome.events) + 1, note.pid, note.name, paths, detail)
        self.outcome.events.append(event)
        if not self._act(note, event):
            seccomp.answer(self.listener, note.ident, value=0 if self.lie and note.name in SYNCS else None)

    def _inside(self, path: str) -> bool:
        return path == self.root or path.startswith(self.root + "/")

    def _act(self, note: seccomp.Notification, event: Event) -> bool:
        """Take the action when this is its call; True when the call has been answered, or never will be."""
        action = self.action
        if action is None or event.number < action.at or (event.number > action.at and not action.sticky):
            return False
        if action.kind == "errno" and not can_fail(event.name, event.detail, action.number):
            return False
        if action.kind == "short" and event.name not in ("write", "pwrite64"):
            return False
        self.outcome.fired = self.outcome.fired or event
        self.outcome.hits += 1
        if action.callback is not None:
            action.callback(event)
        if action.kind in ("kill", "call"):
            if action.kind == "kill":
                self._kill()
            return action.kind == "kill"
        if action.kind == "signal":
            os.killpg(self.pid, action.number)
            return False
        if action.kind == "errno":
            return seccomp.answer(self.listener, note.ident, error=action.number) or True
        return self._shorten(note)

    def _shorten(self, note: seccomp.Notification) -> bool:
        """Do the first half of a write ourselves, on the same open file, and answer with its size."""
        size = note.args[2] // 2
        if size == 0:
            return False
        data = process.memory(note.pid, note.args[1], size)
        fd = process.duplicate_fd(note.pid, note.args[0])
        try:
            done = os.pwrite(fd, data, note.args[3]) if note.name == "pwrite64" else os.write(fd, data)
        finally:
            os.close(fd)
        return seccomp.answer(self.listener, note.ident, value=done) or True

    def _describe(self, note: seccomp.Notification) -> tuple[tuple[str, ...], str, bool]:
        """Return the absolute paths of a call, a detail for the reader, and whether it changes anything."""
        detail = ""
        try:
            if note.name == "openat2":
                flags = int.from_bytes(process.memory(note.pid, note.args[2], 8), "little")
                if not flags & seccomp.WRITE_FLAGS:
                    return (), "", False
            if note.name in ("open", "openat", "creat"):
                flags = os.O_CREAT if note.name == "creat" else note.args[1 if note.name == "open" else 2]
                detail = "|".join(n for n in ("O_CREAT", "O_TRUNC") if flags & getattr(os, n)) or "O_WRONLY/O_RDWR"
            elif note.name == "ioctl":
                detail = seccomp.IOCTLS.get(note.args[1] & 0xFFFFFFFF, "")
            elif note.name in ("write", "pwrite64"):
                detail = f"{note.args[2]} bytes"
            paths = tuple(_path(note, spec) for spec in seccomp.CALLS[note.name][2])
        except (OSError, KeyError):
            return (), "", False
        return paths, detail, True


def can_fail(name: str, detail: str, number: int) -> bool:
    """Answer whether a call may get an errno: a full disk refuses what takes space, any other comes from anything."""
    if number not in _FULL:
        return True
    if name in ("open", "openat"):
        return "O_CREAT" in detail
    return name in _TAKES_SPACE or name == "ioctl"


def _path(note: seccomp.Notification, spec: tuple[str, int, int]) -> str:
    kind, first, second = spec
    if kind == "fd":
        return os.readlink(f"/proc/{note.pid}/fd/{process.c_int(note.args[first])}").removesuffix(" (deleted)")
    address = note.args[second if kind == "at" else first]
    name = process.text(note.pid, address) if address else ""
    if name.startswith("/proc/self/"):
        name = f"/proc/{note.pid}/" + name.removeprefix("/proc/self/")
    if not os.path.isabs(name):
        dirfd = process.c_int(note.args[first]) if kind == "at" else _AT_FDCWD
        where = "cwd" if dirfd == _AT_FDCWD else f"fd/{dirfd}"
        base = os.readlink(f"/proc/{note.pid}/{where}").removesuffix(" (deleted)")
        name = os.path.join(base, name) if name else base
    name = name.rstrip("/") or "/"
    directory, last = os.path.split(name)
    if directory.endswith("/fd") and directory.startswith("/proc/"):
        return os.readlink(name)
    return os.path.join(_real(directory), last) if last not in (".", "..") else os.path.realpath(name)


@functools.lru_cache(maxsize=4096)
def _real(directory: str) -> str:
    """Return the real path of a directory, resolved once: it only decides what is below the root."""
    return os.path.realpath(directory)


def main(argv: list[str]) -> int:
    """Run COMMAND and print every counted call below ROOT on stderr."""
    if len(argv) < 2:
        print("usage: conformance/supervisor ROOT COMMAND [ARGUMENT...]", file=sys.stderr)
        return 2
    outcome = run(argv[1:], root=argv[0], timeout=600)
    for event in outcome.events:
        print(event, file=sys.stderr)
    print(f"{len(outcome.events)} calls, {outcome.seconds:.3f} s, exit {outcome.returncode}", file=sys.stderr)
    sys.stdout.buffer.write(outcome.stdout)
    sys.stderr.buffer.write(outcome.stderr)
    return outcome.returncode
