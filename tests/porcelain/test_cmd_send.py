"""`jvs send`: a stream on standard output or in a file."""

from __future__ import annotations

import os
import subprocess
import sys

import making
import pytest

PROGRAM = "import sys; from jvs.cli.run import main; sys.exit(main())"


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    for number in range(2):
        making.write(making.main_of(made), {"a": str(number)})
        making.snapshot(made, f"note {number}")
    return made


def test_stdout_holds_the_stream_and_nothing_else(store):
    said = making.run("send")
    assert said.exit == 0 and said.out.startswith(b"\x84\x00\x6cjvs-stream-1")


def test_a_file_is_whole_or_not_there(store, tmp_path):
    said = making.run("send", "HEAD", "-o", str(tmp_path / "f"), "--json")
    assert said.exit == 0 and len(said.json["snapshots"]) == 2
    assert said.json["bytes"] == (tmp_path / "f").stat().st_size
    assert making.run("send", "nothing-like-it", "-o", str(tmp_path / "g")).exit == 5
    assert sorted(os.listdir(tmp_path)) == sorted(["f", "repo", *(n for n in os.listdir(tmp_path) if n == "world")])


def test_json_needs_a_file(store):
    said = making.run("send", "--json")
    assert said.exit == 2


def test_what_the_other_side_has_is_not_sent(store, tmp_path):
    ids = making.plumb("list-snapshots", "--ids").out.decode().split()
    (tmp_path / "have").write_text(ids[0] + "\n1700000000000-0a1b2c3d\n")
    by_list = making.run("send", "--have", str(tmp_path / "have"), "-o", str(tmp_path / "f"), "--json").json
    by_name = making.run("send", "--since", ids[0], "-o", str(tmp_path / "f"), "--json").json
    assert by_list == by_name and by_list["snapshots"] == ids[1:] and by_list["bases"] == {ids[1]: ids[0]}
    (tmp_path / "have").write_text("no id\n")
    assert making.run("send", "--have", str(tmp_path / "have"), "-o", str(tmp_path / "f")).exit == 2


def sent_to(path, *words):
    """Run `jvs send` with a standard output of its own; return its status and what it says."""
    with open(path, "wb") as stdout:
        done = subprocess.run([sys.executable, "-c", PROGRAM, "send", *words], stdout=stdout, stderr=subprocess.PIPE)
    return done.returncode, done.stderr.decode()


def test_a_stream_that_stdout_does_not_take_is_said_to_be_incomplete(store):
    status, said = sent_to("/dev/full")
    assert status == 4 and "not complete" in said and "done" not in said


def test_a_summary_that_is_lost_is_not_the_stream(store, tmp_path):
    status, said = sent_to("/dev/full", "-o", str(tmp_path / "f"))
    assert status == 4 and "done: the stream was written to" in said
    assert making.run("receive", str(tmp_path / "f")).exit == 0


def test_large_files_go_by_the_system_and_arrive(store, tmp_path):
    content = os.urandom(3_000_000)
    (making.main_of(store) / "large").write_bytes(content)
    making.snapshot(store)
    target = making.make_store(tmp_path / "target")
    assert sent_to(tmp_path / "stream")[0] == 0
    with open(tmp_path / "stream", "ab") as appended:  # which sendfile(2) refuses
        appended.truncate(0)
        done = subprocess.run([sys.executable, "-c", PROGRAM, "send"], stdout=appended, check=True)
    assert done.returncode == 0 and making.run("-C", target.root, "receive", str(tmp_path / "stream")).exit == 0
    newest = making.plumb("list-snapshots", "--ids").out.decode().split()[-1]
    assert making.run("-C", target.root, "cat", f"{newest}:large").out == content
