"""The crash matrix: every operation, interrupted at every system call, and judged before and after recovery.

Each operation is run once to count its calls. Then, at each call, a fresh copy of the same repository is taken and
the run is killed there, gets an errno there (once, or from then on), a signal, or a short write. The oracle judges
what is on the disk; the next command must recover it; then nothing may be left over, and the operation is completely
done or completely undone.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator

from lib import workers
from lib.harness import Failure, remove_repository
from lib.scenarios import Scenario
from supervisor import seccomp

from torture.journal import Journal, digest_of
from torture.points import Point, points_of
from torture.torturer import Torturer
from torture.verdict import Verdict, attempt

_COLUMNS = ("points", "fired", "violations", "alike")


class Matrix:
    """One run over the points of some operations, and what it counted."""

    def __init__(self, args: argparse.Namespace, bin_dir: str, directory: str) -> None:
        self.args, self.directory = args, directory
        self.torturer = Torturer(bin_dir, directory)
        self.journal = Journal(args.journal)
        self.points: list[list[Point]] = []
        self.broken: dict[str, str] = {}
        self.bad: list[Verdict] = []
        self.by_operation: dict[str, list[int]] = {}
        self.by_kind: dict[str, list[int]] = {}
        self.calls: dict[str, str] = {}

    def run(self, chosen: list[Scenario], kinds: tuple[str, ...]) -> int:
        """Prepare the operations, run their points and print the counts; return the exit status."""
        try:
            self._prepare(chosen, kinds)
        except seccomp.Unsupported as reason:
            print(f"cannot run here: {reason}", file=sys.stderr)
            return 4
        if not self.args.list:
            self._run_points()
        self._report()
        remove_repository(os.path.join(self.directory, "base"))
        if not os.listdir(self.directory):
            os.rmdir(self.directory)
        if not self.args.list and self.points and not self._count("points"):
            print("no point ran: give it more seconds", file=sys.stderr)
            return 4  # nothing was shown, which is no success
        return 3 if self.bad or self.broken else 0  # jvs-errors(7): it ran to its end, and the answer is no

    def _say(self, text: str) -> None:
        if not self.args.json:
            print(text, flush=True)

    def _prepare(self, chosen: list[Scenario], kinds: tuple[str, ...]) -> None:
        """Prepare the operations in worker processes. Errors: seccomp.Unsupported."""
        answers = workers.in_order(self.torturer.try_to_prepare, chosen, self.args.jobs)
        for scenario, prepared in zip(chosen, answers, strict=True):
            if isinstance(prepared, seccomp.Unsupported):
                raise prepared
            if isinstance(prepared, Failure):
                self.broken[scenario.name] = str(prepared)
                self._say(f"BROKEN  {scenario.name}: {prepared}")
                continue
            self.torturer.prepared[scenario.name] = prepared
            self.calls[scenario.name] = digest_of(prepared.shape)
            self.by_operation[scenario.name] = [0] * len(_COLUMNS)
            points = points_of(scenario.name, prepared.events, kinds, self.args.at)
            self.points.append(workers.spread(points, self.args.sample))
            self._say(f"{scenario.name}: {len(prepared.events)} calls, {len(self.points[-1])} points")
            if self.args.list:
                self._say("\n".join(f"  {event}" for event in prepared.events))

    def _run_points(self) -> None:
        """Run the points, those of all operations mixed, and count what came of them."""
        placed = [(i / len(row), point) for row in self.points for i, point in enumerate(row)]
        mixed = [point for _, point in sorted(placed, key=lambda each: each[0])]
        began = reported = time.monotonic()
        for verdict in self._verdicts(mixed):
            self._note(verdict)
            if time.monotonic() - reported > 60:
                reported = time.monotonic()
                count = f"... {self._count('points')} of {len(mixed)} points in {reported - began:.0f} s"
                print(count, file=sys.stderr, flush=True)

    def _verdicts(self, points: list[Point]) -> Iterator[Verdict]:
        """Yield the verdicts that the journal holds, then those on the other points."""
        deadline = None if self.args.seconds is None else time.monotonic() + self.args.seconds
        found = [self.journal.find(point, self.calls[point.scenario]) for point in points]
        before = [verdict for verdict in found if verdict is not None]
        if before:
            self._say(f"{len(before)} of {len(points)} points are in the journal")
        rest = [point for point, verdict in zip(points, found, strict=True) if verdict is None]
        work = functools.partial(attempt, self.torturer.run)
        return itertools.chain(before, workers.as_done(work, rest, self.args.jobs, deadline))

    def _note(self, verdict: Verdict) -> None:
        calls = self.calls[verdict.point.scenario]
        if self.journal.find(verdict.point, calls) is None:
            self.journal.add(verdict, calls)
        by_kind = self.by_kind.setdefault(verdict.point.kind, [0] * len(_COLUMNS))
        for row in (self.by_operation[verdict.point.scenario], by_kind):
            row[0] += 1
            row[1] += bool(verdict.fired)
            row[2] += bool(verdict.violations)
            row[3] += verdict.seen
        if verdict.violations:
            self.bad.append(verdict)
            self._say(verdict.shown("torture"))

    def _count(self, column: str) -> int:
        return sum(row[_COLUMNS.index(column)] for row in self.by_operation.values())

    def _report(self) -> None:
        planned = sum(len(row) for row in self.points)
        if self.args.json:
            print(json.dumps(self._document(planned), indent=2))
        elif not self.args.list:
            for name, row in [*self.by_operation.items(), *self.by_kind.items()]:
                print(f"{name}: {row[0]} points, {row[1]} fired, {row[2]} with violations")
            run, broken = self._count("points"), len(self.broken)
            skipped = f", {planned - run} not started in time" if planned > run else ""
            counts = f"{run} points, {self._count('fired')} fired, {len(self.bad)} with violations"
            print(f"{counts}, {broken} operations broken{skipped}")
            print(f"{self._count('alike')} of them left a disk like one before, whose recovery had been judged")

    def _document(self, planned: int) -> dict[str, object]:
        operations, kinds = (
            {name: dict(zip(_COLUMNS, row, strict=True)) for name, row in rows.items()}
            for rows in (self.by_operation, self.by_kind)
        )
        rows = [
            {"point": str(v.point), "fired": v.fired, "exit": v.code, "violations": v.violations, "kept": v.directory}
            for v in self.bad
        ]
        shown = {"operations": operations, "kinds": kinds, "violations": rows}
        return {**shown, "broken": self.broken, "planned": planned}
