"""The command line of interleave: all pairs of commands, on one worktree and on two."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from lib import workers
from lib.harness import bin_directory, fast_directory, remove_repository
from supervisor import seccomp
from torture.verdict import Verdict, attempt

from interleave.interleaver import BUSY, OPERATIONS, PLACES, Interleaver, Pair

_SUMMARY = "Every way in which one command can run in the middle of another: the first is stopped, the second runs."
_COUNTS = ("points", "run", "both", "busy", "refused", "violations")


def pairs(operations: list[str], places: list[str]) -> Iterator[Pair]:
    """Yield all ordered pairs; one place is enough where neither operation is about a worktree."""
    for place in places:
        for first in operations:
            for second in operations:
                if place == "one" or {first, second} & {"snapshot", "restore", "fork"}:
                    yield Pair(first, second, place)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="conformance/interleave", description=_SUMMARY)
    parser.add_argument("--bin", metavar="DIR", help="the directory that holds jvs and jvs-* (that of `jvs` on PATH)")
    parser.add_argument("--dir", metavar="DIR", help="work below DIR (a memory filesystem when there is one)")
    parser.add_argument("--only", metavar="NAMES", default="", help=f"only pairs of these: {','.join(OPERATIONS)}")
    parser.add_argument("--pair", metavar="FIRST+SECOND", help="only this pair")
    parser.add_argument("--place", choices=PLACES, help="only on one worktree, or only on two")
    parser.add_argument("--at", metavar="N", type=int, help="only before this call of the first")
    parser.add_argument("--sample", metavar="N", type=int, help="at most N points of each pair, evenly spread")
    parser.add_argument("--seconds", metavar="N", type=float, help="start no point after N seconds")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="run N at a time (2)")
    parser.add_argument("--list", action="store_true", help="list the pairs and how many points each has")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run all interleavings from the command line."""
    parser = make_parser()
    args = parser.parse_args(argv)
    bin_dir = bin_directory(parser, args.bin)
    operations = [name for name in args.only.split(",") if name] or list(OPERATIONS)
    chosen = list(pairs(operations, [args.place] if args.place else list(PLACES)))
    if args.pair:
        chosen = [pair for pair in chosen if f"{pair.first}+{pair.second}" == args.pair]
    if not chosen or set(operations) - set(OPERATIONS):
        parser.error("there is no such pair")
    directory = tempfile.mkdtemp(prefix="jvs-interleave-", dir=args.dir or fast_directory())
    os.chmod(directory, 0o755)
    interleaver = Interleaver(bin_dir, directory)
    try:
        interleaver.build()
        report = _report(args, interleaver, chosen)
    except seccomp.Unsupported as reason:
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 4
    finally:
        remove_repository(interleaver.base)
        if not os.listdir(directory):
            os.rmdir(directory)
    if args.json:
        print(json.dumps(report, indent=2))
    if report["totals"]["violations"]:
        return 3
    return 0 if args.list or report["totals"]["run"] else 4


def _report(args: argparse.Namespace, interleaver: Interleaver, chosen: list[Pair]) -> dict[str, Any]:
    """Run the pairs one after the other, each within its share of the time, and return the counts."""
    deadline = None if args.seconds is None else time.monotonic() + args.seconds
    rows: dict[str, dict[str, Any]] = {}
    for turn, pair in enumerate(chosen):
        until = None
        if deadline is not None:
            until = time.monotonic() + (deadline - time.monotonic()) / (len(chosen) - turn)
        interleaver.learn(pair)
        points = interleaver.points(pair)
        wanted = [point for point in points if args.at in (None, point.at)]
        row = rows[str(pair)] = {**dict.fromkeys(_COUNTS, 0), "points": len(points), "found": []}
        if not args.list:
            work = functools.partial(attempt, interleaver.run)
            for verdict in workers.as_done(work, workers.spread(wanted, args.sample), args.jobs, until):
                _note(args, verdict, row)
        _say(args, f"{pair}: " + ", ".join(f"{row[key]} {key}" for key in _COUNTS))
    totals = {"pairs": len(rows)} | {key: sum(row[key] for row in rows.values()) for key in _COUNTS}
    _say(args, "total: " + ", ".join(f"{value} {key}" for key, value in totals.items()))
    return {"pairs": rows, "totals": totals}


def _note(args: argparse.Namespace, verdict: Verdict, row: dict[str, Any]) -> None:
    row["run"] += 1
    if verdict.violations:
        row["violations"] += 1
        found = {"point": str(verdict.point), "violations": verdict.violations, "kept": verdict.directory}
        row["found"].append(found)
        _say(args, verdict.shown("interleave"))
    elif verdict.fired.endswith(BUSY):
        row["busy"] += 1
    else:
        row["both" if verdict.code == 0 and verdict.fired.endswith(": done") else "refused"] += 1


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text, flush=True)
