"""`jvs conformance list`: finds the suite, runs its program, and hands on what that prints and how it ends."""

from __future__ import annotations

import os
import subprocess
import sys

import making
import pytest


@pytest.fixture
def became(monkeypatch):
    calls = []

    def run(words, **more):
        calls.append(words)
        return subprocess.CompletedProcess(words, 0, b"[]" if "--json" in words else b"listed\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(sys, "argv", ["/nowhere/jvs"])
    return calls


def test_the_suite_next_to_the_package(became):
    said = making.run("conformance", "list", "-k", "x")
    assert (said.exit, said.text) == (0, "listed\n")
    (call,) = became
    assert os.path.basename(call[1]) == "run" and os.path.isfile(call[1])
    assert call[2:] == ["--list", "--profile", "release", "-k", "x"]


def test_a_suite_somewhere_else_and_json(became, tmp_path):
    (tmp_path / "run").write_text("")
    said = making.run("conformance", "list", "--suite", str(tmp_path), "--json")
    assert said.exit == 0 and said.json == []
    assert became[0][1] == str(tmp_path / "run") and "--json" in became[0]


def test_no_suite_is_not_found(became, tmp_path):
    said = making.run("conformance", "list", "--suite", str(tmp_path))
    assert said.exit == 5 and "--suite DIR" in said.err
