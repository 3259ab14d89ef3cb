"""`jvs ls`: what a snapshot holds."""

from __future__ import annotations

import os

import making
import pytest
from making import plumb, run


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    making.write(making.main_of(made), {"a": "one\n", "d/b": "22", "d/e/c": "deep"})
    os.symlink("d/b", "link")
    making.snapshot(made, "first", tags=["t"])
    making.write(making.main_of(made), {"later": ""})
    making.snapshot(made, "second")
    return made


def test_a_directory_and_everything(store):
    assert run("ls", "t", "-1").text == "a\nd/\nlink\n"
    assert run("ls", "-1").text == "a\nd/\nlater\nlink\n"
    assert run("ls", "t:d", "-1").text == "d/b\nd/e/\n"
    assert run("ls", "t", "-r", "-1").text == "a\nd/\nd/b\nd/e/\nd/e/c\nlink\n"
    assert run("ls", "t:a").text == "-rw-r--r--  4 B  a\n"
    assert run("ls", "t", "-z").out == b"a\0d\0link\0"
    assert [entry["path"] for entry in run("ls", "t:d", "--json").json] == ["d/b", "d/e"]
    assert run("ls", "t:nope").exit == 5 and run("ls", "nope").exit == 5


def test_plumbing_begins_below_the_path(store):
    assert [line.split("\t")[4] for line in plumb("ls-tree", "-r", "t:d").text.splitlines()] == ["b", "e", "e/c"]
    assert plumb("ls-tree", "t:a").text.split("\t")[4] == "a\n"
