"""How an interrupted command must have ended, and how two summaries of a repository differ."""

from __future__ import annotations

import signal
from typing import Any

from supervisor import supervise

from torture.points import ERRNOS, Point

HANG_SECONDS = 25.0


def manners(point: Point, outcome: supervise.Outcome) -> list[str]:
    """A failure has a class and one line, no traceback, no hang (I22, I23); no failed sync is forgotten (I24)."""
    errors = outcome.stderr.decode("utf-8", "replace")
    if outcome.timed_out:
        return [f"no end within {HANG_SECONDS:g} s"]
    if point.kind == "kill":
        return []
    if outcome.returncode == 0:
        return _forgotten_sync(point, outcome) if point.kind.removesuffix("+") in ERRNOS else []
    found = [f"a traceback: {errors[-800:]}"] if "Traceback" in errors else []
    if point.kind in ("INT", "TERM"):
        number = signal.Signals["SIG" + point.kind]
        if outcome.returncode not in (128 + number, -number):
            found.append(f"exit {outcome.returncode} after {point.kind}: {errors[-300:]}")
    elif point.scenario == "pipeline":
        pass  # the status is that of the last step, which got nothing to read
    elif outcome.returncode in (1, 2, 70) or outcome.returncode < 0:
        found.append(f"exit {outcome.returncode} after {point.kind}: {errors[-300:]}")
    elif ": E_" not in errors + outcome.stdout.decode("utf-8", "replace"):  # doctor's findings are results
        found.append(f"no error class after {point.kind}: {errors[-300:]}")
    return found


def _forgotten_sync(point: Point, outcome: supervise.Outcome) -> list[str]:
    """Exit 0 after a sync that failed: only that of the index, which is a cache, or on a disk where room was made."""
    failed = outcome.fired
    if failed is None or failed.name not in supervise.SYNCS or "/index.sqlite" in failed.paths[0]:
        return []
    if failed.paths[0].endswith("/.jvs"):  # only SQLite syncs this one, for its own journal
        return []
    again = [
        event for event in outcome.events[failed.number :] if (event.name, event.paths) == (failed.name, failed.paths)
    ]
    if point.kind in ("ENOSPC", "EDQUOT") and again:
        return []
    return [f"exit 0, though {failed.name} of '{failed.paths[0]}' failed"]


def differences(what: str, got: dict[str, Any], allowed: list[dict[str, Any]]) -> list[str]:
    if got in allowed:
        return []
    said = []
    for wanted in allowed:
        keys = [key for key in {**wanted, **got} if wanted.get(key) != got.get(key)]
        said.append("; ".join(f"{key}: got {got.get(key)}, wanted {wanted.get(key)}" for key in keys))
    return [f"{what}: " + " OR ".join(said)]


def is_part_of_a_collection(got: dict[str, Any], endings: list[dict[str, Any]]) -> bool:
    """Answer whether a collection ended between done and undone: each snapshot is there whole, or gone with its stone.

    Settling finishes what is half out and lets stay what is whole (jvs-protocol(7), Collection).
    """
    done, undone = ({row[0] for row in ending.get("snapshots", ())} for ending in endings[:2])
    here = {row[0] for row in got.get("snapshots", ())}
    stones = [set(ending.get("tombstones", ())) for ending in endings[:2]]
    same = ("heads", "latests", "worktrees", "undo")
    return (
        done <= here <= undone
        and stones[1] <= set(got.get("tombstones", ())) <= stones[0]
        and len(undone - here) == len(set(got.get("tombstones", ())) - stones[1])
        and all(got.get(key) == endings[0].get(key) for key in same)
    )
