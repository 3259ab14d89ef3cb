"""`jvs-list-snapshots`: all that is visible."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_lines_ids_and_formats(store):
    assert making.plumb("list-snapshots").out == b""
    making.write(making.main_of(store), {"a": "1"})
    one = making.snapshot(store, "one", tags=["x", "y"])
    making.write(making.main_of(store), {"a": "22"})
    two = making.snapshot(store, "two")
    rows = [line.split("\t") for line in making.plumb("list-snapshots").text.splitlines()]
    assert rows[0][:3] == [one["snapshot_id"], "-", "main"] and rows[0][7] == "x,y"
    assert rows[1][1] == one["snapshot_id"] and rows[1][4:7] == [two["payload_root_hash"], "1", "2"]
    assert making.plumb("list-snapshots", "--ids").text.split() == [one["snapshot_id"], two["snapshot_id"]]
    assert making.plumb("list-snapshots", "--format", "{note}").text == "one\ntwo\n"
    assert [d["note"] for d in making.plumb("list-snapshots", "--json").json] == ["one", "two"]
    assert making.plumb("list-snapshots", "--jsonl").text.count("\n") == 2


def test_usage(store):
    assert making.plumb("list-snapshots", "--ids", "--format", "x").exit == 2
    assert making.plumb("list-snapshots", "--format", "{x}").exit == 2
