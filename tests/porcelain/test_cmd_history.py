"""`jvs history`: marks, forms, filters."""

from __future__ import annotations

import json

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def take(store, *notes, **more):
    made = []
    for note in notes:
        making.write(making.main_of(store), {"f": note})
        made.append(making.snapshot(store, note, **more)["snapshot_id"])
    return made


def test_before_the_first_snapshot(store):
    said = making.run("history")
    assert (said.exit, said.text) == (0, "No snapshot yet: take one with 'jvs snapshot NOTE'.\n")
    assert making.run("history", "--json").json == []


def test_newest_first_with_marks(store):
    take(store, "one", "two", tags=["x"])
    first, second = making.run("history").text.splitlines()
    assert "two (x) [HEAD] you are here" in first
    assert "one (x)" in second and "HEAD" not in second
    assert "+1 3 B" in second and "~1 3 B" in first


def test_a_detached_head_is_shown_where_it_is(store):
    ids = take(store, "one", "two")
    making.run("restore", ids[0])
    first, second = making.run("history").text.splitlines()
    assert first.endswith("two [HEAD]")
    assert second.endswith("one you are here (detached)")


def test_a_head_that_is_not_on_the_line_is_named(store):
    ids = take(store, "one", "two")
    making.run("restore", ids[0])
    take(store, "branch")
    making.run("restore", ids[1])
    last = making.run("history").text.splitlines()[-1]
    assert last.startswith(f"You are at {ids[1][14:21]} (detached), which is not on this line")


def test_graph_and_all_show_former_tips(store):
    ids = take(store, "one", "two")
    making.run("restore", ids[0])
    take(store, "three")
    assert len(making.run("history").text.splitlines()) == 2
    assert len(making.run("history", "--all").text.splitlines()) == 3
    drawn = making.run("history", "--graph", "--oneline").text.splitlines()
    assert [line.split(" ")[0] for line in drawn] == ["*", "|", "|/", "*"]
    assert "three [HEAD] you are here" in drawn[0] and "two" in drawn[1]


def test_other_worktrees_are_named_in_a_full_listing(store):
    take(store, "one")
    assert making.run("worktree", "fork", "side").exit == 0
    assert "[HEAD] [side]" in making.run("history", "--all").text


def test_json_is_a_list_of_descriptors_newest_first(store):
    ids = take(store, "one", "two", "three")
    value = making.run("history", "--json", "-n", "2").json
    assert [d["snapshot_id"] for d in value] == [ids[2], ids[1]]
    assert (value[0]["is_head"], value[0]["is_latest"], value[0]["tip_of"]) == (True, True, ["main"])
    lines = making.run("history", "--jsonl").text.splitlines()
    assert [json.loads(line)["snapshot_id"] for line in lines] == ids[::-1]


def test_filters(store):
    take(store, "alpha", tags=["good"])
    take(store, "beta")
    assert making.run("history", "--format", "{note}", "-g", "^b").text == "beta\n"
    assert making.run("history", "--format", "{note}", "--tag", "good").text == "alpha\n"
    assert making.run("history", "-g", "zzz").text.startswith("No snapshot fits")
    assert making.run("history", "-n", "0").text == ""


def test_a_format_of_ones_own(store):
    (one,) = take(store, "one", tags=["a", "b"])
    said = making.run("history", "--format", "{id}|{short_id:>10}|{tags}|{files}|{worktree}\\0")
    assert said.text == f"{one}|   {one[14:21]}|a,b|1|main\0"
    wrong = making.run("history", "--format", "{nte}", "--json")
    assert wrong.exit in (0, 2)
    wrong = making.run("history", "--format", "{nte}")
    assert wrong.exit == 2 and "did you mean '{note}'" in wrong.err


@pytest.mark.parametrize(
    "words", [("-n", "x"), ("-n", "-1"), ("-g", "("), ("--graph", "--format", "x"), ("HEAD", "extra")]
)
def test_usage_errors(store, words):
    assert making.run("history", *words).exit == 2


def test_notes_cannot_paint_or_break_lines(store):
    take(store, "red \x1b[31m\nsecond line")
    (line,) = making.run("history").text.splitlines()
    assert "\x1b" not in line and "red \\x1b[31m ..." in line


def test_a_collected_snapshot_is_shown(store):
    ids = take(store, "one", "two", "three")
    plan = making.run("gc", "plan", "--keep-last", "1", "--json").json
    assert making.run("gc", "run", "--plan-id", plan["plan_id"]).exit == 0
    text = making.run("history").text
    assert text.count("(collected)") == plan["candidate_count"] > 0
    assert [d["snapshot_id"] for d in making.run("history", "--json").json] == ids[::-1]
