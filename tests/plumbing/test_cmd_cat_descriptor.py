"""`jvs-cat-descriptor`: the bytes as they are stored."""

from __future__ import annotations

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def test_the_bytes_are_those_on_disk(store):
    making.write(making.main_of(store), {"a": "1"})
    made = making.snapshot(store, "one")["snapshot_id"]
    with open(str(store.layout.descriptor(made)), "rb") as file:
        assert making.plumb("cat-descriptor", "HEAD").out == file.read()
    with open(str(store.layout.ready(made)), "rb") as file:
        assert making.plumb("cat-descriptor", "--ready", "HEAD").out == file.read()
    assert making.plumb("cat-descriptor", "HEAD", "--json").json["snapshot_id"] == made


def test_a_damaged_one_is_an_error(store):
    making.write(making.main_of(store), {"a": "1"})
    made = making.snapshot(store, "one")["snapshot_id"]
    with open(str(store.layout.descriptor(made)), "r+b") as file:
        file.write(b"[")
    assert making.plumb("cat-descriptor", made).exit == 20
