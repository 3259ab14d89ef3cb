"""Every error class, provoked through a real command line: what a person and a program get to see.

Each runs in a process of its own. The kernel's answer to one fsync is replaced for a full disk, and one command is
broken for a bug; everything else is what users really meet.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import making
import pytest
from treefacts import remove_tree

from jvs import errors
from jvs.cli import commands
from jvs.store import changing

MAN = Path(__file__).resolve().parents[2] / "man" / "man7" / "jvs-errors.7"
PROGRAM = "import sys; from jvs.cli.run import main; sys.exit(main())"
FULL = """
import os
fsync = os.fsync
def full(fd):
    os.fsync = fsync
    raise OSError(28, "No space left on device")
os.fsync = full
"""
BROKEN = "import jvs.porcelain.info as m; m.work = lambda args: 1 / 0; "


class Case:
    """A failure: the command line, what its hint must name, and a program to run before it on its stdin."""

    def __init__(self, *words: str, hint: str, before: str = "", stdin: bytes = b"", answers: bool = False) -> None:
        self.words = words
        self.hint = hint
        self.before = before
        self.stdin = stdin
        self.answers = answers  # there is an answer on stdout as well: what is in conflict


def usage(store):
    return Case("snapshot", "--no-such-option", hint="jvs snapshot --help")


def io(store):
    making.write(making.main_of(store), {"a": "2"})
    return Case("snapshot", "--engine", "juicefs-clone", hint="jvs info")


def no_space(store):
    return Case("snapshot", hint="jvs gc plan", before=FULL)


def not_found(store):
    return Case("restore", "basline", hint="did you mean 'baseline'")


def not_a_repository(store):
    os.chdir("/")
    return Case("status", hint="jvs init NAME")


def ambiguous(store):
    making.snapshot(store, "same one")
    making.snapshot(store, "same two")
    return Case("show", "same", hint="name one by its id: ")


@contextlib.contextmanager
def busy(store):
    with changing.worktree(store, "main"):
        yield Case("snapshot", "--wait", "0", hint="--wait")


def exists(store):
    making.run("worktree", "create", "other")
    return Case("worktree", "create", "other", hint="another name")


def detached(store):
    making.write(making.main_of(store), {"a": "2"})
    making.snapshot(store, "second")
    making.run("restore", "baseline")
    return Case("-c", "snapshot.when_detached=refuse", "snapshot", hint="jvs restore LATEST")


def dirty(store):
    hook = Path(str(store.layout.jvs)) / "hooks" / "pre-snapshot"
    hook.parent.mkdir()
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    assert making.run("hooks", "allow").exit == 0
    return Case("snapshot", hint="do what it asks for")


def stale_head(store):
    first = making.run("resolve", "HEAD").text.strip()
    making.snapshot(store, "second")
    return Case("update-head", "main", first, first, hint="jvs history")


def name_invalid(store):
    return Case("worktree", "create", "../x", hint="use ")


def path_escape(store):
    return Case("diff", "HEAD", "--", "../../etc", hint="name paths below")


def format_unsupported(store):
    Path(str(store.layout.format_version)).write_text("3\n")
    return Case("status", hint="use the version of jvs that made it")


def descriptor_corrupt(store):
    path = Path(str(store.layout.descriptor(making.run("resolve", "HEAD").text.strip())))
    path.write_bytes(path.read_bytes().replace(b'"note":"first"', b'"note":"other"'))
    return Case("show", "HEAD", hint="restore the file from a copy")


def payload_hash_mismatch(store):
    payload = Path(str(store.layout.payload(making.run("resolve", "HEAD").text.strip())))
    (payload / "a").write_text("0")
    (making.main_of(store) / "a").unlink()
    return Case("restore", "HEAD", hint="jvs verify")


def lineage_broken(store):
    first = making.run("resolve", "HEAD").text.strip()
    making.snapshot(store, "second")
    os.unlink(str(store.layout.descriptor(first)))
    return Case("history", hint="restore its descriptor")


def partial_snapshot(store):
    os.unlink(str(store.layout.ready(making.run("resolve", "HEAD").text.strip())))
    return Case("show", "HEAD", hint="restore it from a copy")


def audit_chain_broken(store):
    path = Path(str(store.layout.audit_log))
    path.write_bytes(path.read_bytes()[:-3] + b"}\n")
    return Case("snapshot", hint="jvs verify --all")


def clone_incomplete(store):
    record = making.plumb("check-worktree", "--record", "main").out
    for step in ("write-intent", "clone-tree"):
        record = making.plumb(step, "--record", stdin=record).out
    remove_tree(str(store.layout.payload_tmp(json.loads(record)["snapshot_id"])))
    return Case("hash-tree", "--record", hint="jvs-clone-tree --record", stdin=record)


def gc_plan_mismatch(store):
    making.snapshot(store, "second")
    plan = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json["plan_id"]
    making.run("gc", "pin", "HEAD~1")
    return Case("gc", "run", "--plan-id", plan, hint="jvs gc plan")


def conflict(store):
    making.run("worktree", "fork", "HEAD", "other")
    making.write(making.main_of(store), {"a": "here"})
    making.snapshot(store, "here")
    making.write(making.main_of(store).parent / "worktrees" / "other", {"a": "there"})
    making.run("snapshot", "-w", "other", "there")
    return Case("merge", "other", hint="--ours", answers=True)


def internal(store):
    return Case("info", hint="report", before=BROKEN)


CASES = {
    "E_USAGE": usage,
    "E_IO": io,
    "E_NO_SPACE": no_space,
    "E_NOT_FOUND": not_found,
    "E_NOT_A_REPOSITORY": not_a_repository,
    "E_AMBIGUOUS": ambiguous,
    "E_BUSY": busy,
    "E_EXISTS": exists,
    "E_DETACHED": detached,
    "E_DIRTY": dirty,
    "E_STALE_HEAD": stale_head,
    "E_CONFLICT": conflict,
    "E_NAME_INVALID": name_invalid,
    "E_PATH_ESCAPE": path_escape,
    "E_FORMAT_UNSUPPORTED": format_unsupported,
    "E_DESCRIPTOR_CORRUPT": descriptor_corrupt,
    "E_PAYLOAD_HASH_MISMATCH": payload_hash_mismatch,
    "E_LINEAGE_BROKEN": lineage_broken,
    "E_PARTIAL_SNAPSHOT": partial_snapshot,
    "E_AUDIT_CHAIN_BROKEN": audit_chain_broken,
    "E_CLONE_INCOMPLETE": clone_incomplete,
    "E_GC_PLAN_MISMATCH": gc_plan_mismatch,
    "E_INTERNAL": internal,
}
"""Class -> what makes a repository in which a command meets it."""


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1"})
    making.snapshot(made, "first", tags=["baseline"])
    monkeypatch.chdir(making.main_of(made))
    return made


@contextlib.contextmanager
def provoked(name, store):
    made = CASES[name](store)
    with made if not isinstance(made, Case) else contextlib.nullcontext(made) as case:
        yield case


def call(case: Case, *options: str) -> subprocess.CompletedProcess[bytes]:
    words = [sys.executable, "-c", case.before + PROGRAM, *options, *case.words]
    return subprocess.run(words, input=case.stdin, capture_output=True, timeout=60, check=False)


def promised() -> dict[str, int]:
    """Return the exit codes as jvs-errors(7) says them."""
    return {n: int(code) for n, code in re.findall(r"^\.It Sy (E_\w+) Pq exit (\d+)$", MAN.read_text(), re.M)}


def command_of(words: tuple[str, ...]) -> str:
    """Return the command in a command line, without the options before it."""
    rest = words[2:] if words[0] == "-c" else words
    two = " ".join(rest[:2])
    return two if two in commands.COMMANDS else rest[0]


def test_every_class_has_a_row():
    assert set(CASES) == {error.name for error in errors.ALL} == set(promised())


@pytest.mark.parametrize("name", CASES)
def test_a_person_reads_class_sentence_and_what_to_do_next(name, store):
    with provoked(name, store) as case:
        done = call(case)
    assert done.returncode == promised()[name], done.stderr.decode()
    assert bool(done.stdout) == case.answers
    lines = done.stderr.decode().splitlines()
    if name == "E_INTERNAL":
        assert lines[0] == "Traceback (most recent call last):"
    first, last = lines[-2:]
    found = re.fullmatch(rf"({re.escape(commands.program_of(command_of(case.words)))}): {name}: (\S.*[^.])", first)
    assert found, first
    assert '"' not in found[2], "names stand in single quotes"
    assert last.startswith("hint: ") and not last.endswith("."), last
    assert case.hint in last
    assert_commands_exist(last)


@pytest.mark.parametrize("name", CASES)
def test_a_program_gets_one_object_with_the_class(name, store):
    with provoked(name, store) as case:
        done = call(case, "--json")
    assert (done.returncode, bool(done.stdout)) == (promised()[name], case.answers)
    text = done.stderr.decode()
    error = json.loads(text[text.index('{\n  "error"') :])["error"]
    assert (error["class"], error["exit"]) == (name, done.returncode)
    assert set(error) == {"class", "exit", "message", "hint", "facts"}
    assert error["message"] and case.hint in error["hint"]
    if name != "E_INTERNAL":
        assert text.startswith("{")


@pytest.mark.parametrize("name", [name for name in CASES if name != "E_INTERNAL"])
def test_the_page_of_the_command_names_the_class(name, store):
    import importlib

    with provoked(name, store) as case:
        module = importlib.import_module(commands.module_of(command_of(case.words)))
    assert name in {error.name for error in module.RAISES}


def assert_commands_exist(hint: str) -> None:
    """Fail unless every command that a hint quotes is one."""
    for quoted in re.findall(r"'(jvs[ -][^']*)'", hint):
        words = quoted.replace("jvs-", "jvs ", 1).split()[1:]
        known = {*commands.COMMANDS, *commands.ALIASES}
        assert " ".join(words[:2]) in known or words[0] in known, quoted


def test_an_odd_name_in_a_message_is_escaped_and_stays_on_its_line(store):
    odd = os.fsdecode(b"\x1b[31mred\nnext\xff")
    done = call(Case("restore", odd, hint=""))
    assert done.returncode == 5
    first, second = done.stderr.decode().splitlines()
    assert first == r"jvs restore: E_NOT_FOUND: no snapshot answers to '\x1b[31mred\nnext\xff'"
    assert second.startswith("hint: ")
