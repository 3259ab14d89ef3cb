"""Runs from a process on standby, likeness, the journal of torture, patches of mutants."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from lib.harness import write
from mutants import judge
from mutants.edits import Drop, Swap
from mutants.wrong_programs import MUTANTS
from supervisor import standby, supervise
from torture import likeness
from torture.journal import Journal
from torture.points import Point
from torture.verdict import Verdict

from selftest.fixture import IDS, repository, save_config, write_json

_PROGRAM = """
import os, signal, sys, threading
def main():
    words = sys.argv[1:]
    if words[0] == "say":
        print(*words[1:], os.getcwd(), os.environ["WHERE"], sys.stdin.read())
        print("aside", file=sys.stderr)
    elif words[0] == "write":
        with open("f", "w") as file:
            file.write("1234")
        os.rename("f", "g")
    elif words[0] == "raise":
        raise ValueError("oops")
    elif words[0] == "leave":
        sys.exit("a reason")
    elif words[0] == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    elif words[0] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return len(words)
"""


@contextlib.contextmanager
def program() -> Any:
    """A console script as pip makes them, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="jvs-selftest-") as directory:
        directory = os.path.realpath(directory)
        write(f"{directory}/lib/prog/__init__.py", "")
        write(f"{directory}/lib/prog/cli.py", _PROGRAM)
        script = (
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {directory + '/lib'!r})\nfrom prog.cli import main\n"
        )
        write(f"{directory}/bin/prog", script + "if __name__ == '__main__':\n    sys.exit(main())\n")
        os.chmod(f"{directory}/bin/prog", 0o755)
        os.mkdir(f"{directory}/work")
        yield directory


def test_standby_runs_as_a_new_process_does() -> None:
    """The same words, streams, environment and ends; nothing of one run is left for the next."""
    with program() as directory:
        server = standby.Standby(f"{directory}/bin/prog")
        try:
            for words in (["say", "a", "b c"], ["raise"], ["leave"], ["interrupt"], ["kill"], ["say", "again"]):
                argv = [server.program, *words]
                env = {"WHERE": words[0], "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
                cold = subprocess.run(
                    argv, input=b"in", capture_output=True, cwd=f"{directory}/work", env=env, check=False
                )
                warm = server.run(argv, cwd=f"{directory}/work", env=env, stdin=b"in")
                assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout), (words, cold, warm)
                assert warm.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:], (words, cold, warm)
        finally:
            server.close()


def test_standby_is_supervised_like_a_new_process() -> None:
    """The filter is in place, and the same calls stop at their entry."""
    with program() as directory:
        server = standby.Standby(f"{directory}/bin/prog")
        try:
            root = cwd = f"{directory}/work"
            argv = [server.program, "write"]
            cold = supervise.run(argv, root=root, cwd=cwd)
            warm = supervise.run(argv, root=root, cwd=cwd, standby=server)
            assert [(e.name, e.paths, e.detail) for e in warm.events] == [
                (e.name, e.paths, e.detail) for e in cold.events
            ]
            assert len(warm.events) == 3 and warm.returncode == cold.returncode == 1, warm
            os.unlink(f"{directory}/work/g")
            killed = supervise.run(argv, root=root, cwd=cwd, standby=server, action=supervise.Action("kill", 3))
            assert killed.returncode == -signal.SIGKILL and os.listdir(f"{directory}/work") == ["f"]
        finally:
            server.close()


def test_likeness_sees_what_differs() -> None:
    """New ids and times are alike; another state, content, mode or number of files is not."""

    def sum_up(change: Callable[[str], object]) -> str:
        with repository() as root:
            known = likeness.tokens(root)
            change(root)
            return likeness.likeness(root, known)

    def intent(number: int) -> Callable[[str], object]:
        other = f"170000000001{number}-0c0c0c0{number}"
        return lambda r: write_json(f"{r}/.jvs/intents/{other}.json", {"operation_id": other, "audit_seq": 2})

    same = sum_up(lambda r: None)
    assert same == sum_up(lambda r: None)
    assert sum_up(intent(1)) == sum_up(intent(2)) != same
    for change in (
        lambda r: write(f"{r}/main/sub/file0", "content 7\n"),
        lambda r: os.chmod(f"{r}/main/sub/file0", 0o600),
        lambda r: os.unlink(f"{r}/main/sub/file0"),
        lambda r: os.mkdir(f"{r}/.jvs/snapshots/1700000000009-0c0c0c0c.tmp"),
        lambda r: save_config(r, head_snapshot_id=IDS[0], latest_snapshot_id=IDS[1]),
        lambda r: write(f"{r}/.jvs/audit/audit.jsonl", ""),
        lambda r: write(f"{r}/.jvs/index.sqlite", "x"),
    ):
        assert sum_up(change) != same


def test_journal_leaves_out_what_was_judged() -> None:
    """A verdict counts for the calls it was made for; what a crash tore off the file does not."""
    with tempfile.TemporaryDirectory() as directory:
        path, point = f"{directory}/journal", Point("snapshot", "kill", 3)
        verdict = Verdict(point, "#3 write", -9, ["I1"], 0.5, "/kept")
        Journal(path).add(verdict, "calls")
        with open(path, "a") as file:
            file.write('{"scenario": "snap')
        journal = Journal(path)
        assert journal.find(point, "calls") == verdict
        assert journal.find(point, "other calls") is None
        assert journal.find(Point("snapshot", "kill", 4), "calls") is None


def test_patches_must_fit() -> None:
    """A mutant whose patch does not fit any more is stale, and not silently the right program."""
    text = "def f():\n    one()\n    two()  # why\n    one()\n"
    assert judge.dropped(text, Drop("x", "# why")) == "def f():\n    one()\n    pass\n    one()\n"
    assert judge.swapped(text, Swap("x", "two()", "three()")) == text.replace("two", "three")
    for edit in (Drop("x", "one()"), Drop("x", "four()"), Swap("x", "one()", ""), Swap("x", "four()", "")):
        try:
            judge.dropped(text, edit) if isinstance(edit, Drop) else judge.swapped(text, edit)
        except judge.Stale:
            continue
        raise AssertionError(edit)
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) and all(mutant.edits and mutant.judges for mutant in MUTANTS)
