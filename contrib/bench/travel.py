"""How long a stream takes, next to `tar | tar`: a gigabyte, and a change of it; both ends and the sync counted."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from measure import Row, Took, compare, run
from workloads import Shape, fill

SHAPES = {"T1": (Shape(4, 16, 16 << 20),), "T2": (Shape(100, 100, 100 << 10),)}
"""A gigabyte in 64 files, and in 10,000."""


def measure(bin_dir: str, fs: str, mount: Path, runs: int) -> list[Row]:
    """Send a repository to another one on the same filesystem, whole and then what changed since."""
    rows: list[Row] = []
    for name, shapes in SHAPES.items():
        rows += _Travel(os.path.join(bin_dir, "jvs"), fs, mount / f"bench-{name}", name, runs).rows(shapes)
    return rows


class _Travel:
    def __init__(self, jvs: str, fs: str, base: Path, workload: str, runs: int) -> None:
        self.jvs, self.fs, self.base, self.workload, self.runs = jvs, fs, base, workload, runs
        self.serial = 0
        self.here, self.there = base / "here", base / "there"

    def rows(self, shapes: tuple[Shape, ...]) -> list[Row]:
        self.drop()
        self.base.mkdir()
        try:
            run([self.jvs, "init", str(self.here)])
            tree = fill(self.here / "main", shapes)
            run([self.jvs, "snapshot", "first"], self.here / "main")
            os.sync()
            facts = {"fs": self.fs, "workload": self.workload, "files": tree.count, "against": "tar | tar; sync"}
            whole = compare(self.whole, self.tar, self.runs, what="send | receive", changed=0, **facts)
            self.piped("")
            tree.change(10)
            run([self.jvs, "snapshot", "second"], self.here / "main")
            facts["against"] = ""
            change = compare(self.change, None, 1, what="the same, 10 files changed", changed=10, **facts)
            return [whole, change]
        finally:
            self.drop()

    def drop(self) -> None:
        for place in (self.here, self.there):
            if place.exists():
                self.detach(place)
        shutil.rmtree(self.base, ignore_errors=True)

    def detach(self, place: Path) -> None:
        """Let a repository go; on btrfs nothing else removes its snapshots."""
        subprocess.run([self.jvs, "-C", str(place), "detach", "--delete-history"], check=False, capture_output=True)

    def fresh(self) -> None:
        if self.there.exists():
            self.detach(self.there)
            shutil.rmtree(self.there)
        run([self.jvs, "init", str(self.there)])

    def piped(self, options: str) -> Took:
        """Time both ends at once; the peak is that of the receiver."""
        script = f'"$1" -C "$2" send HEAD {options} | exec "$1" -C "$3" receive'
        return run(["bash", "-o", "pipefail", "-c", script, "sh", self.jvs, str(self.here), str(self.there)])

    def whole(self) -> Took:
        self.fresh()
        os.sync()
        return self.piped("")

    def change(self) -> Took:
        return self.piped("--since HEAD~1")

    def tar(self) -> Took:
        copy = self.base / f"copy-{self.serial}"
        self.serial += 1
        copy.mkdir()
        os.sync()
        start = time.perf_counter()
        script = 'tar -C "$1/main" -cf - . | tar -C "$2" -xf - && sync -f "$2"'
        took = run(["bash", "-o", "pipefail", "-c", script, "sh", str(self.here), str(copy)])
        wall = time.perf_counter() - start
        shutil.rmtree(copy)
        os.sync()
        return wall, took[1]
