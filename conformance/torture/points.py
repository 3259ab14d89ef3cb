"""Points: which interruptions there are, what came of each, and the journal of a run that may be cut off."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supervisor import supervise

if TYPE_CHECKING:
    from torture.torturer import Prepared

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


@dataclass
class Verdict:
    """What one interruption led to. `fired` is the call at which it happened, empty when it never did."""

    point: Point
    fired: str
    code: int
    violations: list[str]
    seconds: float
    directory: str = ""
    seen: bool = False


def shape_of(events: list[str]) -> list[str]:
    """Return calls and paths without what differs from run to run: ids, process ids, random names, sizes."""
    return [re.sub(r"[0-9a-f]{8,}|torn-\S+|\d+ bytes|\d{4,}", "*", event.split(" ", 1)[1]) for event in events]


def digest_of(shape: list[str]) -> str:
    """Return a short name for a sequence of calls."""
    return hashlib.sha256("\n".join(shape).encode()).hexdigest()[:16]


def points_of(prepared: Prepared, kinds: tuple[str, ...], at: int | None) -> list[Point]:
    """Return every interruption of a scenario that can happen.

    Short writes happen only where something is written, and a full disk only where space is taken: one that is full
    from a call on that takes none is the same as one that is full from the next call on.
    """
    points = []
    for number, event in enumerate(prepared.events, 1):
        if at is not None and number != at:
            continue
        name, detail = event.split(" ")[1], event.rsplit(" ", 1)[1]
        for kind in kinds:
            if kind == "short" and name not in ("write", "pwrite64"):
                continue
            if not supervise.can_fail(name, detail, ERRNOS.get(kind.removesuffix("+"), 0)):
                continue
            points.append(Point(prepared.scenario.name, kind, number))
    return points


def spread(points: list[Point], most: int | None) -> list[Point]:
    """Return points in an order that covers all of them evenly from the start, always the same; at most `most`."""
    order = sorted(range(len(points)), key=lambda i: (i * 0.6180339887498949) % 1.0)
    return [points[i] for i in order][: most or None]


class Journal:
    """The verdicts of points, one line of JSON each, so that a run that was cut off goes on where it stopped.

    A line counts only for the calls that it was made for: when an operation makes other calls now, its points run
    again. What the program does between its calls, the journal cannot see: begin a new one for a new version.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.known: dict[tuple[str, str], Verdict] = {}
        if path is not None and os.path.exists(path):
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    self._read(line)
        self.file = None if path is None else open(path, "a", encoding="utf-8")  # noqa: SIM115 - open to the end

    def _read(self, line: str) -> None:
        try:
            row = json.loads(line)
        except ValueError:
            return  # torn by what cut the run off
        point = Point(row["scenario"], row["kind"], row["at"])
        rest = [row[key] for key in ("fired", "exit", "violations", "seconds", "kept", "seen")]
        verdict = Verdict(point, *rest)
        self.known[str(point), row["calls"]] = verdict

    def find(self, point: Point, calls: str) -> Verdict | None:
        """Return the verdict on a point that ran before."""
        return self.known.get((str(point), calls))

    def add(self, verdict: Verdict, calls: str) -> None:
        """Write a verdict down."""
        if self.file is None:
            return
        row = {
            "scenario": verdict.point.scenario,
            "kind": verdict.point.kind,
            "at": verdict.point.at,
            "calls": calls,
            "fired": verdict.fired,
            "exit": verdict.code,
            "violations": verdict.violations,
            "seconds": round(verdict.seconds, 4),
            "seen": verdict.seen,
            "kept": verdict.directory,
        }
        self.file.write(json.dumps(row) + "\n")
        self.file.flush()
