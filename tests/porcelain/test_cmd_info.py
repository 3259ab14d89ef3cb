"""`jvs info`: what is this repository, and what does it cost."""

from __future__ import annotations

import making
import pytest

from jvs.store import descriptor


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_text_and_json_say_the_same(store):
    making.write(making.main_of(store), {"a": "1"})
    making.snapshot(store)
    value = making.run("info", "--json").json
    text = making.run("info").text
    wanted = {"format_version", "snapshot_engine", "total_snapshots", "total_worktrees", "repo_root", "repo_id"}
    assert wanted <= set(value)
    assert (value["total_snapshots"], value["total_worktrees"]) == (1, 1)
    assert value["newest"]["payload"]["files"] == 1 and "Newest:     1 file; 1 B" in text
    assert text.startswith(f"Repository: {store.root}\n")
    assert value["engine_cost"] in text and value["repo_id"] in text and value["audit_head"] in text


def test_it_says_why_not_a_better_engine(store):
    text = making.run("info").text
    value = making.run("info", "--json").json
    for engine in value["engines"]:
        if engine["engine"] == value["snapshot_engine"]:
            break
        assert f"not {engine['engine']}: {engine['why']}" in text


def test_an_engine_that_does_not_work_is_said(store):
    text = making.run("-c", "default_engine=juicefs-clone", "info").text
    assert "it was asked for, and does not work here" in text


def test_a_damaged_log_hides_nothing_else(store):
    with open(str(store.layout.audit_log), "wb") as log:
        log.write(b"{}\n")
    said = making.run("info")
    assert said.exit == 0 and "damaged" in said.text


def test_sizes_are_added_up_when_asked_for(store, monkeypatch):
    main = making.main_of(store)
    for text in ("1", "22"):
        making.write(main, {"a": text})
        making.snapshot(store)
    value = making.run("info", "--sizes", "--json").json
    assert (value["apparent_bytes"], value["changed_bytes"]) == (3, 3)
    assert "all show 3 B" in making.run("info", "--sizes").text
    assert making.run("info", "--json").json["apparent_bytes"] is None


def test_without_sizes_it_reads_one_descriptor_however_many_there_are(store, monkeypatch):
    main = making.main_of(store)
    for number in range(5):
        making.write(main, {"a": str(number)})
        making.snapshot(store)
    read = []
    load = descriptor.load
    monkeypatch.setattr(descriptor, "load", lambda layout, i: read.append(i) or load(layout, i))
    assert making.run("info", "--json").json["total_snapshots"] == 5
    assert len(read) == 1
