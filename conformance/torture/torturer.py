"""The crash matrix: every operation, interrupted at every system call, and judged before and after it is settled.

Each operation is run once to count its calls. Then, at each call, a fresh copy of the same repository is taken and
the run is killed there, gets an errno there (once, or from then on), a signal, or a short write. The oracle judges
what lies on the disk; the next command must settle it; then nothing may be left, and the operation is wholly done
or wholly undone. With --power the kernel cuts the power of a real filesystem instead (see `powercut`).
"""

from __future__ import annotations

import argparse
import concurrent.futures
import itertools
import json
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from lib import oracle
from lib.harness import Env, Failure, bin_directory, copy_repository, remove_repository
from lib.scenarios import SCENARIOS, Scenario
from lib.treehash import Tree, hash_tree
from supervisor import seccomp, supervise
from supervisor.standby import Standby

from torture import likeness, powercut
from torture.manners import HANG_SECONDS, differences, is_part_of_a_collection, manners
from torture.points import KINDS, Journal, Point, Verdict, digest_of, points_of, shape_of, spread

_COLUMNS = ("points", "fired", "violations", "alike")


@dataclass
class Prepared:
    """A scenario's repository as it is before, and how it looks done and undone."""

    scenario: Scenario
    base: str
    words: tuple[str, ...]
    events: list[str] = field(default_factory=list)
    shape: list[str] = field(default_factory=list)
    warm: bool = False
    known: set[bytes] = field(default_factory=set)
    settled: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)
    trees: dict[str, list[Tree]] = field(default_factory=dict)
    contents: set[tuple[int, bytes]] = field(default_factory=set)
    after_command: dict[str, Any] = field(default_factory=dict)
    endings: list[dict[str, Any]] = field(default_factory=list)

    def learn_trees(self, root: str) -> None:
        """Add the worktrees as they are now to what is allowed."""
        for name, known in self.trees.items():
            if os.path.isdir(_directory(root, name)):
                tree = hash_tree(_directory(root, name))
                if tree.root_hash not in {other.root_hash for other in known}:
                    known.append(tree)


def summary(root: str) -> dict[str, Any]:
    """Return a repository's state with snapshots named by their notes, so that runs can be compared."""
    if not os.path.isdir(f"{root}/.jvs"):
        return {"absent": True}
    state = oracle.state(root)
    notes = {i: s["note"] for i, s in state["snapshots"].items()}

    def named(snapshot_id: str | None) -> str | None:
        return notes.get(snapshot_id or "", snapshot_id)

    audit = [operation for operation, _ in state["audit"] if operation not in ("audit_repair", "doctor_repair")]
    return {
        "snapshots": sorted(
            [s["note"], named(s["parent_id"]), s["worktree_name"], s["payload_root_hash"], s["tags"]]
            for s in state["snapshots"].values()
        ),
        "heads": {n: named(i) for n, i in state["heads"].items()},
        "latests": {n: named(i) for n, i in state["latests"].items()},
        "worktrees": state["worktrees"],
        "undo": len(state["undo"]),
        # Collections are held against their records by the oracle: on a full disk one takes as many rounds as it
        # needs, or waits for space while others go on.
        "audit": [operation for operation in audit if operation != "gc_run"],
        "tombstones": sorted(state["tombstones"]),
    }


