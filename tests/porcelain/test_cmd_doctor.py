"""`jvs doctor`: what it says and how it ends."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_healthy_is_one_line_and_exit_0(store):
    said = making.run("doctor", "--strict")
    assert (said.exit, said.text) == (0, "Repository is healthy.\n")
    assert making.run("doctor", "--json").json == {"healthy": True, "findings": [], "repaired": []}


def test_findings_say_severity_class_path_and_repair(store):
    os.mkdir(str(store.layout.payload_tmp("1700000000000-0a1b2c3d")))
    said = making.run("doctor")
    assert said.exit == 23
    lines = said.text.splitlines()
    assert lines[0].startswith("warning: E_PARTIAL_SNAPSHOT: 'snapshots/1700000000000-0a1b2c3d.tmp'")
    assert lines[1] == f"  path: {store.layout.payload_tmp('1700000000000-0a1b2c3d')}"
    assert lines[2] == "  repair: clean_tmp"
    assert lines[-1] == "1 finding."


def test_repair_says_what_it_did_and_looks_again(store):
    os.mkdir(str(store.layout.payload_tmp("1700000000000-0a1b2c3d")))
    said = making.run("doctor", "--repair", "clean_tmp")
    assert said.exit == 0
    assert said.text == "repaired: removed 'snapshots/1700000000000-0a1b2c3d.tmp'\nRepository is healthy.\n"


def test_repairs_are_listed(store):
    actions = [line.split()[0] for line in making.run("doctor", "--repair-list").text.splitlines()]
    assert sorted(actions) == ["advance_head", "audit_repair", "clean_intents", "clean_tmp", "rebuild_index"]
    assert making.run("doctor", "--repair", "magic").exit == 2


@pytest.mark.parametrize(
    ("name", "expected"), [("format_version", 12), ("repo_id", 12), ("worktrees/main/config.json", 22)]
)
def test_it_runs_where_snapshot_does_not(store, name, expected):
    Path(str(store.layout.jvs), name).write_bytes(b"garbage")
    assert making.run("doctor", "--json").exit == expected
    assert making.run("snapshot", "x").exit != 0
