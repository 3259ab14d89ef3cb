"""What an operation displaced stays: no command, clock, copy or namesake pushes it out, and it costs no disk twice."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import own_mounts
import pytest
from crashing import dies_at
from lab import Lab, digest, everything, same
from making import run

PRECIOUS = "written by hand, in no snapshot"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    lab = Lab(tmp_path / "r")
    lab.write({"a": "one", "d/b": "two"})
    lab.take("first", "-t", "first")
    return lab


def displace(lab: Lab) -> str:
    """Displace work that no snapshot holds; return the operation."""
    lab.write({"a": PRECIOUS})
    return lab.restore("first")


def trivial_restores(lab: Lab, count: int) -> None:
    for number in range(count):
        lab.write({"d/b": f"trivial {number}"})
        lab.restore("first")


def is_kept(lab: Lab) -> bool:
    return digest(PRECIOUS) in everything(lab)


def undo_gives_it_back(lab: Lab, operation: str) -> None:
    lab.jvs("undo", operation)
    assert lab.read("a").decode() == PRECIOUS


def test_twenty_trivial_restores_push_nothing_out(lab):
    operation = displace(lab)
    trivial_restores(lab, 25)
    assert is_kept(lab)
    undo_gives_it_back(lab, operation)


def test_a_clock_that_jumps_ahead_and_back_pushes_nothing_out(lab):
    operation = displace(lab)

    def work() -> None:
        own_mounts.jump(15)
        trivial_restores(lab, 1)

    own_mounts.in_child(work)
    assert is_kept(lab)
    undo_gives_it_back(lab, operation)


def test_a_jump_of_the_clock_together_with_many_operations_pushes_nothing_out(lab):
    operation = displace(lab)
    own_mounts.at_another_time(lambda: trivial_restores(lab, 25), wall_days=400)
    assert is_kept(lab)
    undo_gives_it_back(lab, operation)


def test_displaced_at_a_time_in_the_past_it_is_no_older(lab):
    own_mounts.at_another_time(lambda: displace(lab), wall_days=-400)
    trivial_restores(lab, 25)
    assert is_kept(lab)


@pytest.mark.parametrize(
    "setting", ["max_operations = 0", "max_age_days = 0", "max_operations = 1", "max_age_days = 1"]
)
def test_no_setting_of_the_repository_prunes_what_is_younger_than_a_day(lab, setting):
    config = lab.jvs_dir / "config.toml"
    displace(lab)
    with open(config, "a") as file:
        file.write(f"[undo]\n{setting}\n")
    for number in range(3):
        lab.write({"d/b": f"{number}"})
        lab.say("restore", "first")  # refusing the file is as good
    assert is_kept(lab)


def test_an_override_of_the_command_prunes_nothing_younger_than_a_day(lab):
    displace(lab)
    for number in range(3):
        lab.write({"d/b": f"{number}"})
        lab.say("restore", "first", "-c", "undo.max_operations=0", "-c", "undo.max_age_days=0")
    assert is_kept(lab)


def test_a_removed_worktree_is_not_pushed_out_by_operations_of_others(lab):
    lab.jvs("worktree", "fork", "first", "w")
    lab.write({"mine": PRECIOUS}, "w")
    removal = lab.json("worktree", "remove", "w")["operation_id"]
    trivial_restores(lab, 25)
    assert is_kept(lab)
    lab.jvs("undo", removal)
    assert (lab.worktree("w") / "mine").read_text() == PRECIOUS


def test_a_rename_keeps_the_operations_of_the_worktree(lab):
    lab.jvs("worktree", "fork", "first", "w")
    lab.write({"a": PRECIOUS}, "w")
    operation = lab.json("restore", "first", "-w", "w")["operation_id"]
    lab.jvs("worktree", "rename", "w", "v")
    assert operation in lab.operations("-w", "v")
    lab.jvs("undo", operation, "-w", "v")
    assert (lab.worktree("v") / "a").read_text() == PRECIOUS


@pytest.mark.parametrize("how", ["rename", "remove"])
def test_an_operation_is_not_undone_in_a_later_worktree_of_the_same_name(lab, how):
    lab.jvs("worktree", "fork", "first", "w")
    lab.write({"a": PRECIOUS}, "w")
    operation = lab.json("restore", "first", "-w", "w")["operation_id"]
    lab.jvs("worktree", *(["rename", "w", "old"] if how == "rename" else ["remove", "w"]))
    lab.jvs("worktree", "fork", "first", "w")
    lab.write({"a": "of the new one"}, "w")
    before = lab.facts("w")
    said = lab.say("undo", operation, "-w", "w")
    assert said.exit != 0, said.out
    assert same(before, lab.facts("w")) == []
    assert is_kept(lab)
    assert operation not in lab.operations("-w", "w")


def die_everywhere(lab: Lab, home: Path, words: tuple[str, ...], step: int) -> None:
    """Kill a command at every so manieth change, copy the repository, and let the copy recover."""
    start = lab.facts()
    whole = lab.copy_to(home / "whole")
    whole.jvs(*words)
    end = whole.facts()
    ignored = everything(lab)
    for number in range(1, 400, step):
        here = lab.copy_to(home / "killed")
        died = dies_at(number, lambda: here.say(*words))  # noqa: B023
        copy = here.copy_to(home / "copied")
        copy.jvs("snapshot", "recover")
        now = copy.facts()
        assert same(start, now) == [] or same(end, now) == [], (number, same(start, now)[:3], same(end, now)[:3])
        assert ignored <= everything(copy), number
        assert copy.intents() == [], number
        copy.check()
        shutil.rmtree(here.root)
        shutil.rmtree(copy.root)
        if not died:
            return
    raise AssertionError("the command never ended")


@pytest.fixture
def changed(lab: Lab) -> Lab:
    """Every kind of step: changed, added, removed, another kind, links of one file."""
    lab.write({"gone": "gone", "kind": "file", "x/deep/er": "er"})
    os.link(lab.main / "gone", lab.main / "same")
    lab.take("second", "-t", "second")
    lab.write({"a": PRECIOUS, "added": "new", "x/deep/er": "changed"})
    (lab.main / "gone").unlink()
    (lab.main / "kind").unlink()
    lab.write({"kind/now": "a directory"})
    return lab


def test_a_copy_of_a_repository_with_a_pending_restore_recovers(changed, tmp_path):
    die_everywhere(changed, tmp_path, ("restore", "second"), 3)


def test_a_copy_of_a_repository_with_a_pending_undo_recovers(changed, tmp_path):
    changed.restore("second")
    changed.write({"a": "newer than the restore"})
    die_everywhere(changed, tmp_path, ("undo",), 3)


def test_a_copy_of_a_repository_with_a_pending_redo_recovers(changed, tmp_path):
    changed.restore("second")
    changed.jvs("undo")
    die_everywhere(changed, tmp_path, ("undo", "--redo"), 3)


# What it costs

BIG = "0123456789abcdef" * 65536


def test_what_a_visible_snapshot_holds_is_not_kept_twice(lab):
    lab.write({"big": BIG})
    lab.take("big", "-t", "big")
    before = lab.kept_bytes()
    lab.restore("first")
    assert lab.kept_bytes() - before < len(BIG) // 10
    lab.jvs("undo")
    assert lab.read("big").decode() == BIG


def test_a_thousand_restores_between_snapshots_leave_next_to_nothing(lab):
    lab.write({"big": BIG})
    lab.take("big", "-t", "big")
    for _ in range(15):
        lab.restore("first")
        lab.restore("big")
    assert lab.kept_bytes() < len(BIG)


def test_undo_works_after_a_collection_took_the_snapshot_that_held_it(lab):
    lab.write({"big": BIG, "a": "in the second"})
    second = lab.take("second")
    operation = lab.restore("first")
    lab.write({"a": "third"})
    third = lab.take("third")
    lab.write({"a": "fourth"})
    lab.take("fourth")
    collected = lab.collect("--keep-last", "1")
    assert second in collected, "an undo pins no snapshot"
    assert third in collected or third not in lab.visible()
    assert digest(BIG) in everything(lab)
    lab.jvs("undo", operation)
    assert lab.read("big").decode() == BIG
    lab.check()


@pytest.mark.parametrize("number", range(4, 60, 7))
def test_a_collection_that_dies_loses_nothing_that_an_undo_needs(lab, number):
    lab.write({"big": BIG})
    lab.take("second")
    lab.restore("first")
    lab.write({"a": "third"})
    lab.take("third")
    known = everything(lab)
    plan = lab.json("gc", "plan", "--keep-last", "1")["plan_id"]
    dies_at(number, lambda: lab.say("gc", "run", "--plan-id", plan))
    lab.jvs("snapshot", "recover")
    assert known - everything(lab) == set()


def test_a_hard_link_left_in_the_worktree_does_not_change_what_undo_holds(lab):
    lab.write({"big": BIG})
    os.link(lab.main / "big", lab.main / "keep")
    lab.jvs("snapshot", "links", "-t", "links")
    lab.restore("first", "--", "big")
    (lab.main / "keep").write_text("changed through the other name")
    lab.jvs("undo")
    assert (lab.main / "big").exists()


def test_what_somebody_is_writing_to_stays(lab):
    lab.write({"big": BIG})
    lab.take("big")
    with open(lab.main / "big", "ab") as file:
        lab.restore("first")
        file.write(b"the last words")
        file.flush()
    assert digest(BIG + "the last words") in everything(lab)
    lab.jvs("undo")
    assert lab.read("big").decode() == BIG + "the last words"


def test_a_snapshot_that_was_damaged_holds_nothing(lab):
    lab.write({"big": BIG})
    taken = lab.take("big")
    payload = lab.jvs_dir / "snapshots" / taken / "big"
    st = payload.stat()
    payload.chmod(0o600)
    payload.write_bytes(b"?" * len(BIG))
    os.utime(payload, ns=(st.st_atime_ns, st.st_mtime_ns))
    payload.chmod(st.st_mode & 0o7777)
    lab.restore("first")
    assert digest(BIG) in everything(lab)
    lab.jvs("undo")
    assert lab.read("big").decode() == BIG


def test_metadata_links_and_directories_come_back_as_they_were(lab):
    lab.write({"t/one": BIG, "t/deep/er": "er", "t/touched": "touched", "alone": "alone"})
    os.link(lab.main / "t/one", lab.main / "t/two")
    os.link(lab.main / "t/one", lab.main / "three")
    os.symlink("one", lab.main / "t/link")
    os.mkfifo(lab.main / "t/fifo")
    os.utime(lab.main / "t/deep", ns=(10**18, 10**18))
    lab.take("second")
    os.utime(lab.main / "t/touched", ns=(10**17, 10**17))
    lab.write({"t/new": PRECIOUS})
    before = lab.facts()
    lab.restore("first")
    assert lab.kept_bytes() < len(BIG) // 10
    lab.jvs("undo")
    assert same(before, lab.facts()) == []
    lab.jvs("undo", "--redo")
    lab.jvs("undo")
    assert same(before, lab.facts()) == []


def test_a_removed_worktree_is_not_kept_twice_and_comes_back(lab):
    lab.write({"big": BIG, "e/f": "f"})
    taken = lab.take("big")
    lab.jvs("worktree", "fork", taken, "w")
    lab.write({"mine": PRECIOUS}, "w")
    before = lab.facts("w")
    removal = lab.json("worktree", "remove", "w")["operation_id"]
    assert lab.kept_bytes() < len(BIG) // 10
    lab.write({"a": "third"})
    lab.take("third")
    assert taken in lab.collect("--keep-last", "1")
    assert digest(BIG) in everything(lab)
    lab.jvs("undo", removal)
    assert same(before, lab.facts("w")) == []
    lab.jvs("snapshot", "goes on", "-w", "w")
    lab.check()


def test_what_a_collection_left_for_an_undo_goes_with_the_last_operation(lab):
    lab.write({"big": BIG})
    taken = lab.take("big")
    for _ in range(3):
        lab.restore("first")
        lab.restore(taken)
    lab.restore("first")
    lab.write({"a": "third"})
    lab.take("third")
    assert taken in lab.collect("--keep-last", "1")
    assert len(BIG) <= lab.kept_bytes() < 2 * len(BIG), "once for all operations"
    lab.jvs("undo", "--forget", "--all")
    assert lab.kept_bytes() == 0
    lab.check()


# Letting go on purpose


def test_forget_lets_go_of_one_operation(lab):
    first = displace(lab)
    lab.write({"a": "the other"})
    second = lab.restore("first")
    said = lab.jvs("undo", "--forget", first)
    assert lab.operations() == [second]
    assert not is_kept(lab)
    assert digest("the other") in everything(lab)
    assert re.search(r"\d+ ?(B|bytes)", said.text + said.err)


def test_forget_all_lets_go_of_all(lab):
    displace(lab)
    trivial_restores(lab, 2)
    lab.jvs("undo", "--forget", "--all")
    assert lab.operations() == []
    assert lab.kept_bytes() == 0
    lab.check()


def test_forget_older_looks_at_the_age(lab):
    operation = displace(lab)
    lab.jvs("undo", "--forget", "--older", "1d")
    assert lab.operations() == [operation]
    lab.jvs("undo", "--forget", "--older", "0s")
    assert lab.operations() == []


def test_forget_names_what_goes_as_json(lab):
    operation = displace(lab)
    said = lab.json("undo", "--forget", operation)
    assert operation in json.dumps(said)
    assert str(len(PRECIOUS)) in json.dumps(said)


def test_forget_of_nothing_known_is_an_error_and_changes_nothing(lab):
    operation = displace(lab)
    said = lab.say("undo", "--forget", "1700000000000-00000000", "--json")
    assert said.error["class"] == "E_NOT_FOUND"
    assert lab.operations() == [operation]


def test_forget_alone_says_what_is_missing(lab):
    displace(lab)
    said = lab.say("undo", "--forget")
    assert said.exit != 0
    assert "--all" in said.err
    assert is_kept(lab)


# Pruning, when both number and age are exceeded


@own_mounts.needs_root
def test_what_is_old_and_one_of_many_goes_and_is_named_with_its_bytes(lab):
    operation = displace(lab)
    trivial_restores(lab, 25)
    assert is_kept(lab)

    def later() -> str:
        said = run("-C", str(lab.root), "restore", "first")
        said2 = run("-C", str(lab.root), "snapshot", "later")
        lab.write({"d/b": "later"})
        said3 = run("-C", str(lab.root), "restore", "first")
        assert said3.exit == 0, said3.err
        return said.err + said2.err + said3.err

    remarks = own_mounts.at_another_time(later, wall_days=60, boot_days=60)
    assert not is_kept(lab)
    assert operation in remarks
    assert re.search(rf"{len(PRECIOUS)} ?(B|bytes)", remarks)


@own_mounts.needs_root
def test_old_alone_or_many_alone_is_not_enough(lab):
    displace(lab)
    own_mounts.at_another_time(lambda: trivial_restores(lab, 3), wall_days=60, boot_days=60)
    assert is_kept(lab)