class Torturer:
    """Prepares scenarios below one directory and runs points in directories of their own."""

    def __init__(self, bin_dir: str, directory: str, *, keep: bool = True) -> None:
        self.bin, self.directory, self.keep = bin_dir, directory, keep
        self.prepared: dict[str, Prepared] = {}
        self.program = os.path.join(os.path.abspath(bin_dir), "jvs")
        self._standby: tuple[int, Standby | None] = (0, None)

    def standby(self) -> Standby | None:
        """Return this process's own server of warm runs, or None where the program cannot be had that way."""
        if self._standby[0] != os.getpid():  # workers are forks of us, and each needs its own
            try:
                self._standby = (os.getpid(), Standby(self.program))
            except OSError:
                self._standby = (os.getpid(), None)
        return self._standby[1]

    def prepare(self, scenario: Scenario) -> Prepared:
        """Build a scenario's repository, count its calls, and learn how it ends done and undone."""
        base = os.path.join(self.directory, "base", scenario.name)
        os.makedirs(base)
        env = Env(self.bin, base, standby=self.standby())
        prepared = Prepared(scenario, base, scenario.build(env))
        prepared.known = likeness.tokens(base)
        root = os.path.join(base, "work", "repo")
        if os.path.isdir(f"{root}/.jvs"):
            state = oracle.state(root)
            prepared.snapshots = {i: s["payload_root_hash"] for i, s in state["snapshots"].items()}
            prepared.trees = {n: [hash_tree(_directory(root, n))] for n in state["worktrees"]}
            prepared.contents = {c for trees in prepared.trees.values() for c in trees[0].contents()}
        with self._place(prepared, f"reference-{scenario.name}") as env:
            root = os.path.join(env.work, "repo")
            done = self.supervised(prepared, env, None)
            if done.returncode != 0:
                raise Failure(f"{scenario.name} without interruption: exit {done.returncode}: {done.stderr.decode()}")
            prepared.events = [str(event).replace(env.directory, "") for event in done.events]
            prepared.shape = shape_of(prepared.events)
            prepared.after_command = summary(root)
            prepared.learn_trees(root)
            prepared.trees = {n: t for n, t in prepared.trees.items() if n in prepared.after_command["worktrees"]}
            prepared.endings.append(self._next(prepared, env))
        with self._place(prepared, f"reference-{scenario.name}") as env:
            prepared.endings.append(self._next(prepared, env))
            prepared.learn_trees(os.path.join(env.work, "repo"))  # what settling alone leads to
        if scenario.program == "jvs" and self.standby() is not None:
            with self._place(prepared, f"reference-{scenario.name}") as env:
                prepared.warm = True
                done = self.supervised(prepared, env, None)
                warm = shape_of([str(event).replace(env.directory, "") for event in done.events])
                prepared.warm = done.returncode == 0 and warm == prepared.shape
        self.prepared[scenario.name] = prepared
        return prepared

    def _place(self, prepared: Prepared, name: str) -> Any:
        place = os.path.join(self.directory, name)
        return _Place(self.bin, prepared.base, place, keep=self.keep, standby=self.standby())

    def _argv(self, prepared: Prepared, env: Env) -> list[str]:
        program = prepared.scenario.program
        return [os.path.join(env.bin, program) if program.startswith("jvs") else program, *prepared.words]

    def supervised(
        self, prepared: Prepared, env: Env, action: supervise.Action | None, *, lie: bool = False
    ) -> supervise.Outcome:
        """Run a scenario's command with an action."""
        return supervise.run(
            self._argv(prepared, env),
            root=os.path.join(env.work, prepared.scenario.watched),
            cwd=os.path.join(env.work, prepared.scenario.cwd),
            env=env.variables,
            action=action,
            timeout=HANG_SECONDS,
            lie=lie,
            standby=self.standby() if prepared.warm else None,
        )

    def _next(self, prepared: Prepared, env: Env, *, repair: bool = False) -> dict[str, Any]:
        """Run the command that settles, then judge as a user would; return the summary."""
        root = os.path.join(env.work, "repo")
        if prepared.scenario.name.startswith("init"):
            env.jvs(*prepared.words, code=(0, 7))
        if repair:
            env.jvs("doctor", "--repair-runtime", cwd=root, code=(0, 3))
        env.jvs("snapshot", "after", cwd=f"{root}/main")
        env.jvs("doctor", "--strict", cwd=root)  # which verifies everything as well
        return summary(root)

    def run(self, point: Point) -> Verdict:
        """Interrupt one operation and judge what follows."""
        prepared = self.prepared[point.scenario]
        began = time.monotonic()
        place = self._place(prepared, f"worker-{os.getpid()}")
        with place as env:
            outcome = self.supervised(prepared, env, point.action())
            violations = manners(point, outcome)
            known = None if point.kind == "kill" else prepared.settled
            before = len(prepared.settled)
            violations += self.judge(prepared, env, outcome.returncode, point.at, known)
            seen = known is not None and len(known) == before
            if violations:
                place.keep_as(os.path.join(self.directory, f"{point.scenario}-{point.kind}-{point.at}"))
        fired = str(outcome.fired).replace(env.directory, "") if outcome.fired else ""
        where = place.directory if violations else ""
        return Verdict(point, fired, outcome.returncode, violations, time.monotonic() - began, where, seen)

    def judge(
        self,
        prepared: Prepared,
        env: Env,
        code: int,
        at: int,
        known: dict[tuple[str, bool], list[str]] | None = None,
    ) -> list[str]:
        """Return every violation, before settling and after.

        What costs a program of its own is asked at some calls only: doctor repairs at every second one in place of
        the next command, and at every third one the debris is looked at through the programs. With `known` what
        settling makes of a disk that is like another one is taken from there.
        """
        root = os.path.join(env.work, "repo")
        scenario = prepared.scenario
        expect = oracle.Expect(
            snapshots={} if scenario.gone else prepared.snapshots,
            worktrees=prepared.trees,
            contents=set() if scenario.loses else prepared.contents,
            may_detach=set(prepared.trees),
        )
        found: list[str] = []
        exists = os.path.isdir(f"{root}/.jvs")
        stopped = scenario.gone and code == 4  # a collection that could not delete files: it waits to be run again
        repair = exists and (at % 2 == 0 or scenario.repairs or stopped)
        if exists:
            found += [f"before settling: {v}" for v in oracle.check_repository(root, expect=expect)]
        waits = scenario.gone and prepared.words[0] == "snapshot" and bool(oracle.state(root)["intents"])
        if exists and code == 0 and not waits:
            found += differences("exit 0, but not done", summary(root), [prepared.after_command])
        key = ("", False) if known is None else (likeness.likeness(env.work, prepared.known), repair)
        if known is not None and key in known:
            return found + known[key]
        later = self._settling(prepared, env, expect, look=exists and at % 3 == 0, repair=repair)
        if known is not None:
            known[key] = later
        return found + later

    def _settling(self, prepared: Prepared, env: Env, expect: oracle.Expect, *, look: bool, repair: bool) -> list[str]:
        """Let the next command settle what lies there, and return every violation that is left."""
        root, found = os.path.join(env.work, "repo"), []
        try:
            if look:
                found += self._debris_is_said(env, root)
            ending = self._next(prepared, env, repair=repair)
            if not (prepared.scenario.gone and is_part_of_a_collection(ending, prepared.endings)):
                found += differences("neither done nor undone", ending, prepared.endings)
        except Failure as failure:
            found.append(f"the next command: {failure}")
        if os.path.isdir(f"{root}/.jvs"):
            expect.worktrees = {}
            found += [f"after settling: {v}" for v in oracle.check_repository(root, expect=expect, settled=True)]
        strangers = sorted(set(os.listdir(env.work)) - {"repo", "source"})
        found += [f"after settling: '{name}' lies beside the repository" for name in strangers]
        return found

    def _debris_is_said(self, env: Env, root: str) -> list[str]:
        """Crash debris is never called tampering, and never healthy (I9)."""
        state = oracle.state(root)
        said = env.jvs("verify", "--all", cwd=root, code=None)
        found = [f"debris is called damage: {said}"] if said.code else []
        doctor = env.jvs("doctor", "--json", cwd=root, code=None)
        if (state["intents"] or state["torn_tail"]) and doctor.json().get("healthy") is not False:
            found.append(f"doctor calls pending recovery healthy: {state['intents']}")
        return found


