"""`jvs restore`: what it says, what it changes, what it refuses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import main_of, make_store, run, snapshot, violations, write

from jvs.store.store import Store


@pytest.fixture
def lab(tmp_path: Path) -> tuple[Store, str, str]:
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "one", "d/b": "b", "d/c.py": "c"})
    first = snapshot(store, "first", tags=["base"])["snapshot_id"]
    write(main_of(store), {"a": "two", "new": "new"})
    second = snapshot(store, "second")["snapshot_id"]
    os.chdir(main_of(store))
    return store, first, second


def test_an_old_snapshot_detaches_and_says_the_ways_on(lab):
    store, first, _ = lab
    said = run("restore", "base")
    assert said.exit == 0
    assert said.text.startswith(f"Restored snapshot {first}\n")
    assert "Worktree is now in DETACHED state.\n" in said.text
    assert "jvs worktree fork" in said.text and "jvs restore LATEST" in said.text
    assert Path("a").read_text() == "one" and not Path("new").exists()
    assert violations(store.root) == []


def test_head_comes_back_to_the_latest(lab):
    _, _, second = lab
    run("restore", "first")
    said = run("restore", "HEAD", "--json").json
    assert said["snapshot_id"] == second
    assert run("restore", "HEAD").text.endswith("Worktree is at HEAD state.\n")
    assert Path("new").read_text() == "new"


def test_only_the_paths_that_are_named_and_the_head_stays(lab):
    store, _, second = lab
    Path("d/b").write_text("changed")
    Path("d/c.py").write_text("changed")
    assert run("restore", "base", "--", "d/*.py").exit == 0
    assert (Path("d/c.py").read_text(), Path("d/b").read_text()) == ("c", "changed")
    assert store.head_of("main") == (second, second)


def test_a_dry_run_changes_nothing(lab):
    said = run("restore", "base", "--dry-run", "--json").json
    assert {(item["path"], item["change"]) for item in said["changes"]} == {("a", "modified"), ("new", "removed")}
    assert Path("a").read_text() == "two"


def test_what_was_never_saved_can_be_brought_back_unless_it_was_discarded(lab):
    Path("draft").write_text("draft")
    run("restore", "HEAD")
    assert not Path("draft").exists()
    assert run("undo").exit == 0
    assert Path("draft").read_text() == "draft"
    assert "5 B" in run("restore", "HEAD", "--discard").text
    assert not Path("draft").exists()


@pytest.mark.parametrize(("words", "code"), [((), 2), (("nothing-like-it",), 5), (("HEAD~9",), 5)])
def test_a_target_that_is_not_one_changes_nothing(lab, words, code):
    said = run("restore", *words)
    assert said.exit == code and "hint: " in said.err
    assert Path("a").read_text() == "two"


def test_a_tampered_snapshot_is_refused_but_for_a_reason(lab):
    store, first, _ = lab
    with open(os.path.join(str(store.layout.payload(first)), "a"), "r+b") as file:
        file.write(b"X")
    assert run("restore", "base").exit == 21
    assert Path("a").read_text() == "two"
    assert run("restore", "base", "--force-tampered", "it is all we have").exit == 0
    assert Path("a").read_text() == "Xne"
