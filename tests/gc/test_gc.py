"""Collections: what a plan keeps, that a run takes all or nothing of a snapshot, and that it survives anything."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import making
import pytest
from making import main_of, make_store, open_store, run, settings, snapshot, violations, write

from jvs import clock
from jvs.check import doctor, verify
from jvs.engine import registry, space
from jvs.engine.options import EngineOptions
from jvs.errors import GcPlanMismatch, IOFailure, JvsError, LineageBroken, NoSpace, NotFound
from jvs.fs import durable, locks, paths, removal
from jvs.fs.rooted import Below
from jvs.gc import pins, reach, retention, tombstone
from jvs.gc import plan as gc_plan
from jvs.gc import remove as gc_remove
from jvs.gc import run as gc
from jvs.restore import run as restore
from jvs.store import audit, changing, intent, lineage, records, worktree
from jvs.store import store as store_module

Policy = retention.Policy
KEEP_ONE = {"keep_last": 1}


def make(tmp_path: Path, count: int = 4) -> tuple[store_module.Store, list[str]]:
    store = make_store(tmp_path / "repo")
    ids = []
    for number in range(count):
        write(main_of(store), {"changing": f"{number}" * 1000, "same": "s" * 500, f"own{number}": f"{number}" * 77})
        ids.append(snapshot(store, f"note {number}")["snapshot_id"])
    return store, ids


def plan_of(store: store_module.Store, rules: dict | None = None) -> gc_plan.Plan:
    return gc_plan.make(store, Policy(rules or {}))


def saved(store: store_module.Store, rules: dict) -> str:
    return gc_plan.save(store, plan_of(store, rules))["plan_id"]


def add_worktree(store: store_module.Store, name: str, head: str) -> None:
    os.mkdir(os.path.join(str(store.layout.worktrees), name))
    os.mkdir(os.path.join(str(store.layout.forks), name))
    records.save(store.layout.worktree_config(name), worktree.new_config(name, head))


def remove_worktree(store: store_module.Store, name: str) -> None:
    shutil.rmtree(os.path.join(str(store.layout.worktrees), name))
    shutil.rmtree(os.path.join(str(store.layout.forks), name))


# What a plan keeps


def test_without_policy_everything_on_a_line_of_a_worktree_stays(tmp_path):
    store, ids = make(tmp_path)
    plan = plan_of(store)
    assert plan.candidates == []
    assert sorted(plan.marks.reasons) == ids


def test_line_of_a_removed_worktree_can_go_but_not_what_it_shares(tmp_path):
    store, ids = make(tmp_path, 2)
    add_worktree(store, "w", ids[0])
    write(os.path.join(str(store.layout.forks), "w"), {"x": "1"})
    own = snapshot(store, name="w")["snapshot_id"]
    assert plan_of(store).candidates == []
    remove_worktree(store, "w")
    plan = plan_of(store)
    assert plan.candidates == [own]
    assert "worktree 'w' was deleted" in plan.why_dropped(own)


def test_policy_thins_a_line_but_never_head_latest_and_base(tmp_path):
    store, ids = make(tmp_path)
    config = worktree.load(store.layout, "main")
    config.update(head_snapshot_id=ids[1], base_snapshot_id=ids[0])
    records.save(store.layout.worktree_config("main"), config)
    plan = plan_of(store, KEEP_ONE)
    assert plan.candidates == [ids[2]]
    assert plan.marks.sentences(ids[1]) == ["head of 'main'"]
    assert plan.marks.sentences(ids[0]) == ["base of 'main'"]
    assert plan.marks.sentences(ids[3]) == ["latest of 'main'", "keep-last"]


def test_tip_that_was_left_by_a_branch_stays_without_policy(tmp_path):
    store, ids = make(tmp_path, 2)
    with changing.worktree(store, "main"):
        restore.restore(store, "main", ids[0])
    write(main_of(store), {"branch": "b"})
    snapshot(store)
    assert plan_of(store).candidates == []
    assert plan_of(store).marks.sentences(ids[1]) != []


def test_pin_protects_until_it_expires(tmp_path, monkeypatch):
    store, ids = make(tmp_path)
    pins.add(store, ids[0], expires_at=clock.rfc3339(clock.now_ns() + 10**12))
    assert ids[0] not in plan_of(store, KEEP_ONE).candidates
    later = clock.now_ns() + 2 * 10**12
    monkeypatch.setattr(clock, "now_ns", lambda: later)
    assert ids[0] in plan_of(store, KEEP_ONE).candidates


def test_undo_keeps_no_snapshot(tmp_path):
    store, ids = make(tmp_path)
    with changing.worktree(store, "main"):
        restore.restore(store, "main", ids[1])
        restore.restore(store, "main", ids[3])
    plan = plan_of(store, KEEP_ONE)
    assert plan.candidates == ids[:3]


def test_snapshots_that_a_pending_operation_names_stay(tmp_path):
    store, ids = make(tmp_path)
    operation_id = clock.new_operation_id()
    record = intent.new(
        "worktree_fork",
        "w",
        operation_id=operation_id,
        owner=intent.owner(locked=False),
        audit=audit.event("worktree_fork", "me"),
        audit_seq=0,
        snapshot_id=None,
        deep=[{"target": ids[1]}],
    )
    intent.write(store.layout, record)
    assert plan_of(store, KEEP_ONE).candidates == [ids[0], ids[2]]


def test_policies_count_each_worktree_by_itself(tmp_path):
    store, ids = make(tmp_path, 2)
    add_worktree(store, "w", ids[1])
    for number in range(3):
        write(os.path.join(str(store.layout.forks), "w"), {"x": str(number)})
        snapshot(store, name="w")
    assert plan_of(store, {"keep_last": 2}).marks.sentences(ids[0]) == ["keep-last"]


# Plan ids


def test_same_repository_and_policy_give_the_same_plan(tmp_path):
    store, _ = make(tmp_path)
    assert plan_of(store, KEEP_ONE).plan_id() == plan_of(store, KEEP_ONE).plan_id()
    assert plan_of(store, KEEP_ONE).plan_id() == gc_plan.make(open_store(store.root), Policy(KEEP_ONE)).plan_id()


def test_other_policy_or_head_gives_another_plan(tmp_path):
    store, _ = make(tmp_path)
    before = plan_of(store, KEEP_ONE).plan_id()
    assert plan_of(store, {"keep_last": 1, "keep_tag": ["x"]}).plan_id() != before
    write(main_of(store), {"more": "m"})
    snapshot(store)
    assert plan_of(store, KEEP_ONE).plan_id() != before


def test_planning_writes_nothing_and_saving_only_the_plan(tmp_path):
    store, _ = make(tmp_path)
    before = everything(str(store.layout.jvs))
    plan = plan_of(store, KEEP_ONE)
    assert everything(str(store.layout.jvs)) == before
    gc_plan.save(store, plan)
    assert set(everything(str(store.layout.jvs))) - set(before) == {f"gc/plans/{plan.plan_id()}.json"}


def everything(root: str) -> dict[str, bytes]:
    found = {}
    for here, _, files in os.walk(root):
        for name in files:
            path = os.path.join(here, name)
            if "/locks" not in here:
                found[os.path.relpath(path, root)] = Path(path).read_bytes()
    return found


def test_only_so_many_plans_are_kept(tmp_path, monkeypatch):
    store, _ = make(tmp_path)
    monkeypatch.setattr(gc_plan, "MAX_PLANS", 3)
    for number in range(1, 7):
        saved(store, {"keep_last": number})
    assert len(os.listdir(str(store.layout.plans))) == 3
    assert gc_plan.load(store, saved(store, {"keep_last": 6})) is not None


# Bytes


def test_estimate_counts_only_bytes_that_no_kept_snapshot_holds(tmp_path):
    store, ids = make(tmp_path)
    plan = plan_of(store, KEEP_ONE)
    assert plan.candidates == ids[:3]
    # 'own0' to 'own2' are still in the last snapshot, and so is 'same'; three states of 'changing' are not
    directories = 3 * os.lstat(str(store.layout.payload(ids[0]))).st_blocks * 512
    assert 0 <= plan.estimate_bytes - 3 * 4096 - directories <= 6 * 4096


def test_estimate_needs_no_index(tmp_path):
    store, _ = make(tmp_path)
    before = plan_of(store, KEEP_ONE)
    store.close()
    os.unlink(str(store.layout.index))
    plan = plan_of(open_store(store.root), KEEP_ONE)
    assert plan.estimate_bytes >= before.estimate_bytes > 0
    assert not plan.estimate_exact or plan.estimate_bytes == before.estimate_bytes


def test_estimate_of_very_many_entries_is_one(tmp_path, monkeypatch):
    store, _ = make(tmp_path)
    whole = plan_of(store, KEEP_ONE)
    monkeypatch.setattr(space.Meter.__init__, "__kwdefaults__", {"kept": (), "most": 3})
    part = plan_of(store, KEEP_ONE)
    assert part.estimate_exact is False
    assert part.estimate_bytes > whole.estimate_bytes // 3


# Fail closed


@pytest.mark.parametrize(
    "where",
    [
        "descriptors/{0}.json",
        "worktrees/main/config.json",
        "gc/pins/{0}.json",
        "gc/pins/notes.txt",
        "intents/1700000000000-0a1b2c3d.json",
        "undo/1700000000000-0a1b2c3d/held.cbor",
        "gc/tombstones/1700000000000-0a1b2c3d.json",
        "worktrees/lost/config.json",
        "worktrees/no such name/config.json",
    ],
)
def test_whatever_cannot_be_read_stops_the_planning(tmp_path, where):
    store, ids = make(tmp_path, 2)
    path = Path(str(store.layout.jvs)) / where.format(ids[0])
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"{")
    for rules in ({}, KEEP_ONE):
        with pytest.raises(JvsError):
            plan_of(store, rules)


@pytest.mark.parametrize("name", ["descriptors", "worktrees", "gc/pins", "intents", "undo", "gc/tombstones"])
def test_directory_that_cannot_be_listed_stops_the_planning(tmp_path, name):
    store, _ = make(tmp_path, 2)
    shutil.rmtree(os.path.join(str(store.layout.jvs), name))
    with pytest.raises((JvsError, OSError)):
        plan_of(store, KEEP_ONE)


def test_broken_line_stops_the_planning(tmp_path):
    store, ids = make(tmp_path, 3)
    os.unlink(str(store.layout.descriptor(ids[1])))
    with pytest.raises(LineageBroken, match=ids[1]):
        plan_of(store)


# Runs


def test_run_takes_the_candidates_whole_and_leaves_the_line_whole(tmp_path):
    store, ids = make(tmp_path)
    done = gc.run(store, saved(store, {"keep_last": 1, "keep_tag": ["x"]}))
    assert done["collected"] == ids[:3]
    assert lineage.visible_ids(store.layout) == [ids[3]]
    assert sorted(os.listdir(str(store.layout.snapshots))) == [ids[3], ids[3] + ".READY"]
    assert os.listdir(str(store.layout.trash)) == [] == os.listdir(str(store.layout.intents))
    line = [(record["snapshot_id"], record.get("collected", False)) for record in lineage.line(store.layout, ids[3])]
    assert line == [(ids[3], False), (ids[2], True), (ids[1], True), (ids[0], True)]
    chain, problems = verify.check_chain(store)
    assert problems == []
    assert chain.records[-1]["operation"] == "gc_run"
    assert chain.records[-1]["details"]["collected"] == ids[:3]
    assert violations(store.root) == []
    assert doctor.examine(store, strict=True).healthy


def test_tombstone_holds_descriptor_plan_and_reason(tmp_path):
    store, ids = make(tmp_path, 2)
    descriptor = json.loads(Path(str(store.layout.descriptor(ids[0]))).read_bytes())
    plan_id = saved(store, KEEP_ONE)
    gc.run(store, plan_id)
    record = tombstone.load(store.layout, ids[0])
    assert record["descriptor"] == descriptor
    assert (record["gc_state"], record["plan_id"]) == ("committed", plan_id)
    assert record["reason"] == "no rule of the policy keeps it"


def test_run_of_a_plan_that_is_done_says_so_and_changes_nothing(tmp_path):
    store, ids = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)
    gc.run(store, plan_id)
    before = everything(str(store.layout.jvs))
    assert gc.run(store, plan_id)["collected"] == ids[:3]
    assert everything(str(store.layout.jvs)) == before


def test_run_refuses_when_the_repository_changed(tmp_path):
    store, _ = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)
    write(main_of(store), {"new": "n"})
    snapshot(store)
    before = everything(str(store.layout.jvs))
    with pytest.raises(GcPlanMismatch):
        gc.run(store, plan_id)
    assert everything(str(store.layout.jvs)) == before


def test_plan_that_was_overtaken_collects_what_it_named_and_nothing_more(tmp_path):
    store, ids = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)
    write(main_of(store), {"new": "n"})
    newer = snapshot(store)["snapshot_id"]
    assert plan_of(store, KEEP_ONE).candidates == ids
    assert gc.run(store, plan_id, allow_newer=True)["collected"] == ids[:3]
    assert lineage.visible_ids(store.layout) == [ids[3], newer]
    assert gc.run(store, plan_id, allow_newer=True)["collected"] == ids[:3]
    assert violations(store.root) == []
    assert doctor.examine(store, strict=True).healthy


def test_overtaken_plan_is_refused_when_anything_protects_one_of_its_candidates(tmp_path):
    store, ids = make(tmp_path)

    def pinned() -> None:
        pins.add(store, ids[0])

    def head_moved() -> None:
        with changing.worktree(store, "main"):
            restore.restore(store, "main", ids[1])

    def forked() -> None:
        add_worktree(store, "w", ids[2])

    for protect, what in ((forked, "head of 'w'"), (head_moved, "head of 'main'"), (pinned, "pinned")):
        plan_id = saved(store, KEEP_ONE)
        protect()
        before = everything(str(store.layout.jvs))
        with pytest.raises(GcPlanMismatch, match=f"protected .*{what}"):
            gc.run(store, plan_id, allow_newer=True)
        assert everything(str(store.layout.jvs)) == before


def test_overtaken_plan_goes_on_where_it_was_interrupted_and_where_others_collected(tmp_path):
    store, ids = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)
    assert gc.prune(store, ids[1], Policy(KEEP_ONE))["collected"] == [ids[1]]
    write(main_of(store), {"new": "n"})
    snapshot(store)
    assert gc.run(store, plan_id, allow_newer=True)["collected"] == [ids[0], ids[2]]
    assert violations(store.root) == []


def test_collections_get_through_while_others_take_snapshots_all_the_while(tmp_path):
    store, ids = make(tmp_path)
    store.close()
    taken, stop = tmp_path / "taken", tmp_path / "stop"
    taken.touch()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            while not stop.exists():
                mine = open_store(store.root)
                write(main_of(mine), {"changing": os.urandom(99)})
                with taken.open("a") as file:
                    file.write(snapshot(mine)["snapshot_id"] + "\n")
                mine.close()
            code = 0
        finally:
            os._exit(code)
    collected: list[str] = []
    try:
        for _ in range(4):
            store = open_store(store.root)
            with store.reading():
                plan_id, before = saved(store, {"keep_last": 2}), len(taken.read_text().split())
            deadline = clock.monotonic() + 60
            # The plan may know the next one that is written down; the one after it is new.
            while len(taken.read_text().split()) < before + 2 and clock.monotonic() < deadline:
                clock.sleep(0.01)
            with pytest.raises(GcPlanMismatch):
                gc.run(store, plan_id)
            collected += gc.run(store, plan_id, allow_newer=True)["collected"]
            store.close()
    finally:
        stop.touch()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert set(ids[:2]) <= set(collected)
    assert len(collected) >= 5
    everything_taken = {*ids, *taken.read_text().split()}
    store = open_store(store.root)
    assert {*lineage.visible_ids(store.layout), *collected} == everything_taken
    assert not set(collected) & set(lineage.visible_ids(store.layout))
    assert violations(store.root) == []
    assert doctor.examine(store, strict=True).healthy


@pytest.mark.parametrize("forged", [["../../main"], [["x"]], [{"a": 1}], [7], "ids", "other"])
def test_overtaken_plan_whose_file_was_changed_is_refused(tmp_path, forged):
    store, ids = make(tmp_path)
    plan_id = saved(store, {"keep_last": 3})
    path = Path(str(gc_plan.path_of(store.layout, plan_id)))
    value = json.loads(path.read_bytes())
    value["candidates"] = ids[:2] if forged == "other" else forged
    path.write_text(json.dumps(value))
    snapshot(store)
    before = everything(str(store.layout.jvs))
    with pytest.raises(GcPlanMismatch):
        gc.run(store, plan_id, allow_newer=True)
    assert everything(str(store.layout.jvs)) == before


def test_forged_plan_with_an_id_that_stands_for_it_still_collects_only_candidates(tmp_path):
    store, ids = make(tmp_path)
    value = {"retention_policy": {"keep_last": 1}, "candidates": [ids[3]], "heads": {}}
    plan_id = gc_plan._id_of(value["retention_policy"], value["candidates"], value["heads"])
    Path(str(gc_plan.path_of(store.layout, plan_id))).write_text(json.dumps({"plan_id": plan_id, **value}))
    with pytest.raises(GcPlanMismatch, match=f"'{ids[3]}' became protected"):
        gc.run(store, plan_id, allow_newer=True)
    assert lineage.visible_ids(store.layout) == ids


@pytest.mark.parametrize("plan_id", ["", "../../etc", "0" * 32, "x" * 32, "a" * 31, "A" * 32])
def test_unknown_and_forged_plan_ids_are_refused(tmp_path, plan_id):
    store, _ = make(tmp_path, 2)
    for policy in (None, Policy(KEEP_ONE)):
        with pytest.raises(NotFound):
            gc.run(store, plan_id, policy)


def test_forged_plan_file_names_nothing(tmp_path):
    store, ids = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)
    path = str(gc_plan.path_of(store.layout, plan_id))
    forged = json.loads(Path(path).read_bytes())
    forged["candidates"] = ["../../main", *ids]
    Path(path).write_text(json.dumps(forged))
    with pytest.raises(GcPlanMismatch):
        gc.run(store, plan_id)
    assert os.path.exists(main_of(store) / "same")
    assert all(paths.exists(store.layout.payload(i)) for i in ids)
    forged["retention_policy"] = {"keep_last": "many"}
    Path(path).write_text(json.dumps(forged))
    with pytest.raises(GcPlanMismatch):
        gc.run(store, plan_id)


def test_plan_without_a_file_runs_with_the_same_options(tmp_path):
    store, ids = make(tmp_path)
    plan_id = plan_of(store, KEEP_ONE).plan_id()
    assert gc.run(store, plan_id, Policy(KEEP_ONE))["collected"] == ids[:3]


def test_snapshot_after_a_run_goes_on(tmp_path):
    store, ids = make(tmp_path)
    gc.run(store, saved(store, KEEP_ONE))
    write(main_of(store), {"next": "n"})
    assert snapshot(store)["parent_id"] == ids[3]
    assert violations(store.root) == []


def test_index_forgets_the_nodes_of_what_went_and_nothing_else(tmp_path):
    store, ids = make(tmp_path)
    last = plan_of(store).found[ids[3]]
    gone = plan_of(store).found[ids[0]]
    gc.run(store, saved(store, KEEP_ONE))
    assert store.index().root(gone["payload_root_hash"]) is None
    assert store.index().root(last["payload_root_hash"]) is not None
    assert reach.live_nodes(store, {ids[3]: last}) is not None


def test_payloads_with_closed_directories_are_removed(tmp_path):
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"closed/file": "x"})
    os.chmod(main_of(store) / "closed", 0o555)
    os.chmod(main_of(store), 0o555)
    first = snapshot(store)["snapshot_id"]
    os.chmod(main_of(store), 0o755)
    write(main_of(store), {"y": "y"})
    snapshot(store)
    assert gc.run(store, saved(store, KEEP_ONE))["collected"] == [first]
    assert os.listdir(str(store.layout.trash)) == []


def test_deleting_holds_no_lock_that_a_snapshot_needs(tmp_path, monkeypatch):
    store, ids = make(tmp_path)
    remove, taken = registry.remove_any, []

    def remove_and_snapshot(path: str, options: EngineOptions) -> None:
        if not taken:
            write(main_of(store), {"meanwhile": "m"})
            taken.append(snapshot(open_store(store.root, wait=0))["snapshot_id"])
        remove(path, options)

    monkeypatch.setattr(registry, "remove_any", remove_and_snapshot)
    assert gc.run(store, saved(store, KEEP_ONE))["collected"] == ids[:3]
    assert taken[0] in lineage.visible_ids(store.layout)
    assert violations(store.root) == []


def test_failed_deletion_is_reported_and_the_next_run_goes_on(tmp_path, monkeypatch):
    store, ids = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)

    def refuse(path: str, options: EngineOptions) -> None:
        raise OSError(errno.EIO, "Input/output error", path)

    with monkeypatch.context() as patch:
        patch.setattr(registry, "remove_any", refuse)
        with pytest.raises(IOFailure):
            gc.run(store, plan_id)
    assert tombstone.load(store.layout, ids[0])["gc_state"] == "failed"
    assert "Input/output error" in tombstone.load(store.layout, ids[0])["reason"]
    assert not doctor.examine(store).healthy
    assert {f.severity for f in doctor.examine(store).findings} == {"warning"}
    assert gc.run(store, plan_id)["collected"] == ids[:3]
    assert violations(store.root) == []
    assert doctor.examine(store, strict=True).healthy


def test_two_runs_at_once_take_turns(tmp_path):
    store, _ = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)
    with locks.acquire(store.layout.lock("gc")), pytest.raises(JvsError) as refused:
        gc.run(open_store(store.root, wait=0), plan_id)
    assert refused.value.name == "E_BUSY"


# Prune


def test_prune_takes_one_snapshot_that_nothing_protects(tmp_path):
    store, ids = make(tmp_path)
    assert gc.prune(store, ids[1], Policy(KEEP_ONE))["collected"] == [ids[1]]
    assert lineage.visible_ids(store.layout) == [ids[0], ids[2], ids[3]]
    assert violations(store.root) == []


def test_prune_refuses_what_is_protected_and_says_why(tmp_path):
    store, ids = make(tmp_path)
    with pytest.raises(GcPlanMismatch, match="on the line of 'main'"):
        gc.prune(store, ids[1], Policy({}))
    with pytest.raises(GcPlanMismatch, match="head of 'main'"):
        gc.prune(store, ids[3], Policy(KEEP_ONE))
    with pytest.raises(NotFound):
        gc.prune(store, "1700000000000-0a1b2c3d", Policy({}))


# Crashes and errors at every step


STEPS = ("unlink", "rename", "fsync_dir", "create_file", "replace_file", "append", "remove_tree", "rmdir", "truncate")


def home_of(name: str) -> ModuleType:
    """Return the module in which a step is a function."""
    return removal if name == "remove_tree" else durable


class _Counter:
    def __init__(self, at: int, act: Callable[[str], None]) -> None:
        self.left = at
        self.act = act

    def wrap(self, name: str) -> Callable:
        real = getattr(home_of(name), name)

        def step(*args, **more):
            self.left -= 1
            if self.left == 0:
                self.act(name)
            return real(*args, **more)

        return step


def die_at(at: int, work: Callable[[], object]) -> bool:
    """Run work in a child that dies at its n-th change to the disk; False when it got through."""
    child = os.fork()
    if child == 0:
        counter = _Counter(at, lambda name: os._exit(9))
        for name in STEPS:
            setattr(home_of(name), name, counter.wrap(name))
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def recover_by_snapshot(root: Path) -> None:
    said = run("-C", str(root), "snapshot", "after the crash")
    assert said.exit == 0, said.err


def recover_by_doctor(root: Path) -> None:
    said = run("-C", str(root), "doctor", "--repair-runtime")
    assert said.exit == 0, said


def recover_by_run(root: Path) -> None:
    plan_id = run("-C", str(root), "gc", "plan", "--keep-last", "1", "--json").json["plan_id"]
    assert run("-C", str(root), "gc", "run", "--plan-id", plan_id).exit == 0


@pytest.mark.parametrize("recovering", [recover_by_snapshot, recover_by_doctor, recover_by_run])
def test_crash_at_any_step_leaves_every_snapshot_whole_or_gone(tmp_path, recovering):
    store, ids = make(tmp_path, 3)
    plan_id = saved(store, KEEP_ONE)
    store.close()
    root = Path(store.root)
    at = 0
    while True:
        at += 1
        copy = tmp_path / "copy"
        shutil.copytree(root, copy, symlinks=True)
        died = die_at(at, lambda copy=copy: gc.run(open_store(copy), plan_id))
        assert violations(copy, recovered=False) == [], at
        if not died:
            break
        looked = doctor.examine(open_store(copy))
        assert {finding.severity for finding in looked.findings} <= {"warning"}, at
        assert run("-C", str(copy), "verify", "--all").exit == 0, at
        assert run("-C", str(copy), "history").exit == 0, at
        recovering(copy)
        assert violations(copy) == [], at
        assert doctor.examine(open_store(copy), strict=True).healthy, at
        again = open_store(copy)
        recover_by_run(copy)
        assert ids[0] not in lineage.visible_ids(again.layout)
        assert len(lineage.visible_ids(again.layout)) == 1
        shutil.rmtree(copy)
    assert at > 20


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
def test_error_at_any_step_is_reported_and_the_next_run_goes_on(tmp_path, monkeypatch, number):
    store, ids = make(tmp_path, 3)
    plan_id = saved(store, KEEP_ONE)
    store.close()
    at, fired = 0, True
    while fired:
        at += 1
        copy = tmp_path / "copy"
        shutil.copytree(store.root, copy, symlinks=True)
        reported: list[str] = []

        def refuse(name: str, reported: list[str] = reported) -> None:
            reported.append(name)
            raise OSError(number, os.strerror(number))

        counter = _Counter(at, refuse)
        outcome = None
        with monkeypatch.context() as patch:
            for name in STEPS:
                patch.setattr(home_of(name), name, counter.wrap(name))
            try:
                outcome = gc.run(open_store(copy), plan_id)
            except (IOFailure, NoSpace):
                pass
            except OSError:
                pass  # the skin of the commands turns it into E_IO
        fired = bool(reported)
        assert violations(copy, recovered=False) == [], (at, reported)
        if outcome is not None:
            assert [i for i in ids[:2] if i in lineage.visible_ids(open_store(copy).layout)] == []
        recover_by_run(copy)
        assert violations(copy) == [], (at, reported)
        assert doctor.examine(open_store(copy), strict=True).healthy, (at, reported)
        shutil.rmtree(copy)


class _Unsynced:
    """Notes the directories whose removals and renames are not durable yet, and looks when an intent goes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dirty: set[str] = set()
        self.found: list[set[str]] = []
        self.intents = 0
        names = ("unlink", "rmdir", "remove_tree", "rename", "fsync_dir")
        real = {name: getattr(home_of(name), name) for name in names}
        clear, flush, remove_any = intent.clear, durable.Barrier.flush, registry.remove_any

        def changes(name: str) -> Callable:
            def change(path: Below | bytes, *args, **more) -> None:
                for changed in (path, *args[: name == "rename"]):
                    if isinstance(changed, Below) and os.path.lexists(str(changed)):
                        self.dirty.add(str(changed.parent))
                real[name](path, *args, **more)
                if name == "rename" and isinstance(args[0], Below):
                    self.dirty.add(str(args[0].parent))

            return change

        def fsync_dir(path: Below | bytes, *args) -> None:
            real["fsync_dir"](path, *args)
            self.dirty.discard(str(path))

        def flushed(barrier: durable.Barrier) -> None:
            flush(barrier)
            self.dirty.clear()

        def remove(path: Below, options: EngineOptions) -> None:
            if os.path.lexists(str(path)):
                self.dirty.add(str(path.parent))
            remove_any(path, options)

        def cleared(layout, operation_id: str) -> None:
            there = {path for path in self.dirty if os.path.isdir(path) and not path.endswith("/intents")}
            self.found.append(there)
            clear(layout, operation_id)

        for name in ("unlink", "rmdir", "remove_tree", "rename"):
            monkeypatch.setattr(home_of(name), name, changes(name))
        monkeypatch.setattr(durable, "fsync_dir", fsync_dir)
        monkeypatch.setattr(durable.Barrier, "flush", flushed)
        monkeypatch.setattr(registry, "remove_any", remove)
        monkeypatch.setattr(intent, "clear", cleared)


