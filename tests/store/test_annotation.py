"""Tags, notes and facts that come later: one record each, replaced in one step, recorded, seen by all that reads."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from making import main_of, make_store, open_store, run, snapshot, violations, write

from jvs import clock
from jvs.check import doctor, verify
from jvs.errors import NameInvalid, NotFound, PartialSnapshot, UsageError
from jvs.gc import plan as planning
from jvs.gc import retention
from jvs.store import annotation, audit, intent, lineage, records, refs, write_ahead
from jvs.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = make_store(tmp_path / "repo")
    write(main_of(made), {"a": "1"})
    snapshot(made, "first", tags=["one", "both"], meta={"loss": "0.5"})
    write(main_of(made), {"a": "2"})
    snapshot(made, "second", tags=["two"])
    return made


def ids(store: Store) -> list[str]:
    return lineage.visible_ids(store.layout)


def reported(store: Store, snapshot_id: str) -> tuple[list[str], str, dict[str, str]]:
    record = annotation.shown(store.layout, lineage.load_visible(store, snapshot_id))
    return record["tags"], record["note"], record.get("meta", {})


def file_of(store: Store, snapshot_id: str) -> Path:
    return Path(str(store.layout.annotation(snapshot_id)))


def test_the_last_word_counts_whatever_the_order_of_changes(store: Store) -> None:
    """A long random row of changes by several programs leaves what a plain model of it has."""
    chance = random.Random(7)
    model = {i: reported(store, i) for i in ids(store)}
    for step in range(60):
        one = chance.choice(ids(store))
        tags, note, meta = (list(model[one][0]), model[one][1], dict(model[one][2]))
        words = [chance.choice(["x", "y", "z", "one", "two", "both"]) for _ in range(chance.randrange(1, 4))]
        who = open_store(store.root) if step % 7 == 0 else store
        match chance.randrange(4):
            case 0:
                annotation.add_tags(who, one, words)
                tags = list(dict.fromkeys(tags + words))
            case 1:
                annotation.delete_tags(who, one, words)
                tags = [tag for tag in tags if tag not in words]
            case 2:
                note = chance.choice(["", "first", "n\nm", "ü"])
                annotation.set_note(who, one, note)
            case _:
                value = str(chance.randrange(3))
                annotation.set_meta(who, one, {words[0]: value}, words[1:])
                meta = {**{k: v for k, v in meta.items() if k not in words[1:]}, words[0]: value}
        model[one] = tags, note, meta
        assert {i: reported(store, i) for i in ids(store)} == model, step
    assert violations(store.root) == []
    _, problems, _ = verify.check_all(store)
    assert problems == []


def test_a_descriptor_never_changes_and_what_changes_nothing_writes_nothing(store: Store) -> None:
    one = ids(store)[0]
    before = Path(str(store.layout.descriptor(one))).read_bytes()
    annotation.add_tags(store, one, ["one", "both"])
    assert not Path(str(store.layout.annotations)).exists()
    annotation.set_note(store, one, "another")
    log = store.log().tail()
    annotation.set_note(store, one, "another")
    assert store.log().tail() == log
    assert Path(str(store.layout.descriptor(one))).read_bytes() == before
    assert json.loads(file_of(store, one).read_bytes())["revision"] == 1


@pytest.mark.parametrize("tag", ["HEAD", "LATEST", "", "a b", "-x", "..", "x" * 65])
def test_what_is_no_tag_is_refused(store: Store, tag: str) -> None:
    with pytest.raises(NameInvalid):
        annotation.add_tags(store, ids(store)[0], ["good", tag])
    assert reported(store, ids(store)[0])[0] == ["one", "both"]


@pytest.mark.parametrize("values", [{"a b": "1"}, {"": "1"}, {"-k": "1"}, {"k": "x\0"}, {"k": "x" * 5000}, {"k": []}])
def test_what_is_no_fact_is_refused(store: Store, values: dict[str, Any]) -> None:
    with pytest.raises((NameInvalid, UsageError)):
        annotation.set_meta(store, ids(store)[0], values, [])
    assert reported(store, ids(store)[0])[2] == {"loss": "0.5"}


def test_only_visible_snapshots_get_words(store: Store) -> None:
    with pytest.raises(NotFound):
        annotation.set_note(store, "1700000000000-0a1b2c3d", "x")
    assert os.listdir(str(store.layout.intents)) == []


def test_targets_are_the_words_that_count_now(store: Store) -> None:
    first, second = ids(store)
    annotation.add_tags(store, first, ["two"])
    assert refs.resolve(store, "two") == second  # the newest that has it
    annotation.delete_tags(store, second, ["two"])
    assert refs.resolve(store, "two") == first
    annotation.set_note(store, first, "renamed")
    assert refs.resolve(store, "renamed") == first
    with pytest.raises(NotFound):
        refs.resolve(store, "first")


def test_a_collection_keeps_what_a_tag_names_now(store: Store) -> None:
    first, second = ids(store)
    annotation.delete_tags(store, first, ["one", "both"])
    last = retention.Policy({"keep_last": 1})
    assert planning.make(store, last).candidates == [first]
    annotation.add_tags(store, first, ["kept"])
    assert planning.make(store, last).candidates == []
    annotation.add_tags(store, second, ["kept"])
    assert planning.make(store, last).candidates == [first]
    annotation.add_tags(store, first, ["paper"])
    annotation.add_tags(store, second, ["paper"])
    assert planning.make(store, retention.Policy({"keep_last": 1, "keep_tag": ["pap*"]})).candidates == []


def test_words_stay_with_a_snapshot_that_was_collected(store: Store) -> None:
    first = ids(store)[0]
    annotation.set_note(store, first, "what it was")
    planned = run("-C", store.root, "gc", "plan", "--keep-last", "1", "--drop-tagged", "--json").json
    assert run("-C", store.root, "gc", "run", "--plan-id", planned["plan_id"]).exit == 0
    assert "what it was" in run("-C", store.root, "history").text
    assert doctor.examine(open_store(store.root)).findings == []
    assert violations(store.root) == []


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"version":1}', b"\xff"])
def test_a_damaged_annotation_hides_nothing_and_stops_only_what_needs_it(store: Store, data: bytes) -> None:
    first, second = ids(store)
    annotation.set_note(store, first, "later")
    annotation.add_tags(store, second, ["fine"])
    file_of(store, first).write_bytes(data)
    assert reported(store, first)[1] == "first" and refs.resolve(store, "fine") == second
    with pytest.raises(PartialSnapshot):
        annotation.set_note(store, first, "again")
    with pytest.raises(PartialSnapshot):  # it might be a tag that protects the snapshot
        planning.make(store, retention.Policy({}))
    found = doctor.examine(store)
    assert [finding.repair for finding in found.findings if "annotations" in (finding.path or "")] == ["clean_intents"]
    assert doctor.examine(store, actions=["clean_intents"]).findings == []
    annotation.set_note(store, first, "again")
    assert reported(store, first)[1] == "again"
    assert doctor.examine(store).findings == [] and violations(store.root) == []


def test_an_annotation_of_another_snapshot_under_this_name_is_damage(store: Store) -> None:
    first, second = ids(store)
    annotation.set_note(store, first, "x")
    file_of(store, second).write_bytes(file_of(store, first).read_bytes())
    with pytest.raises(PartialSnapshot):
        annotation.load(store.layout, second)


def test_one_that_was_changed_or_put_back_by_hand_shows(store: Store) -> None:
    first = ids(store)[0]
    annotation.set_note(store, first, "one")
    old = file_of(store, first).read_bytes()
    annotation.set_note(store, first, "two")
    for data in (old, old.replace(b"one", b"six")):
        file_of(store, first).write_bytes(data)
        assert any("recorded last" in str(problem) for problem in verify.check_all(store)[1])
        assert violations(store.root) != []
    file_of(store, first).unlink()
    assert any("are missing" in str(problem) for problem in verify.check_all(store)[1])


def begun(store: Store, snapshot_id: str, note: str) -> dict[str, Any]:
    """Leave what a process that died after its intent leaves."""
    made = {"version": 1, "snapshot_id": snapshot_id, "revision": 1, "changed_at": clock.rfc3339(), "actor": "x"}
    made |= {"tags": None, "note": note, "meta": None}
    details = {"revision": 1, "annotation_sha256": annotation.checksum(made)}  # type: ignore[arg-type]
    event = audit.event("annotate", "x", target=snapshot_id, details=details)
    owner = {**intent.owner(locked=True), "pid": 1}
    return write_ahead.begin(
        store,
        "annotate",
        None,
        event,
        operation_id=clock.new_operation_id(),
        owner=owner,
        snapshot_id=snapshot_id,
        annotation=made,
    )


@pytest.mark.parametrize("applied", [False, True])
def test_a_dead_change_is_completed_by_the_next_command(store: Store, applied: bool) -> None:
    first = ids(store)[0]
    pending = begun(store, first, "by the dead")
    if applied:
        os.mkdir(str(store.layout.annotations))
        records.save(store.layout.annotation(first), pending["annotation"])
    assert doctor.examine(store).findings != []
    annotation.add_tags(store, ids(store)[1], ["living"])
    assert reported(store, first)[1] == "by the dead"
    assert os.listdir(str(store.layout.intents)) == []
    assert doctor.examine(store).findings == [] and violations(store.root) == []


def test_a_tag_that_older_versions_let_be_is_reported_and_can_be_taken_away(store: Store) -> None:
    first = ids(store)[0]
    path = Path(str(store.layout.descriptor(first)))
    from jvs import canon
    from jvs.store import descriptor

    record = json.loads(path.read_bytes())
    record["tags"] = ["HEAD"]
    record["descriptor_checksum"] = descriptor.checksum(record)
    path.write_bytes(canon.encode(record) + b"\n")
    Path(str(store.layout.ready(first))).write_bytes(canon.encode(descriptor.ready_of(record)) + b"\n")
    assert refs.resolve(store, "HEAD") == ids(store)[1]
    hidden = [f for f in doctor.examine(store).findings if "names the latest" in f.error.message]
    assert len(hidden) == 1 and "--delete" in str(hidden[0].error.hint)
    annotation.delete_tags(store, first, ["HEAD"])
    assert [f for f in doctor.examine(store).findings if "names the latest" in f.error.message] == []
