"""`jvs-prune-snapshot`: one snapshot, if nothing protects it."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def ids(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(store))
    return [making.snapshot(store, note)["snapshot_id"] for note in ("one", "two", "three")]


def test_prunes_what_the_policy_does_not_keep(ids):
    said = making.plumb("prune-snapshot", ids[1], "--keep-last", "1")
    assert (said.exit, said.text) == (0, f"{ids[1]}\n")
    assert making.run("verify", "--all").exit == 0
    assert making.plumb("prune-snapshot", ids[1], "--keep-last", "1").exit == 5


def test_refuses_what_is_protected_and_what_is_no_id(ids):
    assert making.plumb("prune-snapshot", ids[1]).exit == 30
    assert making.plumb("prune-snapshot", ids[2], "--keep-last", "1").exit == 30
    assert making.plumb("prune-snapshot", "../x").exit == 10
