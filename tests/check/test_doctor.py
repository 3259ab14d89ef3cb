"""The doctor: what it reports, that looking writes nothing, and what each repair does and leaves alone."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from making import main_of, make_store, open_store, run, settings, snapshot, violations, write

from jvs import clock
from jvs.check import doctor, structure
from jvs.errors import NotARepository, PathEscape, UsageError
from jvs.fs import durable, locks
from jvs.restore import run as restore
from jvs.store import audit, changing, intent, records, worktree


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "repo")


def take(store, content: str) -> str:
    write(main_of(store), {"a": content})
    return snapshot(store, content)["snapshot_id"]


def keys(store, **more) -> list[tuple[str, str, str | None]]:
    return [(f.error.name, f.severity, f.repair) for f in doctor.examine(store, **more).findings]


def state(root: str) -> dict[str, tuple]:
    found = {}
    for here, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(here, name)
            info = os.lstat(path)
            data = Path(path).read_bytes() if os.path.isfile(path) else b""
            if "/locks" not in path:
                found[path] = (info.st_mode, info.st_mtime_ns, hashlib.sha256(data).hexdigest())
    return found


def test_new_repository_is_healthy(store):
    seen = doctor.examine(store, strict=True)
    assert (seen.healthy, seen.exit, seen.as_json()) == (True, 0, {"healthy": True, "findings": [], "repaired": []})


def test_looking_writes_nothing(store):
    take(store, "one")
    os.mkdir(os.path.join(str(store.layout.snapshots), "1700000000000-0a1b2c3d.tmp"))
    store.close()
    before = state(store.root)
    doctor.examine(open_store(store.root), strict=True)
    assert state(store.root) == before


def test_finding_has_class_severity_path_message_hint_and_repair(store):
    path = os.path.join(str(store.layout.snapshots), "1700000000000-0a1b2c3d.tmp")
    os.mkdir(path)
    (found,) = doctor.examine(store).as_json()["findings"]
    assert found == {
        "class": "E_PARTIAL_SNAPSHOT",
        "severity": "warning",
        "path": path,
        "message": "'snapshots/1700000000000-0a1b2c3d.tmp' was left by a crash",
        "hint": "the next command that changes something recovers it, or 'jvs doctor --repair clean_tmp'",
        "repair": "clean_tmp",
    }


def test_worst_finding_comes_first_and_gives_the_exit_code(store):
    one = take(store, "one")
    os.mkdir(os.path.join(str(store.layout.snapshots), "1700000000000-0a1b2c3d.tmp"))
    Path(str(store.layout.descriptor(one))).write_bytes(b"{")
    seen = doctor.examine(store)
    assert [f.severity for f in seen.findings] == ["critical", "warning"]
    assert (seen.findings[0].error.name, seen.exit) == ("E_DESCRIPTOR_CORRUPT", 20)


def test_payload_tampering_is_found_by_strict(store):
    one = take(store, "one")
    target = Path(str(store.layout.payload(one))) / "a"
    info = target.stat()
    os.chmod(target, 0o644)
    target.write_bytes(b"two")
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert doctor.examine(store).healthy
    assert keys(store, strict=True) == [("E_PAYLOAD_HASH_MISMATCH", "critical", None)]


def test_outside_of_a_repository_is_an_error(tmp_path):
    with pytest.raises(NotARepository):
        doctor.open_anyway(str(tmp_path), settings())


def test_linked_control_directory_is_refused(store, tmp_path):
    moved = tmp_path / "moved"
    os.rename(str(store.layout.jvs), moved)
    os.symlink(moved, str(store.layout.jvs))
    with pytest.raises(PathEscape):
        doctor.open_anyway(store.root, settings())


def test_unknown_repair_is_a_usage_error(store):
    with pytest.raises(UsageError, match="no repair 'everything'"):
        doctor.examine(store, actions=["everything"])


# Unfinished business


def dead_intent(store, name: str | None = "main", **more) -> str:
    operation_id = clock.new_operation_id()
    record = intent.new(
        more.pop("operation", "snapshot"),
        name,
        operation_id=operation_id,
        owner=intent.owner(locked=True),
        audit=audit.event("snapshot", "me"),
        audit_seq=1,
        snapshot_id=operation_id,
        parent_id=None,
        latest_id=None,
    )
    intent.write(store.layout, record)
    return operation_id


def test_dead_operation_is_pending_and_neither_damage_nor_healthy(store):
    operation_id = dead_intent(store)
    os.mkdir(str(store.layout.payload_tmp(operation_id)))
    assert keys(store) == [("E_PARTIAL_SNAPSHOT", "warning", "clean_intents")]
    assert doctor.examine(store, actions=["clean_intents"]).healthy
    assert os.listdir(str(store.layout.intents)) == [] == os.listdir(str(store.layout.snapshots))


def test_live_operation_is_not_reported(store):
    with locks.acquire(store.layout.lock("worktree-main")):
        operation_id = dead_intent(store)
        os.mkdir(str(store.layout.payload_tmp(operation_id)))
        assert doctor.examine(store).healthy
    assert not doctor.examine(store).healthy


def test_live_operation_is_not_recovered_by_a_repair(store):
    with locks.acquire(store.layout.lock("worktree-main")):
        operation_id = dead_intent(store)
        os.mkdir(str(store.layout.payload_tmp(operation_id)))
        assert doctor.examine(store, actions=list(doctor.RUNTIME)).healthy
        assert os.path.isdir(str(store.layout.payload_tmp(operation_id)))


def test_damaged_intent_is_set_aside_with_its_bytes(store):
    path = str(store.layout.intent("1700000000000-0a1b2c3d"))
    Path(path).write_bytes(b"torn")
    assert keys(store) == [("E_PARTIAL_SNAPSHOT", "error", "clean_intents")]
    seen = doctor.examine(store, actions=["clean_intents"])
    assert seen.healthy
    assert not os.path.exists(path)
    kept = [name for name in os.listdir(str(store.layout.audit)) if name.endswith(".bin")]
    assert Path(str(store.layout.audit), kept[0]).read_bytes() == b"torn"
    assert violations(store.root) == []


def test_torn_log_is_pending_and_audit_repair_says_so_in_the_log(store):
    with open(str(store.layout.audit_log), "ab") as log:
        log.write(b'{"torn')
    assert keys(store) == [("E_PARTIAL_SNAPSHOT", "warning", "audit_repair")]
    assert doctor.examine(store, actions=["audit_repair"]).healthy
    operations = [json.loads(line)["operation"] for line in Path(str(store.layout.audit_log)).read_bytes().splitlines()]
    assert operations[:3] == ["init", "audit_repair", "doctor_repair"]


def test_damage_in_the_middle_of_the_log_is_never_repaired(store):
    take(store, "one")
    data = Path(str(store.layout.audit_log)).read_bytes()
    Path(str(store.layout.audit_log)).write_bytes(data.replace(b'"init"', b'"tini"'))
    changed = Path(str(store.layout.audit_log)).read_bytes()
    seen = doctor.examine(store, actions=["audit_repair"])
    assert seen.exit == 24
    assert Path(str(store.layout.audit_log)).read_bytes() == changed


@pytest.mark.parametrize("name", structure.RUNTIME_DIRECTORIES)
def test_runtime_directories_are_made_again(store, name):
    shutil.rmtree(os.path.join(str(store.layout.jvs), name))
    assert not doctor.examine(store).healthy
    seen = doctor.examine(store, actions=list(doctor.RUNTIME))
    assert seen.healthy, seen.as_json()
    take(store, "works")


@pytest.mark.parametrize("name", ["descriptors", "snapshots", "worktrees", "audit", "gc/pins", "gc/tombstones", "undo"])
def test_directories_that_held_something_are_never_made_again(store, name):
    take(store, "one")
    shutil.rmtree(os.path.join(str(store.layout.jvs), name))
    seen = doctor.examine(store, actions=list(doctor.RUNTIME))
    assert not seen.healthy
    assert not os.path.exists(os.path.join(str(store.layout.jvs), name))


# What repairs leave alone


def test_clean_tmp_removes_only_what_is_ours_and_owned_by_nobody(store):
    one = take(store, "one")
    ours = [
        str(store.layout.payload_tmp("1700000000000-0a1b2c3d")),
        str(store.layout.descriptor_tmp("1700000000000-0a1b2c3d")),
        os.path.join(str(store.layout.trash), "1700000000000-0a1b2c3d"),
    ]
    others = [
        os.path.join(str(store.layout.snapshots), "notes.tmp"),
        os.path.join(str(store.layout.payload(one)), "x.tmp"),
        os.path.join(store.root, "main", ".jvs-tmp-x"),
        os.path.join(store.root, "1700000000000-0a1b2c3d.tmp"),
        os.path.join(str(store.layout.forks), ".jvs-tmp-1700000000000-0a1b2c3d-1"),
    ]
    for path in ours + others:
        Path(path).write_bytes(b"x")
    doctor.examine(store, actions=list(doctor.RUNTIME))
    assert [path for path in ours if os.path.lexists(path)] == []
    assert [path for path in others if not os.path.lexists(path)] == []


def test_payload_without_descriptor_is_damage_and_stays(store):
    one = take(store, "one")
    os.unlink(str(store.layout.descriptor(one)))
    seen = doctor.examine(store, actions=list(doctor.RUNTIME))
    assert seen.findings[0].severity == "critical"
    assert (Path(str(store.layout.payload(one))) / "a").read_text() == "one"


def test_unregistered_directory_next_to_the_worktrees_is_reported_and_left(store):
    os.mkdir(os.path.join(str(store.layout.forks), "stray"))
    seen = doctor.examine(store, actions=list(doctor.RUNTIME))
    assert [(f.error.name, f.severity, f.repair) for f in seen.findings] == [("E_LINEAGE_BROKEN", "warning", None)]
    assert os.path.isdir(os.path.join(str(store.layout.forks), "stray"))


# Heads


def set_head(store, **fields) -> None:
    config = worktree.load(store.layout, "main")
    config.update(fields)
    records.save(store.layout.worktree_config("main"), config)


@pytest.mark.parametrize("keep_event", [True, False])
def test_head_that_was_not_advanced_is_found_and_advanced(store, keep_event):
    one = take(store, "one")
    old = worktree.load(store.layout, "main")
    take(store, "two")
    three = take(store, "three")
    event_id = worktree.load(store.layout, "main")["event_id"]
    records.save(store.layout.worktree_config("main"), {**old, **({"event_id": event_id} if keep_event else {})})
    assert worktree.load(store.layout, "main")["head_snapshot_id"] == one
    assert keys(store) == [("E_LINEAGE_BROKEN", "error", "advance_head")]
    seen = doctor.examine(store, actions=["advance_head"])
    assert seen.healthy, seen.as_json()
    config = worktree.load(store.layout, "main")
    assert (config["head_snapshot_id"], config["latest_snapshot_id"]) == (three, three)
    assert (main_of(store) / "a").read_text() == "three"
    assert violations(store.root) == []


def test_head_in_a_configuration_without_event_is_advanced_too(store):
    one = take(store, "one")
    two = take(store, "two")
    config = worktree.load(store.layout, "main")
    config.update(head_snapshot_id=one, latest_snapshot_id=one)
    config.pop("event_id")
    records.save(store.layout.worktree_config("main"), config)
    assert doctor.examine(store, actions=list(doctor.RUNTIME)).healthy
    assert worktree.load(store.layout, "main")["head_snapshot_id"] == two


def test_legally_detached_head_is_never_advanced(store):
    one = take(store, "one")
    two = take(store, "two")
    with changing.worktree(store, "main"):
        restore.restore(store, "main", one)
    seen = doctor.examine(store, actions=list(doctor.RUNTIME))
    assert (seen.healthy, seen.repaired) == (True, [])
    config = worktree.load(store.layout, "main")
    assert (config["head_snapshot_id"], config["latest_snapshot_id"]) == (one, two)


def test_branch_that_was_left_behind_is_no_orphan(store):
    one = take(store, "one")
    take(store, "two")
    with changing.worktree(store, "main"):
        restore.restore(store, "main", one)
    take(store, "three")
    assert doctor.examine(store).healthy


def test_head_that_names_nothing_is_damage(store):
    take(store, "one")
    set_head(store, head_snapshot_id="1700000000000-0a1b2c3d")
    assert "E_LINEAGE_BROKEN" in [name for name, _, _ in keys(store)]


# Index, repairs in general, and the command


@pytest.mark.parametrize("data", [b"garbage" * 100, b"SQLite format 3\0" + b"\1" * 200])
def test_unusable_index_is_reported_and_dropped(store, data):
    take(store, "one")
    store.close()
    Path(str(store.layout.index)).write_bytes(data)
    again = open_store(store.root)
    assert keys(again) == [("E_IO", "warning", "rebuild_index")]
    assert doctor.examine(again, actions=["rebuild_index"]).healthy
    take(open_store(store.root), "two")


def test_repairs_are_recorded_and_a_second_one_does_nothing(store):
    os.mkdir(str(store.layout.payload_tmp("1700000000000-0a1b2c3d")))
    assert doctor.examine(store, actions=list(doctor.RUNTIME)).repaired != []
    last = json.loads(Path(str(store.layout.audit_log)).read_bytes().splitlines()[-1])
    assert last["operation"] == "doctor_repair"
    assert "removed 'snapshots/1700000000000-0a1b2c3d.tmp'" in last["details"]["done"]
    before = Path(str(store.layout.audit_log)).read_bytes()
    assert doctor.examine(store, actions=list(doctor.RUNTIME)).repaired == []
    assert Path(str(store.layout.audit_log)).read_bytes() == before


def test_repair_that_could_not_be_recorded_is_reported(store, monkeypatch):
    def full(path, data):
        raise OSError(errno.ENOSPC, "no space left on device")

    os.mkdir(str(store.layout.payload_tmp("1700000000000-0a1b2c3d")))
    monkeypatch.setattr(durable, "append", full)
    done, failed = doctor.repair(store, ["clean_tmp"])
    assert len(done) == 1 and [finding.error.name for finding in failed] == ["E_NO_SPACE"]


def test_each_action_does_only_its_own_repair(store):
    os.mkdir(str(store.layout.payload_tmp("1700000000000-0a1b2c3d")))
    Path(str(store.layout.intent("1700000000000-0a1b2c3d"))).write_bytes(b"torn")
    doctor.examine(store, actions=["clean_intents"])
    assert os.path.isdir(str(store.layout.payload_tmp("1700000000000-0a1b2c3d")))


def test_open_control_directory_is_a_warning(store):
    os.chmod(str(store.layout.jvs), 0o755)
    assert keys(store) == [("E_PATH_ESCAPE", "warning", None)]


def test_command_says_healthy_or_what_is_wrong(store):
    said = run("-C", store.root, "doctor")
    assert (said.exit, said.text) == (0, "Repository is healthy.\n")
    os.mkdir(str(store.layout.payload_tmp("1700000000000-0a1b2c3d")))
    said = run("-C", store.root, "doctor")
    assert said.exit == 23
    assert said.text.startswith("warning: E_PARTIAL_SNAPSHOT: ")
    assert "  repair: clean_tmp\n" in said.text
    assert run("-C", store.root, "doctor", "--json").json["healthy"] is False
    said = run("-C", store.root, "doctor", "--repair-runtime")
    assert said.exit == 0
    assert said.text.splitlines()[-1] == "Repository is healthy."


def test_command_lists_the_five_repairs(store):
    said = run("-C", store.root, "doctor", "--repair-list", "--json")
    actions = [row["action"] for row in said.json]
    assert sorted(actions) == ["advance_head", "audit_repair", "clean_intents", "clean_tmp", "rebuild_index"]
    assert run("-C", store.root, "doctor", "--repair", "magic").exit == 2


def test_doctor_is_quiet_while_others_work(store):
    """No false alarms: snapshots are taken all the time while the doctor looks."""
    child = os.fork()
    if child == 0:
        try:
            own = open_store(store.root)
            for number in range(1000):
                take(own, f"state {number}")
        finally:
            os._exit(0)
    try:
        for _ in range(15):
            seen = doctor.examine(open_store(store.root))
            assert seen.healthy, seen.as_json()
    finally:
        os.kill(child, 15)
        os.waitpid(child, 0)
