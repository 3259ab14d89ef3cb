"""`jvs du`: what each snapshot frees, what they free together, and what else is kept."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest
from making import run


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return main of a repository with three snapshots; the second one holds 300 kB that no other has."""
    assert run("init", str(tmp_path / "lab"), "--engine", "copy").exit == 0
    main = tmp_path / "lab/main"
    monkeypatch.chdir(main)
    making.write(main, {"kept": os.urandom(200_000)})
    assert run("snapshot", "first", "-t", "base").exit == 0
    making.write(main, {"passing": os.urandom(300_000)})
    assert run("snapshot", "second").exit == 0
    (main / "passing").unlink()
    assert run("snapshot", "third").exit == 0
    return main


def ids() -> list[str]:
    return [record["snapshot_id"] for record in run("history", "--json").json]


def test_what_frees_most_comes_first(lab: Path) -> None:
    third, second, first = ids()
    found = run("du", "--json").json
    rows = {row["snapshot_id"]: row for row in found["snapshots"]}
    assert next(iter(rows)) == second and set(rows) == {first, second, third}
    assert 300_000 <= rows[second]["exclusive_bytes"] < 400_000 <= 500_000 <= rows[second]["apparent_bytes"]
    assert rows[first]["exclusive_bytes"] < 100_000 and rows[first]["shared_bytes"] >= 190_000
    assert rows[first]["kept"] and rows[third]["kept"] and not rows[second]["kept"]
    assert found["exclusive_bytes"] >= 500_000, "together they free what they share"


def test_targets_choose(lab: Path) -> None:
    _, second, first = ids()
    assert [row["snapshot_id"] for row in run("du", second, "--json").json["snapshots"]] == [second]
    both = run("du", "base", second, "--json").json
    assert {row["snapshot_id"] for row in both["snapshots"]} == {first, second}
    assert run("du", "nothing").exit == 5


def test_what_else_is_kept_is_said(lab: Path) -> None:
    making.write(lab, {"kept": os.urandom(250_000)})
    before = run("du", "--json").json["undo_bytes"]
    assert run("restore", "HEAD").exit == 0
    assert run("du", "--json").json["undo_bytes"] >= before + 250_000
    said = run("du")
    assert said.exit == 0 and "undo" in said.text and "index" in said.text


def test_a_repository_without_snapshots_has_nothing_to_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("init", str(tmp_path / "empty")).exit == 0
    monkeypatch.chdir(tmp_path / "empty")
    found = run("du", "--json").json
    assert found["snapshots"] == [] and found["exclusive_bytes"] == 0


def test_it_changes_nothing(lab: Path) -> None:
    log = (lab.parent / ".jvs/audit/audit.jsonl").read_bytes()
    assert run("du").exit == run("du", "--jsonl").exit == 0
    assert (lab.parent / ".jvs/audit/audit.jsonl").read_bytes() == log
    assert making.violations(lab.parent) == []
