"""Records operations, and makes and judges the states that crashes of them may leave.

A run of each operation becomes a list of changes and syncs of inodes. From it come all states that a crash may leave
(see `crashstates`); each distinct one is laid out in a memory filesystem, down to its inode numbers, and judged as
`torture` judges what a kill leaves.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

from lib import namespace
from lib.harness import Env, Failure, copy_repository
from lib.scenarios import Scenario
from supervisor import supervise
from torture.bench import Bench
from torture.judging import judge
from torture.verdict import Verdict

from crashmodel.crashstates import Choice, Record, State
from crashmodel.inodes import Tree, lay_out
from crashmodel.recorder import Recorder

_PLACE = "place"
_KEPT = ("work/repo/.jvs/format_version", "work/repo/.jvs/gc/pins/", "work/repo/.jvs/config.toml")


class Modeller(Bench):
    """Records operations and judges the states that crashes of them may leave."""

    def __init__(self, bin_dir: str, directory: str, *, keep: bool = True) -> None:
        super().__init__(bin_dir, directory, keep=keep)
        self.records: dict[str, Record] = {}

    def record(self, scenario: Scenario) -> Record:
        """Run an operation once and note what it does. Errors: Failure when the recording is incomplete."""
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

    def run(self, state: State) -> Verdict:
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
            found += judge(prepared, env, code, state.at)
            if found and self.keep:
                where = os.path.join(self.directory, f"{state.scenario}-{state.name.replace(':', '-')}")
                copy_repository(env.directory, where)
        return Verdict(state, "", code, found, time.monotonic() - began, where)


def _forgotten(record: Record, tree: Tree) -> list[str]:
    """Return what a crash after exit 0 lost that no summary of the snapshots shows."""
    done = record.tree(Choice("", frozenset(range(len(record.ops)))))
    wanted, kept = (
        {path: each.inodes[number].data for path, number in each.paths().items() if path.startswith(_KEPT)}
        for each in (done, tree)
    )
    lost = sorted(path for path in wanted | kept if wanted.get(path) != kept.get(path))
    return [f"exit 0, but '{path}' is not as it was written" for path in lost]


@contextlib.contextmanager
def _memory(directory: str) -> Iterator[str]:
    """Mount an empty memory filesystem, and unmount it at the end."""
    os.makedirs(directory, exist_ok=True)
    namespace.mount_memory(directory)
    try:
        yield directory
    finally:
        namespace.unmount(directory)
        os.rmdir(directory)