def test_every_removal_is_durable_before_the_intent_goes(tmp_path, monkeypatch):
    store, ids = make(tmp_path)
    seen = _Unsynced(monkeypatch)
    gc.run(store, saved(store, {"keep_last": 3}))
    gc.prune(store, ids[1], Policy(KEEP_ONE))
    pins.add(store, ids[2])
    pins.remove(store, ids[2])
    assert seen.found == [set()] * 4


@pytest.mark.parametrize("state", ["tombstone half made", "tombstones made", "taken out", "trash deleted"])
def test_every_removal_of_a_recovery_is_durable_before_the_intent_goes(tmp_path, monkeypatch, state):
    store, ids = make(tmp_path)
    plan = plan_of(store, KEEP_ONE)
    plan_id = saved(store, KEEP_ONE)
    making.begun(store, plan, plan_id)
    half_made = Path(str(store.layout.tombstones)) / f"{ids[0]}.json.tmp"
    if state == "tombstone half made":
        half_made.write_bytes(b"{")
    else:
        gc_remove.write_tombstones(store, [gc_remove.make_tombstone(plan, plan_id, i) for i in ids[:3]])
    if state in ("taken out", "trash deleted"):
        gc_remove.take_out(store.layout, ids[:3])
    if state == "trash deleted":
        gc_remove.delete_trash(store, ids[0])
    store.close()
    store = open_store(store.root)
    seen = _Unsynced(monkeypatch)
    with changing.worktree(store, "main"):
        pass
    assert seen.found == [set()]
    assert not half_made.exists()
    assert os.listdir(str(store.layout.trash)) == []
    assert violations(store.root) == []


