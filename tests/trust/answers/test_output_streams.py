"""What a command did and what it says about that agree, also when nobody can read what it says.

A table over all commands, each with its standard output full, closed before it began, and a pipe that nobody reads.
What a command did is read from the repository, never from its words.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from running import Lab

NAMES = [
    *("init", "snapshot", "history", "status", "diff", "show", "restore", "undo", "run", "worktree list"),
    *("worktree create", "worktree fork", "worktree path", "worktree rename", "worktree remove", "verify", "doctor"),
    *("worktree move", "worktree attach", "send", "receive"),
    *("gc plan", "gc run", "gc pin", "gc unpin", "gc pins", "info", "config get", "config set", "config unset"),
    *("cat", "ls", "tag", "note", "meta", "merge", "enter", "try", "gc drop", "gc auto", "detach", "du", "clone"),
    *(
        "config list",
        "completion",
        "help",
        "version",
        "check-worktree",
        "write-stream",
        "write-intent",
        "clone-tree",
        "hash-tree",
    ),
    *("sync-tree", "write-descriptor", "write-ready", "rename-ready", "update-head", "chain-append", "clear-intent"),
    *("resolve", "cat-descriptor", "list-snapshots", "ls-tree", "diff-tree", "probe-engine", "list-intents"),
    *("verify-snapshot", "chain-check", "with-lock", "apply-tree", "mark-live", "prune-snapshot"),
    *("cat-file", "merge-base", "merge-tree"),
    *("conformance list",),
]
SUITES = {"conformance run", "torture"}
ELSEWHERE = {
    "read-stream",
    "mcp",
    "hooks list",
    "hooks allow",
    "hooks deny",
    "agent install",
    "agent uninstall",
    "agent status",
}
"""A protocol of its own on stdin, and what lies outside of the repository: tests of their own."""
"""They judge an installation for minutes; what they print comes from the suite's own programs."""

ARGUMENTS: dict[str, list[str]] = {
    "init": ["../../other"],
    "snapshot": ["a note"],
    "restore": ["first"],
    "run": ["--", "sh", "-c", "echo new > made"],
    "worktree create": ["w"],
    "worktree fork": ["first", "w"],
    "worktree rename": ["spare", "w"],
    "worktree remove": ["spare"],
    "worktree move": ["spare", "../../moved"],
    "worktree attach": [".."],
    "cat": ["first:a"],
    "ls": ["first"],
    "tag": ["first", "t"],
    "note": ["first", "other words"],
    "meta": ["first", "k=v"],
    "merge": ["spare"],
    "enter": ["spare", "--", "true"],
    "try": ["--apply", "--", "touch", "tried"],
    "gc drop": ["LOOSE"],
    "gc auto": ["--keep-last", "1"],
    "detach": ["--delete-history"],
    "clone": ["..", "../../cloned"],
    "receive": ["../../base.stream"],
    "send": ["first"],
    "cat-file": ["first:a"],
    "merge-base": ["first", "second"],
    "merge-tree": ["first", "first", "second"],
    "gc pin": ["first"],
    "gc unpin": ["second"],
    "gc run": ["--plan-id", "PLAN"],
    "config get": ["default_tags"],
    "config set": ["default_tags", "x"],
    "config unset": ["default_tags"],
    "completion": ["bash"],
    "clone-tree": [".", "../../copy"],
    "hash-tree": ["."],
    "sync-tree": ["."],
    "rename-ready": ["../../from", "../../to"],
    "update-head": ["spare", "FIRST", "SECOND"],
    "chain-append": ["--log", "../../log", "deploy"],
    "resolve": ["first"],
    "cat-descriptor": ["first"],
    "ls-tree": ["first"],
    "diff-tree": ["first", "second"],
    "verify-snapshot": ["first"],
    "with-lock": ["main", "--", "true"],
    "apply-tree": ["../worktrees/spare", "../../empty"],
    "prune-snapshot": ["LOOSE"],
    "write-stream": ["first"],
}
FILTERS = {"write-intent", "write-descriptor", "write-ready", "clear-intent", "check-worktree"}
"""Steps of the pipeline that work on a record from standard input."""

