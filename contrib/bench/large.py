"""A million files on btrfs: what does not depend on their number, and what others than root can do."""

from __future__ import annotations

import subprocess
from pathlib import Path

from cases import NO_SEARCH, Place
from measure import Row, Took, run
from workloads import Shape

FILES = (Shape(10_000, 100, 64),)


def measure(bin_dir: str, fs: str, mount: Path, runs: int) -> list[Row]:
    """Fork and clone against a bare snapshot, and `status` without asking the filesystem against git."""
    place = Place(bin_dir, fs, mount, "by-files", runs, FILES)
    try:
        for note in ("base", "at rest"):
            place.snapshot(note)
        place.fork()
        place.pair("clone", lambda: _clone(place), lambda: _bare(place), "btrfs subvolume snapshot + Python start")
        place.git("status")

        def status() -> Took:
            return run([*NO_SEARCH, place.jvs, "status"], place.main)

        place.pair("status, not as root", status, lambda: place.git("status", "--short"), "git status")
        return place.rows
    finally:
        place.clean()


def _clone(place: Place) -> Took:
    target = place.base / "clone"
    took = run([place.jvs, "clone", str(place.main.parent), str(target)])
    for path in sorted(target.glob(".jvs/snapshots/*/payload")):
        subprocess.run(["btrfs", "property", "set", str(path), "ro", "false"], check=True)
    for path in place.subvolumes():
        if target in path.parents:
            place.drop(path)
    place.drop(target)
    return took


def _bare(place: Place) -> Took:
    start = run([place.python, "-c", "pass"])
    return place.raw(whole=True)[0] + start[0], 0
