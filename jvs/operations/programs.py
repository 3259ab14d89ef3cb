"""Running a program of the user's, in the foreground, to its end.

It gets the terminal's signals itself; we live on to say what became of the files.
Source: jvs-run(1), jvs-enter(1), jvs-try(1); mount_namespaces(7).
"""

from __future__ import annotations

import contextlib
import os

from jvs import clock, progress, system, units
from jvs.errors import NotFound

STDERR = 2
_PIPE_BYTES = 1 << 16
_ENDINGS = (1, 15)  # SIGHUP and SIGTERM
_LAST_WORDS_SECONDS = 0.2
"""For what a program printed before its end, and still is in the pipe."""
_POLITE_SECONDS = 2.0
"""Between SIGTERM and SIGKILL."""
_DEADLY_SECONDS = 10.0
"""After SIGKILL: a process that waits for a disk ends when that answers."""
_BETWEEN_LOOKS_SECONDS = 0.01

TYPE_CHECKING = False
if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


class Ended:
    """How a program ended. Shape: `status` as a shell has it; `killed`: by a signal, or by Ctrl-C.

    `output` is what it printed, when that was wanted.
    """

    def __init__(self, status: int, *, killed: bool, output: bytes = b"") -> None:
        self.status = status
        self.killed = killed
        self.output = output


def run(
    words: list[str],
    *,
    quiet: bool = False,
    capture: bool = False,
    environment: Mapping[str, str] | None = None,
    enter: Callable[[], None] | None = None,
    end_all: bool = False,
) -> Ended:
    """Run a program; its status is 128 plus the number of the signal that ended it, if one did.

    With `quiet` what it prints goes to stderr; with `capture` it is kept, and there is nothing to read for it.
    `enter` is called in its process before it begins. With `end_all` whatever is left in the mount namespace that it
    entered is ended after it, also when we are. Errors: E_NOT_FOUND when it cannot be run.
    """
    import signal
    import subprocess

    left = 0
    with _Interruptions() as interrupted:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDINGS)  # until somebody knows what was begun
        try:
            program, namespace = _start(
                words,
                enter,
                before,
                env=environment,
                stdin=subprocess.DEVNULL if capture else None,
                stdout=subprocess.PIPE if capture else STDERR if quiet else None,
                stderr=subprocess.STDOUT if capture else None,
            )
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            said = _wait(program, end_all=end_all)
        except BaseException:
            program.kill()
            program.wait()
            raise
        finally:
            if namespace >= 0:
                left = _end(namespace) if end_all else 0
                os.close(namespace)
    code = program.returncode
    killed = code < 0 or (interrupted.any and code != 0)
    if left and not killed:
        progress.remark(f"ended {units.plural(left, 'process', 'processes')} that '{words[0]}' left behind")
    return Ended(128 - code if code < 0 else code, killed=killed, output=said)


def _start(
    words: list[str], enter: Callable[[], None] | None, mask: Iterable[int], **options: Any
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a program; return it and its mount namespace, open, or -1.

    It sends that itself: it may have ended by now, and left others. While the namespace is open nobody else's gets its
    number. Errors: E_NOT_FOUND when it cannot be run.
    """
    import signal
    import socket
    import subprocess

    ours, theirs = socket.socketpair()

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if enter is not None:
            enter()
        with contextlib.suppress(OSError):  # without /proc nobody is looked for
            socket.send_fds(theirs, [b"n"], [system.open_mount_namespace()])
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    with ours:
        try:
            program = subprocess.Popen(words, preexec_fn=begin, **options)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise NotFound(f"'{words[0]}' cannot be run: {reason}", hint="check its name and PATH") from error
        finally:
            theirs.close()
        _, sent, _, _ = socket.recv_fds(ours, 1, 1)
        return program, sent[0] if sent else -1


def _wait(program: subprocess.Popen[bytes], *, end_all: bool) -> bytes:
    """Wait for the end of a program; return what it printed into a pipe of ours.

    A process that it leaves behind holds the pipe, too. Where that will be ended, what it prints is not waited for.
    """
    if program.stdout is None or not end_all:
        return program.communicate()[0] or b""
    import threading

    said: list[bytes] = []
    number = program.stdout.fileno()
    reader = threading.Thread(target=lambda: said.extend(iter(lambda: os.read(number, _PIPE_BYTES), b"")), daemon=True)
    reader.start()
    program.wait()
    reader.join(_LAST_WORDS_SECONDS)
    return b"".join(said)


def _end(opened: int) -> int:
    """End every process in an open mount namespace, politely at first, but in our own; return how many there were."""
    import signal

    namespace = system.namespace_of(opened)
    if namespace == system.mount_namespace("self"):
        return 0
    known: set[str] = set()
    polite_until = clock.monotonic() + _POLITE_SECONDS
    while True:
        there = [process for process in system.processes() if system.mount_namespace(process) == namespace]
        late = clock.monotonic() > polite_until
        if not there or clock.monotonic() > polite_until + _DEADLY_SECONDS:  # waiting longer is of no use
            return len(known)
        for process in there:
            if late or process not in known:
                try:
                    os.kill(int(process), signal.SIGKILL if late else signal.SIGTERM)
                except OSError:  # it ended, or became somebody else's, who may not be signalled
                    continue
        known.update(there)
        clock.sleep(_BETWEEN_LOOKS_SECONDS)


class _Interruptions:
    """Notes Ctrl-C, which the program gets as well, instead of ending us; in the main thread only."""

    def __init__(self) -> None:
        self.any = False
        self._before: Any = None

    def __enter__(self) -> _Interruptions:
        import signal

        try:
            self._before = signal.signal(signal.SIGINT, lambda number, frame: setattr(self, "any", True))
        except ValueError:  # another thread: whoever owns the main one deals with signals
            self._before = None
        return self

    def __exit__(self, *_: object) -> None:
        import signal

        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
