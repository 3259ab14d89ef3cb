"""`jvs gc plan` and `gc run`, and the pin commands: output, JSON and exit codes."""

from __future__ import annotations

import re

import making
import pytest

from jvs.ui import terminal


@pytest.fixture
def ids(tmp_path, monkeypatch):
    store = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(store))
    made = []
    for number in range(3):
        making.write(making.main_of(store), {"a": f"{number}" * 100})
        made.append(making.snapshot(store, f"note {number}", tags=["t0"] if number == 0 else [])["snapshot_id"])
    return made


def test_plan_has_the_promised_json(ids):
    plan = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json
    assert plan["candidate_count"] == 2
    assert plan["candidates"] == ids[:2]
    assert plan["protected_set"] == ids[2:]
    assert (plan["protected_by_pin"], plan["protected_by_lineage"], plan["protected_by_retention"]) == (0, 1, 1)
    assert plan["deletable_bytes_estimate"] > 200  # blocks and directories, not only content
    assert plan["exact"] is plan["estimate_exact"]
    assert plan["retention_policy"] == {"drop_tagged": True, "keep_last": 1}
    assert [row["snapshot_id"] for row in plan["snapshots"]] == ids[::-1]


def test_plan_says_what_goes_what_stays_and_why(ids):
    text = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--keep-tag", "t*").text
    lines = text.splitlines()
    assert lines[0].startswith("GC Plan: ")
    assert f"keep  {ids[2]}" in lines[1]
    assert lines[2] == "        (head of 'main'; latest of 'main'; keep-last)"
    assert f"drop  {ids[1]}" in lines[3]
    assert lines[4] == "        (no rule of the policy keeps it)"
    assert f"keep  {ids[0]}" in lines[5]
    assert "(keep-tag t*)" in lines[5]
    assert re.fullmatch(r"1 snapshot of 3 can go, freeing (about )?[0-9.]+ KiB\.", lines[6])
    assert lines[7] == f"To collect them: jvs gc run --plan-id {lines[0].split()[-1]}"


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_line_fits_the_terminal(ids, monkeypatch, width):
    assert making.run("gc", "pin", ids[0], "--reason", "a reason of many words " * 9, "--expires", "30d").exit == 0
    making.snapshot(making.open_store(".."), "wide \u4e2d\u6587 " + "note " * 30)
    monkeypatch.setenv("COLUMNS", str(width))
    for words in (("plan",), ("plan", "--keep-last", "1", "--drop-tagged"), ("pins",)):
        said = making.run("gc", *words)
        lines = said.text.splitlines()
        assert [line for line in lines if terminal.columns(line) > width] == []
        assert all(any(snapshot_id in line for line in lines) for snapshot_id in ids[:1])
    plan_id = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json["plan_id"]
    text = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged").text
    assert f"jvs gc run --plan-id {plan_id}" in text.replace("\\\n    ", "")
    assert text.count(plan_id) == 2
    said = making.run("gc", "run", "--plan-id", plan_id)
    assert said.exit == 0
    assert len(said.text) <= width
    assert "many words a reason of many" in " ".join(making.run("gc", "pins").text.split())


def test_plan_without_candidates_says_so(ids):
    assert making.run("gc", "plan").text.splitlines()[-1] == "Nothing can go: all of 3 snapshots are kept."


@pytest.mark.parametrize("option", [["--keep-last", "-1"], ["--keep-last", "x"], ["--keep-within", "soon"]])
def test_bad_policy_is_a_usage_error(ids, option):
    assert making.run("gc", "plan", *option).exit == 2


def test_run_collects_the_plan(ids):
    plan_id = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json["plan_id"]
    said = making.run("gc", "run", "--plan-id", plan_id, "--json")
    done = said.json
    assert done.pop("freed_bytes") > 0
    assert isinstance(done.pop("exact"), bool)
    assert done == {"plan_id": plan_id, "collected": ids[:2], "collected_count": 2}
    assert making.run("gc", "run", "--plan-id", plan_id).text == "Collected 2 snapshots\n"
    assert making.run("doctor", "--strict").exit == 0


def test_run_needs_a_plan_that_still_fits(ids):
    assert making.run("gc", "run").exit == 2
    assert making.run("gc", "run", "--plan-id", "0" * 32).exit == 5
    plan_id = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json["plan_id"]
    assert making.run("gc", "pin", ids[0]).exit == 0
    said = making.run("gc", "run", "--plan-id", plan_id, "--json")
    assert (said.exit, said.error["class"]) == (30, "E_GC_PLAN_MISMATCH")
    assert said.error["facts"]["protected"] == {ids[0]: ["pinned"]}
    assert making.run("gc", "run", "--plan-id", plan_id, "--allow-newer").exit == 30


def test_run_can_allow_that_others_went_on(ids):
    plan_id = making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json["plan_id"]
    making.write(".", {"a": "more"})
    assert making.run("snapshot", "newer").exit == 0
    said = making.run("gc", "run", "--plan-id", plan_id, "--json")
    assert said.exit == 30
    assert "--allow-newer" in said.error["hint"]
    said = making.run("gc", "run", "--plan-id", plan_id, "--allow-newer", "--json")
    assert said.json["collected"] == ids[:2]
    assert making.run("doctor", "--strict").exit == 0


def test_configured_policy_is_used_without_options(ids):
    assert making.run("config", "set", "retention.keep_last", "1").exit == 0
    assert making.run("gc", "plan", "--json").json["candidates"] == ids[1:2]  # the first has a tag


def test_pins_are_made_listed_and_taken_away(ids):
    assert making.run("gc", "pin", "t0", "--reason", "why").text == f"Pinned {ids[0]}\n"
    (pin,) = making.run("gc", "pins", "--json").json["pins"]
    assert (pin["snapshot_id"], pin["reason"], pin["expires_at"], pin["expired"]) == (ids[0], "why", None, False)
    assert making.run("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json["protected_by_pin"] == 1
    assert making.run("gc", "unpin", "t0").text == f"Unpinned {ids[0]}\n"
    assert making.run("gc", "pins").text == ""
