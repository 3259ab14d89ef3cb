"""What a person sees: colours, widths, ages, sizes, progress bars, the pager. Text is made here, printed by `cli`.

Source: jvs(1), Environment.
"""

from __future__ import annotations

from jvs import clock, units
from jvs.progress import Observer
from jvs.ui import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any, TextIO

_COLORS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36, "bold": 1, "dim": 2}
BAR_AFTER_SECONDS = 1.0


class Terminal:
    """Where text goes. Units: `width` in columns."""

    def __init__(self, *, color: bool, width: int, tty: bool) -> None:
        self.color = color
        self.width = width
        self.tty = tty

    def paint(self, text: str, *colors: str) -> str:
        """Return text in colours, or as it is where there are none."""
        if not self.color or not text:
            return text
        codes = ";".join(str(_COLORS[color]) for color in colors)
        return f"\x1b[{codes}m{text}\x1b[0m"

    def paint_bytes(self, data: bytes, *colors: str) -> bytes:
        """Return bytes in colours, or as they are where there are none."""
        return self.paint("\0", *colors).encode("ascii").replace(b"\0", data) if self.color and data else data


def show_path(path: bytes) -> str:
    """Return a path for people: odd bytes and control characters escaped, so that one path is one line."""
    return show_text(path.decode("utf-8", "backslashreplace"))


def show_text(text: str) -> str:
    """Return text that somebody wrote (a note) for one line: control characters escaped."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def show_json(value: Any) -> str:
    """Return a value as JSON on one line, for people."""
    import json

    return show_text(json.dumps(value, ensure_ascii=False))


_QUOTED = {0x07: "a", 0x08: "b", 0x09: "t", 0x0A: "n", 0x0B: "v", 0x0C: "f", 0x0D: "r", 0x22: '"', 0x5C: "\\"}


def quote_path(path: bytes) -> str:
    """Return a path for scripts that read lines: as it is, or in double quotes with C escapes, as git writes it.

    Quoted is what holds control characters, quotes, backslashes, or bytes that are not UTF-8.
    """
    try:
        text = path.decode("utf-8")
        if text.isprintable() and '"' not in text and "\\" not in text:
            return text
    except UnicodeDecodeError:
        text = ""
    if text and all(c.isprintable() or ord(c) < 0x80 for c in text):
        shown = [_quote_byte(ord(c)) if ord(c) < 0x80 else c for c in text]
    else:
        shown = [_quote_byte(byte) for byte in path]
    return '"' + "".join(shown) + '"'


def _quote_byte(byte: int) -> str:
    if byte in _QUOTED:
        return "\\" + _QUOTED[byte]
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\{byte:03o}"


def columns(text: str) -> int:
    """Return how many columns text takes: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    import unicodedata

    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def pad(text: str, width: int, *, right: bool = False) -> str:
    """Return text filled with blanks to a width, at its end, or before it when it is to be at the right."""
    blanks = " " * max(width - columns(text), 0)
    return blanks + text if right else text + blanks


def cut(text: str, width: int) -> str:
    """Return text cut to a width in columns, with dots where something is missing."""
    if columns(text) <= width:
        return text
    kept, used = [], 0
    for c in text:
        used += columns(c)
        if used > width - 3:
            break
        kept.append(c)
    return ("".join(kept) + "...")[: max(width, 0)]


def cut_left(text: str, width: int) -> str:
    """Return a path cut to a width in columns from its beginning, since its end tells more."""
    if columns(text) <= width:
        return text
    return cut(text[::-1], width)[::-1]


def flow(parts: list[str], width: int, indent: int) -> list[str]:
    """Return texts two blanks apart, on as many lines as a width in columns needs; all but the first are indented.

    A text that is wider than a line is broken between words, and only a word that is too wide is cut.
    """
    lines, line, room = [], parts[0], width - indent
    for part in parts[1:]:
        if columns(line) + 2 + columns(part) <= width:
            line += "  " + part
            continue
        lines.append(line.rstrip())
        line = " " * indent
        for word in part.split(" ") if columns(part) > room else [part]:
            if line.strip() and columns(line) + 1 + columns(word) > width:
                lines.append(line.rstrip())
                line = " " * indent
            line += (" " if line.strip() else "") + cut(word, room)
    return [*lines, line.rstrip()]


def wrap(text: str, screen: Terminal, first: str = "", indent: str = "", *, always: bool = False) -> list[str]:
    """Return text on as many lines as a terminal needs, the first after `first`, others after `indent`.

    Elsewhere than on a terminal it stays on one line unless `always`. Only a word that is wider than a line is broken.
    """
    if not screen.tty and not always:
        return [first + text]
    lines, line, empty = [], first, True
    for word in text.split(" "):
        if not empty and columns(line) + 1 + columns(word) > screen.width:
            lines.append(line)
            line, empty = indent, True
        line += word if empty else " " + word
        empty = False
        while columns(line) > screen.width and columns(line) > columns(indent) + 1:
            head = _head(line, max(screen.width, columns(indent) + 2))
            lines.append(head)
            line = indent + line[len(head) :]
    return [*lines, line]


