"""`jvs conformance run`: finds the suite and becomes its program."""

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
        making.run("conformance", "run", "--profile", "release", "-k", "x", "-j", "3", "--bin", "/opt/b")
    (call,) = became
    assert os.path.basename(call[1]) == "run" and os.path.isfile(call[1])
    assert call[2:] == ["--profile", "release", "--bin", "/opt/b", "-k", "x", "--jobs", "3"]


def test_a_suite_somewhere_else_and_json(became, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(SystemExit):
        making.run("conformance", "run", "--suite", str(tmp_path), "--json")
    assert became[0][1] == str(tmp_path / "run") and "--json" in became[0]


def test_no_suite_is_not_found(became, tmp_path):
    said = making.run("conformance", "run", "--suite", str(tmp_path))
    assert said.exit == 5 and "--suite DIR" in said.err
