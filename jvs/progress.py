"""Where the library reports steps, progress and remarks; by default to nobody.

The library never prints. A command installs an observer (`set_observer`) that shows a bar, a trace or a line on
stderr; a Python program may install its own.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType
    from typing import Any


class Observer:
    """Hears what happens; this one does nothing."""

    def step(self, name: str, seconds: float) -> None:
        """A protocol step ended. Units: seconds."""

    def remark(self, text: str) -> None:
        """Something that a person should read happened, for example a dead operation was recovered."""

    def advance(self, phase: str, amount: int, total: int | None = None, unit: str = "files") -> None:
        """`amount` more units of work are done in this phase; `total` when it is known, else None."""


_observer = Observer()


def set_observer(observer: Observer) -> Observer:
    """Install an observer and return the one before."""
    global _observer
    before, _observer = _observer, observer
    return before


def remark(text: str) -> None:
    """Pass a remark to the observer."""
    _observer.remark(text)


_MOST_EFFECTS = 50
_effects: list[Mapping[str, Any]] = []
_others_at_work = False


def effect(event: Mapping[str, Any]) -> None:
    """Remember an event of the audit log: what it says is done, and stays so whatever comes next."""
    if not _others_at_work:
        _effects.append(event)
        del _effects[:-_MOST_EFFECTS]


def effects() -> list[Mapping[str, Any]]:
    """Return what this process did since `forget_effects`; what it recovered of dead operations is not among it."""
    return _effects


def forget_effects() -> None:
    """Begin a new list: another command begins."""
    _effects.clear()


class others:
    """Context manager: what is done inside was begun by another process."""

    def __enter__(self) -> None:
        global _others_at_work
        _others_at_work = True

    def __exit__(self, *_: object) -> None:
        global _others_at_work
        _others_at_work = False


def advance(phase: str, amount: int, total: int | None = None, unit: str = "files") -> None:
    """Pass progress to the observer."""
    _observer.advance(phase, amount, total, unit)


def quieten() -> None:
    """Show no bars from here on; remarks and traces go on."""
    if hasattr(_observer, "bars"):
        _observer.bars = False


class step:
    """Context manager that times one protocol step for the observer."""

    __slots__ = ("name", "start")

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> step:
        from jvs import clock

        self.start = clock.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        from jvs import clock

        _observer.step(self.name, clock.monotonic() - self.start)
