"""`jvs diff`: three ways to call it, and all forms of output."""

from __future__ import annotations

import json
import os

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


@pytest.fixture
def ids(store):
    main = making.main_of(store)
    making.write(main, {"a.txt": "1\n", "move": "content", "gone": "x"})
    first = making.snapshot(store, "one")["snapshot_id"]
    making.write(main, {"a.txt": "1\n2\n", "new": "n"})
    (main / "move").rename(main / "moved")
    (main / "gone").unlink()
    second = making.snapshot(store, "two")["snapshot_id"]
    making.write(main, {"later": "l"})
    return first, second


def test_no_argument_is_the_two_newest(store, ids):
    value = making.run("diff", "--json").json
    assert (value["from_snapshot_id"], value["to_snapshot_id"]) == ids
    assert [value[f"total_{k}"] for k in ("added", "removed", "modified", "renamed")] == [1, 1, 1, 1]
    assert value["renamed"][0]["old_path"] == "move"


def test_one_argument_is_against_the_files_now(store, ids):
    value = making.run("diff", "HEAD", "--json").json
    assert (value["from_snapshot_id"], value["to_snapshot_id"], value["to_time"]) == (ids[1], None, None)
    assert [e["path"] for e in value["added"]] == ["later"]


def test_two_arguments_in_either_order(store, ids):
    forward = making.run("diff", *ids, "--name-status").text
    assert forward == "M\ta.txt\nD\tgone\nR\tmove\tmoved\nA\tnew\n"
    back = making.run("diff", *ids[::-1], "--name-status").text
    assert back == "M\ta.txt\nA\tgone\nR\tmoved\tmove\nD\tnew\n"


def test_text_names_both_sides(store, ids):
    text = making.run("diff").text
    assert f"From {ids[0][14:21]}" in text and f"To   {ids[1][14:21]}" in text
    assert "M  a.txt  (2 B -> 4 B)" in text and "R  move -> moved" in text
    assert text.endswith("1 added, 1 removed, 1 modified, 1 renamed\n")
    assert "the files now" in making.run("diff", "HEAD").text


def test_names_for_scripts(store, ids):
    (making.main_of(store) / "x\ny").write_text("")
    assert making.run("diff", "HEAD", "--name-only").text == 'later\n"x\\ny"\n'
    assert making.run("diff", "HEAD", "--name-only", "-z").out == b"later\0x\ny\0"
    assert making.run("diff", "-z").out == b"M\0a.txt\0D\0gone\0R\0move\0moved\0A\0new\0"


def test_stat_and_patch(store, ids):
    assert " a.txt " in making.run("diff", "--stat").text
    assert "+2\n" in making.run("diff", "-p").text


def test_paths_stand_behind_two_dashes(store, ids):
    assert making.run("diff", "--name-only", "--", "new").text == "new\n"
    assert making.run("diff", "HEAD", "--name-only", "--", "new").text == ""
    assert making.run("diff", *ids, "--name-only", "--", "new", "a.txt").text == "a.txt\nnew\n"
    assert making.run("diff", "--", "../../x").exit == 11


def test_exit_code_says_whether_something_differs(store, ids):
    assert making.run("diff", *ids, "--exit-code").exit == 3
    same = making.run("diff", "HEAD", "HEAD", "--exit-code")
    assert (same.exit, same.text.splitlines()[-1]) == (0, "no differences")


def test_jsonl_is_one_change_on_each_line(store, ids):
    lines = [json.loads(line) for line in making.run("diff", "--jsonl").text.splitlines()]
    assert [(e["change"], e["path"]) for e in lines] == [
        ("modified", "a.txt"),
        ("removed", "gone"),
        ("renamed", "moved"),
        ("added", "new"),
    ]


def test_names_that_are_not_utf8_carry_base64(store, ids):
    with open(os.fsencode(making.main_of(store)) + b"/\xff", "wb"):
        pass
    entry = next(e for e in making.run("diff", "HEAD", "--json").json["added"] if "path_b64" in e)
    assert entry["path_b64"] == "/w=="


def test_the_first_snapshot_alone(store):
    making.write(making.main_of(store), {"a": "1"})
    assert making.run("diff").exit == 5
    made = making.snapshot(store)["snapshot_id"]
    value = making.run("diff", "--json").json
    assert (value["from_snapshot_id"], value["from_time"], value["to_snapshot_id"]) == (None, None, made)
