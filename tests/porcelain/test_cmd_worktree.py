"""`jvs worktree ...`: what each says, what each refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import main_of, make_store, open_store, run, snapshot, violations, write

from jvs.store import worktree
from jvs.store.store import Store


@pytest.fixture
def lab(tmp_path: Path) -> tuple[Store, str]:
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "a"})
    first = snapshot(store, tags=["base"])["snapshot_id"]
    os.chdir(store.root)
    assert run("worktree", "fork", "side").exit == 0
    return store, first


def test_list_shows_name_head_and_path(lab):
    _, first = lab
    said = run("worktree", "list")
    assert [line.split()[0] for line in said.text.splitlines()] == ["main", "side"]
    assert first[14:21] in said.text
    items = run("wt", "list", "--json").json
    assert [(item["name"], item["head_snapshot_id"], item["detached"]) for item in items] == [
        ("main", first, False),
        ("side", first, False),
    ]
    os.chdir("worktrees/side")
    assert run("worktree", "list").text.splitlines()[1].startswith("* side")
    assert len(run("worktree", "list", "--jsonl").text.splitlines()) == 2


def test_list_marks_what_is_missing(lab):
    store, _ = lab
    os.rename("worktrees/side", "elsewhere")
    assert "(missing)" in run("worktree", "list").text
    assert run("worktree", "remove", "side").exit == 0
    assert worktree.names(store.layout) == ["main"]


def test_create_empty_and_from_a_snapshot(lab):
    store, first = lab
    assert run("worktree", "create", "scratch").text.startswith("Created worktree 'scratch'\n")
    assert os.listdir("worktrees/scratch") == []
    said = run("worktree", "create", "trial", "--from", "base")
    assert said.text.startswith(f"Created worktree 'trial' from snapshot {first}\n")
    assert Path("worktrees/trial/a").read_text() == "a"
    assert run("worktree", "create", "trial").exit == 7
    assert run("worktree", "create", "-x").exit in (2, 10)
    assert violations(store.root) == []


def test_path_prints_one_line(lab):
    store, _ = lab
    assert run("worktree", "path").text == f"{store.root}/main\n"
    assert run("worktree", "path", "side").text == f"{store.root}/worktrees/side\n"
    assert run("worktree", "path", "nobody").exit == 5


def test_rename_keeps_files_head_and_what_works_there(lab):
    store, first = lab
    inode = os.stat("worktrees/side/a").st_ino
    os.chdir("worktrees/side")
    said = run("worktree", "rename", "side", "winner")
    assert said.text == "Renamed worktree 'side' to 'winner'\n"
    assert os.stat("a").st_ino == inode
    assert os.getcwd() == f"{store.root}/worktrees/winner"
    assert store.head_of("winner") == (first, first)
    assert run("snapshot", "goes on").exit == 0
    assert violations(store.root) == []


@pytest.mark.parametrize("words", [("rename", "main", "x"), ("remove", "main")])
def test_main_can_neither_be_renamed_nor_removed(lab, words):
    store, _ = lab
    said = run("worktree", *words)
    assert said.exit == 2
    assert worktree.names(store.layout) == ["main", "side"]


def test_rename_to_a_taken_name_is_refused(lab):
    assert run("worktree", "rename", "side", "main").exit == 7
    assert run("worktree", "rename", "nobody", "x").exit == 5
    assert run("worktree", "rename", "side", "a/b").exit == 10
    os.mkdir("worktrees/foreign")
    assert run("worktree", "rename", "side", "foreign").exit == 7


def test_remove_says_what_no_snapshot_holds_and_how_to_get_it_back(lab):
    store, _ = lab
    write("worktrees/side", {"new": "n", "a": "changed"})
    said = run("worktree", "remove", "side", "--force")
    assert said.text.startswith("Removed worktree 'side'\n2 entries in it were in no snapshot\n")
    assert "'jvs undo' gives it back" in said.text
    assert os.listdir("worktrees") == []
    assert violations(store.root) == []


def test_remove_discard_keeps_nothing_and_says_how_much_went(lab):
    store, _ = lab
    write("worktrees/side", {"big": "x" * 5000})
    said = run("worktree", "remove", "side", "--discard", "--json")
    assert (said.json["discarded"], said.json["bytes"]) == (True, 5001)
    assert os.listdir(str(store.layout.undo)) == []
    assert run("undo").exit == 5


def test_remove_from_inside_is_refused_with_the_way_out(lab):
    store, _ = lab
    os.chdir("worktrees/side")
    said = run("worktree", "remove", "side")
    assert said.exit == 2
    assert f"cd '{store.root}'" in said.err


def test_a_renamed_worktree_is_not_hashed_again(lab):
    store, _ = lab
    os.chdir("worktrees/side")
    run("snapshot", "one")
    run("worktree", "rename", "side", "winner")
    fresh = open_store(store.root)
    key = fresh.tree_key("winner")
    assert fresh.index().rows(key)
    assert not fresh.index().rows(key.replace("winner", "side"))
