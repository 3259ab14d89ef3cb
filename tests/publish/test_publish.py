"""Publishing, recovering, intents, heads, lines and descriptors, through the library."""

from __future__ import annotations

import os
import threading

import making
import pytest

from jvs import clock
from jvs.cli import commands
from jvs.engine import base as engine
from jvs.errors import (
    Busy,
    DescriptorCorrupt,
    FormatUnsupported,
    JvsError,
    LineageBroken,
    NotFound,
    PartialSnapshot,
    StaleHead,
    UsageError,
)
from jvs.fs import durable, locks
from jvs.publish import record as publish_record
from jvs.publish import registry, steps
from jvs.publish import run as publishing
from jvs.store import audit, audit_check, changing, descriptor, intent, lineage, recovery, worktree


@pytest.fixture
def store(tmp_path):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1", "sub/b": "2"})
    return made


class Died(BaseException):
    """Stands for the death of the process: what comes after it must not run."""


def die_at(monkeypatch, module, name):
    def dead(*_args, **_more):
        raise Died

    monkeypatch.setattr(module, name, dead)


def begun(store):
    """Return the record of a snapshot whose first step was done."""
    return steps.check_worktree(store, publish_record.new(store.root, "main"))


def listed(store):
    return sorted(os.path.join(here, name) for here, _, names in os.walk(str(store.layout.jvs)) for name in names)


def test_every_step_is_a_function_called_as_its_command(store):
    """The order of the source is that of the protocol."""
    assert tuple(registry.FUNCTIONS) == publish_record.STEPS
    assert [getattr(steps, name.replace("-", "_")) for name in publish_record.STEPS] == [*registry.FUNCTIONS.values()]
    assert {f"jvs-{name}" for name in publish_record.STEPS} <= {f"jvs-{row}" for row in commands.COMMANDS}


@pytest.mark.parametrize("name", publish_record.STEPS[1:])
def test_a_step_refuses_a_record_without_the_steps_before_it(store, name):
    record = begun(store)
    before = listed(store)
    record["done"] = []
    with pytest.raises(UsageError, match="'check-worktree' is missing"):
        registry.FUNCTIONS[name](store, record)
    assert listed(store) == before
    assert record["done"] == []


def test_only_syncing_may_come_later_and_only_where_its_barrier_is_shared(store):
    record = begun(store)
    steps.write_intent(store, record, owner=intent.owner(locked=True))
    with registry.StepContext(durable.Barrier(store.layout.snapshots)) as context:
        steps.clone_tree(store, record, context)
        steps.hash_tree(store, record, context)
        with pytest.raises(UsageError, match="'sync-tree' is missing"):
            steps.write_descriptor(store, record)
        steps.write_descriptor(store, record, context)
        steps.write_ready(store, record, context)
    with pytest.raises(UsageError, match="'sync-tree' is missing"):
        steps.rename_ready(store, record, context)  # the barrier is closed: nothing may be put off any more


def test_the_order_of_what_becomes_visible(store, monkeypatch):
    """Payload before marker, marker before descriptor, descriptor before head, head before audit, audit before all."""
    order = []
    for name in ("publish", "rename", "replace_file", "append", "unlink"):
        real = getattr(durable, name)

        def watch(first, *args, _real=real, _name=name, **more):
            order.append((_name, first.parts[0].decode()))
            return _real(first, *args, **more)

        monkeypatch.setattr(durable, name, watch)
    making.snapshot(store)
    kept = [step for step in order if step[0] != "unlink" and step[1] != "index.sqlite"]
    assert kept == [
        ("replace_file", "intents"),
        ("publish", "snapshots"),
        ("publish", "descriptors"),
        ("replace_file", "worktrees"),
        ("append", "audit"),
    ]
    assert [step for step in order if step[0] in ("append", "unlink")][-1] == ("unlink", "intents")