def test_pin_that_could_not_be_written_is_durably_gone_before_its_intent(tmp_path, monkeypatch):
    store, ids = make(tmp_path, 1)
    seen = _Unsynced(monkeypatch)
    real = os.rename

    def refuse(source, target, **more) -> None:
        if os.readlink(f"/proc/self/fd/{more['dst_dir_fd']}") == str(store.layout.pins):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(source, target, **more)

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="Input/output"):
        pins.add(store, ids[0])
    assert seen.found == [set()]
    assert os.listdir(str(store.layout.pins)) == os.listdir(str(store.layout.intents)) == []


def test_what_a_dead_process_did_is_made_durable_before_it_is_recovered(tmp_path, monkeypatch):
    store, _ = make(tmp_path)
    making.begun(store, plan_of(store, KEEP_ONE), saved(store, KEEP_ONE))
    order: list[str] = []
    flush, handler = durable.Barrier.flush, gc.recover
    monkeypatch.setattr(durable.Barrier, "flush", lambda barrier: (order.append("flush"), flush(barrier)))
    monkeypatch.setattr(gc, "recover", lambda *args: (order.append("recover"), handler(*args))[1])
    with changing.worktree(store, "main"):
        pass
    assert order[:2] == ["flush", "recover"]


def test_recovering_while_a_run_is_alive_does_nothing(tmp_path):
    store, _ = make(tmp_path)
    saved(store, KEEP_ONE)
    with locks.acquire(store.layout.lock("gc")):
        pending = making.begun(store, plan_of(store, KEEP_ONE), "0" * 32)
        assert gc.recover(store, pending) == ""
        snapshot(store, "meanwhile")
        assert doctor.examine(store).healthy
    assert gc.recover(store, pending) != ""


