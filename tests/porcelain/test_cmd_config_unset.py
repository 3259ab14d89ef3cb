"""`jvs config unset`: back to what the other layers say."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_back_to_the_default(store):
    making.run("config", "set", "undo.max_operations", "5")
    assert making.run("config", "unset", "undo.max_operations").text == "Unset undo.max_operations\n"
    assert making.run("config", "get", "undo.max_operations").text == "20\n"


def test_what_is_not_there_is_no_error(store):
    said = making.run("config", "unset", "durability")
    assert said.exit == 0 and said.text.startswith("No change: durability is not set")


def test_back_to_the_user_file(store):
    making.run("config", "set", "--user", "durability", "each")
    making.run("config", "set", "durability", "auto")
    making.run("config", "unset", "durability")
    assert making.run("config", "get", "durability").text == "each\n"
    making.run("config", "unset", "--user", "durability")
    assert making.run("config", "get", "durability").text == "auto\n"


def test_an_unknown_key(store):
    assert making.run("config", "unset", "nothing").exit == 2