@pytest.mark.parametrize(
    ("module", "name", "visible"),
    [
        (steps, "clone_tree", False),
        (steps, "hash_tree", False),
        (steps, "write_descriptor", False),
        (steps, "write_ready", False),
        (steps, "sync_tree", False),
        (steps, "rename_ready", False),
        (steps, "update_head", True),
        (steps, "chain_append", True),
        (steps, "clear_intent", True),
    ],
)
def test_death_before_each_step_is_rolled_back_or_completed(store, monkeypatch, module, name, visible):
    first = making.snapshot(store)["snapshot_id"]
    with monkeypatch.context() as patch:
        die_at(patch, module, name)
        patch.setattr(publishing, "roll_back", lambda *_: None)
        with pytest.raises(Died):
            making.snapshot(store, "dead")
    (pending,) = intent.list_ids(store.layout)
    assert store.head_of("main") == (first, first)
    assert making.violations(store.root, recovered=False) == []
    with changing.worktree(store, "main"):
        pass
    assert intent.list_ids(store.layout) == []
    assert store.head_of("main")[0] == (pending if visible else first)
    assert making.violations(store.root) == []


def test_an_error_rolls_back_at_once_and_leaves_nothing(store, monkeypatch):
    before = sorted(os.listdir(str(store.layout.snapshots))), sorted(os.listdir(str(store.layout.descriptors)))
    for name in ("clone_tree", "hash_tree", "write_descriptor", "write_ready", "sync_tree", "rename_ready"):
        with monkeypatch.context() as patch:

            def full(*_args, **_more):
                raise OSError(28, "No space left on device")

            patch.setattr(steps, name, full)
            with pytest.raises(OSError, match="No space"):
                making.snapshot(store)
        assert (
            sorted(os.listdir(str(store.layout.snapshots))),
            sorted(os.listdir(str(store.layout.descriptors))),
        ) == before
        assert intent.list_ids(store.layout) == []
    assert making.violations(store.root) == []


def test_recovering_twice_is_the_same_as_once(store, monkeypatch):
    with monkeypatch.context() as patch:
        die_at(patch, steps, "chain_append")
        with pytest.raises(Died):
            making.snapshot(store)
    (record,) = intent.load_all(store.layout)
    assert "completed" in publishing.recover(store, record)
    publishing.recover(store, record)
    assert [r["operation"] for r in audit_check.check(store.layout.audit_log, None, keep=True).records] == [
        "init",
        "snapshot",
    ]
    assert making.violations(store.root) == []


def test_the_live_are_not_recovered(store):
    record = begun(store)
    steps.write_intent(store, record, owner=intent.owner(locked=False))
    assert changing.recover(store) == []
    assert intent.list_ids(store.layout) == [record["snapshot_id"]]


def test_an_owner_that_held_the_lock_is_dead_when_we_have_it(store):
    record = begun(store)
    steps.write_intent(store, record, owner=intent.owner(locked=True))
    with locks.acquire(store.layout.lock("worktree-main"), wait=0):
        assert recovery.recover_all(store, None) == []
        assert intent.list_ids(store.layout) == [record["snapshot_id"]]
    assert len(changing.recover(store)) == 1


@pytest.mark.parametrize(
    ("change", "alive"),
    [
        ({}, True),
        ({"started": "1"}, False),
        ({"pid": 4194999}, False),
        ({"started": ""}, False),
        ({"boot": "another boot"}, False),
        ({"boot": "another", "host": "another host", "namespace": "other"}, True),
    ],
)
def test_who_counts_as_alive(store, change, alive):
    record = begun(store)
    steps.write_intent(store, record, owner={**intent.owner(locked=False), **change})
    (pending,) = intent.load_all(store.layout)
    assert intent.is_alive(pending, lock_held=True) == alive


