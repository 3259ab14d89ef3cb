"""`jvs tag`: tags that a snapshot gets, and loses, after it was taken."""

from __future__ import annotations

import making
import pytest
from making import run


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    making.write(making.main_of(made), {"a": "1"})
    making.snapshot(made, "first", tags=["old"])
    making.write(making.main_of(made), {"a": "2"})
    making.snapshot(made, "second")
    return made


def test_tags_are_given_printed_and_taken_away(store):
    assert run("tag", "first", "new", "newer").exit == 0
    assert run("tag", "first").text == "old\nnew\nnewer\n"
    assert run("resolve", "newer").text == run("resolve", "old").text
    assert run("tag", "newer", "old", "never", "--delete").text.endswith("has the tags: new, newer\n")
    assert run("tag", "new", "--json").json["tags"] == ["new", "newer"]
    assert run("resolve", "old").exit == 5
    assert "(new, newer)" in run("history").text and "new, newer" in run("show", "first").text
    assert "new,newer" in run("list-snapshots").text
    assert [r["note"] for r in run("history", "--tag", "new", "--json").json] == ["first"]


def test_a_tag_that_is_given_again_names_the_newest(store):
    run("tag", "LATEST", "old")
    assert run("resolve", "old").text == run("resolve", "second").text


def test_words_for_the_latest_and_nothing_are_refused(store):
    for words in (["first", "HEAD"], ["first", "LATEST"], ["first", "a b"]):
        assert run("tag", *words).exit == 10
    assert run("tag", "first", "--delete").exit == 2
    assert run("tag", "nowhere", "x").exit == 5
    assert making.violations(store.root) == []
