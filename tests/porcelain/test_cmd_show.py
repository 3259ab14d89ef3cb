"""`jvs show`: every field of one snapshot."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_every_field_is_there(store):
    making.write(making.main_of(store), {"a": "1"})
    made = making.snapshot(store, "first\n\nwhy", tags=["x"])
    said = making.run("show")
    for field in ("snapshot_id", "created_at", "actor", "engine", "payload_root_hash", "descriptor_checksum"):
        assert made[field] in said.text
    assert "none: it is the first" in said.text and "    why" in said.text and "Tags:       x" in said.text
    assert str(store.layout.payload(made["snapshot_id"])) in said.text
    value = making.run("show", "x", "--json").json
    assert {**value, **made} == value
    assert value["path"] == str(store.layout.payload(made["snapshot_id"]))
    assert max(map(len, said.text.replace(store.root, "").splitlines())) <= 80


def test_unknown_fields_are_shown(store, monkeypatch):
    from jvs.store import lineage

    making.write(making.main_of(store), {"a": "1"})
    made = making.snapshot(store)
    monkeypatch.setattr(lineage, "load_visible", lambda *_: {**made, "future": [1]})
    assert "future:     [1]" in making.run("show").text


def test_without_a_snapshot_and_with_a_wrong_name(store):
    assert making.run("show").exit == 5
    assert making.run("show", "nothing").exit == 5
