"""`jvs-probe-engine`: which engines work, and what they cost."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_here_and_elsewhere(store, tmp_path):
    rows = [line.split("\t") for line in making.plumb("probe-engine").text.splitlines()]
    assert [row[0] for row in rows] == ["juicefs-clone", "btrfs-snapshot", "reflink-copy", "copy"]
    assert rows[3][1:3] == ["yes", "O(bytes)"]
    assert all(row[3] for row in rows if row[1] == "no")
    before = sorted(tmp_path.iterdir())
    assert making.plumb("probe-engine", str(tmp_path), "--json").json[3]["works"] is True
    assert sorted(tmp_path.iterdir()) == before
    assert making.plumb("probe-engine", str(tmp_path / "nothing")).exit == 5