def test_an_owner_on_another_host_counts_as_dead_after_a_day(store):
    record = begun(store)
    owner = {**intent.owner(locked=False), "boot": "x", "host": "elsewhere", "namespace": "x"}
    steps.write_intent(store, record, owner=owner)
    (pending,) = intent.load_all(store.layout)
    pending["created_at"] = clock.rfc3339(clock.now_ns() - 25 * 3600 * 10**9)
    assert not intent.is_alive(pending, lock_held=True)


def test_leftovers_of_dead_writers_of_intents_are_swept(store):
    left = os.path.join(str(store.layout.intents), "1700000000000-0a1b2c3d.json.tmp")
    making.write(str(store.layout.intents), {"1700000000000-0a1b2c3d.json.tmp": "{"})
    with locks.acquire(store.layout.lock("intents"), exclusive=False):
        intent.sweep(store.layout)
        assert os.path.exists(left)  # somebody may be writing it
    intent.sweep(store.layout)
    assert not os.path.exists(left)


@pytest.mark.parametrize("data", ["", "{", "[]", '{"version":1}', '{"operation":"snapshot"}'])
def test_a_damaged_intent_stops_changes_with_its_class(store, data):
    making.write(str(store.layout.intents), {"1700000000000-0a1b2c3d.json": data})
    with pytest.raises(PartialSnapshot) as caught:
        changing.recover(store)
    assert caught.value.hint


def test_an_intent_of_an_unknown_kind_is_not_touched(store):
    event = audit.event("x", "me")
    owner = {**intent.owner(locked=False), "started": "0"}
    record = intent.new("levitate", None, operation_id="1700000000000-0a1b2c3d", owner=owner, audit=event, audit_seq=0)
    intent.write(store.layout, record)
    with pytest.raises(PartialSnapshot, match="levitate"):
        changing.recover(store)
    assert intent.list_ids(store.layout) == ["1700000000000-0a1b2c3d"]


def test_two_that_publish_on_one_parent_both_stay(store):
    """Without the lock both can get past the check; one gets the head, the other becomes a leaf of its own."""
    parent = making.snapshot(store)["snapshot_id"]
    records = [begun(store) for _ in range(2)]
    for record in records:
        steps.write_intent(store, record, owner={**intent.owner(locked=False), "started": "0"})
        for step in (
            steps.clone_tree,
            steps.hash_tree,
            steps.sync_tree,
            steps.write_descriptor,
            steps.write_ready,
            steps.rename_ready,
        ):
            step(store, record)
    steps.update_head(store, records[0])
    with pytest.raises(StaleHead):
        steps.update_head(store, records[1])
    assert len(changing.recover(store)) == 2
    found = lineage.all_records(store.layout)
    assert set(lineage.leaves(found)) == {record["snapshot_id"] for record in records}
    assert store.head_of("main")[0] == records[0]["snapshot_id"]
    assert {found[leaf]["parent_id"] for leaf in lineage.leaves(found)} == {parent}
    assert making.violations(store.root) == []


def test_threads_of_one_process_take_turns(store):
    made, wrong = [], []

    def take(i):
        try:
            made.append(making.snapshot(making.open_store(store.root, wait=60), str(i))["snapshot_id"])
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=take, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(list(lineage.line(store.layout, store.head_of("main")[0]))) == 4


def test_a_held_lock_is_busy_after_the_wait(store):
    with locks.acquire(store.layout.lock("worktree-main"), wait=0), pytest.raises(Busy):
        making.snapshot(making.open_store(store.root, wait=0))


# worktrees and heads


def test_moving_a_head_is_a_compare_and_swap(store):
    first, second = (making.snapshot(store)["snapshot_id"] for _ in range(2))
    move = {"latest": first, "event_id": "e", "wait": 0}
    with pytest.raises(StaleHead) as caught:
        worktree.move_head(store.layout, "main", first, expected=first, **move)
    assert caught.value.facts == {"head": second, "expected": first}
    worktree.move_head(store.layout, "main", first, expected=second, **move)
    assert worktree.move_head(store.layout, "main", first, expected="whatever", **move)["event_id"] == "e"


