"""The shared skin of all commands: parsers, running, text and JSON output, errors, signals.

Results go to stdout once, at the end, checked and flushed; everything else goes to stderr. Only this module and the
command modules know about argv, the environment, printing and exit codes.
Source: jvs-errors(7).
"""

from __future__ import annotations

import os
import sys

from jvs import __version__
from jvs.arguments import asks_for_json, here
from jvs.arguments import make_parser as make_parser
from jvs.arguments import with_paths as with_paths
from jvs.arguments import worktree_paths as worktree_paths
from jvs.errors import IOFailure, JvsError, UsageError, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable
    from typing import Any

    from jvs.settings import Settings
    from jvs.store import Store
    from jvs.terminal import Terminal


class Terminated(BaseException):
    """A signal asked us to stop; raised in the main thread so that work rolls back on its usual path."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Result:
    """What a command has to say.

    Shape: `value` is for `--json`; `items` (dictionaries) for `--jsonl`; `text` is a string, bytes (names as they
    are), or a function of the terminal, called only when text is wanted; `cbor` is a list for `--cbor`.
    """

    def __init__(
        self,
        value: Any = None,
        text: str | bytes | Callable[[Terminal], str | bytes] = "",
        *,
        items: Iterable[dict[str, Any]] | None = None,
        cbor: list[Any] | None = None,
        exit: int = 0,
        pager: bool = False,
        complaint: JvsError | None = None,
    ) -> None:
        self.value = value
        self.text = text
        self.items = items
        self.cbor = cbor
        self.exit = exit
        self.pager = pager
        self.complaint = complaint


def run(
    parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], Result], argv: list[str] | None = None
) -> int:
    """Run one command from its arguments to its exit code; every failure becomes a class, a sentence and a hint."""
    _open_streams()
    words = sys.argv[1:] if argv is None else argv
    as_json = asks_for_json(words)
    prog = parser.prog
    args: argparse.Namespace | None = None
    try:
        _watch_signals()
        try:
            args = parser.parse_args(words)
        except SystemExit as leaving:  # --help and --version have printed already
            return _flush() or int(leaving.code or 0)
        for directory in args.directory or ():
            _change_directory(directory)
        _observe(args, prog)
        result = work(args)
        _finish_progress()
        _emit(result, args)
        if result.complaint is not None:
            _complain(result.complaint, prog, as_json or args.json)
            return result.complaint.exit
        return result.exit
    except JvsError as error:
        return _fail(error, prog, as_json or (args is not None and args.json))
    except BrokenPipeError:
        _abandon_stdout()
        return 141
    except OSError as error:
        return _fail(from_oserror(error, "the system refused"), prog, as_json)
    except (KeyboardInterrupt, Terminated) as stop:
        number = stop.number if isinstance(stop, Terminated) else 2
        _finish_progress()
        _say(f"{prog}: interrupted: what was begun is rolled back, or will be by the next command")
        return 128 + number
    except Exception as error:
        import traceback

        traceback.print_exc()
        bug = JvsError(f"{type(error).__name__}: {error}", hint="this is a bug in jvs: please report it as shown")
        return _fail(bug, prog, as_json)


def _open_streams() -> None:
    """Put something in the place of streams that were closed before we began, which Python leaves as None."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - nobody reads it
    if sys.stdout is None:
        sys.stdout = open("/dev/full", "w", encoding="utf-8")  # noqa: SIM115 - a result that gets lost is an error


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
    from jvs import observe, terminal

    trace = args.debug or os.environ.get("JVS_TRACE", "") not in ("", "0")
    bars = not (args.no_progress or args.json or trace) and sys.stderr.isatty()
    observe.set_observer(terminal.Reporter(prog, trace=trace, bars=bars, stream=sys.stderr))


def _finish_progress() -> None:
    observe = sys.modules.get("jvs.observe")
    if observe is not None:
        close = getattr(observe._observer, "close", None)
        if close is not None:
            close()


def _emit(result: Result, args: argparse.Namespace) -> None:
    """Write the result once, whole, and make sure that it arrived."""
    data = render(result, args)
    if data:
        if result.pager and not args.json and sys.stdout.isatty():
            from jvs import terminal

            if terminal.page(data, os.environ):
                return
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    code = _flush()
    if code:
        raise IOFailure(
            "the output could not be written",
            hint="check where stdout goes; what the command did is done, only its words are lost",
        )


