"""Records that somebody prepared: each is refused with the class of its file, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import making
import pytest
from making import main_of, make_store, open_store, run, settings, snapshot, write

from jvs import canon
from jvs.check import doctor, verify
from jvs.errors import DescriptorCorrupt, JvsError, NameInvalid, PathEscape
from jvs.gc import plan as gc_plan
from jvs.gc import retention
from jvs.restore import journal
from jvs.store import descriptor, intent, layout, lineage, records, worktree
from jvs.store.store import Store

ESCAPES = ["../../../etc/passwd", "/etc/passwd", "..", ".", "", "1700000000000-0a1b2c3d/../x", "1700000000000-0A1B2C3D"]
DEEP = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
HOSTILE_JSON = {
    "duplicate keys": b'{"snapshot_id":"a","snapshot_id":"b"}',
    "duplicate keys inside": b'{"payload":{"files":1,"files":2}}',
    "NaN": b'{"payload":NaN}',
    "infinity": b'{"payload":-Infinity}',
    "float": b'{"payload":1.5}',
    "huge exponent": b'{"payload":1e999999}',
    "huge integer": b'{"payload":' + b"9" * 5000 + b"}",
    "deep nesting": DEEP,
    "deep objects": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "lone surrogate": b'{"note":"\\ud800"}',
    "not UTF-8": b'{"note":"\xff"}',
    "NUL": b'{"note":"a\0b"}',
    "byte order mark": b"\xef\xbb\xbf{}",
    "array": b"[]",
    "null": b"null",
    "two documents": b"{}{}",
}


@pytest.fixture
def store(tmp_path):
    store = make_store(tmp_path / "repo")
    for content in ("one", "two"):
        write(main_of(store), {"a": content})
        snapshot(store, content)
    return store


def ids_of(store: Store) -> list[str]:
    return lineage.published_ids(store.layout)


def all_commands_survive(store: Store) -> None:
    """Run what reads records; every answer is an exit code with a class, never a traceback."""
    for words in (
        ("history", "--all"),
        ("status",),
        ("show",),
        ("verify", "--all"),
        ("gc", "plan"),
        ("gc", "pins"),
        ("doctor", "--repair-runtime"),
        ("snapshot", "--if-changed"),
    ):
        said = run("-C", store.root, *words, "--wait", "1")
        assert said.exit != 70, (words, said.err)


def forge(store: Store, snapshot_id: str, **fields: Any) -> dict[str, Any]:
    """Rewrite a descriptor with a checksum that fits, and the READY marker with it."""
    record = descriptor.load(store.layout, snapshot_id)
    record.update(fields)
    record["descriptor_checksum"] = descriptor.checksum(record)
    Path(str(store.layout.descriptor(snapshot_id))).write_bytes(json.dumps(record).encode() + b"\n")
    ready = {key: record[key] for key in descriptor.READY_FIELDS}
    Path(str(store.layout.ready(snapshot_id))).write_bytes(json.dumps(ready).encode() + b"\n")
    return record


@pytest.mark.parametrize("data", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
@pytest.mark.parametrize("where", ["descriptor", "ready", "config", "intent", "pin", "tombstone", "plan", "op"])
def test_hostile_json_is_refused_wherever_it_stands(store, where, data):
    one = ids_of(store)[0]
    path = {
        "descriptor": str(store.layout.descriptor(one)),
        "ready": str(store.layout.ready(one)),
        "config": str(store.layout.worktree_config("main")),
        "intent": str(store.layout.intent("1700000000000-0a1b2c3d")),
        "pin": str(store.layout.pin(one)),
        "tombstone": os.path.join(str(store.layout.tombstones), one + ".json"),
        "plan": str(gc_plan.path_of(store.layout, "0" * 32)),
        "op": os.path.join(str(store.layout.undo_dir("1700000000000-0a1b2c3d")), "op.json"),
    }[where]
    Path(path).parent.mkdir(exist_ok=True)
    Path(path).write_bytes(data)
    if where != "plan":
        assert not doctor.examine(store).healthy
        with pytest.raises(JvsError):
            if where == "op":  # which keeps no snapshot, and so stops no collection
                journal.load(store.layout, "1700000000000-0a1b2c3d")
            gc_plan.make(store, retention.Policy({}))
            descriptor.check_agreement(store.layout, descriptor.load(store.layout, one))
    else:
        assert run("-C", store.root, "gc", "run", "--plan-id", "0" * 32).exit == 30
    all_commands_survive(store)


@pytest.mark.parametrize("data", HOSTILE_JSON.values(), ids=HOSTILE_JSON.keys())
def test_hostile_json_in_the_log_is_a_broken_chain(store, data):
    with open(str(store.layout.audit_log), "ab") as log:
        log.write(data + b"\n")
    assert verify.check_chain(store)[1] != []
    assert doctor.examine(store).exit == 24
    all_commands_survive(store)


@pytest.mark.parametrize("value", ESCAPES)
def test_ids_that_are_paths_become_no_paths(store, value):
    for make in (
        store.layout.payload,
        store.layout.ready,
        store.layout.descriptor,
        store.layout.intent,
        store.layout.undo_dir,
        lambda text: str(store.layout.pin(text)),
    ):
        with pytest.raises(NameInvalid):
            make(value)
    with pytest.raises(JvsError):
        gc_plan.path_of(store.layout, value)


@pytest.mark.parametrize("value", [*ESCAPES, None, 7, ["x"], {"a": 1}])
def test_forged_parent_is_refused_although_the_checksum_fits(store, value):
    newest = max(ids_of(store))
    if value is None:
        forge(store, newest, parent_id="1700000000000-0a1b2c3d")
    else:
        forge(store, newest, parent_id=value)
        with pytest.raises(DescriptorCorrupt):
            descriptor.load(store.layout, newest)
    assert not doctor.examine(store).healthy
    all_commands_survive(store)


@pytest.mark.parametrize(
    "fields",
    [
        {"worktree_name": "../../etc"},
        {"worktree_name": "x" * 100_000},
        {"tags": [["nested"], 7, None, "-x", "HEAD"]},
        {"note": "x" * 2_000_000},
        {"note": "\x1b]0;title\x07\x1b[2J\r\n\u202e"},
        {"payload": {"files": 2**200, "dirs": -1, "symlinks": "x", "others": None, "bytes": 10**39}},
        {"payload": {}},
        {"engine": "rm -rf"},
        {"degraded": [7, None, {"path": ["x"]}]},
        {"degraded": [{"path": "\x1b[2J", "what": "x", "why": "y"}]},
        {"partial_paths": ["../../../etc", 7, {"path_b64": "!!"}]},
        {"partial_paths": [{"path_b64": "Li4vLi4v", "path": "x"}]},
        {"created_at": "9999-99-99T99:99:99.000000Z"},
        {"audit_head": "0" * 64},
        {"unknown": {"deep": [[[[[[[[1]]]]]]]]}},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_forged_descriptor_with_fitting_checksum_is_contained_and_found(store, fields):
    """Whoever can write the store can make a descriptor agree with itself; the log still says otherwise."""
    forge(store, max(ids_of(store)), **fields)
    assert not doctor.examine(store).healthy
    assert run("-C", store.root, "verify", "--all").exit != 0
    for words in (("history",), ("show",), ("gc", "plan"), ("gc", "plan", "--keep-last", "1")):
        said = run("-C", store.root, *words)
        assert said.exit != 70, said.err
        assert b"\x1b" not in said.out
    all_commands_survive(store)


def test_line_that_leads_back_to_itself_ends(store):
    one, two = ids_of(store)
    forge(store, one, parent_id=two)
    assert "E_LINEAGE_BROKEN" in [finding.error.name for finding in doctor.examine(store).findings]
    with pytest.raises(JvsError, match="cycle in the history"):
        gc_plan.make(store, retention.Policy({}))
    all_commands_survive(store)


def test_swapped_descriptors_are_found(store):
    one, two = ids_of(store)
    a, b = str(store.layout.descriptor(one)), str(store.layout.descriptor(two))
    data = Path(a).read_bytes()
    shutil.copy(b, a)
    Path(b).write_bytes(data)
    assert {f.error.name for f in doctor.examine(store).findings} >= {"E_DESCRIPTOR_CORRUPT"}


@pytest.mark.parametrize("name", ["../evil", "a/b", "..", "-x", ""])
def test_forged_worktree_name_in_an_intent_reaches_no_path(store, name):
    outside = Path(store.root).parent / "evil"
    outside.mkdir()
    operation_id = "1700000000000-0a1b2c3d"
    record = intent.new(
        "worktree_remove",
        name,
        operation_id=operation_id,
        owner=intent.owner(locked=True),
        audit={},
        audit_seq=0,
        path=str(outside),
    )
    intent.write(store.layout, record)
    said = run("-C", store.root, "snapshot", "x", "--wait", "1")
    assert said.exit not in (0, 70), said
    assert outside.is_dir()
    assert not doctor.examine(store).healthy
    all_commands_survive(store)


@pytest.mark.parametrize(
    "fields",
    [
        {"operation": "gc_run", "candidates": ["../../main", "/"]},
        {"operation": "gc_run", "candidates": None},
        {"operation": "gc_run"},
        {"operation": "pin", "snapshot_id": "../../x", "pin": {}},
        {"operation": "pin", "pin": None},
        {"operation": "unpin", "snapshot_id": 7, "pin": None},
        {"operation": "snapshot", "snapshot_id": "../x"},
        {"operation": "snapshot"},
        {"operation": "os.system"},
        {"operation": "worktree_rename", "new_name": "../../x"},
    ],
    ids=lambda fields: f"{fields['operation']}-{len(fields)}",
)
def test_forged_intents_are_refused_and_remove_nothing(store, fields):
    before = ids_of(store)
    name = None if fields["operation"] in ("gc_run", "pin", "unpin") else "main"
    record = intent.new(
        fields.pop("operation"),
        name,
        operation_id="1700000000000-0a1b2c3d",
        owner=intent.owner(locked=True),
        audit={},
        audit_seq=0,
        **fields,
    )
    Path(str(store.layout.intent("1700000000000-0a1b2c3d"))).write_bytes(canon.encode(record))
    assert not doctor.examine(store).healthy
    all_commands_survive(store)
    assert ids_of(store)[:2] == before
    assert (main_of(store) / "a").read_text() == "two"


def test_forged_tombstone_removes_nothing_and_hides_nothing(store):
    one, two = ids_of(store)
    tombstone = {
        "version": 1,
        "snapshot_id": one,
        "descriptor": descriptor.load(store.layout, two),
        "gc_state": "committed",
        "plan_id": "0" * 32,
        "reason": "x",
        "marked_at": "2026-01-01T00:00:00.000000Z",
    }
    os.unlink(str(store.layout.descriptor(one)))
    Path(str(store.layout.tombstones), one + ".json").write_bytes(canon.encode(tombstone))
    assert lineage.tombstone_of(store.layout, one) is None
    assert not doctor.examine(store).healthy
    assert run("-C", store.root, "verify", "--all").exit != 0
    all_commands_survive(store)
    assert os.path.isdir(str(store.layout.payload(one)))


# Links and owners


@pytest.mark.parametrize("name", [name for name in layout.DIRECTORIES if "/" not in name])
def test_linked_control_directories_are_refused_by_every_command(store, tmp_path, name):
    path = os.path.join(str(store.layout.jvs), name)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(path, elsewhere)
    os.symlink(elsewhere, path)
    before = sorted(os.listdir(elsewhere))
    for words in (("snapshot",), ("history",), ("gc", "plan"), ("verify", "--all")):
        assert run("-C", store.root, *words).exit == PathEscape.exit
    assert run("-C", store.root, "doctor", "--repair-runtime", "--wait", "1").exit != 0
    if name not in ("locks", "gc"):
        assert sorted(os.listdir(elsewhere)) == before


@pytest.mark.parametrize("name", ["gc/plans", "gc/pins", "gc/tombstones", "gc/trash"])
def test_linked_directories_below_gc_are_found(store, tmp_path, name):
    path = os.path.join(str(store.layout.jvs), name)
    elsewhere = tmp_path / "elsewhere"
    shutil.move(path, elsewhere)
    (elsewhere / "precious").write_text("x")
    os.symlink(elsewhere, path)
    assert not doctor.examine(store, actions=list(doctor.RUNTIME)).healthy
    assert (elsewhere / "precious").exists()


def test_linked_payload_and_worktree_are_refused(store, tmp_path):
    one = min(ids_of(store))
    payload = str(store.layout.payload(one))
    shutil.move(payload, tmp_path / "payload")
    os.symlink(tmp_path / "payload", payload)
    assert not doctor.examine(store).healthy
    assert run("-C", store.root, "verify", one).exit != 0
    shutil.move(main_of(store), tmp_path / "main")
    os.symlink(tmp_path / "main", main_of(store))
    assert run("-C", store.root, "snapshot", "x").exit != 0


def test_snapshot_content_that_points_outside_is_only_data(store, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("outside")
    os.symlink(secret, main_of(store) / "link")
    os.symlink("../../.jvs", main_of(store) / "control")
    write(main_of(store), {"setuid": "x", ".READY": "mine", ".jvs-tmp-x": "mine"})
    os.chmod(main_of(store) / "setuid", 0o4755)
    made = snapshot(store, "hostile content")
    payload = Path(str(store.layout.payload(made["snapshot_id"])))
    assert os.readlink(payload / "link") == str(secret)
    assert (payload / "setuid").stat().st_mode & 0o7777 == 0o4755
    assert os.lstat(str(store.layout.jvs)).st_mode & 0o777 == 0o700
    assert doctor.examine(store, strict=True).healthy
    assert secret.read_text() == "outside"


def test_worktree_configuration_with_a_forged_name_is_refused(store):
    path = str(store.layout.worktree_config("main"))
    config = worktree.load(store.layout, "main")
    for name in ("../x", "other", ""):
        records.save(making.at(path), {**config, "name": name})
        with pytest.raises(JvsError):
            worktree.load(store.layout, "main")
        assert not doctor.examine(open_store(store.root)).healthy


def test_huge_record_is_not_read_into_memory(store, monkeypatch):
    monkeypatch.setattr(records, "MAX_BYTES", 1000)
    path = str(store.layout.descriptor(min(ids_of(store))))
    Path(path).write_bytes(b'{"note":"' + b"x" * 5000 + b'"}')
    with pytest.raises(JvsError):
        descriptor.load(store.layout, min(ids_of(store)))
    assert not doctor.examine(Store(store.root, settings())).healthy
