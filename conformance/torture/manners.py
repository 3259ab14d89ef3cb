"""How an interrupted command must end: with a class and one line, without a traceback, in time."""

from __future__ import annotations

import signal

from supervisor import supervise

from torture.bench import HANG_SECONDS
from torture.points import ERRNOS, Point


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
    """Exit 0 after a sync that failed is right for the index, which is a cache, and on a full disk that got space.

    It is right as well for the record of what an undo need not keep, as long as all of it is kept.
    """
    failed = outcome.fired
    if failed is None or failed.name not in supervise.SYNCS or "/index.sqlite" in failed.paths[0]:
        return []
    if failed.paths[0].endswith("/.jvs"):  # only SQLite syncs this directory, for its own journal
        return []
    if _keeps_all(failed, outcome):
        return []
    again = [
        event for event in outcome.events[failed.number :] if (event.name, event.paths) == (failed.name, failed.paths)
    ]
    if point.kind in ("ENOSPC", "EDQUOT") and again:
        return []
    return [f"exit 0, though {failed.name} of '{failed.paths[0]}' failed"]


def _keeps_all(failed: supervise.Event, outcome: supervise.Outcome) -> bool:
    """Answer whether it was held.cbor that could not be synced, and nothing that it names was removed then."""
    home, _, name = failed.paths[0].partition("/held.cbor")
    before, later = outcome.events[: failed.number - 1], outcome.events[failed.number :]
    recorded = bool(before) and before[-1].paths[-1] == f"{home}/held.cbor"
    if "/.jvs/undo/" not in home or not (name or recorded):
        return False
    gone = [event.paths[0] for event in later if "unlink" in event.name]
    return not any(path.startswith(home + "/") for path in gone if path != f"{home}/held.cbor.tmp")