STEPS_BEFORE = {
    "write-intent": ["check-worktree"],
    "write-descriptor": ["check-worktree", "write-intent", "clone-tree", "hash-tree", "sync-tree"],
    "write-ready": ["check-worktree", "write-intent", "clone-tree", "hash-tree", "sync-tree", "write-descriptor"],
    "clear-intent": [
        *("check-worktree", "write-intent", "clone-tree", "hash-tree", "sync-tree", "write-descriptor", "write-ready"),
        *("rename-ready", "update-head", "chain-append"),
    ],
}
LOST = ("full", "closed", "pipe")
AGAIN = re.compile(r"\bagain\b|rolled back|nothing was (done|taken|changed)|free some space")


def words_of(name: str) -> list[str]:
    """Return the program and its first words."""
    listed = f"jvs-{name}"
    return ["jvs", *name.split(" ")] if name in PORCELAIN else [listed]


PORCELAIN = set(NAMES[: NAMES.index("check-worktree")]) | {"conformance list"}


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> tuple[Path, dict[str, str]]:
    """Make the repository in which every row of the table has something to do, once."""
    where = tmp_path_factory.mktemp("template")
    lab = Lab(where / "lab")
    lab.must("init", str(lab.root), cwd=where)
    first = lab.snapshot("first", a="1\n")
    second = lab.snapshot("second", a="2\n")
    lab.must("worktree", "fork", "second", "spare")
    lab.must("worktree", "fork", "second", "gone")
    (lab.root / "worktrees" / "gone" / "b").write_text("3\n")
    loose = lab.must("-C", "../worktrees/gone", "snapshot", "--json", "loose").json["snapshot_id"]
    lab.must("worktree", "remove", "--discard", "gone")
    lab.must("restore", "first")
    lab.must("gc", "pin", "second")
    lab.must("config", "set", "default_tags", "y")
    (lab.main / "b").write_text("new\n")
    plan = lab.must("gc", "plan", "--keep-last", "1", "--json")
    other = Lab(where / "other-lab")
    other.must("init", str(other.root), cwd=where)
    other.snapshot("from elsewhere", a="4\n")
    other.must("send", "HEAD", "-o", str(where / "base.stream"))
    (where / "from").mkdir()
    (where / "empty").mkdir()
    return where, {"FIRST": first, "SECOND": second, "LOOSE": loose, "PLAN": plan.json["plan_id"]}


class World(Lab):
    """A repository with the words that stand for its ids."""

    def __init__(self, root: Path, ids: dict[str, str]) -> None:
        super().__init__(root)
        self.words = ids


@pytest.fixture
def world(template, tmp_path: Path) -> World:
    """Return a copy of the repository in which every row of the table has something to do."""
    where, ids = template
    subprocess.run(["cp", "-a", f"{where}/.", str(tmp_path)], check=True)
    return World(tmp_path / "lab", ids)


def traces(root: Path) -> dict[str, bytes | str]:
    """Return what lies in the test's directory, without what may change while somebody only looks."""
    found: dict[str, bytes | str] = {}
    passing = re.compile(r"/\.jvs/(index\.sqlite.*|locks|tmp)(/|$)|/home(/|$)|/plans(/|$)")
    for directory, names, files in os.walk(root):
        for name in [*names, *files]:
            path = Path(directory) / name
            if passing.search(str(path)):
                continue
            shown = str(path.relative_to(root))
            if path.is_symlink():
                found[shown] = os.readlink(path)
            else:
                found[shown] = path.read_bytes() if path.is_file() else "directory"
    return found


SITUATIONS = {
    "full": ["lose full"],
    "closed": ["close 1"],
    "pipe": ["lose pipe"],
    "full-unbuffered": ["lose full", "unbuffer"],
}


def test_the_table_has_every_command(lab):
    rows = lab.must("help", "-a", "--json").json
    known = {row["command"] for row in rows if row["kind"] in ("plumbing", "porcelain")}
    assert known - SUITES - ELSEWHERE == set(NAMES)


UNBUFFERED = ("snapshot", "status", "history", "restore", "hash-tree")


