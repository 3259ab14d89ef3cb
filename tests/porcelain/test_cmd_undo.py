"""`jvs undo`: walking back, and back again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import main_of, make_store, run, snapshot, violations, write

from jvs.store.store import Store


@pytest.fixture
def lab(tmp_path: Path) -> Store:
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "one"})
    snapshot(store, "first")
    os.chdir(main_of(store))
    return store


def test_nothing_to_undo_is_a_clear_no(lab):
    said = run("undo")
    assert said.exit == 5 and "hint: " in said.err
    assert run("undo", "--list").exit == 0


def test_each_undo_walks_one_operation_back_and_redo_takes_it_back(lab):
    for text in ("two", "three"):
        Path("a").write_text(text)
        assert run("restore", "HEAD").exit == 0
    assert run("undo").exit == 0
    assert Path("a").read_text() == "three"
    assert run("undo").exit == 0
    assert Path("a").read_text() == "two"
    assert run("undo", "--redo").exit == 0
    assert Path("a").read_text() == "three"
    assert violations(lab.root) == []


def test_the_list_names_operations_that_can_be_taken_back(lab):
    Path("a").write_text("two")
    run("restore", "HEAD")
    (item,) = run("undo", "--list", "--json").json
    assert item["kind"] == "restore" and item["forward"]
    assert run("undo", item["operation_id"]).exit == 0
    assert Path("a").read_text() == "two"


def test_a_removed_worktree_comes_back_with_everything_in_it(lab):
    run("worktree", "fork", "side")
    Path("../worktrees/side/draft").write_text("draft")
    assert run("worktree", "remove", "side").exit == 0
    assert not os.path.lexists("../worktrees/side")
    assert run("undo").exit == 0
    assert Path("../worktrees/side/draft").read_text() == "draft"
