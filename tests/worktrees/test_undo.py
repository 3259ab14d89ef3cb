"""Undo: walking back, taking undos back, and what is written meanwhile."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import main_of, make_store, open_store, run, snapshot, violations, write
from zoo import describe_tree, diff_trees

from jvs import errors
from jvs.restore import run as restore
from jvs.store import changing, worktree
from jvs.store.store import Store
from jvs.worktrees import fork, undo


def go(store: Store, target: str, name: str = "main", **more) -> restore.Done:
    with changing.worktree(store, name):
        return restore.restore(store, name, target, **more)


@pytest.fixture
def lab(tmp_path: Path) -> tuple[Store, list[str]]:
    """Three snapshots, and main at the third."""
    store = make_store(tmp_path / "repo")
    ids = []
    for number in range(3):
        write(main_of(store), {"a": f"{number}", f"only{number}": "x", "d/e": f"{number}"})
        ids.append(snapshot(store, f"s{number}")["snapshot_id"])
    os.chdir(main_of(store))
    return store, ids


def test_undo_twice_walks_back_twice(lab):
    store, ids = lab
    write(main_of(store), {"dirty": "dirty"})
    start = describe_tree(main_of(store))
    go(store, ids[0])
    middle = describe_tree(main_of(store))
    go(store, ids[1])
    end = describe_tree(main_of(store))
    undo.undo(store, "main")
    assert diff_trees(middle, describe_tree(main_of(store))) == []
    assert store.head_of("main") == (ids[0], ids[2])
    undo.undo(store, "main")
    assert diff_trees(start, describe_tree(main_of(store))) == []
    assert store.head_of("main") == (ids[2], ids[2])
    with pytest.raises(errors.NotFound):
        undo.undo(store, "main")
    undo.undo(store, "main", redo=True)
    assert diff_trees(middle, describe_tree(main_of(store))) == []
    undo.undo(store, "main", redo=True)
    assert diff_trees(end, describe_tree(main_of(store))) == []
    with pytest.raises(errors.NotFound):
        undo.undo(store, "main", redo=True)
    assert violations(store.root) == []


def test_something_new_ends_the_redo_but_the_undo_can_still_be_named(lab):
    store, ids = lab
    write(main_of(store), {"dirty": "one"})
    go(store, ids[0])
    undo.undo(store, "main")
    go(store, ids[1])
    with pytest.raises(errors.NotFound):
        undo.undo(store, "main", redo=True)
    assert len(undo.operations(store, "main")) == 2


def test_what_was_written_since_is_displaced_and_comes_back_with_the_redo(lab):
    store, ids = lab
    go(store, ids[0])
    write(main_of(store), {"a": "written since", "other": "untouched by the restore"})
    undo.undo(store, "main")
    assert (main_of(store) / "a").read_text() == "2"
    assert (main_of(store) / "other").read_text() == "untouched by the restore"
    undo.undo(store, "main", redo=True)
    assert (main_of(store) / "a").read_text() == "written since"


def test_directories_that_went_since_are_made_again(lab):
    store, ids = lab
    go(store, ids[0])
    (main_of(store) / "d/e").unlink()
    (main_of(store) / "d").rmdir()
    write(main_of(store), {"d": "a file in the way"})
    undo.undo(store, "main")
    assert (main_of(store) / "d/e").read_text() == "2"
    undo.undo(store, "main", redo=True)
    assert (main_of(store) / "d").read_text() == "a file in the way"


def test_every_undo_is_recorded(lab):
    store, ids = lab
    go(store, ids[0])
    undo.undo(store, "main")
    assert '"operation":"undo"' in Path(str(store.layout.audit_log)).read_text().splitlines()[-1]


def test_undoing_keeps_one_copy_of_what_was_displaced(lab):
    store, ids = lab
    write(main_of(store), {"big": "x" * 100_000})
    go(store, ids[0])
    undo.undo(store, "main")
    kept = [Path(w, f) for w, _, files in os.walk(str(store.layout.undo)) for f in files if f == "big"]
    assert kept == []
    assert len(os.listdir(str(store.layout.undo))) == 1


def test_command_says_what_it_did_and_what_can_be_done(lab):
    store, ids = lab
    assert run("undo").exit == 5
    assert run("undo", "--list").text == "nothing to undo\n"
    go(store, ids[0])
    listed = run("undo", "--list", "--json").json
    assert listed[0]["description"] == f"restore of 'main' to {ids[0]}"
    said = run("undo", listed[0]["operation_id"][14:])
    assert said.exit == 0
    assert said.text.startswith(f"Undid the restore of 'main' to {ids[0]}\n")
    assert "Worktree is at HEAD state." in said.text
    assert "undo of the restore" in run("undo", "--list").text
    assert run("undo", "--redo", "--json").json["head_snapshot_id"] == ids[0]
    assert run("undo", "--redo", "x").exit == 2


def test_a_rename_is_undone_from_where_it_was_asked_for(lab):
    store, ids = lab
    with changing.worktree(store, "side"):
        fork.fork(store, ids[0], "side")
    assert run("worktree", "rename", "side", "other").exit == 0
    assert run("undo").exit == 0
    assert worktree.names(store.layout) == ["main", "side"]
    assert run("undo", "--redo").exit == 0
    assert worktree.names(store.layout) == ["main", "other"]
    assert violations(store.root) == []


def test_a_removal_is_undone_with_all_that_was_in_it(lab):
    store, ids = lab
    with changing.worktree(store, "side"):
        fork.fork(store, ids[0], "side")
    write(str(store.layout.worktree_dir("side")), {"mine": "only here"})
    before = describe_tree(str(store.layout.worktree_dir("side")))
    assert run("worktree", "remove", "side").exit == 0
    assert run("undo").exit == 0
    assert diff_trees(before, describe_tree(str(store.layout.worktree_dir("side")))) == []
    assert store.head_of("side") == (ids[0], ids[0])
    assert violations(store.root) == []


def test_a_taken_name_is_refused(lab):
    store, ids = lab
    with changing.worktree(store, "side"):
        fork.fork(store, ids[0], "side")
    run("worktree", "remove", "side")
    run("worktree", "create", "side")
    store = open_store(store.root)
    with pytest.raises((errors.Exists, errors.NotFound)):
        undo.undo(store, "side")
    assert len(os.listdir(str(store.layout.undo))) == 1
