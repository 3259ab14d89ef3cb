"""`jvs-merge-tree`: what merging three snapshots gives."""

from __future__ import annotations

import making
import pytest
from making import plumb


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    making.write(making.main_of(made), {"a": "1"})
    making.snapshot(made, "first")
    making.write(making.main_of(made), {"a": "2"})
    making.snapshot(made, "second")
    return made


def test_the_tree_of_a_line_is_the_newer_one(store):
    said = plumb("merge-tree", "first", "first", "second")
    assert said.exit == 0 and [c["path"] for c in said.json["changes"]] == ["a"]
    assert plumb("merge-tree", "first", "second", "first").json["changes"] == []


def test_conflicts_are_in_the_answer_and_the_status(store):
    making.write(making.main_of(store), {"a": "3", "b": "3"})
    made = making.snapshot(store, "third")
    said = plumb("merge-tree", "first", "second", made["snapshot_id"])
    assert said.exit == 7
    assert [(c["path"], c["ours"], c["theirs"]) for c in said.json["conflicts"]] == [("a", "modified", "modified")]
    assert [(c["path"], c["how"], c["entry"]["kind"]) for c in said.json["changes"]] == [("b", "copy", "file")]
