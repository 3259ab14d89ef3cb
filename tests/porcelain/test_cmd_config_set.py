"""`jvs config set`: one key, one file, one record."""

from __future__ import annotations

import os

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_set_in_the_repository(store):
    said = making.run("config", "set", "undo.max_operations", "5")
    assert (said.exit, said.text) == (0, "Set undo.max_operations = 5\n")
    assert making.run("config", "get", "undo.max_operations").text == "5\n"
    again = making.run("config", "set", "undo.max_operations", "5", "--json").json
    assert (again["changed"], again["file"]) == (False, str(store.layout.config))
    assert making.violations(store.root) == []


def test_lists_take_several_values(store):
    assert making.run("config", "set", "default_tags", "a", "b").exit == 0
    assert making.run("config", "get", "default_tags").text == "a\nb\n"
    making.write(making.main_of(store), {"f": "1"})
    assert making.run("snapshot", "--json").json["tags"] == ["a", "b"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("no.such.key", "1"), 2),
        (("undo.max_operations", "many"), 2),
        (("undo.max_operations", "1", "2"), 2),
        (("durability", "never"), 2),
        (("default_tags", "a/b"), 10),
        (("durability",), 2),
    ],
)
def test_refused_before_anything_changed(store, words, code):
    assert making.run("config", "set", *words).exit == code
    assert not os.path.exists(str(store.layout.config))


def test_the_user_file_needs_no_repository(store, own_world, monkeypatch):
    monkeypatch.chdir(own_world)
    assert making.run("config", "set", "--user", "durability", "each").exit == 0
    assert making.run("config", "get", "durability").text == "each\n"
    assert making.run("config", "set", "durability", "each").exit == 5
