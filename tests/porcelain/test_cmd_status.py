"""`jvs status`: where the worktree is, and what changed."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_before_the_first_snapshot(store):
    assert "There are no files yet: put some here, then 'jvs snapshot NOTE' keeps them." in making.run("status").text
    making.write(making.main_of(store), {"d/a": "12", "d/b": "3", "e": "4"})
    text = making.run("status").text
    assert "Worktree main: no snapshot yet" in text
    assert "The first snapshot would hold 3 files, 4 B:" in text
    assert "  A  d/  (2 files, 3 B)" in text
    value = making.run("status", "--json").json
    assert (value["head_snapshot_id"], value["clean"]) == (None, False)
    assert [e["path"] for e in value["added"]] == ["d", "d/a", "d/b", "e"]


def test_clean(store):
    making.write(making.main_of(store), {"a": "1"})
    made = making.snapshot(store, "note here")["snapshot_id"]
    said = making.run("status", "--exit-code")
    assert said.exit == 0
    assert f"Worktree main at {made[14:21]}" in said.text
    assert "note here" in said.text and "Clean: nothing changed since." in said.text


def test_changes_in_every_form(store):
    main = making.main_of(store)
    making.write(main, {"a": "1", "gone": "2"})
    making.snapshot(store)
    making.write(main, {"a": "11", "new": "3"})
    (main / "gone").unlink()
    (main / "odd\nname").write_text("4")
    assert making.run("status").exit == 0
    said = making.run("status", "--exit-code")
    assert said.exit == 3
    assert "2 added, 1 removed, 1 modified" in said.text
    short = ["M a", "D gone", "A new", 'A "odd\\nname"']
    assert making.run("status", "-s").text.splitlines() == short
    assert making.run("status", "--porcelain").text.splitlines() == short
    assert making.run("status", "--porcelain", "-z").out == b"M a\0D gone\0A new\0A odd\nname\0"
    value = making.run("status", "--json").json
    assert value["counts"] == {"added": 2, "modified": 1, "removed": 1}
    assert (value["engine"] in said.text, value["detached"]) == (True, False)


def test_paths_limit_it(store):
    main = making.main_of(store)
    making.write(main, {"a": "1", "d/b": "2"})
    making.snapshot(store)
    making.write(main, {"a": "x", "d/b": "y"})
    assert making.run("status", "-s", "d").text == "M d/b\n"
    assert making.run("status", "-s", "/etc").exit == 11


def test_detached_says_the_ways_on(store):
    main = making.main_of(store)
    making.write(main, {"a": "1"})
    first = making.snapshot(store)["snapshot_id"]
    making.write(main, {"a": "2"})
    making.snapshot(store)
    making.run("restore", first)
    said = making.run("status")
    assert "(detached)" in said.text and "'jvs restore LATEST'" in said.text
    assert making.run("status", "--json").json["detached"] is True


def test_elsewhere_it_is_main_and_names_are_checked(store, monkeypatch):
    monkeypatch.chdir(store.root)
    assert making.run("status", "--json").json["worktree"] == "main"
    assert making.run("status", "-w", "nothing").exit == 5


def test_lines_fit_a_screen_of_80(store):
    main = making.main_of(store)
    making.write(main, {"a": "1"})
    making.snapshot(store, "x" * 200)
    making.write(main, {"b": "2"})
    assert max(map(len, making.run("status").text.splitlines())) <= 80
