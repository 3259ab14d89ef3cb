"""`contrib/jvs-sync` destroys nothing: the log of the target must be the beginning of the log of the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import own_mounts
import pytest
from lab import Lab, digest, everything, same
from own_mounts import own_mounts as alone

SYNC = Path(__file__).resolve().parents[3] / "contrib" / "jvs-sync"

pytestmark = pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")


def sync(*words: str | Path) -> subprocess.CompletedProcess[str]:
    search = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    argv = [sys.executable, str(SYNC), *map(str, words)]
    return subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": search})


def copied(source: Lab, root: Path) -> Lab:
    done = sync(source.root, root)
    assert done.returncode == 0, done.stderr
    return Lab(root)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Lab, Lab]:
    """A repository and its copy, both of which hold the same."""
    source = Lab(tmp_path / "a")
    source.write({"f": "one"})
    source.take("first", "-t", "first")
    return source, copied(source, tmp_path / "b")


def newer(lab: Lab, what: str) -> None:
    lab.write({"f": "newer work"})
    if what == "snapshot":
        lab.take("newer")
    elif what == "restore":
        lab.restore("first")
    elif what == "worktree":
        lab.jvs("worktree", "fork", "first", "w")
        lab.write({"g": "newer work"}, "w")
    elif what == "removed worktree":
        lab.jvs("worktree", "fork", "first", "w")
        lab.write({"g": "newer work"}, "w")
        lab.jvs("worktree", "remove", "w")


NEWER = ["snapshot", "restore", "worktree", "removed worktree"]


@pytest.mark.parametrize("what", NEWER)
def test_newer_work_in_the_target_is_refused(pair, what):
    source, target = pair
    newer(target, what)
    known, before = everything(target), target.facts()
    done = sync(source.root, target.root)
    assert done.returncode == 1, done.stdout
    assert str(target.root) in done.stderr
    assert known <= everything(target)
    assert same(before, target.facts()) == []
    target.check()


@pytest.mark.parametrize("what", NEWER)
def test_arguments_that_were_swapped_are_refused(pair, what):
    source, target = pair
    newer(source, what)
    known = everything(source)
    done = sync(target.root, source.root)
    assert done.returncode == 1, done.stdout
    assert known <= everything(source)


@pytest.mark.parametrize("what", NEWER)
def test_both_going_on_is_refused_in_both_directions(pair, what):
    one, other = pair
    newer(one, "snapshot")
    newer(other, what)
    known = everything(one), everything(other)
    assert sync(one.root, other.root).returncode == 1
    assert sync(other.root, one.root).returncode == 1
    assert known[0] <= everything(one)
    assert known[1] <= everything(other)


def test_unsaved_files_in_the_targets_worktree_are_not_overwritten(pair):
    source, target = pair
    source.write({"f": "in the source"})
    source.take("second")
    target.write({"f": "only here", "g": "only here too"})
    known = everything(target)
    done = sync(source.root, target.root)
    assert done.returncode == 1, done.stdout
    assert known <= everything(target)


@pytest.mark.parametrize("what", NEWER)
def test_an_older_copy_is_brought_up_to_date(pair, what):
    source, target = pair
    newer(source, what)
    done = sync(source.root, target.root)
    assert done.returncode == 0, done.stderr
    assert everything(source) == everything(target)
    assert same(source.facts(), target.facts()) == []


def test_the_same_again_is_no_error(pair):
    source, target = pair
    assert sync(source.root, target.root).returncode == 0
    assert sync(target.root, source.root).returncode == 0


def test_a_target_whose_log_was_edited_is_refused(pair):
    source, target = pair
    log = target.jvs_dir / "audit" / "audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b'"snapshot"', b'"snapshop"'))
    assert sync(source.root, target.root).returncode == 1


def test_an_operation_that_waits_in_the_target_is_refused(pair):
    from crashing import dies_at

    source, target = pair
    target.write({"f": "dirty"})
    number = 1
    while not target.intents():
        dies_at(number, lambda: target.say("restore", "first"))
        number += 1
    assert sync(source.root, target.root).returncode == 1
    target.jvs("snapshot", "recover")
    assert digest("dirty") in everything(target)


@alone
def test_a_target_without_the_space_is_refused_before_anything_is_copied(tmp_path):
    source = Lab(tmp_path / "a")
    source.write({"big": os.urandom(8 << 20)})
    source.take("first")
    small = own_mounts.mount("tmpfs", tmp_path / "small", "size=6m")
    done = sync(source.root, small / "b")
    assert done.returncode == 1
    assert "space" in done.stderr
    assert not list((small / "b").rglob("big")) if (small / "b").exists() else True
    assert "MiB" in done.stderr, "it says how much is wanted"
