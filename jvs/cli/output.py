"""What a command says: results on stdout, complete and checked; failures on stderr, as text or JSON.

Results go to stdout once, at the end, but for long listings, which begin at once.
Source: jvs(1), jvs-errors(7).
"""

from __future__ import annotations

import os
import sys

from jvs.cli import streams
from jvs.errors import JvsError, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from jvs.ui.terminal import Terminal

_CHUNK_LINES = 50


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
        items: Iterable[Mapping[str, object]] | None = None,
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


def emit(result: Result, args: argparse.Namespace) -> None:
    """Write the result once, complete, and make sure that it arrived. Errors: OutputLost."""
    data = render(result, args)
    if data and result.pager and not args.json and sys.stdout.isatty():
        from jvs.ui import terminal

        if terminal.page(data, os.environ):
            return
    streams.write(data)


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
    from jvs.ui import escape

    text, colors = result.text, False
    if callable(text):
        screen = terminal_of(args)
        text, colors = text(screen), screen.color
    elif isinstance(text, str) and sys.stdout.isatty():
        text = _fit(text, terminal_of(args))
    if isinstance(text, bytes):
        return escape.visible_bytes(text, colors=colors) if sys.stdout.isatty() else text
    encoding = sys.stdout.encoding or "utf-8"
    return escape.visible(text, colors=colors).encode(encoding, "backslashreplace")


def _fit(text: str, screen: Terminal) -> str:
    """Return sentences wrapped to a terminal; paths, fields between TABs and single words stay whole."""
    if all(len(line) <= screen.width for line in text.split("\n")):
        return text
    from jvs.ui import terminal

    lines = []
    for line in text.split("\n"):
        whole = line.startswith("/") or "\t" in line or " " not in line
        lines += [line] if whole else terminal.wrap(line, screen, "", "  ")
    return "\n".join(lines)


def json_bytes(value: Any, indent: int | None = 2) -> bytes:
    """Return JSON as every command prints it."""
    import json

    from jvs.ui import escape

    text = json.dumps(value, indent=indent, ensure_ascii=False, separators=None if indent else (",", ":"))
    return escape.json_text(text).encode("utf-8", "backslashreplace")


def terminal_of(args: argparse.Namespace) -> Terminal:
    """Return what is known about stdout: width, colour."""
    from jvs.ui import terminal

    color = not args.no_color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    tty = sys.stdout.isatty()
    width = _asked_width()
    if width is None:
        width = os.get_terminal_size(sys.stdout.fileno()).columns if tty else 80
    return terminal.Terminal(color=color and tty, width=max(width, 20), tty=tty)


def put(lines: Iterable[str], screen: Terminal) -> bytes:
    """Hand text on while it is being made, so that the first page of a long history is there at once.

    Through the pager on a terminal; else in pieces to stdout, and the last piece is returned.
    """
    from jvs.fs import durable
    from jvs.ui import escape

    encoding = sys.stdout.encoding or "utf-8"
    colors = screen.color
    chunks = _in_chunks(escape.visible(line, colors=colors).encode(encoding, "backslashreplace") for line in lines)
    if screen.tty:
        from jvs.ui import terminal

        rest = terminal.page_stream(chunks, os.environ)
        if rest is None:
            return b""
        chunks = iter((b"".join(rest),))
    try:
        stdout = sys.stdout.fileno()
    except (OSError, ValueError):  # a program that runs this in its own process put a buffer there
        return b"".join(chunks)
    streams.flush()
    last = b""
    for chunk in chunks:
        try:
            durable.write_all(stdout, last)
        except OSError as error:
            raise streams.OutputLost(error) from error
        last = chunk
    return last


def put_bytes(chunks: Iterable[bytes]) -> bytes:
    """Hand bytes on while they are read; return what is left to be written, all where stdout is a buffer."""
    from jvs.fs import durable

    try:
        stdout = sys.stdout.fileno()
    except (OSError, ValueError):  # a program that runs this in its own process put a buffer there
        return b"".join(chunks)
    streams.flush()
    for chunk in chunks:
        try:
            durable.write_all(stdout, chunk)
        except OSError as error:
            raise streams.OutputLost(error) from error
    return b""


def _in_chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) >= _CHUNK_LINES:
            yield b"".join(chunk)
            chunk = []
    if chunk:
        yield b"".join(chunk)


def complain(error: JvsError, prog: str, as_json: bool) -> None:
    """Say a failure on stderr: two lines, wrapped where they are read on a terminal, or one JSON object."""
    if as_json:
        say(json_bytes(streams.with_effects(error)).decode("utf-8"))
        return
    from jvs.ui import terminal

    sentences = [f"{prog}: {error.name}: {error.message}", *(f"done: {text}" for text in streams.effects())]
    if error.hint:
        sentences.append(f"hint: {error.hint}")
    sentences = [terminal.show_text(readable(text)) for text in sentences]  # a name must not drive the terminal
    screen = _stderr()
    if screen is not None:
        sentences = [line for text in sentences for line in terminal.wrap(text, screen, indent="      ")]
    for line in sentences:
        say(line)


def _stderr() -> Terminal | None:
    """Return what is known about stderr when it is a terminal."""
    try:
        if not sys.stderr.isatty():
            return None
        width = _asked_width() or os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError):
        return None
    from jvs.ui import terminal

    return terminal.Terminal(color=False, width=max(width, 20), tty=True)


def help_width() -> int:
    """Return in how many columns help is to be written: two less than there are, as argparse does."""
    width = _asked_width()
    if width is None:
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns
        except (OSError, ValueError, AttributeError):  # no terminal, or no stdout at all
            width = 0
    return (width or 80) - 2


def _asked_width() -> int | None:
    return int(os.environ["COLUMNS"]) if os.environ.get("COLUMNS", "").isdigit() else None


def say(text: str) -> None:
    """Write a line to stderr, whatever its characters."""
    try:
        from jvs.ui import escape

        encoding = sys.stderr.encoding or "utf-8"
        sys.stderr.buffer.write(escape.visible(readable(text)).encode(encoding, "backslashreplace") + b"\n")
        sys.stderr.flush()
    except ValueError:  # it is closed
        return
    except OSError:  # nobody reads stderr: the exit code still tells
        streams.abandon(2)
