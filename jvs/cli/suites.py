"""Where the black-box suites are: in a checkout next to the package, or installed with the wheel.

Source: jvs-conformance-run(1), jvs-torture(1).
"""

from __future__ import annotations

import os
import sys

from jvs.errors import NotFound


def find_program(name: str, given: str | None = None) -> str:
    """Return the path of a suite's program, `run` or `torture`; `given` is the directory that somebody named.

    A program is a file, or a directory that Python can run.

    Errors: E_NOT_FOUND.
    """
    checkout = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    places = [given] if given is not None else [os.path.join(checkout, "conformance"), installed()]
    for place in places:
        path = os.path.join(os.path.abspath(place), name)
        if os.path.isfile(path) or os.path.isfile(os.path.join(path, "__main__.py")):
            return path
    raise NotFound(
        f"there is no suite in '{places[0]}'" if given else "the conformance suite is not installed here",
        hint="name its directory with '--suite DIR': it is 'conformance/' in the source",
    )


def installed() -> str:
    """Return where a wheel puts the suite."""
    return os.path.join(sys.prefix, "share", "jvs", "conformance")


def programs_next_to(program: str) -> str | None:
    """Return the directory of the program that runs now, when jvs is installed in it."""
    directory = os.path.dirname(os.path.realpath(program))
    return directory if os.access(os.path.join(directory, "jvs"), os.X_OK) else None


def command(program: str, options: dict[str, object]) -> list[str]:
    """Return the words that run a suite's program: options without a value are left out, true ones are single words."""
    words = [sys.executable, program]
    for option, value in options.items():
        if value is True:
            words.append(option)
        elif value not in (None, False, ""):
            words += [option, str(value)]
    return words
