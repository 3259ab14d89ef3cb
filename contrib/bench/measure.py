"""Timing whole processes from outside, jvs and the other command in turn."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

Took = tuple[float, float]
"""Shape: wall time in seconds, peak memory of the process in MiB."""


@dataclass
class Row:
    """One comparison: medians in seconds, their ratio, and the peak memory of jvs in MiB."""

    fs: str
    workload: str
    what: str
    jvs_s: float
    other_s: float
    ratio: float
    peak_mib: float
    files: int
    changed: int
    against: str
    spread: float
    """The slowest run of jvs, divided by the quickest: how noisy the machine was."""

    def line(self) -> str:
        return (
            f"{self.fs:<15} {self.workload} {self.what:<26} {self.jvs_s:>9.3f} s {self.other_s:>9.3f} s "
            f"{self.ratio:>7.2f}x {self.peak_mib:>6.1f} MiB  {self.against}"
        )

    def as_json(self) -> dict[str, object]:
        return asdict(self)


HEAD = f"{'filesystem':<15} {'':2} {'what':<26} {'jvs':>11} {'other':>11} {'ratio':>8} {'peak':>10}  against"


def run(command: list[str], cwd: Path | None = None) -> Took:
    """Run a command to its end. Errors: SystemExit with what it said when it fails."""
    with open(os.devnull, "wb") as null:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=cwd, stdout=null, stderr=subprocess.PIPE)
        assert process.stderr is not None
        complaint = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        text = complaint.decode(errors="replace")[:500]
        raise SystemExit(f"{' '.join(command)} failed with {process.returncode}: {text}")
    return wall, usage.ru_maxrss / 1024


def compare(mine: Callable[[], Took], theirs: Callable[[], Took] | None, runs: int, **facts: object) -> Row:
    """Time two callables in turn, A B A B; without `theirs` the time of jvs stands alone."""
    a: list[Took] = []
    b: list[float] = []
    for _ in range(runs):
        a.append(mine())
        if theirs is not None:
            b.append(theirs()[0])
    walls = [wall for wall, _ in a]
    wall, other = statistics.median(walls), statistics.median(b) if b else 0.0
    row = Row(
        jvs_s=round(wall, 4),
        other_s=round(other, 4),
        ratio=round(wall / other, 2) if other else 0.0,
        peak_mib=round(max(peak for _, peak in a), 1),
        spread=round(max(walls) / min(walls), 2),
        **facts,  # type: ignore[arg-type]
    )
    print(row.line(), file=sys.stderr)
    return row
