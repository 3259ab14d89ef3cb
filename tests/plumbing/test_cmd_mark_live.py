"""`jvs-mark-live`: what a collection must keep, one per line, with reasons."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def ids(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(store))
    return [making.snapshot(store, note)["snapshot_id"] for note in ("one", "two")]


def test_lines_are_id_and_reasons(ids):
    said = making.plumb("mark-live")
    assert said.text == f"{ids[0]}\ton the line of 'main'\n{ids[1]}\thead of 'main'\tlatest of 'main'\n"


def test_candidates_are_the_others(ids):
    assert making.plumb("mark-live", "--candidates").out == b""
    assert making.plumb("mark-live", "--candidates", "--keep-last", "1").text == f"{ids[0]}\n"
    rows = making.plumb("mark-live", "--keep-last", "1", "--json").json
    assert [row["snapshot_id"] for row in rows] == ids[1:]
