"""Interrupts operations at points, each in a fresh copy of the repository, and judges what follows."""

from __future__ import annotations

import os
import time

from lib.harness import Failure
from lib.scenarios import Scenario
from supervisor import seccomp

from torture.bench import Bench
from torture.judging import judge
from torture.manners import manners
from torture.points import Point
from torture.prepared import Prepared
from torture.verdict import Verdict


class Torturer(Bench):
    """Runs points in directories of their own."""

    def try_to_prepare(self, scenario: Scenario) -> Prepared | Failure | seccomp.Unsupported:
        """Prepare a scenario in a worker process, whose exceptions are answers."""
        try:
            return self.prepare(scenario)
        except (Failure, seccomp.Unsupported) as error:
            return error

    def run(self, point: Point) -> Verdict:
        """Interrupt one operation and judge what follows."""
        prepared = self.prepared[point.scenario]
        began = time.monotonic()
        place = self.place(prepared.base, f"worker-{os.getpid()}")
        with place as env:
            outcome = self.supervised(prepared, env, point.action())
            violations = manners(point, outcome)
            known = None if point.kind == "kill" else prepared.recovered
            before = len(prepared.recovered)
            violations += judge(prepared, env, outcome.returncode, point.at, known)
            seen = known is not None and len(known) == before
            if violations:
                place.keep_as(os.path.join(self.directory, f"{point.scenario}-{point.kind}-{point.at}"))
        fired = str(outcome.fired).replace(env.directory, "") if outcome.fired else ""
        where, seconds = place.directory if violations else "", time.monotonic() - began
        return Verdict(point, fired, outcome.returncode, violations, seconds, where, seen)
