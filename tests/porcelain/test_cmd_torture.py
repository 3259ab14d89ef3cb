"""`jvs torture`: finds the suite and becomes its program."""

from __future__ import annotations

import os
import sys

import making
import pytest


@pytest.fixture
def became(monkeypatch):
    calls = []

    def execv(path, words):
        calls.append(words)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.setattr(sys, "argv", ["/nowhere/jvs"])
    return calls


def test_the_suite_next_to_the_package(became):
    with pytest.raises(SystemExit):
        making.run("torture", "--only", "snapshot", "--seconds", "5", "--list")
    (call,) = became
    assert os.path.basename(call[1]) == "torture" and os.path.isfile(os.path.join(call[1], "__main__.py"))
    assert call[2:] == ["--only", "snapshot", "--seconds", "5.0", "--list"]


def test_the_journal_is_passed_on(became):
    with pytest.raises(SystemExit):
        making.run("torture", "--journal", "verdicts.jsonl", "--kind", "kill")
    (call,) = became
    assert call[call.index("--journal") + 1] == "verdicts.jsonl"


def test_a_suite_somewhere_else_and_json(became, tmp_path):
    (tmp_path / "torture").write_text("")
    with pytest.raises(SystemExit):
        making.run("torture", "--suite", str(tmp_path), "--json")
    assert became[0][1] == str(tmp_path / "torture") and "--json" in became[0]


def test_no_suite_is_not_found(became, tmp_path):
    said = making.run("torture", "--suite", str(tmp_path))
    assert said.exit == 5 and "--suite DIR" in said.err
