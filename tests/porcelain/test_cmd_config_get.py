"""`jvs config get`: the value that counts."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_values_and_origins(store):
    assert making.run("config", "get", "undo.max_operations").text == "20\n"
    assert making.run("config", "get", "progress_enabled").text == "true\n"
    assert making.run("config", "get", "default_engine").text == ""
    assert making.run("-c", "default_tags=a,b", "config", "get", "default_tags").text == "a\nb\n"
    said = making.run("-c", "durability=each", "config", "get", "durability", "--show-origin")
    assert said.text == "command line\teach\n"
    assert making.run("config", "get", "durability", "--json").json == {
        "key": "durability",
        "value": "auto",
        "origin": "default",
    }


def test_outside_of_a_repository(store, own_world, monkeypatch):
    monkeypatch.chdir(own_world)
    assert making.run("config", "get", "durability").text == "auto\n"


def test_an_unknown_key_has_a_nearest(store):
    said = making.run("config", "get", "default_tgs")
    assert said.exit == 2 and "did you mean 'default_tags'?" in said.err


def test_the_user_layer_alone(store):
    making.run("config", "set", "--user", "durability", "each")
    making.run("config", "set", "durability", "auto")
    assert making.run("config", "get", "durability").text == "auto\n"
    assert making.run("config", "get", "--user", "durability").text == "each\n"
