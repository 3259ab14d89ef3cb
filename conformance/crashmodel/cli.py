"""The command line of crashmodel: every disk that a crash may leave, or that it may leave without some syncs."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import tempfile
import time
from typing import Any

from lib import namespace, workers
from lib.harness import Failure, bin_directory, fast_directory, remove_repository
from lib.scenarios import Scenario, chosen_from
from supervisor import seccomp
from torture.verdict import Verdict, attempt

from crashmodel.crashstates import MODELS, Record, State, deafened, enumerate_states, sync_classes
from crashmodel.modeller import Modeller

_SUMMARY = "Every disk that a crash may leave: one run is recorded, and all its legal crash states are made and judged."
_COUNTS = ("operations", "states", "distinct", "judged", "violations")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="conformance/crashmodel", description=_SUMMARY)
    parser.add_argument("--bin", metavar="DIR", help="the directory that holds jvs and jvs-* (that of `jvs` on PATH)")
    parser.add_argument("--dir", metavar="DIR", help="work below DIR, a memory filesystem (/dev/shm)")
    parser.add_argument("--only", metavar="NAMES", default="", help="only these operations, with commas between")
    parser.add_argument("--model", choices=MODELS, help="only this model of what a crash leaves")
    parser.add_argument("--random", metavar="N", type=int, default=4, help="random choices at each crash (4)")
    parser.add_argument("--deaf", metavar="GLOB", default="", help="take syncs like GLOB for not made; must fail")
    parser.add_argument("--prove", action="store_true", help="take each kind of sync for not made in turn; must fail")
    parser.add_argument("--done", action="store_true", help="only what a crash after the end of the command may leave")
    parser.add_argument("--state", metavar="NAME", help="only this state, as a violation names it")
    parser.add_argument("--sample", metavar="N", type=int, help="at most N states of each operation, evenly spread")
    parser.add_argument("--seconds", metavar="N", type=float, help="judge no state after N seconds")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="judge N at a time (2)")
    parser.add_argument("--list", action="store_true", help="list what each operation does, and judge nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Make and judge all states from the command line."""
    parser = make_parser()
    args = parser.parse_args(argv)
    bin_dir = bin_directory(parser, args.bin)
    chosen = chosen_from(parser, args.only)
    try:
        namespace.enter()
    except OSError as error:
        print(f"cannot run here: memory filesystems cannot be mounted: {error}", file=sys.stderr)
        return 4
    directory = tempfile.mkdtemp(prefix="jvs-crashmodel-", dir=args.dir or fast_directory())
    os.chmod(directory, 0o755)
    try:
        report = Run(args, Modeller(bin_dir, directory)).report(chosen)
    except seccomp.Unsupported as reason:
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 4
    finally:
        remove_repository(os.path.join(directory, "base"))
        if not os.listdir(directory):
            os.rmdir(directory)
    if args.json:
        print(json.dumps(report, indent=2))
    if report["totals"]["violations"] or report["broken"] or report["totals"].get("unnoticed"):
        return 3
    return 0 if args.list or report["totals"]["judged"] else 4


