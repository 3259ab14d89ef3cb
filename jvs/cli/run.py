"""The shared skin of all commands: running them, errors, signals, and what they take from the environment.

Only this module, `output` and the command modules know about argv, the environment, printing and exit codes.
Source: jvs-errors(7).
"""

from __future__ import annotations

import os
import sys

from jvs import __version__, progress
from jvs.cli import output, streams
from jvs.cli.arguments import asks_for_json
from jvs.cli.arguments import here as here
from jvs.cli.arguments import make_parser as make_parser
from jvs.cli.arguments import with_paths as with_paths
from jvs.cli.arguments import worktree_paths as worktree_paths
from jvs.cli.output import Result as Result
from jvs.cli.output import json_bytes as json_bytes
from jvs.cli.output import put as put
from jvs.errors import JvsError, UsageError, from_oserror, from_shortage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from jvs.store.settings import Settings
    from jvs.store.store import Store


class Terminated(BaseException):
    """A signal asked us to stop; raised in the main thread so that work rolls back on its usual path."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def with_command(argv: list[str] | None) -> tuple[list[str] | None, list[str]]:
    """Return arguments without what comes after `--`, and that: the words of a command to run."""
    words = sys.argv[1:] if argv is None else argv
    if "--" not in words:
        return words, []
    i = words.index("--")
    return words[:i], words[i + 1 :]


def run(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], Result], argv: list[str] | None = None
) -> int:
    """Run one command from its arguments to its exit code; every failure becomes a class, a sentence and a hint."""
    _spare_the_collector(argv)
    try:
        return _run(parser, work, argv)
    finally:
        _forget_garbage(argv)


def _spare_the_collector(argv: list[str] | None) -> None:
    """Let a process that is one command look for garbage seldom.

    It makes modules, and entries of trees that have no cycles: to look through them at every 700, as the collector
    does by itself, costs a twentieth of a start, and more of a long walk.
    """
    if argv is None:
        import gc

        gc.set_threshold(50_000, 20, 20)


def _forget_garbage(argv: list[str] | None) -> None:
    """Take all there is out of the search for garbage that a process makes at its end: the system takes it at once."""
    if argv is None:
        import gc

        gc.freeze()


def _run(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], Result], argv: list[str] | None) -> int:
    streams.open_streams()
    progress.forget_effects()
    words = sys.argv[1:] if argv is None else argv
    as_json = asks_for_json(words)
    prog = parser.prog
    args: argparse.Namespace | None = None
    result = Result()
    try:
        try:
            args = parser.parse_args(words)
        except SystemExit as leaving:  # --help and --version have printed already
            streams.flush()
            return int(leaving.code or 0)
        _check_system()
        _watch_signals()  # nothing was begun before, so that there is nothing to roll back
        for directory in args.directory or ():
            _change_directory(directory)
        _observe(args, prog)
        result = work(args)
        _finish_progress()
        as_json = as_json or args.json
        output.emit(result, args)
        if result.complaint is not None:
            return _fail(result.complaint, prog, as_json)
        return result.exit
    except streams.OutputLost as error:
        return _fail_to_say(error, prog, as_json, result.exit)
    except JvsError as error:
        return _fail(error, prog, as_json or (args is not None and args.json))
    except OSError as error:
        return _fail(from_oserror(error, "the system refused"), prog, as_json)
    except (KeyboardInterrupt, Terminated) as stop:
        return _stop(stop, prog)
    except Exception as error:
        refused = from_shortage(error)
        if refused is not None:
            return _fail(refused, prog, as_json)
        import traceback

        traceback.print_exc()
        bug = JvsError(f"{type(error).__name__}: {error}", hint="this is a bug in jvs: please report it as shown")
        return _fail(bug, prog, as_json)


def _fail_to_say(error: streams.OutputLost, prog: str, as_json: bool, exit: int = 0) -> int:
    """Say on stderr what was done although nobody got the answer; return the status."""
    streams.abandon(1)
    failure = streams.lost(error, exit)
    return _fail(failure, prog, as_json) if failure is not None else 141


def _stop(stop: KeyboardInterrupt | Terminated, prog: str) -> int:
    _finish_progress()
    done = "; ".join(streams.effects())
    rest = "what was begun is rolled back, or will be by the next command"
    output.say(f"{prog}: interrupted: " + (f"done: {done}" if done else rest))
    return 128 + (stop.number if isinstance(stop, Terminated) else 2)


def _watch_signals() -> None:
    import signal

    def stop(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # one is enough; the roll-back must not be stopped by a second
        raise Terminated(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            try:
                signal.signal(number, stop)
            except ValueError:  # not the main thread: a program that runs a command in another keeps its own handling
                return


def _change_directory(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        raise UsageError(f"-C '{directory}': {error.strerror}", hint="name a directory that is there") from error


def _observe(args: argparse.Namespace, prog: str) -> None:
    """Install the observer that fits: remarks always, a trace when asked for, bars on a terminal."""
    from jvs.ui import terminal

    trace = args.debug or os.environ.get("JVS_TRACE", "") not in ("", "0")
    bars = not (args.no_progress or args.json or trace) and sys.stderr.isatty()
    progress.set_observer(terminal.Reporter(prog, trace=trace, bars=bars, stream=sys.stderr))


def _finish_progress() -> None:
    observe = sys.modules.get("jvs.progress")
    if observe is not None:
        close = getattr(observe._observer, "close", None)
        if close is not None:
            close()


def _fail(error: JvsError, prog: str, as_json: bool) -> int:
    _finish_progress()
    output.complain(error, prog, as_json)
    return error.exit


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings for the library from the options and the environment; the only place that reads both."""
    from jvs.store.settings import Settings

    if args.wait is not None and args.wait != args.wait:
        raise UsageError("--wait must be a number of seconds, not nan", hint="'--wait 0' fails at once when busy")
    return Settings.from_environment(
        os.environ,
        overrides=args.overrides or [],
        wait=args.wait,
        engine=getattr(args, "engine", None),
        use_index=not args.no_index,
        repository=args.repo,
        command=" ".join([os.path.basename(sys.argv[0] or "jvs"), *sys.argv[1:3]]),
    )


