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


def run(
    words: list[str],
    *,
    quiet: bool = False,
    environment: Mapping[str, str] | None = None,
    enter: Callable[[], None] | None = None,
) -> int:
    """Run a program; return its status, or 128 plus the number of the signal that ended it.

    With `quiet` what it prints goes to stderr. `enter` is called in its process before it begins.
    Errors: E_NOT_FOUND when it cannot be run.
    """
    import signal
    import subprocess

    def begin() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if enter is not None:
            enter()

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        done = subprocess.run(words, check=False, stdout=STDERR if quiet else None, env=environment, preexec_fn=begin)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise NotFound(f"'{words[0]}' cannot be run: {reason}", hint="check its name and PATH") from error
    finally:
        signal.signal(signal.SIGINT, before)
    return 128 - done.returncode if done.returncode < 0 else done.returncode