def render(result: Result, args: argparse.Namespace) -> bytes:
    """Return the bytes that a result prints, in the form that was asked for."""
    if getattr(args, "jsonl", False):
        items = result.items if result.items is not None else [result.value]
        return b"".join(json_bytes(item, indent=None) + b"\n" for item in items)
    if args.json:
        return json_bytes(result.value) + b"\n" if result.value is not None else b""
    if getattr(args, "cbor", False):
        from jvs import canon

        return b"".join(canon.cbor_encode(item) for item in result.cbor or [])
    text = result.text
    if callable(text):
        text = text(terminal_of(args))
    if isinstance(text, bytes):
        return text
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace")


def json_bytes(value: Any, indent: int | None = 2) -> bytes:
    """Return JSON as every command prints it."""
    import json

    text = json.dumps(value, indent=indent, ensure_ascii=False, separators=None if indent else (",", ":"))
    return text.encode("utf-8", "backslashreplace")


def terminal_of(args: argparse.Namespace) -> Terminal:
    """Return what is known about stdout: width, colour."""
    from jvs import terminal

    color = not args.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    tty = sys.stdout.isatty()
    width = int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdigit() else None
    if width is None:
        width = os.get_terminal_size(sys.stdout.fileno()).columns if tty else 80
    return terminal.Terminal(color=color and tty, width=max(width, 20), tty=tty)


def _flush() -> int:
    try:
        sys.stdout.flush()
        return 0
    except BrokenPipeError:
        raise
    except OSError:
        _abandon_stdout()
        return 4


def _abandon_stdout() -> None:
    """Keep the interpreter from trying to flush what nobody will read."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)
    except OSError:
        return


def _fail(error: JvsError, prog: str, as_json: bool) -> int:
    _finish_progress()
    _complain(error, prog, as_json)
    return error.exit


def _complain(error: JvsError, prog: str, as_json: bool) -> None:
    if as_json:
        _say(json_bytes(error.as_json()).decode("utf-8"))
        return
    _say(f"{prog}: {error.name}: {error.message}")
    if error.hint:
        _say(f"hint: {error.hint}")


def _say(text: str) -> None:
    try:
        data = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.buffer.write(data.encode(encoding, "backslashreplace") + b"\n")
        sys.stderr.flush()
    except (OSError, ValueError):  # nobody reads stderr: the exit code still tells
        return


def settings_of(args: argparse.Namespace) -> Settings:
    """Return the settings for the library from the options and the environment; the only place that reads both."""
    from jvs.settings import Settings

    if args.wait is not None and args.wait != args.wait:
        raise UsageError("--wait must be a number of seconds, not nan", hint="'--wait 0' fails at once when busy")
    return Settings.from_environment(
        os.environ,
        overrides=args.overrides or [],
        wait=args.wait,
        engine=getattr(args, "engine", None),
        use_index=not args.no_index,
        command=" ".join([os.path.basename(sys.argv[0] or "jvs"), *sys.argv[1:3]]),
    )


def open_store(args: argparse.Namespace, start: str | None = None) -> Store:
    """Open the repository around the current directory.

    Errors: E_NOT_A_REPOSITORY, E_PATH_ESCAPE, E_FORMAT_UNSUPPORTED.
    """
    from jvs import observe
    from jvs.store import Store

    store = Store.open(start or here(), settings_of(args))
    if store.settings.get("output_format") == "json":
        args.json = True
    if not store.settings.get("progress_enabled"):
        observe.quieten()
    return store


def read_stdin() -> bytes:
    """Return all of standard input."""
    return sys.stdin.buffer.read()


def main(argv: list[str] | None = None) -> int:
    """Run `jvs WORD ...`. The version costs nothing more; everything else is handed to the command."""
    words = sys.argv[1:] if argv is None else list(argv)
    _open_streams()
    if words == ["--version"] or words == ["version"]:
        try:
            sys.stdout.write(f"jvs {__version__}\n")
            return _flush()
        except OSError:  # an unbuffered stdout refuses at once
            _abandon_stdout()
            return 4
    from jvs import dispatch

    try:
        return dispatch.run(words)
    except JvsError as error:
        return _fail(error, "jvs", asks_for_json(words))