@pytest.mark.parametrize("data", ["", "{}", "[]", "x", '{"name":"main"}'])
def test_a_damaged_configuration_is_a_broken_line(store, data):
    making.write(str(store.layout.worktrees), {"main/config.json": data})
    with pytest.raises(LineageBroken) as caught:
        worktree.load(store.layout, "main")
    assert caught.value.hint


def test_a_missing_configuration_tells_a_lost_worktree_from_none(store):
    with pytest.raises(NotFound):
        worktree.load(store.layout, "none")
    os.unlink(str(store.layout.worktree_config("main")))
    with pytest.raises(LineageBroken):
        worktree.load(store.layout, "main")


def test_a_configuration_of_another_worktree_is_refused(store):
    config = worktree.new_config("other")
    with pytest.raises(LineageBroken, match="'other'"):
        from jvs.store import records

        records.save(store.layout.worktree_config("main"), config)
        worktree.load(store.layout, "main")


def test_odd_entries_are_no_worktrees(store):
    for name in ("bad name", "-x", "b"):
        os.mkdir(os.path.join(str(store.layout.worktrees), name))
    assert worktree.names(store.layout) == ["main", "b"]


# descriptors and lines


def test_a_descriptor_under_another_id_is_refused(store):
    first, second = (making.snapshot(store)["snapshot_id"] for _ in range(2))
    os.replace(str(store.layout.descriptor(first)), str(store.layout.descriptor(second)))
    with pytest.raises(DescriptorCorrupt, match="is that of"):
        descriptor.load(store.layout, second)


def test_a_descriptor_of_a_later_format_is_not_called_damaged():
    record = {"format": 3, "snapshot_id": "x"}
    with pytest.raises(FormatUnsupported):
        descriptor.check(record, "x")


def test_the_checksum_leaves_out_itself_and_the_state_only(store):
    record = making.snapshot(store)
    for key in record:
        changed = {**record, key: "changed"}
        same = descriptor.checksum(changed) == record["descriptor_checksum"]
        assert same == (key in ("descriptor_checksum", "integrity_state")), key


def test_the_line_goes_back_to_the_first_and_order_comes_from_parents(store, monkeypatch):
    now = iter(range(2_000_000_000_000, 1_000_000_000_000, -1000))
    monkeypatch.setattr(clock, "now_ms", lambda: next(now))
    made = [making.snapshot(store)["snapshot_id"] for _ in range(4)]
    assert made == sorted(made, reverse=True)
    assert [record["snapshot_id"] for record in lineage.line(store.layout, made[-1])] == made[::-1]
    found = lineage.all_records(store.layout)
    assert lineage.order(found) == made[::-1]
    assert lineage.leaves(found) == [made[-1]]
    assert lineage.is_ancestor(store.layout, made[0], made[-1])
    assert not lineage.is_ancestor(store.layout, made[-1], made[0])


def test_what_is_pending_is_not_visible(store):
    first = making.snapshot(store)["snapshot_id"]
    record = begun(store)
    steps.write_intent(store, record, owner=intent.owner(locked=False))
    assert lineage.visible_ids(store.layout) == [first]
    with pytest.raises(NotFound, match="still being made"):
        lineage.load_visible(store, record["snapshot_id"])


def test_tags_of_damaged_descriptors_do_not_stop_the_tolerant(store):
    first, second = (making.snapshot(store)["snapshot_id"] for _ in range(2))
    os.truncate(str(store.layout.descriptor(first)), 3)
    assert set(lineage.all_records(store.layout, tolerant=True)) == {second}
    with pytest.raises(JvsError):
        lineage.all_records(store.layout)


@pytest.mark.parametrize("name", engine.NAMES)
def test_an_engine_that_was_asked_for_is_used_or_refused(store, name):
    try:
        made = making.snapshot(store, requested=name)
    except JvsError as error:
        assert error.name == "E_IO"
        assert intent.list_ids(store.layout) == []
        return
    assert made["engine"] == name
