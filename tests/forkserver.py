"""A process that has loaded jvs once and forks for each command: real streams, limits and exits, no start-up.

Run as a program, with what it loads, `library` or `commands` alone, and what its streams are, `UTF-8` or those that
Python makes in this `locale`. One request is a line of JSON: `words`, `cwd`,
`env` (of text, with surrogates), `situation`, and the paths of the files for stdin, stdout and stderr. The answer is a
line with the status of the child.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import pkgutil
import resource
import signal
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS: dict[str, str] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]


def close(descriptor: int) -> None:
    """Close a stream as Python finds it when it starts without: the descriptor is closed, and the stream None."""
    os.close(descriptor)
    setattr(sys, ("stdin", "stdout", "stderr")[descriptor], None)


def lose_stdout(how: str) -> None:
    """Give stdout away: to a full device, or to a pipe without a reader."""
    if how == "full":
        target = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, target = os.pipe()
        os.close(reader)
    os.dup2(target, 1)
    os.close(target)


def unbuffer() -> None:
    """Make stdout what PYTHONUNBUFFERED makes of it."""
    sys.stdout = io.TextIOWrapper(io.FileIO(1, "w", closefd=False), encoding="utf-8", write_through=True)


def limit(which: str, value: str) -> None:
    """Set a limit; writing behind a limit on sizes is an error, not a signal."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    number = getattr(resource, f"RLIMIT_{which}")
    resource.setrlimit(number, (int(value), int(value)))


def leave_a_deleted_directory() -> None:
    """Stand in a directory that is not there any more."""
    os.mkdir("soon-gone")
    os.chdir("soon-gone")
    os.rmdir("../soon-gone")


SITUATIONS: dict[str, Callable[..., object]] = {
    "close": lambda number: close(int(number)),
    "lose": lose_stdout,
    "unbuffer": unbuffer,
    "limit": limit,
    "seconds": lambda number: signal.alarm(int(number)),  # and it is killed
    "umask": lambda mask: os.umask(int(mask, 8)),
    "deleted": leave_a_deleted_directory,
}


def become(request: dict) -> int:
    """Be the command of a request; return its status."""
    os.chdir(request["cwd"])
    for number, (path, flags) in enumerate(
        [(request["stdin"], os.O_RDONLY), (request["stdout"], os.O_WRONLY), (request["stderr"], os.O_WRONLY)]
    ):
        fd = os.open(path, flags)
        os.dup2(fd, number)
        os.close(fd)
    ours = sys.stdout
    encoding, errors = (ours.encoding, ours.errors) if sys.argv[2] == "locale" else ("utf-8", "strict")
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding=encoding, errors=errors, closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.update(request["env"])
    program, *words = request["words"]
    sys.argv = [program, *words]
    module, _, name = SCRIPTS[program].partition(":")
    main = getattr(importlib.import_module(module), name)
    for situation in request["situation"]:
        how, *arguments = situation.split(" ")
        SITUATIONS[how](*arguments)
    return main()


def leave(request: dict) -> None:
    """Be the command of a request, and end as Python ends: what is still buffered is flushed."""
    status = 70
    try:
        status = become(request)
    except SystemExit as error:
        status = int(error.code or 0)
    except BaseException:
        import traceback

        traceback.print_exc()
    try:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
    except (OSError, ValueError):
        status = 120
    os._exit(status or 0)


def load_commands() -> None:
    """Load what every program needs before it knows its words."""
    for program in SCRIPTS.values():
        importlib.import_module(program.partition(":")[0])
    from jvs.cli import commands

    for command in commands.COMMANDS:
        importlib.import_module(commands.module_of(command))


def load_library() -> None:
    """Load all of the library, and what it loads of others when it needs it: half of the time of most commands."""
    import jvs

    for module in pkgutil.walk_packages(jvs.__path__, "jvs."):
        importlib.import_module(module.name)
    for name in ("ctypes", "encodings.ascii", "pwd", "sqlite3", "cbor2"):
        with contextlib.suppress(ImportError):  # nothing here has to be there
            importlib.import_module(name)


def serve(loaded: str) -> None:
    """Answer requests until there is no more."""
    load_commands()
    if loaded == "library":
        load_library()
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page
    requests = os.fdopen(os.dup(0), "r")
    answers = os.fdopen(os.dup(1), "w")
    for line in requests:
        child = os.fork()
        if child == 0:
            leave(json.loads(line))
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")
        answers.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
