"""Runs one command in the middle of another: the first is stopped, the second runs completely, the first continues.

The first command is stopped before each of its calls that change something; there the second one runs from its start
to its end, waiting for no lock; then the first continues. What both reported and what they left must be what one of the
two orders without any overlap gives, or what the first alone gives when the second was refused because of a lock.
Nothing may be left over, and the next snapshot must hold the worktree as it is.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from typing import Any

from lib import oracle
from lib.harness import Env, Failure, Result
from lib.places import worktree_dir
from lib.scenarios import SCENARIOS
from lib.violations import Expect
from supervisor import supervise
from supervisor.standby import PerProcess
from torture.bench import Bench
from torture.judging import comparable
from torture.prepared import Place
from torture.verdict import Verdict

OPERATIONS = ("snapshot", "restore", "fork", "gc", "gc-newer", "doctor", "repair", "verify")
PLACES = ("one", "two")
_COLLECTS = ("gc", "gc-newer")
BUSY = "E_BUSY"
_CLASS = re.compile(r"\bE_[A-Z_]+")
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True)
class Pair:
    """Two operations, on one worktree or on two."""

    first: str
    second: str
    place: str

    def __str__(self) -> str:
        return f"--pair {self.first}+{self.second} --place {self.place}"


@dataclass(frozen=True)
class Point:
    """Where the second operation of a pair comes."""

    pair: Pair
    at: int

    def __str__(self) -> str:
        return f"{self.pair} --at {self.at}"


@dataclass
class Orders:
    """What a pair may come to: how each ended, and the summary of what they left."""

    endings: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


class Interleaver(Bench):
    """Makes one repository, and runs pairs of operations in copies of it."""

    def __init__(self, bin_dir: str, directory: str, *, keep: bool = True) -> None:
        super().__init__(bin_dir, directory, keep=keep)
        self.base = os.path.join(directory, "base")
        self.orders: dict[Pair, Orders] = {}
        self.ids: list[str] = []
        self.plan = ""
        self.snapshots: dict[str, str] = {}
        self._other = PerProcess(self.program)  # that of the first command is busy while it is stopped

    def build(self) -> None:
        """Make the repository: snapshots, a second worktree, changes in both, and a plan to collect the oldest."""
        os.makedirs(self.base)
        env = Env(self.bin, self.base)
        next(s for s in SCENARIOS if s.name == "snapshot").build(env)
        root = os.path.join(env.work, "repo")
        plan = env.jvs("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json", cwd=root).json()
        self.plan = plan["plan_id"]
        state = oracle.state(root)
        self.ids = sorted(state["snapshots"])
        env.equal(plan["candidate_count"], 1, "snapshots to collect")
        self.snapshots = {i: s["payload_root_hash"] for i, s in state["snapshots"].items()}

    def words(self, pair: Pair, role: str) -> tuple[str, ...]:
        """Return the command of the first or the second of a pair. Both want the snapshot that gc collects."""
        name = getattr(pair, role)
        twin = role == "second" and pair.first == pair.second
        target = self.ids[1 if twin else 0]
        forked = "forked" if pair.place == "one" else f"forked-{role}"
        return {
            "snapshot": ("snapshot", role),
            "restore": ("restore", target),
            "fork": ("worktree", "fork", target, forked),
            "gc": ("gc", "run", "--plan-id", self.plan),
            "gc-newer": ("gc", "run", "--plan-id", self.plan, "--allow-newer"),
            "doctor": ("doctor", "--strict"),
            "repair": ("doctor", "--repair-runtime"),
            "verify": ("verify", "--all"),
        }[name]

    def learn(self, pair: Pair) -> Orders:
        """Find out what a pair leads to in either order, and alone, and where the first can be stopped."""
        orders = self.orders[pair] = Orders()
        for order in (("first", "second"), ("second", "first"), ("first",)):
            with self._copy("reference") as env:
                said = {"first": BUSY, "second": BUSY}
                for role in order:
                    said[role] = _ending(self._plain(env, pair, role))
                ending = (said["first"], said["second"], _left(env))
                if ending not in orders.endings:
                    orders.endings.append(ending)
        with self._copy("reference") as env:
            outcome = self._first(env, pair, None)
            orders.events = [str(event).replace(env.directory, "") for event in outcome.events]
        return orders

    def points(self, pair: Pair) -> list[Point]:
        """Return where the second is to come: before each call, but once for a row of writes to the index."""
        index = ["/.jvs/index.sqlite" in event for event in self.orders[pair].events]
        return [Point(pair, n + 1) for n in range(len(index)) if not (index[n] and n and index[n - 1])]

    def run(self, point: Point) -> Verdict:
        """Run one interleaving and judge it."""
        began = time.monotonic()
        place = self._copy(f"worker-{os.getpid()}")
        with place as env:
            came: list[Result | str] = []

            def come(_event: supervise.Event) -> None:
                try:
                    came.append(self._plain(env, point.pair, "second", wait=False))
                except Failure as failure:
                    came.append(str(failure))

            outcome = self._first(env, point.pair, supervise.Action("call", point.at, callback=come))
            found = self._judge(env, point, outcome, came)
            if found:
                pair = point.pair
                where = f"{pair.first}-{pair.second}-{pair.place}-{point.at}"
                place.keep_as(os.path.join(self.directory, where))
        second = "; second: " + _ending(came[0]) if came and isinstance(came[0], Result) else ""
        fired = str(outcome.fired).replace(env.directory, "") + second if outcome.fired else ""
        where = place.directory if found else ""
        seconds = time.monotonic() - began
        return Verdict(point, fired, outcome.returncode, found, seconds, where)

    def _copy(self, name: str) -> Place:
        place = os.path.join(self.directory, name)
        return Place(self.bin, self.base, place, keep=self.keep, standby=self._other.get())

    def _plain(self, env: Env, pair: Pair, role: str, *, wait: bool = True) -> Result:
        words = self.words(pair, role) + (() if wait else ("--wait", "0"))
        return env.jvs(*words, cwd=_cwd(env, pair, role), code=None)

    def _first(self, env: Env, pair: Pair, action: supervise.Action | None) -> supervise.Outcome:
        return supervise.run(
            [self.program, *self.words(pair, "first")],
            root=_root(env),
            cwd=_cwd(env, pair, "first"),
            env=env.variables,
            action=action,
            timeout=_TIMEOUT_SECONDS,
            standby=self.standby(),
        )

    def _judge(self, env: Env, point: Point, outcome: supervise.Outcome, came: list[Result | str]) -> list[str]:
        """Return every violation: of manners, of order, and in what is left."""
        if outcome.timed_out:
            return [f"the first did not end within {_TIMEOUT_SECONDS:g} s"]
        if len(came) != 1 or not isinstance(came[0], Result):
            return [f"the second: {came or 'never came: the first made fewer calls this time'}"]
        first = Result(["jvs", *self.words(point.pair, "first")], outcome.returncode, outcome.stdout, outcome.stderr)
        found = [f"a traceback: {said}" for said in (first, came[0]) if "Traceback" in said.errors]
        root, orders = _root(env), self.orders[point.pair].endings
        ending = (_ending(first), _ending(came[0]), _left(env))
        if ending[1] == BUSY and oracle.state(root)["intents"]:
            # The second was past its last point of aborting when it needed a lock that the stopped first one holds:
            # it is half done, as after a crash, and recovery decides.
            env.jvs("doctor", "--repair-runtime", cwd=root)
            ending = (ending[0], BUSY, _left(env))
            orders = [(one, BUSY, left) for one, _, left in orders]
        if ending not in orders:
            found.append(f"neither order leads here: {apart(ending, orders)}")
            found += [str(said) for said in (first, came[0]) if said.code]
        collects = point.pair.first in _COLLECTS or point.pair.second in _COLLECTS
        expect = Expect(snapshots=self.snapshots, gone={self.ids[0]} if collects else set())
        found += [str(violation) for violation in oracle.check_repository(root, expect=expect, recovered=True)]
        try:
            env.jvs("snapshot", "after", cwd=worktree_dir(root, "main"))
            env.jvs("doctor", "--strict", cwd=root)
        except Failure as failure:
            return [*found, f"the next command: {failure}"]
        state = oracle.state(root)
        taken = [s["payload_root_hash"] for s in state["snapshots"].values() if s["note"] == "after"]
        if taken != [state["worktrees"]["main"]]:
            found.append(f"the next snapshot is not the worktree: {taken}, {state['worktrees']['main']}")
        return found


def _root(env: Env) -> str:
    return os.path.join(env.work, "repo")


def _left(env: Env) -> dict[str, Any]:
    """Return the summary without the order of the log: a record comes when its operation ends, as gc's does late."""
    summary = comparable(_root(env))
    return summary | {"audit": sorted(summary["audit"])}


def _cwd(env: Env, pair: Pair, role: str) -> str:
    return os.path.join(_root(env), "worktrees/side" if role == "second" and pair.place == "two" else "main")


def _ending(said: Result) -> str:
    """Return `done`, or the class of the error."""
    if said.code == 0:
        return "done"
    named = _CLASS.search(said.errors + said.text)
    return named.group() if named else f"exit {said.code}"


def apart(got: tuple[str, str, dict[str, Any]], allowed: list[tuple[str, str, dict[str, Any]]]) -> str:
    """Return how an ending differs from each allowed one."""
    lines = []
    for wanted in allowed:
        keys = [key for key in {**wanted[2], **got[2]} if wanted[2].get(key) != got[2].get(key)]
        what = [f"{key}: got {got[2].get(key)}, wanted {wanted[2].get(key)}" for key in keys]
        lines.append(f"{got[:2]} is not {wanted[:2]}" if got[:2] != wanted[:2] else "; ".join(what))
    return " OR ".join(lines)
