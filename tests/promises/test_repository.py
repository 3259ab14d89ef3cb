"""The public Python API."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import violations

from jvs import Repository, errors


@pytest.fixture
def repo(tmp_path: Path) -> Repository:
    made = Repository.init(tmp_path / "lab")
    Path(made.path(), "a").write_text("one")
    return made


def test_snapshot_restore_and_undo(repo: Repository):
    first = repo.snapshot("first", tags=["base"])
    a = Path(repo.path(), "a")
    a.write_text("two")
    second = repo.snapshot("second")
    assert repo.resolve("base") == first["snapshot_id"]
    done = repo.restore("base")
    assert (a.read_text(), done.detached, repo.head(), repo.latest()) == (
        "one",
        True,
        first["snapshot_id"],
        second["snapshot_id"],
    )
    repo.undo()
    assert (a.read_text(), repo.head()) == ("two", second["snapshot_id"])
    repo.undo(redo=True)
    assert a.read_text() == "one"
    assert [record["note"] for record in repo.history()] == ["second", "first"]
    assert violations(repo.root) == []


def test_checkpoint_restores_when_the_block_raises(repo: Repository):
    a = Path(repo.path(), "a")
    with pytest.raises(ZeroDivisionError), repo.checkpoint("before") as made:
        a.write_text("half done")
        Path(repo.path(), "junk").write_text("junk")
        raise ZeroDivisionError
    assert a.read_text() == "one"
    assert not Path(repo.path(), "junk").exists()
    assert repo.head() == made["snapshot_id"]
    repo.undo()
    assert a.read_text() == "half done"


def test_checkpoint_leaves_a_block_that_ends_well_alone(repo: Repository):
    with repo.checkpoint("before"):
        Path(repo.path(), "a").write_text("done")
    assert Path(repo.path(), "a").read_text() == "done"
    with repo.checkpoint("after") as made:
        pass
    with repo.checkpoint("again") as again:
        pass
    assert made["snapshot_id"] == again["snapshot_id"]


def test_worktrees(repo: Repository):
    first = repo.snapshot("first")
    made = repo.fork("HEAD", "side")
    assert Path(made["path"], "a").read_text() == "one"
    repo.rename("side", "other")
    repo.create("empty")
    assert repo.worktrees() == ["main", "empty", "other"]
    assert repo.head("other") == first["snapshot_id"]
    repo.remove("other")
    assert repo.worktrees() == ["main", "empty"]
    repo.undo()
    assert Path(repo.path("other"), "a").read_text() == "one"


def test_diff_status_and_verify(repo: Repository):
    repo.snapshot("first")
    assert repo.status().clean
    Path(repo.path(), "b").write_text("b")
    assert [change.path for change in repo.diff("HEAD").changes] == [b"b"]
    repo.snapshot("second")
    assert repo.diff().counts()["added"] == 1
    assert [report.tampered for report in repo.verify()] == [False, False]


def test_collecting_and_pins(repo: Repository):
    first = repo.snapshot("first")["snapshot_id"]
    pin = repo.pin(first, reason="mine")
    assert pin["reason"] == "mine"
    plan = repo.gc_plan()
    assert first not in plan.candidates
    assert repo.gc_run(plan)["collected_count"] == 0
    repo.unpin(first)


def test_paths_and_settings(repo: Repository):
    Path(repo.path(), "d").mkdir()
    Path(repo.path(), "d/x").write_text("x")
    part = repo.snapshot("part", paths=["d"])
    assert part["partial_paths"] == ["d"]
    strict = Repository.open(repo.root, snapshot_when_detached="refuse", wait=0)
    with pytest.raises(errors.PathEscape):
        strict.restore("HEAD", paths=["../outside"])
    with pytest.raises(errors.UsageError):
        Repository.open(repo.root, no_such_setting=1)


def test_an_opened_directory_chooses_the_worktree(repo: Repository):
    repo.snapshot("first")
    side = repo.fork("HEAD", "side")
    assert Repository.open(side["path"]).worktree == "side"
    assert Repository.open(repo.root).worktree == "main"


def test_errors_are_exceptions_with_class_and_hint(tmp_path: Path):
    with pytest.raises(errors.NotARepository) as caught:
        Repository.open(os.fspath(tmp_path))
    assert caught.value.hint