def _directory(root: str, name: str) -> str:
    return os.path.join(root, "main") if name == "main" else os.path.join(root, "worktrees", name)


class _Place:
    """A copy of a scenario's base, removed at the end unless it is kept under another name."""

    def __init__(self, bin_dir: str, base: str, directory: str, *, keep: bool, standby: Standby | None) -> None:
        self.bin, self.base, self.directory, self.keep, self.standby = bin_dir, base, directory, keep, standby
        self.kept = ""

    def __enter__(self) -> Env:
        remove_repository(self.directory)  # what is left would be copied into, not replaced
        copy_repository(self.base, self.directory)
        return Env(self.bin, self.directory, standby=self.standby)

    def keep_as(self, directory: str) -> None:
        self.kept = directory

    def __exit__(self, *_: object) -> None:
        if self.kept and self.keep:
            shutil.rmtree(self.kept, ignore_errors=True)
            os.rename(self.directory, self.kept)
            self.directory = self.kept
        else:
            remove_repository(self.directory)


_torturer: Torturer | None = None


def _run_point(point: Point) -> Verdict:
    assert _torturer is not None
    try:
        return _torturer.run(point)
    except Exception:
        return Verdict(point, "", 0, ["the harness broke off: " + traceback.format_exc()], 0.0)


def _prepare(scenario: Scenario) -> Prepared | Failure | seccomp.Unsupported:
    assert _torturer is not None
    try:
        return _torturer.prepare(scenario)
    except (Failure, seccomp.Unsupported) as error:
        return error