def test_recovering_leaves_heavy_trash_to_the_next_run(tmp_path, monkeypatch):
    store, ids = make(tmp_path)
    plan_id = saved(store, KEEP_ONE)
    monkeypatch.setattr(gc, "CHEAP_ENTRIES", 0)
    pending = making.begun(store, plan_of(store, KEEP_ONE), plan_id)
    gc_remove.write_tombstones(store, [gc_remove.make_tombstone(plan_of(store, KEEP_ONE), plan_id, i) for i in ids[:3]])
    gc_remove.take_out(store.layout, ids[:3])
    del pending
    snapshot(store, "recovers")
    assert len(os.listdir(str(store.layout.trash))) == 3
    assert {f.repair for f in doctor.examine(store).findings} == {"clean_tmp"}
    doctor.examine(store, actions=["clean_tmp"])
    assert os.listdir(str(store.layout.trash)) == []
    assert doctor.examine(store, strict=True).healthy


def test_full_disk_is_relieved_by_dropping_the_index(tmp_path, monkeypatch):
    store, ids = make(tmp_path)
    real = durable.create_file

    def full(path: str, data: bytes, **more) -> None:
        if os.path.exists(str(store.layout.index)) and os.path.getsize(str(store.layout.index)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        real(path, data, **more)

    monkeypatch.setattr(durable, "create_file", full)
    assert gc.run(store, saved(store, KEEP_ONE))["collected"] == ids[:3]
    monkeypatch.undo()
    assert violations(store.root) == []


def test_erased_snapshot_is_not_taken_for_a_collected_one(tmp_path):
    store, ids = make(tmp_path)
    plan = plan_of(store, KEEP_ONE)
    gc_remove.write_tombstones(store, [{**gc_remove.make_tombstone(plan, "0" * 32, ids[0]), "gc_state": "committed"}])
    gc_remove.take_out(store.layout, [ids[0]])
    shutil.rmtree(os.path.join(str(store.layout.trash), ids[0]))
    _, problems = verify.check_chain(store)
    assert any("was not collected" in str(problem) for problem in problems)


def test_snapshot_that_comes_back_after_its_collection_is_found(tmp_path):
    store, ids = make(tmp_path)
    kept = tmp_path / "kept"
    shutil.copytree(str(store.layout.jvs), kept, symlinks=True)
    gc.run(store, saved(store, KEEP_ONE))
    for part in (f"descriptors/{ids[0]}.json", f"snapshots/{ids[0]}", f"snapshots/{ids[0]}.READY"):
        shutil.move(kept / part, Path(str(store.layout.jvs)) / part)
    assert any("is there again" in str(problem) for problem in verify.check_chain(store)[1])
    assert any("is there again" in f.error.message for f in doctor.examine(store).findings)


@pytest.mark.parametrize("filesystem", ["btrfs", "xfs", "ext4"])
def test_collections_work_on_real_filesystems(fs_at, filesystem):
    store, ids = make(fs_at(filesystem))
    assert gc.run(store, saved(store, KEEP_ONE))["collected"] == ids[:3]
    assert os.listdir(str(store.layout.trash)) == []
    assert violations(store.root) == []


def test_collections_work_on_juicefs(juicefs_dir):
    store, ids = make(juicefs_dir)
    assert gc.run(store, saved(store, KEEP_ONE))["collected"] == ids[:3]
    assert os.listdir(str(store.layout.trash)) == []
    assert violations(store.root) == []


def test_settings_give_the_policy(tmp_path):
    store, ids = make(tmp_path)
    policy = Policy.of(settings("retention.keep_last=2"), {})
    assert gc_plan.make(store, policy).candidates == ids[:2]


FULL = {"ext4": (10, "-F"), "xfs": (300, "-f"), "btrfs": (109, "-f")}
"""The size of the smallest filesystem that each mkfs makes (ext4: small), in MiB, and how it is told to go on."""


def fill(place: Path) -> None:
    """Write until not a single byte more is taken."""
    for size in (1 << 20, 1 << 16, 4096, 1):
        with contextlib.suppress(OSError), open(place / f"fill{size}", "wb", buffering=0) as file:
            while True:
                file.write(b"x" * size)
        os.sync()


def files_and_blocks(root: str) -> dict[str, tuple[int, int]]:
    """Return the size and the blocks of everything in a control directory but locks and the index."""
    found = {}
    for here, directories, names in os.walk(root):
        for name in [*directories, *names]:
            st = os.lstat(os.path.join(here, name))
            found[os.path.relpath(os.path.join(here, name), root)] = (st.st_size, st.st_blocks)
    return {name: at for name, at in found.items() if not name.startswith(("locks", "index.sqlite"))}


@pytest.mark.parametrize("kind", sorted(FULL))
def test_a_filesystem_without_a_free_block_can_be_relieved(tmp_path, kind):
    megabytes, force = FULL[kind]
    if os.geteuid() != 0 or not shutil.which(f"mkfs.{kind}"):
        pytest.skip(f"needs root and mkfs.{kind}, to mount")
    image, place = tmp_path / "image", tmp_path / "full"
    image.write_bytes(b"")
    os.truncate(image, megabytes << 20)
    place.mkdir()
    subprocess.run([f"mkfs.{kind}", "-q", force, image], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        store = make_store(place / "repo")
        for number in range(3):
            write(main_of(store), {"f": os.urandom(600_000), "n": str(number)})
            snapshot(store)
        write(main_of(store), {"f": os.urandom(300_000), "new": "n"})
        store.close()
        fill(place)
        if kind == "ext4":  # what it counts as free beyond this it gives to nobody; others keep some for themselves
            assert os.statvfs(place).f_bavail == 0
        root = str(place / "repo")
        for words in (("history",), ("verify", "--all"), ("status",), ("doctor", "--strict")):
            said = run("-C", root, *words)
            assert said.exit == 0, (words, said)
        before, free = files_and_blocks(str(store.layout.jvs)), os.statvfs(place).f_bfree
        said = run("-C", root, "snapshot", "no room for this", "--json")
        assert (said.exit, said.error["class"]) == (4, "E_NO_SPACE"), said
        os.sync()
        assert files_and_blocks(str(store.layout.jvs)) == before
        assert os.statvfs(place).f_bfree >= free
        assert run("-C", root, "doctor", "--strict").exit == 0
        policy = ("--keep-last", "1")
        plan = run("-C", root, "gc", "plan", *policy, "--json")
        assert (plan.exit, plan.json["candidate_count"]) == (0, 2), plan
        said = run("-C", root, "gc", "run", "--plan-id", plan.json["plan_id"], *policy, "--json")
        assert (said.exit, said.json["collected_count"]) == (0, 2), said
        stat = os.statvfs(place)
        assert stat.f_bavail * stat.f_frsize > 600_000
        assert run("-C", root, "snapshot", "room again").exit == 0
        assert run("-C", root, "verify", "--all").exit == 0
        assert run("-C", root, "doctor", "--strict").exit == 0
        assert violations(root) == []
    finally:
        os.chdir("/")  # '-C' led into it
        subprocess.run(["umount", "-l", place], check=True)  # a command's index may still be open in this process
