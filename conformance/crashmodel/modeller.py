"""Every disk that a crash may leave: one run is recorded, and all its legal crash states are made and judged.

A run of each operation becomes a list of changes and syncs of inodes. From it come all states that a crash may leave
(see `crashstates`); each distinct one is laid out in a memory filesystem, down to its inode numbers, and judged as
`torture` judges what a kill leaves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from lib import namespace
from lib.harness import Env, Failure, bin_directory, copy_repository
from lib.scenarios import SCENARIOS, Scenario
from supervisor import seccomp, supervise
from torture import torturer

from crashmodel.crashstates import MODELS, Choice, Record, State, deafened, enumerate_states, sync_classes
from crashmodel.inodes import Tree, lay_out
from crashmodel.recorder import Recorder

_PLACE = "place"
_KEPT = ("work/repo/.jvs/format_version", "work/repo/.jvs/gc/pins/", "work/repo/.jvs/config.toml")


class Modeller(torturer.Torturer):
    """Records operations and judges the states that crashes of them may leave."""

    def __init__(self, bin_dir: str, directory: str, *, keep: bool = True) -> None:
        super().__init__(bin_dir, directory, keep=keep)
        self.records: dict[str, Record] = {}

    def record(self, scenario: Scenario) -> Record:
        """Run an operation once and note what it does. Errors: Failure when that cannot be told completely."""
        prepared = self.prepared.get(scenario.name) or self.prepare(scenario)
        with _memory(os.path.join(self.directory, "recorded")) as memory:
            copy_repository(prepared.base, os.path.join(memory, _PLACE))
            env = Env(self.bin, os.path.join(memory, _PLACE), standby=self.standby())
            recorder = Recorder(env.directory, env.work)
            call = supervise.Action("call", 1, sticky=True, callback=recorder.see)
            done = self.supervised(prepared, env, call)
            if done.returncode != 0:
                raise Failure(f"{scenario.name} while recording: exit {done.returncode}: {done.stderr.decode()}")
            wrong = recorder.finish()
        if wrong:
            unknown = f"; not understood: {', '.join(recorder.unknown)}" if recorder.unknown else ""
            raise Failure(f"the recording of {scenario.name} is not what it did: {'; '.join(wrong[:5])}{unknown}")
        record = Record(recorder.before, recorder.born, recorder.ops)
        self.records[scenario.name] = record
        return record

    def run(self, state: State) -> torturer.Verdict:  # type: ignore[override]
        """Make one state and judge it."""
        prepared, record = self.prepared[state.scenario], self.records[state.scenario]
        began = time.monotonic()
        where = ""
        with _memory(os.path.join(self.directory, f"worker-{os.getpid()}")) as memory:
            tree = record.tree(state.choice)
            lay_out(tree, memory, _PLACE)
            env = Env(self.bin, os.path.join(memory, _PLACE), standby=self.standby())
            code = 0 if state.choice.acknowledged else -9
            found = _forgotten(record, tree) if state.choice.acknowledged else []
            found += self.judge(prepared, env, code, state.at)
            if found and self.keep:
                where = os.path.join(self.directory, f"{state.scenario}-{state.name.replace(':', '-')}")
                copy_repository(env.directory, where)
        return torturer.Verdict(state, "", code, found, time.monotonic() - began, where)  # type: ignore[arg-type]


def _forgotten(record: Record, tree: Tree) -> list[str]:
    """Return what a crash after exit 0 took that no summary of the snapshots shows."""
    done = record.tree(Choice("", frozenset(range(len(record.ops)))))
    wanted, kept = (
        {path: each.inodes[number].data for path, number in each.paths().items() if path.startswith(_KEPT)}
        for each in (done, tree)
    )
    lost = sorted(path for path in wanted | kept if wanted.get(path) != kept.get(path))
    return [f"exit 0, but '{path}' is not as it was written" for path in lost]


@contextlib.contextmanager
def _memory(directory: str) -> Iterator[str]:
    """Mount an empty memory filesystem, and take it away again."""
    os.makedirs(directory, exist_ok=True)
    namespace.mount_memory(directory)
    try:
        yield directory
    finally:
        namespace.unmount(directory)
        os.rmdir(directory)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="conformance/crashmodel", description=__doc__.split("\n\n")[0])
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
    names = [name for name in args.only.split(",") if name]
    if unknown := set(names) - {s.name for s in SCENARIOS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    chosen = [s for s in SCENARIOS if not names or s.name in names]
    try:
        namespace.enter()
    except OSError as error:
        print(f"cannot run here: memory filesystems cannot be mounted: {error}", file=sys.stderr)
        return 4
    directory = tempfile.mkdtemp(prefix="jvs-crashmodel-", dir=args.dir or torturer._fast_directory())
    os.chmod(directory, 0o755)
    modeller = torturer._torturer = Modeller(bin_dir, directory)
    deadline = None if args.seconds is None else time.monotonic() + args.seconds
    try:
        report = _report(args, modeller, chosen, deadline)
    except seccomp.Unsupported as reason:
        print(f"cannot run here: {reason}", file=sys.stderr)
        return 4
    finally:
        shutil.rmtree(os.path.join(directory, "base"), ignore_errors=True)
        if not os.listdir(directory):
            os.rmdir(directory)
    if args.json:
        print(json.dumps(report, indent=2))
    if report["totals"]["violations"] or report["broken"] or report["totals"].get("unnoticed"):
        return 3
    return 0 if args.list or report["totals"]["judged"] else 4


def _report(
    args: argparse.Namespace, modeller: Modeller, chosen: list[Scenario], deadline: float | None
) -> dict[str, Any]:
    models = (args.model,) if args.model else MODELS
    rows: dict[str, dict[str, Any]] = {}
    broken: dict[str, str] = {}
    share = None if deadline is None else (deadline - time.monotonic()) / len(chosen)
    for turn, scenario in enumerate(chosen, 1):
        until = None if share is None or deadline is None else deadline - share * (len(chosen) - turn)
        try:
            record = modeller.record(scenario)
        except Failure as failure:
            broken[scenario.name] = str(failure)
            _say(args, f"BROKEN  {scenario.name}: {failure}")
            continue
        if args.list:
            _say(args, "\n".join([f"{scenario.name}:"] + [f"  {n} {op}" for n, op in enumerate(record.ops)]))
        elif args.prove:
            rows |= _prove(args, modeller, scenario, record, models, until)
        else:
            record = deafened(record, args.deaf) if args.deaf else record
            states = enumerate_states(record, scenario.name, models, args.random)
            rows[scenario.name] = _judge(args, modeller, record, states, until)
    totals = {key: sum(row[key] for row in rows.values()) for key in ("states", "distinct", "judged", "violations")}
    if args.prove:
        totals = {"mutants": len(rows), "unnoticed": sum(not row["violations"] for row in rows.values()), **totals}
        totals["violations"] = 0  # they were wanted
    if not args.list:
        _say(args, "total: " + ", ".join(f"{value} {key}" for key, value in totals.items()) + f", {len(broken)} broken")
    return {"operations": rows, "totals": totals, "broken": broken}


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.json:
        print(text, flush=True)


def _judge(
    args: argparse.Namespace,
    modeller: Modeller,
    record: Record,
    states: list[State],
    deadline: float | None,
    *,
    first_only: bool = False,
) -> dict[str, Any]:
    """Judge the states of one operation and return the counts."""
    scenario = states[0].scenario if states else ""
    modeller.records[scenario] = record
    wanted = [s for s in states if args.state in (None, s.name) and (s.choice.acknowledged or not args.done)]
    row: dict[str, Any] = {"operations": len(record.ops), "states": record.combinations, "distinct": len(states)}
    row |= {"judged": 0, "violations": 0, "found": []}
    for verdict in torturer._verdicts(torturer.spread(wanted, args.sample), args.jobs, deadline):
        row["judged"] += 1
        if not verdict.violations:
            continue
        row["violations"] += 1
        state: Any = verdict.point
        row["found"].append({"state": str(state), "violations": verdict.violations, "kept": verdict.directory})
        if first_only:
            break
        _say(args, _shown(record, verdict))
    if not first_only:
        counts = ", ".join(f"{row[key]} {key}" for key in ("operations", "states", "distinct", "judged", "violations"))
        _say(args, f"{scenario}: {counts}")
    return row


def _shown(record: Record, verdict: torturer.Verdict) -> str:
    """Return a violation as a reader needs it: how to see it again, what was lost, what is wrong."""
    state: Any = verdict.point
    at = int(state.name.split(":")[1])
    lost = [n for n in range(at) if n not in state.choice.there and record.ops[n].kind != "sync"]
    lines = [f"VIOLATION  crashmodel {state}   [exit {verdict.code}]"]
    lines += [f"    lost: {n} {record.ops[n]}" for n in lost if not record.is_cache[n]][:12]
    if state.choice.partial >= 0:
        lines.append(f"    {state.choice.part}: {state.choice.partial} {record.ops[state.choice.partial]}")
    lines += ["    " + violation.replace("\n", "\n      ")[:2000] for violation in verdict.violations[:6]]
    return "\n".join(lines + ([f"    kept: {verdict.directory}"] if verdict.directory else []))


def _prove(
    args: argparse.Namespace,
    modeller: Modeller,
    scenario: Scenario,
    record: Record,
    models: tuple[str, ...],
    deadline: float | None,
) -> dict[str, dict[str, Any]]:
    """Take out one kind of sync after the other; of the states that this adds, one at least must be bad."""
    usual: set[tuple[str, bool]] = set()
    enumerate_states(record, scenario.name, models, args.random, usual)
    rows = {}
    modeller.keep = False
    for pattern in sync_classes(record):
        mutant = deafened(record, pattern)
        states = enumerate_states(mutant, scenario.name, models, args.random, set(usual))
        row = _judge(args, modeller, mutant, states, deadline, first_only=True)
        rows[f"{scenario.name} without {pattern}"] = row
        said = "noticed at state" if row["violations"] else "UNNOTICED after"
        _say(args, f"{scenario.name} without `{pattern}`: {said} {row['judged']} of {len(states)} new ones")
    return rows
