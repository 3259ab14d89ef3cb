"""`jvs-resolve`: TARGET to id."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_ids_short_ids_and_the_head(store):
    making.write(making.main_of(store), {"a": "1"})
    first = making.snapshot(store, "one", tags=["t"])["snapshot_id"]
    making.write(making.main_of(store), {"a": "2"})
    second = making.snapshot(store, "two")["snapshot_id"]
    assert making.plumb("resolve", "t").text == first + "\n"
    assert making.plumb("resolve").text == second + "\n"
    assert making.plumb("resolve", "--short", "HEAD~1").text == first[14:21] + "\n"
    making.run("restore", first)
    assert making.plumb("resolve", "--head").text == first + "\n"
    assert making.plumb("resolve", "HEAD", "--json").json == {"snapshot_id": second, "short_id": second[14:21]}


def test_nothing_and_too_much(store):
    assert making.plumb("resolve", "nothing").exit == 5
    assert making.plumb("resolve", "--head").exit == 5
    assert making.plumb("resolve", "--head", "HEAD").exit == 2