@pytest.mark.parametrize(
    ("name", "how"), [(name, how) for name in NAMES for how in SITUATIONS if how in LOST or name in UNBUFFERED]
)
def test_a_lost_answer_never_denies_what_was_done(world, name, how, tmp_path):
    arguments = [world.words.get(word, word) for word in ARGUMENTS.get(name, [])]
    if name in FILTERS:
        arguments = ["--record"] if name != "check-worktree" else ["main", "--record"]
    record = b""
    for step in STEPS_BEFORE.get(name, []):
        words = [f"jvs-{step}", *(["main"] if step == "check-worktree" else []), "--record"]
        record = world.command(*words, input=record).out
    before = traces(tmp_path)
    answer = world.command(*words_of(name), *arguments, input=record, situation=SITUATIONS[how])
    changed = traces(tmp_path) != before
    said = answer.err.decode("utf-8", "backslashreplace")
    assert answer.exit != 70 and "Traceback" not in said, said
    assert answer.exit in (0, 4, 141) or (name == "doctor" and answer.exit < 64), (answer.exit, said)
    if changed:
        assert not AGAIN.search(said), said
        if answer.exit and not (answer.exit == 141 and name not in PORCELAIN):  # a filter's 141 says it by itself
            assert re.search(r"\b(done|taken|made|lost)\b", said), f"exit {answer.exit}, and no word about what it did"
    elif name not in SILENT and how != "pipe":
        assert answer.exit != 0, "the answer is lost, and the status says that it arrived"


SILENT = {"enter", "sync-tree", "with-lock", "list-intents"}
"""They have nothing to print here, or a child of theirs prints."""


@pytest.mark.parametrize("how", LOST)
@pytest.mark.parametrize("form", [["--json"], []], ids=["json", "text"])
def test_a_snapshot_that_was_taken_is_never_reported_as_not_taken(world, how, form):
    before = world.ids()
    answer = world.jvs("snapshot", *form, "lost", situation=SITUATIONS[how])
    said = answer.err.decode()
    assert len(world.ids()) == len(before) + 1
    assert "again" not in said and "rolled back" not in said, said
    new = (set(world.ids()) - set(before)).pop()
    assert answer.exit == 0 or new in said, f"exit {answer.exit}, and nothing names the snapshot: {said!r}"


@pytest.mark.parametrize("name", NAMES)
def test_closed_streams_are_never_a_bug(world, name):
    arguments = [world.words.get(word, word) for word in ARGUMENTS.get(name, [])]
    if name in FILTERS:
        arguments = ["--record"]
    answer = world.command(*words_of(name), *arguments, situation=["close 0", "close 2"])
    assert answer.exit not in (70, 120), answer.said
    assert b"Traceback" not in answer.err, answer.said


def test_a_file_never_becomes_a_closed_stream(world):
    """What is opened later would get the number of stdout, and a child's words would go into the repository."""
    before = world.ids()
    done = world.program(
        "jvs", "run", "--", "sh", "-c", "echo made; echo said >&2; ls -l /proc/self/fd >made", stdin=None, stdout=None,
        stderr=None, preexec_fn=lambda: [os.close(n) for n in (0, 1, 2)],
    )  # fmt: skip
    assert done.exit == 4
    assert len(world.ids()) == len(before) + 1
    assert ".jvs" not in (world.main / "made").read_text()
    world.must("doctor", "--strict")


@pytest.mark.parametrize("how", SITUATIONS)
def test_an_installed_program_says_so_as_well(world, how):
    """The streams of a process that Python itself has started."""
    if how == "pipe":
        reader, target = os.pipe()
        os.close(reader)
    else:
        target = os.open("/dev/full", os.O_WRONLY)
    more = {"preexec_fn": lambda: os.close(1)} if how == "closed" else {}
    env = {"PYTHONUNBUFFERED": "1"} if "unbuffered" in how else {}
    answer = world.program("jvs", "snapshot", "lost", stdout=target, env=env, **more)
    os.close(target)
    assert answer.exit == (141 if how == "pipe" else 4)
    assert world.ids()[-1] in answer.err.decode(), answer.said
    with open("/dev/full", "wb") as full:
        assert world.program("jvs", "--version", stdout=full).exit == 4
        assert world.program("jvs", "snapshot", "--help", stdout=full, env=env).exit == 4