def _prepare_all(chosen: list[Scenario], jobs: int) -> Iterator[Prepared | Failure | seccomp.Unsupported]:
    """Prepare scenarios in worker processes, and return what came of each in their order."""
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("fork")) as pool:
        yield from pool.map(_prepare, chosen)


def _verdicts(points: list[Point], jobs: int, deadline: float | None) -> Iterator[Verdict]:
    """Run points in worker processes, starting none after the deadline."""
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        queue = iter(points)
        running: set[concurrent.futures.Future[Verdict]] = set()
        while True:
            while len(running) < 2 * jobs and (deadline is None or time.monotonic() < deadline):
                point = next(queue, None)
                if point is None:
                    break
                running.add(pool.submit(_run_point, point))
            if not running:
                return
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                yield future.result()


def make_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="conformance/torture", description=__doc__.split("\n\n")[0])
    parser.add_argument("--bin", metavar="DIR", help="the directory that holds jvs and jvs-* (that of `jvs` on PATH)")
    parser.add_argument("--dir", metavar="DIR", help="work below DIR (a memory filesystem when there is one)")
    parser.add_argument("--only", metavar="NAMES", default="", help="only these operations, with commas between")
    parser.add_argument("--kind", metavar="KINDS", default="", help=f"only these interruptions: {','.join(KINDS)}")
    parser.add_argument("--at", metavar="N", type=int, help="only at this call")
    parser.add_argument("--sample", metavar="N", type=int, help="at most N points of each operation, evenly spread")
    parser.add_argument("--seconds", metavar="N", type=float, help="start no point after N seconds, preparing apart")
    parser.add_argument("--journal", metavar="FILE", help="write every verdict to FILE, and leave out those in it")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="run N at a time (2)")
    parser.add_argument("--power", choices=("ext4", "xfs", "btrfs"), help="cut the power of this filesystem (root)")
    parser.add_argument("--lie", action="store_true", help="with --power: answer syncs undone; cuts must then find it")
    parser.add_argument("--list", action="store_true", help="list the operations and the calls of each")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the matrix from the command line."""
    parser = make_parser()
    args = parser.parse_args(argv)
    bin_dir = bin_directory(parser, args.bin)
    names = [name for name in args.only.split(",") if name]
    unknown = set(names) - {s.name for s in SCENARIOS}
    kinds = tuple(kind for kind in KINDS if not args.kind or kind in args.kind.split(","))
    if unknown or not kinds:
        parser.error(f"unknown: {', '.join(sorted(unknown)) or args.kind}")
    chosen = [s for s in SCENARIOS if not names or s.name in names]
    directory = tempfile.mkdtemp(prefix="jvs-torture-", dir=args.dir or _fast_directory())
    os.chmod(directory, 0o755)
    if args.power:
        return powercut.main(args, bin_dir, directory, chosen)
    return _matrix(args, bin_dir, directory, chosen, kinds)


def _fast_directory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK | os.X_OK) else None


def _matrix(
    args: argparse.Namespace, bin_dir: str, directory: str, chosen: list[Scenario], kinds: tuple[str, ...]
) -> int:
    global _torturer
    _torturer = torturer = Torturer(bin_dir, directory)
    journal = Journal(args.journal)
    say: Callable[[str], None] = (lambda _text: None) if args.json else (lambda text: print(text, flush=True))
    points: list[list[Point]] = []
    broken: dict[str, str] = {}
    for scenario, prepared in zip(chosen, _prepare_all(chosen, args.jobs), strict=True):
        if isinstance(prepared, seccomp.Unsupported):
            print(f"cannot run here: {prepared}", file=sys.stderr)
            return 4
        if isinstance(prepared, Failure):
            broken[scenario.name] = str(prepared)
            say(f"BROKEN  {scenario.name}: {prepared}")
            continue
        torturer.prepared[scenario.name] = prepared
        points.append(spread(points_of(prepared, kinds, args.at), args.sample))
        say(f"{scenario.name}: {len(prepared.events)} calls, {len(points[-1])} points")
        if args.list:
            say("\n".join(f"  {event}" for event in prepared.events))
    tally = {name: [0] * len(_COLUMNS) for name in torturer.prepared}
    kind_tally: dict[str, list[int]] = {}
    bad: list[Verdict] = []
    if not args.list:
        mixed = [
            p for _, p in sorted(((i / len(row), p) for row in points for i, p in enumerate(row)), key=lambda x: x[0])
        ]
        began = said = time.monotonic()
        deadline = None if args.seconds is None else began + args.seconds
        calls = {name: digest_of(prepared.shape) for name, prepared in torturer.prepared.items()}
        before = [v for v in (journal.find(p, calls[p.scenario]) for p in mixed) if v is not None]
        if before:
            say(f"{len(before)} of {len(mixed)} points are in the journal")
            mixed = [p for p in mixed if journal.find(p, calls[p.scenario]) is None]
        for verdict in itertools.chain(before, _verdicts(mixed, args.jobs, deadline)):
            if journal.find(verdict.point, calls[verdict.point.scenario]) is None:
                journal.add(verdict, calls[verdict.point.scenario])
            kinds_run = kind_tally.setdefault(verdict.point.kind, [0] * len(_COLUMNS))
            if time.monotonic() - said > 60:
                said = time.monotonic()
                count = sum(row[0] for row in tally.values())
                print(f"... {count} of {len(mixed)} points in {said - began:.0f} s", file=sys.stderr, flush=True)
            for row in (tally[verdict.point.scenario], kinds_run):
                row[0] += 1
                row[1] += bool(verdict.fired)
                row[2] += bool(verdict.violations)
                row[3] += verdict.seen
            if verdict.violations:
                bad.append(verdict)
                say(_shown(verdict))
    _finish(args, directory, tally, kind_tally, bad, broken, sum(len(row) for row in points))
    if not args.list and points and not sum(row[0] for row in tally.values()):
        print("no point ran: give it more seconds", file=sys.stderr)
        return 4  # nothing was shown, which is no success
    return 3 if bad or broken else 0  # as jvs-errors(7) has it: it ran to its end, and the answer is no


def _shown(verdict: Verdict) -> str:
    lines = [f"VIOLATION  torture {verdict.point}   [{verdict.fired}; exit {verdict.code}]"]
    lines += ["    " + violation.replace("\n", "\n      ")[:2000] for violation in verdict.violations[:6]]
    if verdict.directory:
        lines.append(f"    kept: {verdict.directory}")
    return "\n".join(lines)


def _finish(
    args: argparse.Namespace,
    directory: str,
    tally: dict[str, list[int]],
    kind_tally: dict[str, list[int]],
    bad: list[Verdict],
    broken: dict[str, str],
    planned: int,
) -> None:
    run, fired, _, alike = (sum(row[i] for row in tally.values()) for i in range(len(_COLUMNS)))
    if args.json:
        operations, kinds = (
            {n: dict(zip(_COLUMNS, row, strict=True)) for n, row in rows.items()} for rows in (tally, kind_tally)
        )
        rows = [
            {"point": str(v.point), "fired": v.fired, "exit": v.code, "violations": v.violations, "kept": v.directory}
            for v in bad
        ]
        document = {"operations": operations, "kinds": kinds, "violations": rows, "broken": broken, "planned": planned}
        print(json.dumps(document, indent=2))
    elif not args.list:
        for name, row in [*tally.items(), *kind_tally.items()]:
            print(f"{name}: {row[0]} points, {row[1]} fired, {row[2]} with violations")
        skipped = f", {planned - run} not started in time" if planned > run else ""
        print(f"{run} points, {fired} fired, {len(bad)} with violations, {len(broken)} operations broken{skipped}")
        print(f"{alike} of them left a disk like one before, whose settling had been judged")
    shutil.rmtree(os.path.join(directory, "base"), ignore_errors=True)
    if not os.listdir(directory):
        os.rmdir(directory)
