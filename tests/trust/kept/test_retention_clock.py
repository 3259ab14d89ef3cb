"""Which snapshots a policy keeps, when clocks were wrong, snapshots are partial, and tags name them."""

from __future__ import annotations

from pathlib import Path

import own_mounts
import pytest
from lab import Lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path / "r")


def fill(lab: Lab, count: int, *words: str) -> list[str]:
    ids = []
    for number in range(count):
        lab.write({"a": f"{number} {words}"})
        ids.append(lab.take(f"s{number}", *words))
    return ids


def candidates(lab: Lab, *policy: str) -> set[str]:
    before = lab.visible()
    lab.collect(*policy)
    return before - lab.visible()


POLICIES = ["--keep-within 12h", "--keep-within 30d", "--keep-daily 2", "--keep-hourly 2", "--keep-monthly 1"]
AGES_DAYS = [3, 2, 1, 0, 0]


def fates(lab: Lab, policy: str, future: int | None, days: float) -> list[bool]:
    """Take snapshots of these ages, one of them with a clock ahead; return which of them a policy keeps."""
    ids = []
    for number, age in enumerate(AGES_DAYS):
        lab.write({"a": f"{number}"})
        ids.append(own_mounts.at_another_time(lab.take, wall_days=days if number == future else -age))
    gone = candidates(lab, *policy.split())
    return [i not in gone for number, i in enumerate(ids) if number != future]


@pytest.mark.parametrize("future", [1, 3, 4], ids=["early", "recent", "tip"])
@pytest.mark.parametrize("policy", POLICIES)
def test_a_snapshot_from_the_future_changes_no_others_fate(tmp_path, policy, future):
    honest = fates(Lab(tmp_path / "honest"), policy, future, days=-AGES_DAYS[future])
    assert fates(Lab(tmp_path / "wrong"), policy, future, days=400) == honest


def test_a_snapshot_from_the_past_goes_alone(lab):
    lab.write({"a": "past"})
    past = own_mounts.at_another_time(lambda: lab.take("past"), wall_days=-60)
    fill(lab, 3)
    assert candidates(lab, "--keep-within", "30d") == {past}


# Partial snapshots


def test_a_kept_partial_snapshot_keeps_the_whole_one_that_it_stands_on(lab):
    lab.write({f"f{number}": f"{number}" for number in range(48)})
    whole = lab.take("whole")
    lab.write({"f0": "changed"})
    partial = lab.take("partial", "--", "f0")
    assert candidates(lab, "--keep-last", "1") == set()
    assert {whole, partial} <= lab.visible()
    assert lab.json("status")["clean"]


def test_a_chain_of_partial_snapshots_keeps_the_whole_one(lab):
    lab.write({"a": "a", "b": "b", "c": "c"})
    whole = lab.take("whole")
    older = None
    for name in "abc":
        lab.write({name: f"{name} changed"})
        older = older or lab.take(f"partial {name}", "--", name)
        if name != "a":
            lab.take(f"partial {name}", "--", name)
    differences = lab.json("diff", "HEAD")
    lab.collect("--keep-last", "1")
    assert whole in lab.visible()
    now = lab.json("diff", "HEAD")
    assert [now[f"total_{what}"] for what in ("added", "removed", "modified")] == [
        differences[f"total_{what}"] for what in ("added", "removed", "modified")
    ]


def test_diff_against_a_partial_head_is_the_same_after_every_policy(lab):
    lab.write({f"f{number}": f"{number}" for number in range(20)})
    fill(lab, 2)
    lab.write({"a": "partial"})
    lab.take("partial", "--", "a")
    lab.write({"f3": "dirty"})
    before = lab.json("diff", "HEAD")
    for policy in (("--keep-last", "1"), ("--keep-within", "1s"), ("--keep-daily", "1")):
        lab.collect(*policy)
    now = lab.json("diff", "HEAD")
    assert [entry["path"] for entry in now["modified"]] == [entry["path"] for entry in before["modified"]] == ["f3"]
    assert now["total_added"] == now["total_removed"] == 0


def test_if_changed_on_a_path_sees_that_it_was_deleted(lab):
    lab.write({"a": "a", "b": "b"})
    lab.take("whole")
    lab.write({"a": "changed"})
    lab.take("partial", "--", "a")
    (lab.main / "b").unlink()
    count = len(lab.visible())
    lab.jvs("snapshot", "again", "--if-changed", "--", "b")
    assert len(lab.visible()) == count + 1


@pytest.mark.parametrize("path", ["a", "b", "d", "d/x"])
@pytest.mark.parametrize("what", ["nothing", "delete", "change", "add below"])
def test_if_changed_on_a_path_is_right_on_a_partial_head(lab, path, what):
    lab.write({"a": "a", "b": "b", "d/x": "x", "d/y": "y"})
    lab.take("whole")
    lab.write({"a": "changed"})
    lab.take("partial", "--", "a")
    target = lab.main / path
    if what == "delete":
        (lab.main / "d" / "y").unlink() if path == "d" else target.unlink()
    elif what == "change":
        ((target / "x") if target.is_dir() else target).write_text("other")
    elif what == "add below":
        if not target.is_dir():
            pytest.skip("nothing is below a file")
        (target / "new").write_text("new")
    count = len(lab.visible())
    lab.jvs("snapshot", "again", "--if-changed", "--", path)
    assert len(lab.visible()) - count == (what != "nothing")


# Tags


def test_what_a_tag_names_is_kept(lab):
    lab.write({"a": "tagged"})
    older = lab.take("older", "-t", "release")
    lab.write({"a": "tagged again"})
    newer = lab.take("newer", "-t", "release")
    fill(lab, 3)
    gone = candidates(lab, "--keep-last", "1")
    assert newer not in gone
    assert older in gone, "the tag names the newest that has it"
    assert lab.json("show", "release")["snapshot_id"] == newer


def test_drop_tagged_lets_it_go(lab):
    lab.write({"a": "tagged"})
    tagged = lab.take("tagged", "-t", "release")
    fill(lab, 3)
    assert tagged in candidates(lab, "--keep-last", "1", "--drop-tagged")


def test_the_plan_says_that_a_tag_keeps_it(lab):
    lab.write({"a": "tagged"})
    lab.take("tagged", "-t", "release")
    fill(lab, 2)
    assert "release" in lab.jvs("gc", "plan", "--keep-last", "1").text


def test_a_tag_given_in_a_removed_line_is_kept_too(lab):
    lab.write({"a": "base"})
    lab.take("base", "-t", "base")
    lab.jvs("worktree", "fork", "base", "w")
    lab.write({"a": "in w"}, "w")
    tagged = lab.json("snapshot", "in w", "-t", "wanted", "-w", "w")["snapshot_id"]
    lab.jvs("worktree", "remove", "w", "--discard")
    assert tagged not in candidates(lab)
