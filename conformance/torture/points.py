"""Points: which interruptions of an operation there are."""

from __future__ import annotations

import errno
import re
import signal
from dataclasses import dataclass

from supervisor import supervise

ERRNOS = {"EIO": errno.EIO, "ENOSPC": errno.ENOSPC, "EDQUOT": errno.EDQUOT, "EROFS": errno.EROFS}
KINDS = ("kill", *(f"{name}{suffix}" for name in ERRNOS for suffix in ("", "+")), "INT", "TERM", "short")


@dataclass(frozen=True)
class Point:
    """One interruption: what happens to which operation at which call."""

    scenario: str
    kind: str
    at: int

    def __str__(self) -> str:
        return f"--only {self.scenario} --kind {self.kind} --at {self.at}"

    def action(self) -> supervise.Action:
        if self.kind in ("kill", "short"):
            return supervise.Action(self.kind, self.at)
        if self.kind in ("INT", "TERM"):
            return supervise.Action("signal", self.at, signal.Signals["SIG" + self.kind])
        return supervise.Action("errno", self.at, ERRNOS[self.kind.removesuffix("+")], sticky=self.kind.endswith("+"))


def shape_of(events: list[str]) -> list[str]:
    """Return calls and paths without what differs from run to run: ids, process ids, random names, sizes."""
    return [re.sub(r"[0-9a-f]{8,}|torn-\S+|\d+ bytes|\d{4,}", "*", event.split(" ", 1)[1]) for event in events]


def points_of(scenario: str, events: list[str], kinds: tuple[str, ...], at: int | None) -> list[Point]:
    """Return every interruption of a scenario that can happen.

    Short writes happen only where something is written, and a full disk only where space is taken: one that is full
    from a call on that takes none is the same as one that is full from the next call on.
    """
    points = []
    for number, event in enumerate(events, 1):
        if at is not None and number != at:
            continue
        name, detail = event.split(" ")[1], event.rsplit(" ", 1)[1]
        for kind in kinds:
            if kind == "short" and name not in ("write", "pwrite64"):
                continue
            if not supervise.can_fail(name, detail, ERRNOS.get(kind.removesuffix("+"), 0)):
                continue
            points.append(Point(scenario, kind, number))
    return points