def open_store(args: argparse.Namespace, start: str | None = None) -> Store:
    """Open the repository around the current directory, or the one that is named; `start` is another directory.

    Errors: E_NOT_A_REPOSITORY, E_PATH_ESCAPE, E_FORMAT_UNSUPPORTED.
    """
    from jvs.store.store import Store

    store = Store.open(start or here(), settings_of(args))
    if store.settings.get("output_format") == "json":
        args.json = True
    if not store.settings.get("progress_enabled"):
        progress.quieten()
    return store


def read_stdin() -> bytes:
    """Return all of standard input. Errors: E_IO."""
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise from_oserror(error, "reading standard input") from error


def main(argv: list[str] | None = None) -> int:
    """Run `jvs WORD ...`. The version costs nothing more; everything else is handed to the command."""
    _spare_the_collector(argv)
    try:
        return _main(sys.argv[1:] if argv is None else list(argv))
    finally:
        _forget_garbage(argv)


def _check_system() -> None:
    """Refuse to work on another system than Linux. Errors: E_IO."""
    if sys.platform != "linux":
        from jvs import system

        system.check()


def _main(words: list[str]) -> int:
    streams.open_streams()
    if words == ["--version"] or words == ["version"]:
        try:
            streams.write(f"jvs {__version__}\n".encode())
            return 0
        except streams.OutputLost as error:
            return _fail_to_say(error, "jvs", False)
    try:
        _check_system()
        from jvs.cli import dispatch

        return dispatch.run(words)
    except streams.OutputLost as error:
        return _fail_to_say(error, "jvs", asks_for_json(words))
    except JvsError as error:
        return _fail(error, "jvs", asks_for_json(words))
    except OSError as error:
        return _fail(from_oserror(error, "the system refused"), "jvs", asks_for_json(words))
