"""Many worktrees and two hosts on one volume: what waits for what.

A second mount of a volume behaves like a second host. All processes run on this machine, so that more of them than it
has cores share these: read how the time grows, not the seconds.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cases import Place
from measure import run
from workloads import Shape

COUNTS = (1, 2, 4, 8)
MOST_SECONDS = 120
IDLE_TICKS = 10
"""Of 100 in a second: what a mount that nobody uses does by itself."""
Figure = dict[str, object]


class Hosts:
    """A repository of 10,000 files that is seen through one or two mounts."""

    def __init__(self, bin_dir: str, fs: str, mounts: list[Path]) -> None:
        self.fs = fs
        self.place = Place(bin_dir, fs, mounts[0], "hosts", 1, (Shape(100, 100, 4096),))
        self.roots = [mount / self.place.base.name / "repo" for mount in mounts]
        self.figures: list[Figure] = []
        self.place.snapshot("base")

    def together(self, what: str, commands: list[tuple[list[str], Path]], hosts: int) -> None:
        """Start all commands at once, and keep when the first and the last of them were done."""
        with ThreadPoolExecutor(len(commands)) as pool:
            start = time.perf_counter()
            took = [future.result()[0] for future in [pool.submit(run, *command) for command in commands]]
            wall = time.perf_counter() - start
        self._keep(what, len(commands), hosts, wall, took)

    def _keep(self, what: str, count: int, hosts: int, wall: float, took: list[float]) -> None:
        figure: Figure = {
            "fs": self.fs,
            "what": what,
            "at_once": count,
            "hosts": hosts,
            "wall_s": round(wall, 3),
            "each_s": round(wall / count, 3),
            "median_s": round(statistics.median(took), 3),
        }
        self.figures.append(figure)
        print(line(figure), file=sys.stderr)

    def _at(self, number: int, hosts: int) -> Path:
        return self.roots[number % hosts]

    def forks(self, count: int, hosts: int) -> list[str]:
        """Fork the head several times at once."""
        names = [f"n{count}h{hosts}i{i}" for i in range(count)]
        jvs = self.place.jvs
        self.together(
            "fork 10,000 files",
            [([jvs, "fork", "HEAD", name], self._at(i, hosts) / "main") for i, name in enumerate(names)],
            hosts,
        )
        return names

    def snapshots(self, names: list[str], hosts: int) -> None:
        """Change ten files in each worktree and snapshot all of them at once."""
        jvs = self.place.jvs
        trees = [self._at(i, hosts) / "worktrees" / name for i, name in enumerate(names)]
        for tree in trees:
            run([jvs, "snapshot", "first"], tree)  # so that the index knows the worktree
            self.place.tree.change(10, tree)
        self.together("snapshot of a worktree each", [([jvs, "snapshot", "second"], tree) for tree in trees], hosts)

    def removals(self, names: list[str], hosts: int) -> None:
        """Remove worktrees one after the other, through the first mount."""
        command = [self.place.jvs, "worktree", "remove", "--discard"]
        took = [run([*command, name], self.roots[0] / "main")[0] for name in names]
        self._keep("removal of a worktree", len(names), hosts, sum(took), took)

    def clones(self, count: int, hosts: int) -> None:
        """Do what forks and removals rest on, with JuiceFS alone, in the same order through the same mounts."""
        if not self.fs.startswith("juicefs"):
            return
        program, bases = self.place.juicefs, [root.parent for root in self.roots]
        targets = [bases[i % hosts] / f"raw-{count}-{hosts}-{i}" for i in range(count)]
        sources = [bases[i % hosts] / "repo" / "main" for i in range(count)]
        commands = [
            ([program, "clone", "-p", str(one), str(two)], bases[0]) for one, two in zip(sources, targets, strict=True)
        ]
        self.together("juicefs clone", commands, hosts)
        took = [run([program, "rmr", str(bases[0] / target.name)], bases[0])[0] for target in targets]
        self._keep("juicefs rmr", count, hosts, sum(took), took)

    def one_worktree(self, hosts: int) -> None:
        """Snapshot one worktree from all sides at once: these wait for each other."""
        jvs = self.place.jvs
        commands = [([jvs, "snapshot", f"same {i}"], self._at(i, hosts) / "main") for i in range(4)]
        self.together("snapshot of one worktree", commands, hosts)

    def seen_elsewhere(self) -> None:
        """Measure how long another host takes to list what this one has published."""
        jvs = self.place.jvs
        waits = []
        for i in range(5):
            note = f"told {i}"
            run([jvs, "snapshot", note], self.roots[0] / "main")
            start = time.perf_counter()
            while note not in _history(jvs, self.roots[1] / "main"):
                time.sleep(0.02)
            waits.append(time.perf_counter() - start)
        figure: Figure = {"fs": self.fs, "what": "seen by the other host", "at_once": 1, "hosts": 2}
        figure |= {name: round(statistics.median(waits), 3) for name in ("wall_s", "each_s", "median_s")}
        self.figures.append(figure)
        print(line(figure), file=sys.stderr)


def wait_until_idle() -> None:
    """Wait until the mounts of JuiceFS are idle: they delete in the background, and what comes next would wait for it.

    Errors: SystemExit when they are not idle after two minutes.
    """
    idle = 0
    before = _computed()
    for _ in range(MOST_SECONDS):
        time.sleep(1)
        now = _computed()
        idle = idle + 1 if now - before < IDLE_TICKS else 0
        before = now
        if idle >= 2:
            return
    raise SystemExit("the mounts are still busy: what is measured now would not be what it is called")


def is_mount(command: bytes) -> bool:
    """Answer whether a command line is that of a JuiceFS mount, which writes blanks over the NULs in it."""
    return b"juicefs mount " in command.replace(b"\0", b" ")


def _computed() -> int:
    """Return the clock ticks that all JuiceFS mounts of this machine have used."""
    ticks = 0
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdigit() and is_mount((process / "cmdline").read_bytes()):
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        except OSError:  # it ended
            continue
    return ticks


def _history(jvs: str, tree: Path) -> str:
    return subprocess.run([jvs, "history", "-n", "3"], cwd=tree, check=True, capture_output=True, text=True).stdout


def line(figure: Figure) -> str:
    return (
        f"{figure['fs']:<15} {figure['what']:<28} {figure['at_once']} at once, {figure['hosts']} mount(s): "
        f"{figure['wall_s']:>7.3f} s in all, {figure['each_s']:>7.3f} s for each"
    )


def measure(bin_dir: str, fs: str, mounts: list[Path]) -> list[Figure]:
    """Measure forks and snapshots side by side, through one mount and through all."""
    hosts = Hosts(bin_dir, fs, mounts)
    try:
        for seen in range(1, len(mounts) + 1):
            for count in COUNTS:
                names = hosts.forks(count, seen)
                hosts.snapshots(names, seen)
                hosts.removals(names, seen)
                wait_until_idle()
                hosts.clones(count, seen)
                wait_until_idle()
            hosts.one_worktree(seen)
        if len(mounts) > 1:
            hosts.seen_elsewhere()
    finally:
        hosts.place.clean()
    return hosts.figures
