"""The journal of a run of torture that may be cut off and continued."""

from __future__ import annotations

import hashlib
import json
import os

from torture.points import Point
from torture.verdict import Verdict


def digest_of(shape: list[str]) -> str:
    """Return a short name for a sequence of calls."""
    return hashlib.sha256("\n".join(shape).encode()).hexdigest()[:16]


class Journal:
    """The verdicts of points, one line of JSON each, so that a run that was cut off continues where it stopped.

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
            return  # torn when the run was cut off
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
