"""A directory on the way is swapped for a link between two system calls of a command: it never leads outside.

The command stops at each call that changes something; there the swap is made, and the command goes on. What it then
does is its own affair, but the canaries stay as they are. `JVS_TEST_FUZZ_SECONDS` tries all calls, not a few.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from pathlib import Path

import canaries
import pending
import pytest
import sandbox
from supervisor import seccomp, supervise
from supervisor.standby import Standby

FUZZ_SECONDS = float(os.environ.get("JVS_TEST_FUZZ_SECONDS", "0"))
POINTS = 1
COMPONENTS = (
    *("main", "main/dir", "worktrees", "worktrees/side", "worktrees/side/dir", ".jvs/undo", ".jvs/undo/*"),
    *(".jvs/snapshots", ".jvs/snapshots/*", ".jvs/intents", ".jvs/gc", ".jvs/gc/trash", ".jvs/worktrees"),
    *(".jvs/worktrees/side", ".jvs/descriptors", ".jvs/audit"),
)
COMMANDS = ("snapshot", "restore", "undo", "discard", "gc_run", "repair")
pytestmark = pytest.mark.xdist_group("confinement")


def newest(root: Path, pattern: str) -> Path | None:
    """Return the directory that a component names now: `*` is the newest of its kind."""
    found = sorted(path for path in root.glob(pattern) if path.is_dir() and not path.is_symlink())
    return found[-1] if found else None


def swap(root: Path, outside: Path, component: str) -> bool:
    """Move a directory away and put a link to a canary in its place, as somebody with rights there can at any time."""
    path = newest(root, component)
    if path is None:
        return False
    adopted = canaries.adopt(outside, path, "adopted")
    path.rename(root.parent / "away")
    path.symlink_to(adopted)
    return True


def start(bases: dict[str, Path], name: str, root: Path) -> tuple[str, ...]:
    """Make the repository in which a command begins, and return its words."""
    base = bases["worktree_remove"] if name == "repair" else bases["clean"]
    shutil.copytree(base, root, symlinks=True)
    if name == "repair":
        return ("doctor", "--repair-runtime")
    what = pending.operations(root)[name]
    if what.prepare is not None:
        what.prepare(root)
    return what.words


def attempt(scratch: Path, bases: dict[str, Path], name: str, component: str, at: int, standby: Standby) -> list[str]:
    """Run a command with one swap before its call `at` (0: none); return what happened to the canaries."""
    top = scratch / "case"
    root, outside = top / "repo", top / "canaries"
    top.mkdir()
    try:
        words = start(bases, name, root)
        canaries.plant(outside)
        before: list[canaries.Facts] = []

        def swapped(_event: supervise.Event) -> None:
            if swap(root, outside, component):
                before.append(canaries.facts(outside))

        outcome = supervise.run(
            [standby.program, *words],
            root=str(root),
            cwd=str(root),
            action=supervise.Action("call", at, callback=swapped) if at else None,
            timeout=20,
            standby=standby,
        )
        if not at:
            return [str(len(outcome.events))]
        said = f"{name}, {component} before {outcome.fired}: "
        found = ["it did not end"] if outcome.timed_out else []
        if before:
            found += canaries.differences(before[0], canaries.facts(outside))
            found += canaries.leaks(root)
        return [said + what for what in found]
    finally:
        shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the repositories that commands begin in."""
    if reason := sandbox.is_possible():
        pytest.skip(reason)
    directory = tmp_path_factory.mktemp("bases")
    made = {"clean": directory / "clean", "worktree_remove": directory / "worktree_remove"}
    try:
        pending.build(made["clean"])
        standby = Standby(sandbox.program("jvs"))
        try:
            pending.stop(made["clean"], made["worktree_remove"], "worktree_remove", standby)
        finally:
            standby.close()
    except seccomp.Unsupported as reason:
        pytest.skip(str(reason))
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_a_swapped_component_leads_nowhere(tmp_path, bases, name):
    def work(scratch: Path) -> list[str]:
        standby = Standby(sandbox.program("jvs"))
        found: list[str] = []
        deadline = time.monotonic() + (FUZZ_SECONDS or 3600)
        try:
            calls = int(attempt(scratch, bases, name, "", 0, standby)[0])
            many = calls if FUZZ_SECONDS else POINTS
            tries = [(n, point) for n in range(len(COMPONENTS)) for point in range(many)]
            if FUZZ_SECONDS:
                random.shuffle(tries)
            else:
                tries = tries[COMMANDS.index(name) % 2 :: 2]
            for number, point in tries:
                if time.monotonic() > deadline:
                    break
                tried["cases"] += 1
                tried["commands"] += 1
                at = 1 + (point * calls + number * calls // len(COMPONENTS)) // many
                found += attempt(scratch, bases, name, COMPONENTS[number], min(at, calls), standby)
        finally:
            standby.close()
        return found

    tried = {"cases": 0, "commands": 0}
    found = sandbox.run_counted(tmp_path / "scratch", work, tried)
    assert not found, json.dumps(found[:40], indent=1)
