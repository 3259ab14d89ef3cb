"""The bench on which operations are prepared and run under supervision, shared by everything that interrupts them."""

from __future__ import annotations

import os

from lib.harness import Env, Failure
from lib.places import is_repository
from lib.scenarios import Scenario
from supervisor import supervise
from supervisor.standby import PerProcess, Standby

from torture import likeness
from torture.judging import comparable, next_command
from torture.points import shape_of
from torture.prepared import Place, Prepared

HANG_SECONDS = 25.0


class Bench:
    """Prepares scenarios below one directory and runs them in copies."""

    def __init__(self, bin_dir: str, directory: str, *, keep: bool = True) -> None:
        self.bin, self.directory, self.keep = bin_dir, directory, keep
        self.prepared: dict[str, Prepared] = {}
        self.program = os.path.join(os.path.abspath(bin_dir), "jvs")
        self._standby = PerProcess(self.program)

    def standby(self) -> Standby | None:
        """Return this process's own server of warm runs, or None where the program cannot be had that way."""
        return self._standby.get()

    def prepare(self, scenario: Scenario) -> Prepared:
        """Build a scenario's repository, count its calls, and learn how it ends done and undone. Errors: Failure."""
        base = os.path.join(self.directory, "base", scenario.name)
        os.makedirs(base)
        env = Env(self.bin, base, standby=self.standby())
        prepared = Prepared(scenario, base, scenario.build(env))
        prepared.known = likeness.tokens(base)
        prepared.sibling = {"repo", *os.listdir(env.work)}
        if is_repository(f"{base}/work/repo"):
            prepared.learn_state(f"{base}/work/repo")
        with self._reference(prepared) as env:
            self._learn_done(prepared, env)
        with self._reference(prepared) as env:
            prepared.endings.append(next_command(prepared, env))
            prepared.learn_trees(os.path.join(env.work, "repo"))  # what recovery alone leads to
        if scenario.halfway:
            self._learn_halfway(prepared)
        if scenario.program == "jvs" and self.standby() is not None:
            with self._reference(prepared) as env:
                prepared.warm = self._is_same_when_warm(prepared, env)
        self.prepared[scenario.name] = prepared
        return prepared

    def _learn_done(self, prepared: Prepared, env: Env) -> None:
        root = os.path.join(env.work, "repo")
        done = self.supervised(prepared, env, None)
        if done.returncode != 0:
            name = prepared.scenario.name
            raise Failure(f"{name} without interruption: exit {done.returncode}: {done.stderr.decode()}")
        prepared.events = [str(event).replace(env.directory, "") for event in done.events]
        prepared.shape = shape_of(prepared.events)
        prepared.after_command = comparable(root)
        prepared.sibling.update(os.listdir(env.work))
        prepared.learn_trees(root)
        prepared.trees = {n: t for n, t in prepared.trees.items() if n in prepared.after_command["worktrees"]}
        prepared.endings.append(next_command(prepared, env))

    def _learn_halfway(self, prepared: Prepared) -> None:
        """Learn how the repository ends when the operation dies between the two that it is made of."""
        gone = [i for i, event in enumerate(prepared.events, 1) if "unlink" in event and "/intents/" in event]
        at = next(i for i in gone if prepared.events[i - 1].endswith(".json"))
        with self._reference(prepared) as env:
            self.supervised(prepared, env, supervise.Action("kill", at + 2))
            prepared.learn_trees(os.path.join(env.work, "repo"))
            prepared.endings.append(next_command(prepared, env))

    def _is_same_when_warm(self, prepared: Prepared, env: Env) -> bool:
        """Answer whether a run from the process on standby makes the same calls."""
        prepared.warm = True
        done = self.supervised(prepared, env, None)
        shape = shape_of([str(event).replace(env.directory, "") for event in done.events])
        return done.returncode == 0 and shape == prepared.shape

    def _reference(self, prepared: Prepared) -> Place:
        return self.place(prepared.base, f"reference-{prepared.scenario.name}")

    def place(self, base: str, name: str) -> Place:
        """Return a copy of a base, to be entered."""
        directory = os.path.join(self.directory, name)
        return Place(self.bin, base, directory, keep=self.keep, standby=self.standby())

    def supervised(
        self, prepared: Prepared, env: Env, action: supervise.Action | None, *, lie: bool = False
    ) -> supervise.Outcome:
        """Run a scenario's command with an action."""
        program = prepared.scenario.program
        program = os.path.join(env.bin, program) if program.startswith("jvs") else program
        return supervise.run(
            [program, *prepared.words],
            root=os.path.join(env.work, prepared.scenario.watched),
            cwd=os.path.join(env.work, prepared.scenario.cwd),
            env=env.variables,
            action=action,
            timeout=HANG_SECONDS,
            lie=lie,
            standby=self.standby() if prepared.warm else None,
        )
