"""`jvs note`: another note for a snapshot."""

from __future__ import annotations

import making
import pytest
from making import run


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    making.snapshot(made, "first", tags=["t"])
    return made


def test_a_note_is_replaced_and_printed(store):
    assert run("note", "t", "line one\nline two").exit == 0
    assert run("note", "t").text == "line one\nline two\n"
    assert run("resolve", "line one").exit == 0 and run("resolve", "first").exit == 5
    assert "line one" in run("history").text and "line two" in run("show").text
    assert run("status", "--json").json["head_note"] == "line one\nline two"
    assert run("note", "t", "-", stdin=b"from stdin\n").exit == 0
    assert run("note", "t", "--json").json["note"] == "from stdin"
    assert run("note", "t", "").exit == 0 and run("note", "t").text == ""


def test_what_is_no_text_is_refused(store):
    assert run("note", "t", "-", stdin=b"\xff").exit == 2
    assert run("note", "t", "a\0b").exit == 2
    assert run("note", "t").text == "first\n"
