"""`jvs-cat-file`: what the tree says of a path, and the bytes behind it."""

from __future__ import annotations

import hashlib
import os

import making
import pytest
from making import plumb


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    making.write(making.main_of(made), {"d/b": "22"})
    os.symlink("d/b", "link")
    making.snapshot(made, "first")
    return made


def test_kind_size_digest_and_content(store):
    assert plumb("cat-file", "HEAD:d/b").out == b"22"
    assert plumb("cat-file", "-t", "HEAD:d").text == "dir\n"
    assert plumb("cat-file", "-t", "HEAD:link").text == "symlink\n"
    assert plumb("cat-file", "-s", "HEAD:d/b").text == "2\n"
    assert plumb("cat-file", "-d", "HEAD:d/b").text == hashlib.sha256(b"22").hexdigest() + "\n"
    assert plumb("cat-file", "--json", "HEAD:d/b").json["kind"] == "file"
    assert plumb("cat-file", "HEAD:./d/b").out == b"22"


def test_what_is_not_there_is_an_error(store):
    assert plumb("cat-file", "HEAD:x").exit == 5
    assert plumb("cat-file", "HEAD:d").exit == 2
    assert plumb("cat-file", "HEAD").exit == 2
