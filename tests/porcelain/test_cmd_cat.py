"""`jvs cat` and `jvs restore -- PATH`: what snapshots hold at a path."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest
from making import plumb, run

ODD = [b"new\nline", b"\xff\xfe", b"a:b", "\u00fc".encode()]


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    main = making.main_of(made)
    monkeypatch.chdir(main)
    making.write(main, {"a": "one\n", "d/b": bytes(range(256)), "d/e/c": "deep"})
    os.symlink("d/b", "link")
    os.mkfifo("fifo")
    for name in ODD:
        Path(os.fsdecode(os.fsencode(main) + b"/" + name)).write_bytes(name)
    making.snapshot(made, "first: with a colon", tags=["t"])
    making.write(main, {"a": "two\n", "d/b": "b"})
    making.snapshot(made, "only d", paths=[b"d"])
    return made


def test_the_bytes_of_a_file_and_where_a_link_leads(store):
    assert run("cat", "t:a").out == b"one\n"
    assert run("cat", "t:d/b").out == bytes(range(256))
    assert run("cat", "t:link").out == b"d/b"
    assert run("cat", "first: with a colon:d/e/c").out == b"deep"
    assert run("cat", "LATEST:d/b").out == b"b"
    for name in ODD:
        assert run("cat", "t:" + os.fsdecode(name)).out == name
        assert plumb("cat-file", "t:" + os.fsdecode(name)).out == name


def test_what_a_partial_snapshot_leaves_out_is_that_of_the_one_it_lies_on(store):
    assert run("cat", "LATEST:a").out == b"one\n"
    assert run("cat", "LATEST:d/e/c").out == b"deep"


def test_paths_begin_at_the_top_or_where_one_is(store, monkeypatch):
    monkeypatch.chdir("d")
    assert run("cat", "t:a").out == b"one\n"
    assert run("cat", "t:./e/c").out == b"deep"
    assert run("cat", "t:../a").out == b"one\n"
    assert run("cat", "t:../../x").exit == 11
    assert run("cat", "t:d/../a").exit == 11


@pytest.mark.parametrize(
    ("word", "exit"), [("t:nope", 5), ("nope:a", 5), ("t:d", 2), ("t:fifo", 2), ("t:", 2), ("t", 2)]
)
def test_what_is_no_file_is_an_error(store, word, exit):
    said = run("cat", word)
    assert said.exit == exit and said.out == b""


def test_nothing_comes_out_of_a_file_that_was_tampered_with(store):
    payload = Path(str(store.layout.payload(run("resolve", "t").text.strip())))
    for change in (lambda: (payload / "a").write_text("six\n"), lambda: (payload / "a").unlink()):
        change()
        for said in (run("cat", "t:a"), plumb("cat-file", "t:a")):
            assert said.exit == 21 and said.out == b""
    (payload / "link").unlink()
    (payload / "link").symlink_to("/etc/passwd")
    assert run("cat", "t:link").exit == 21


def test_candidates_of_a_restore_change_nothing(store):
    before = run("status").text
    said = run("restore", "--", "a")
    assert said.exit == 0 and "first: with a colon" in said.text and "Nothing was restored" in said.text
    value = run("restore", "--json", "--", "d/b").json
    assert value["restored"] is False and [c["note"] for c in value["candidates"]] == ["only d", "first: with a colon"]
    assert run("status").text == before and run("undo", "--list").text == "nothing to undo\n"
    assert run("restore", "--", "never").exit == 5
    assert run("restore").exit == 2
