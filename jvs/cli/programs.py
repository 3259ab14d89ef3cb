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


class Ended:
    """How a program ended. Shape: `status` as a shell has it; `killed`: by a signal, or by Ctrl-C."""

    def __init__(self, status: int, *, killed: bool) -> None:
        self.status = status
        self.killed = killed


def run(
    words: list[str],
    *,
    quiet: bool = False,
    environment: Mapping[str, str] | None = None,
    enter: Callable[[], None] | None = None,
) -> Ended:
    """Run a program; its status is 128 plus the number of the signal that ended it, if one did.

    With `quiet` what it prints goes to stderr. `enter` is called in its process before it begins.
    Errors: E_NOT_FOUND when it cannot be run.
    """
    import signal
    import subprocess

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if enter is not None:
            enter()

    interrupted = []
    before = signal.signal(signal.SIGINT, lambda number, frame: interrupted.append(number))
    try:
        done = subprocess.run(words, check=False, stdout=STDERR if quiet else None, env=environment, preexec_fn=begin)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NotFound(f"'{words[0]}' cannot be run: {reason}", hint="check its name and PATH") from error
    finally:
        signal.signal(signal.SIGINT, before)
    code = done.returncode
    return Ended(128 - code if code < 0 else code, killed=code < 0 or (bool(interrupted) and code != 0))
