"""`jvs-ls-tree`: what a tree holds, in lines that other programs take."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


@pytest.fixture
def tree(store):
    main = making.main_of(store)
    making.write(main, {"a": "1", "d/b": "22", "back\\slash": "3", "new\nline": "4", "cr\rx": "5"})
    with open(os.fsencode(main) + b"/\xff", "w") as file:
        file.write("6")
    (main / "link").symlink_to("a")
    making.snapshot(store, "one", tags=["t"])
    return main


def test_lines(store, tree):
    rows = [line.split("\t") for line in making.plumb("ls-tree", "HEAD").text.splitlines()]
    names = ["a", '"back\\\\slash"', '"cr\\rx"', "d", "link", '"new\\nline"', '"\\377"']
    assert [row[4] for row in rows] == names
    assert rows[0][:4] == ["0644", "file", hashlib.sha256(b"1").hexdigest(), "1"]
    deep = making.plumb("ls-tree", "-r", "-z", "t").out.split(b"\0")
    assert [row.split(b"\t")[-1] for row in deep if row][3:5] == [b"d", b"d/b"]


def test_sha256sum_takes_the_lines(store, tree):
    lines = making.plumb("ls-tree", "--sha256sum", "HEAD").out
    assert lines.count(b"\n") == 6
    done = subprocess.run(["sha256sum", "-c", "--strict", "--quiet"], input=lines, cwd=tree, capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    (tree / "new\nline").write_text("other")
    assert subprocess.run(["sha256sum", "-c", "--status"], input=lines, cwd=tree).returncode == 1


def test_a_directory_is_listed_like_its_snapshot_even_outside(store, tree, monkeypatch, own_world):
    inside = making.plumb("ls-tree", "-r", "HEAD").out
    monkeypatch.chdir(own_world)
    assert making.plumb("ls-tree", "-r", str(tree)).out == inside
    assert making.plumb("ls-tree", "nothing").exit == 5


def test_a_snapshot_goes_before_a_directory_of_its_name(store, tree):
    (tree / "t").mkdir()
    assert making.plumb("ls-tree", "t").out != b""
    assert making.plumb("ls-tree", "./t").out == b""


def test_json_and_cbor(store, tree):
    import cbor2

    value = making.plumb("ls-tree", "HEAD", "--json").json
    assert value[0] == {
        "path": "a",
        "kind": "file",
        "mode": "0644",
        "size": 1,
        "digest": hashlib.sha256(b"1").hexdigest(),
        "algorithm": "sha256",
    }
    assert value[-1]["path_b64"] == "/w=="
    stream = io.BytesIO(making.plumb("ls-tree", "HEAD", "--cbor").out)
    items = [cbor2.load(stream) for _ in value]
    assert items[-1][0] == b"\xff" and stream.read() == b""
