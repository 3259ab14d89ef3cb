"""Real power cuts: the kernel cuts the power of a filesystem at call N, it is mounted again, and judged.

Nothing is killed first: the cut happens at the entry of the call, and then the run ends.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time

from lib import namespace, workers
from lib.harness import Env, Failure
from lib.scenarios import Scenario
from supervisor import supervise

from torture.bench import Bench
from torture.disk import Disk, UnmountableError, missing
from torture.judging import judge
from torture.prepared import Prepared


class PowerCuts:
    """Cuts the power at each call of each operation, one after the other, and counts."""

    def __init__(self, args: argparse.Namespace, bin_dir: str, directory: str) -> None:
        self.args, self.bin, self.directory = args, bin_dir, directory
        self.deadline = None if args.seconds is None else time.monotonic() + args.seconds
        self.points = self.violations = self.broken = 0

    def run(self, chosen: list[Scenario]) -> int:
        """Cut, judge and print; return the exit status."""
        why = missing(self.args.power)
        if why:
            print(f"skipped: no power cuts on {self.args.power}: {why}")
            return 0
        # In a mount namespace of our own: a copy of a mount in another one keeps the filesystem alive.
        namespace.enter()
        disk = Disk(self.args.power, self.directory)
        try:
            for scenario in chosen:
                self._operation(disk, scenario)
        finally:
            disk.close()
            if not disk.mounted:
                shutil.rmtree(self.directory, ignore_errors=True)
        print(f"{self.points} power cuts, {self.violations} with violations, {self.broken} operations broken")
        return 3 if self.violations or self.broken else 0

    def _operation(self, disk: Disk, scenario: Scenario) -> None:
        try:
            bench, prepared = _prepare_on(disk, self.bin, scenario)
        except Failure as failure:
            self.broken += 1
            print(f"BROKEN  {scenario.name}: {failure}", flush=True)
            return
        count = 0
        for at in self._calls(len(prepared.events)):
            if self.deadline is not None and time.monotonic() > self.deadline:
                break
            self._cut(disk, bench, prepared, at)
            count += 1
        self.points += count
        print(f"{scenario.name} on {disk.kind}: {len(prepared.events)} calls, {count} power cuts", flush=True)

    def _calls(self, count: int) -> list[int]:
        """Return the calls to cut at. The cut right after success was reported is always made, and first."""
        calls = workers.spread([n for n in range(1, count + 1) if self.args.at in (None, n)], self.args.sample)
        return [count + 1, *calls] if self.args.at in (None, count + 1) else calls

    def _cut(self, disk: Disk, bench: Bench, prepared: Prepared, at: int) -> None:
        words = f"--only {prepared.scenario.name} --at {at}"
        try:
            found, fired = _cut_at(disk, bench, prepared, at, lie=self.args.lie)
        except UnmountableError as error:  # once can be caused by the loop device; twice is a finding
            print(f"again: {words}: {error}", flush=True)
            found, fired = _cut_at(disk, bench, prepared, at, lie=self.args.lie)
        if found:
            self.violations += 1
            print(f"VIOLATION  torture --power {self.args.power} {words}   [{fired}]")
            print("\n".join("    " + v.replace("\n", "\n      ")[:2000] for v in found[:6]), flush=True)


def _prepare_on(disk: Disk, bin_dir: str, scenario: Scenario) -> tuple[Bench, Prepared]:
    """Build the repository on a new filesystem, where engines differ, save its image, and count the calls there."""
    disk.make()
    disk.mount()
    bench = Bench(bin_dir, disk.mount_point, keep=False)
    try:
        prepared = bench.prepare(scenario)
        disk.save()
        disk.reset()
        done = bench.supervised(prepared, Env(bin_dir, prepared.base), None)
        if done.returncode != 0:
            raise Failure(f"{scenario.name} on {disk.kind}: exit {done.returncode}: {done.stderr.decode()}")
        prepared.events = [str(event).replace(prepared.base, "") for event in done.events]
    finally:
        disk.unmount()
    return bench, prepared


def _cut_at(disk: Disk, bench: Bench, prepared: Prepared, at: int, *, lie: bool) -> tuple[list[str], str]:
    """Cut at one call; beyond the last one, right after the command reported success."""
    disk.reset()
    try:
        env = Env(bench.bin, prepared.base)
        action = supervise.Action("kill", at, callback=lambda _event: disk.cut())
        outcome = bench.supervised(prepared, env, action, lie=lie)
        if outcome.fired is None:
            disk.cut()
        disk.power_up()
        code = outcome.returncode if outcome.fired is None else -9
        found = judge(prepared, env, code, at)
    except OSError as error:
        print(f"the suite itself failed: {error}", file=sys.stderr)
        raise
    finally:
        disk.unmount()
    return found, str(outcome.fired or "after the end").replace(disk.mount_point, "")