class Run:
    """One run over some operations, within the time that was given."""

    def __init__(self, args: argparse.Namespace, modeller: Modeller) -> None:
        self.args, self.modeller = args, modeller
        self.models: tuple[str, ...] = (args.model,) if args.model else MODELS
        self.rows: dict[str, dict[str, Any]] = {}
        self.broken: dict[str, str] = {}
        self.deadline = None if args.seconds is None else time.monotonic() + args.seconds

    def report(self, chosen: list[Scenario]) -> dict[str, Any]:
        """Judge the operations one after the other, each within its share of the time, and return the counts."""
        share = None if self.deadline is None else (self.deadline - time.monotonic()) / len(chosen)
        for turn, scenario in enumerate(chosen, 1):
            until = None if share is None or self.deadline is None else self.deadline - share * (len(chosen) - turn)
            try:
                record = self.modeller.record(scenario)
            except Failure as failure:
                self.broken[scenario.name] = str(failure)
                self._say(f"BROKEN  {scenario.name}: {failure}")
                continue
            self._operation(scenario.name, record, until)
        totals = {key: sum(row[key] for row in self.rows.values()) for key in _COUNTS[1:]}
        if self.args.prove:
            unnoticed = sum(not row["violations"] for row in self.rows.values())
            totals = {"mutants": len(self.rows), "unnoticed": unnoticed, **totals}
            totals["violations"] = 0  # they were wanted
        if not self.args.list:
            counts = ", ".join(f"{value} {key}" for key, value in totals.items())
            self._say(f"total: {counts}, {len(self.broken)} broken")
        return {"operations": self.rows, "totals": totals, "broken": self.broken}

    def _say(self, text: str) -> None:
        if not self.args.json:
            print(text, flush=True)

    def _operation(self, name: str, record: Record, until: float | None) -> None:
        if self.args.list:
            self._say("\n".join([f"{name}:"] + [f"  {n} {op}" for n, op in enumerate(record.ops)]))
        elif self.args.prove:
            self._prove(name, record, until)
        else:
            record = deafened(record, self.args.deaf) if self.args.deaf else record
            states = enumerate_states(record, name, self.models, self.args.random)
            self.rows[name] = self._judge(name, record, states, until)

    def _judge(
        self, name: str, record: Record, states: list[State], until: float | None, *, first_only: bool = False
    ) -> dict[str, Any]:
        """Judge the states of one operation and return the counts."""
        self.modeller.records[name] = record
        only, done = self.args.state, self.args.done
        wanted = [s for s in states if only in (None, s.name) and (s.choice.acknowledged or not done)]
        row: dict[str, Any] = {"operations": len(record.ops), "states": record.combinations, "distinct": len(states)}
        row |= {"judged": 0, "violations": 0, "found": []}
        wanted = workers.spread(wanted, self.args.sample)
        work = functools.partial(attempt, self.modeller.run)
        for verdict in workers.as_done(work, wanted, self.args.jobs, until):
            row["judged"] += 1
            if not verdict.violations:
                continue
            row["violations"] += 1
            found = {"state": str(verdict.point), "violations": verdict.violations, "kept": verdict.directory}
            row["found"].append(found)
            if first_only:
                break
            self._say(_shown(record, verdict))
        if not first_only:
            self._say(f"{name}: " + ", ".join(f"{row[key]} {key}" for key in _COUNTS))
        return row

    def _prove(self, name: str, record: Record, until: float | None) -> None:
        """Take out one kind of sync after the other; of the states that this adds, one at least must be bad."""
        usual: set[tuple[str, bool]] = set()
        enumerate_states(record, name, self.models, self.args.random, usual)
        self.modeller.keep = False
        for pattern in sync_classes(record):
            mutant = deafened(record, pattern)
            states = enumerate_states(mutant, name, self.models, self.args.random, set(usual))
            row = self.rows[f"{name} without {pattern}"] = self._judge(name, mutant, states, until, first_only=True)
            noticed = "noticed at state" if row["violations"] else "UNNOTICED after"
            self._say(f"{name} without `{pattern}`: {noticed} {row['judged']} of {len(states)} new ones")


def _shown(record: Record, verdict: Verdict) -> str:
    """Return a violation as a reader needs it: how to see it again, what was lost, what is wrong."""
    state: State = verdict.point
    at = int(state.name.split(":")[1])
    lost = [n for n in range(at) if n not in state.choice.there and record.ops[n].kind != "sync"]
    lines = [f"    lost: {n} {record.ops[n]}" for n in lost if not record.is_cache[n]][:12]
    if state.choice.partial >= 0:
        lines.append(f"    {state.choice.part}: {state.choice.partial} {record.ops[state.choice.partial]}")
    return verdict.shown("crashmodel", lines)
