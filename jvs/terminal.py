"""What a person sees: colours, widths, ages, sizes, progress bars, the pager. Text is made here, printed by `cli`.

Source: jvs(1), NO_COLOR.
"""

from __future__ import annotations

from jvs import clock
from jvs.observe import Observer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
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


def show_path(path: bytes) -> str:
    """Return a path for people: odd bytes and control characters escaped, so that one path is one line."""
    text = path.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def show_text(text: str) -> str:
    """Return text that somebody wrote (a note) for one line: control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def cut(text: str, width: int) -> str:
    """Return text cut to a width, with an ellipsis."""
    return text if len(text) <= width else text[: max(width - 1, 0)] + "…"


def age(ns: int) -> str:
    """Return how long ago a time is, in the unit that says most: `12 s ago`, `3 h ago`. Units: ns since 1970."""
    seconds = (clock.now_ns() - ns) // 1_000_000_000
    if seconds < 0:
        return "in the future"
    for limit, unit, name in ((90, 1, "s"), (5400, 60, "min"), (129600, 3600, "h"), (1 << 60, 86400, "days")):
        if seconds < limit:
            return f"{seconds // unit} {name} ago"
    return ""


def size(count: int) -> str:
    """Return a number of bytes for people: `0 B`, `12.3 KiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB", "PiB"):
        if abs(value) < 1024 or unit == "PiB":
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return ""


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return `1 file`, `2 files`."""
    return f"{count} {one if count == 1 else many or one + 's'}"


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
        self._calls = 0

    def step(self, name: str, seconds: float) -> None:
        if self.trace:
            self._line(f"{self.prog}: {name:<20} {seconds * 1000:9.1f} ms")

    def remark(self, text: str) -> None:
        self._line(f"{self.prog}: {text}")

    def _line(self, text: str) -> None:
        self._hide()
        try:
            self.stream.write(text + "\n")
            self.stream.flush()
        except (OSError, ValueError):
            return

    def advance(self, phase: str, amount: int, total: int | None = None, unit: str = "files") -> None:
        if not self.bars:
            return
        if phase != self._phase:
            self._hide()
            self._phase, self._start, self._waiting, self._calls = phase, clock.monotonic(), 0, 0
        self._calls += 1
        if self._bar is None:
            self._waiting += amount
            if (self._calls % 64 and amount < 1 << 16) or clock.monotonic() - self._start < BAR_AFTER_SECONDS:
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
    import shutil
    import subprocess

    lines = shutil.get_terminal_size().lines
    if data.count(b"\n") < lines - 1:
        return False
    command = environment.get("JVS_PAGER", environment.get("PAGER", "less"))
    if not command or command == "cat" or shutil.which(command.split()[0]) is None:
        return False
    extended = dict(environment)
    extended.setdefault("LESS", "FRX")
    with subprocess.Popen(["sh", "-c", command], stdin=subprocess.PIPE, env=extended) as process:
        assert process.stdin is not None
        try:
            process.stdin.write(data)
            process.stdin.close()
        except BrokenPipeError:  # the reader has seen enough
            pass
        process.wait()
    return True
