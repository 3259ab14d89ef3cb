"""jvs-with-lock: a worktree's lock around any command."""

from __future__ import annotations

import os
import sys

import making
import pytest

from jvs.errors import Busy
from jvs.fs import locks
from jvs.store import intent


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    monkeypatch.chdir(made.root)
    return made


def python(code, *words):
    return [sys.executable, "-c", code, *words]


def test_the_lock_is_held_while_the_command_runs_and_not_after(store):
    take = "fcntl.flock(open(sys.argv[1]), fcntl.LOCK_EX | fcntl.LOCK_NB)"
    check = f"import fcntl,sys\ntry: {take}\nexcept OSError: sys.exit(9)"
    path = str(store.layout.lock("worktree-main"))
    assert making.plumb("with-lock", "main", "--", *python(check, path)).exit == 9
    locks.acquire(making.at(path), wait=0).close()


@pytest.mark.parametrize("code", [0, 1, 3, 77])
def test_the_exit_code_is_that_of_the_command(store, code):
    assert making.plumb("with-lock", "main", "--", "sh", "-c", f"exit {code}").exit == code


def test_a_signal_is_reported_as_a_shell_does(store):
    assert making.plumb("with-lock", "main", "--", "sh", "-c", "kill -9 $$").exit == 137


def test_a_held_lock_is_busy(store):
    with locks.acquire(store.layout.lock("worktree-main"), wait=0, command="jvs restore"):
        said = making.plumb("with-lock", "--wait", "0", "main", "--", "true")
    assert said.exit == 6
    assert "jvs restore" in said.err


def test_options_of_the_command_are_its_own(store):
    assert making.plumb("with-lock", "main", "--", "sh", "-c", 'test "$1" = --json', "sh", "--json").exit == 0


@pytest.mark.parametrize(
    ("words", "code"), [((), 2), (("main",), 2), (("main", "--"), 2), (("nope", "true"), 5), (("main", "/none/x"), 5)]
)
def test_wrong_calls_are_refused(store, words, code):
    assert making.plumb("with-lock", *words).exit == code


def test_what_is_dead_is_recovered_first(store):
    record = making.plumb("check-worktree", "--record").out
    making.plumb("write-intent", "--record", "--owner-pid", "4194999", stdin=record)
    assert len(intent.list_ids(store.layout)) == 1
    said = making.plumb("with-lock", "main", "--", "true")
    assert "rolled back" in said.err
    assert intent.list_ids(store.layout) == []


def test_locks_of_other_worktrees_are_free(store):
    with locks.acquire(store.layout.lock("worktree-other"), wait=0):
        assert making.plumb("with-lock", "--wait", "0", "main", "--", "true").exit == 0
    with pytest.raises(Busy), locks.acquire(store.layout.lock("x"), wait=0):
        locks.acquire(store.layout.lock("x"), wait=0)
    assert os.path.exists(str(store.layout.lock("worktree-main")))