def _head(text: str, width: int) -> str:
    used = 0
    for i, c in enumerate(text):
        used += columns(c)
        if used > width:
            return text[:i]
    return text


def table(
    rows: Iterable[tuple[str, str]], screen: Terminal, *, least: int = 0, color: str = "", always: bool = False
) -> list[str]:
    """Return lines with a term and its meaning, the meanings below each other and wrapped to the screen.

    Elsewhere than on a terminal each pair is one line unless `always`.
    """
    pairs = list(rows)
    width = max([least, *(columns(term) for term, _ in pairs)])
    indent = " " * (width + 4)
    lines = []
    for term, meaning in pairs:
        blanks = " " * (width + 2 - columns(term))
        if screen.tty and screen.width < width + 24:  # too narrow for two columns
            lines += [
                f"  {screen.paint(term, color) if color else term}",
                *wrap(meaning, screen, "    ", "    ", always=True),
            ]
            continue
        first, *more = wrap(meaning, screen, indent, indent, always=always)
        lines += [f"  {screen.paint(term, color) if color else term}{blanks}{first[len(indent) :]}".rstrip(), *more]
    return lines


def age(ns: int) -> str:
    """Return how long ago a time is, in the unit that says most: `12 s ago`, `3 h ago`. Units: ns since 1970."""
    seconds = (clock.now_ns() - ns) // 1_000_000_000
    if seconds < 0:
        return "in the future"
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit} {name} ago"
    return f"{units.plural(seconds // 86400, 'day')} ago"


class Reporter(Observer):
    """Shows remarks, a trace of the steps, and bars for what takes longer than a second."""

    def __init__(self, prog: str, *, trace: bool, bars: bool, stream: TextIO) -> None:
        self.prog = prog
        self.trace = trace
        self.bars = bars
        self.stream = stream
        self._bar: Any = None
        self._phase = ""
        self._start = 0.0
        self._waiting = 0

    def step(self, name: str, seconds: float) -> None:
        if self.trace:
            self._line(f"{self.prog}: {name:<20} {seconds * 1000:9.1f} ms")

    def remark(self, text: str) -> None:
        self._line(f"{self.prog}: {text}")

    def _line(self, text: str) -> None:
        self._hide()
        try:
            self.stream.write(escape.visible(text) + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            return

    def advance(self, phase: str, amount: int, total: int | None = None, unit: str = "files") -> None:
        if not self.bars:
            return
        if phase != self._phase:
            self._hide()
            self._phase, self._start, self._waiting = phase, clock.monotonic(), 0
        if self._bar is None:
            self._waiting += amount
            if clock.monotonic() - self._start < BAR_AFTER_SECONDS:
                return
            from tqdm import tqdm

            is_bytes = unit == "bytes"
            self._bar = tqdm(
                desc=phase,
                total=total,
                initial=0,
                unit="B" if is_bytes else f" {unit}",
                unit_scale=is_bytes,
                file=self.stream,
                leave=False,
                dynamic_ncols=True,
            )
            amount = self._waiting
        self._bar.update(amount)

    def _hide(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def close(self) -> None:
        """Take the bar away."""
        self._hide()
        self._phase = ""


def page(data: bytes, environment: Mapping[str, str]) -> bool:
    """Show long text through the user's pager; False when it fits the screen or there is no pager."""
    return page_stream(iter((data,)), environment) is None


def page_stream(chunks: Iterator[bytes], environment: Mapping[str, str]) -> Iterator[bytes] | None:
    """Show text through the user's pager while it is still being made.

    Returns None when that was done; what is to be printed otherwise: text that fits the screen, or all of it when
    there is no pager. JVS_PAGER goes before PAGER; empty or `cat` means none.
    """
    import itertools
    import shutil

    command = environment.get("JVS_PAGER", environment.get("PAGER", "less"))
    words = command.split()
    if not words or words == ["cat"] or shutil.which(words[0], path=environment.get("PATH")) is None:
        return chunks
    lines = shutil.get_terminal_size().lines
    first: list[bytes] = []
    for chunk in chunks:
        first.append(chunk)
        lines -= chunk.count(b"\n")
        if lines <= 1:
            break
    else:
        return iter(first)
    _feed(command, itertools.chain(first, chunks), environment)
    return None


def _feed(command: str, chunks: Iterator[bytes], environment: Mapping[str, str]) -> None:
    """Run the pager to its end. Ctrl-C is its business meanwhile, as in every program with a pager."""
    import signal
    import subprocess

    extended = {"LESS": "FRX", **environment}
    process = subprocess.Popen(["/bin/sh", "-c", command], stdin=subprocess.PIPE, env=extended)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert process.stdin is not None
    try:
        for chunk in chunks:
            process.stdin.write(chunk)
    except BrokenPipeError:  # the reader has seen enough
        pass
    finally:
        try:
            process.stdin.close()
        except BrokenPipeError:  # as above
            pass
        process.wait()
        signal.signal(signal.SIGINT, before)
