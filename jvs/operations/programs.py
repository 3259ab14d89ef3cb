"""Running a program of the user's, in the foreground, to its end.

It gets the terminal's signals itself; we live on to say what became of the files.
Source: jvs-run(1), jvs-enter(1).
"""

from __future__ import annotations

from jvs.errors import NotFound

STDERR = 2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
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
) -> Ended:
    """Run a program; its status is 128 plus the number of the signal that ended it, if one did.

    With `quiet` what it prints goes to stderr; with `capture` it is kept, and there is nothing to read for it.
    `enter` is called in its process before it begins. Errors: E_NOT_FOUND when it cannot be run.
    """
    import signal
    import subprocess

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if enter is not None:
            enter()

    with _Interruptions() as interrupted:
        try:
            done = subprocess.run(
                words,
                check=False,
                stdin=subprocess.DEVNULL if capture else None,
                stdout=subprocess.PIPE if capture else STDERR if quiet else None,
                stderr=subprocess.STDOUT if capture else None,
                env=environment,
                preexec_fn=begin,
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise NotFound(f"'{words[0]}' cannot be run: {reason}", hint="check its name and PATH") from error
    code = done.returncode
    killed = code < 0 or (interrupted.any and code != 0)
    return Ended(128 - code if code < 0 else code, killed=killed, output=done.stdout or b"")


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
