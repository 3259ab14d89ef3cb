"""`jvs config list`: every setting and where it stands."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_every_key_with_value_and_origin(store):
    from jvs.store.settings import KEYS

    making.run("config", "set", "durability", "each")
    value = making.run("config", "list", "--json").json
    assert set(value) == set(KEYS)
    assert (value["durability"]["value"], value["durability"]["origin"]) == ("each", str(store.layout.config))
    lines = making.run("config", "list", "--show-origin").text.splitlines()
    assert f'durability = "each"  # {store.layout.config}' in lines
    assert "undo.max_operations = 20  # default" in lines
    assert making.run("config", "list", "--keys").text.splitlines() == list(KEYS)


def test_the_user_layer_alone(store):
    assert making.run("config", "list", "--user").text == ""
    making.run("config", "set", "--user", "default_tags", "a")
    assert making.run("config", "list", "--user").text == 'default_tags = ["a"]\n'
