"""The oracle names the invariant that a damage breaks, and finds nothing in a sound repository."""

from __future__ import annotations

import os
import shutil
from typing import Any

from lib import canonical, oracle, reader
from lib.harness import write
from lib.treehash import hash_tree
from lib.violations import Expect

from selftest.fixture import (
    IDS,
    OPERATION,
    audit_record,
    edit,
    event_of,
    expect_violation,
    operate,
    repository,
    save_audit,
    save_config,
    save_descriptor,
    write_json,
)


def test_payload_damage() -> None:
    expect_violation("I1", lambda r: write(f"{r}/.jvs/snapshots/{IDS[0]}/sub/file0", "changed"))
    expect_violation("I1", lambda r: os.chmod(f"{r}/.jvs/snapshots/{IDS[0]}/sub/file0", 0o777))
    expect_violation("I1", lambda r: os.unlink(f"{r}/.jvs/snapshots/{IDS[0]}/sub/file0"))
    expect_violation("I1", lambda r: write(f"{r}/.jvs/snapshots/{IDS[0]}/.READY", ""))
    expect_violation("I5", lambda r: shutil.rmtree(f"{r}/.jvs/snapshots/{IDS[1]}"))


def test_descriptor_and_marker_damage() -> None:
    descriptor, marker = f"descriptors/{IDS[0]}.json", f"snapshots/{IDS[0]}.READY"
    expect_violation("I5", lambda r: edit(r, descriptor, lambda d: d.update(note="other")))
    expect_violation("I5", lambda r: edit(r, descriptor, lambda d: d.update(extra=1)))
    expect_violation("I5", lambda r: edit(r, descriptor, lambda d: d.pop("tags")))
    expect_violation("I5", lambda r: edit(r, marker, lambda d: d.update(engine="btrfs-snapshot")))
    expect_violation("I5", lambda r: os.unlink(f"{r}/.jvs/{marker}"))
    expect_violation("I5", lambda r: os.unlink(f"{r}/.jvs/descriptors/{IDS[1]}.json"))
    expect_violation("I5", lambda r: write(f"{r}/.jvs/{descriptor}", ""))

    def recomputed(root: str) -> None:
        value = canonical.json_object(reader.read_file(f"{root}/.jvs/{descriptor}"))
        value["note"] = "a rewrite with a right checksum"
        save_descriptor(root, value)

    expect_violation("I7", recomputed)


def test_config_damage() -> None:
    gone = "1700000000009-0c0c0c0c"
    expect_violation("I11", lambda r: save_config(r, head_snapshot_id=gone, latest_snapshot_id=gone))
    expect_violation("I11", lambda r: write(f"{r}/.jvs/worktrees/main/config.json", ""))
    expect_violation("I3", lambda r: shutil.rmtree(f"{r}/main"))
    linear = Expect(linear=True)
    head = {"head_snapshot_id": IDS[0], "latest_snapshot_id": IDS[0]}
    expect_violation("I6", lambda r: save_config(r, **head), expect=linear)


def test_event_damage() -> None:
    """A head and the event that moved it agree, and the event is in the log."""
    latest = {"head_snapshot_id": IDS[1], "latest_snapshot_id": IDS[1]}
    expect_violation("I8", lambda r: save_config(r, **latest, event_id=event_of(9)))
    expect_violation("I11", lambda r: save_config(r, **latest, event_id=event_of(2)))
    expect_violation("I11", lambda r: save_config(r, **latest, event_id=None))
    expect_violation("I11", lambda r: save_config(r, head_snapshot_id=IDS[0], latest_snapshot_id=IDS[1]))


def test_journal_damage() -> None:
    """What an operation records of itself below `undo/` and its record agree."""
    with repository() as root:
        operate(root)
        assert oracle.check_repository(root, recovered=True) == []
    expect_violation("I7", lambda r: operate(r, log=False))
    expect_violation("I7", lambda r: operate(r, before={"head": None, "latest": IDS[1]}))
    expect_violation("I7", lambda r: operate(r, seq=4))
    expect_violation("I4", lambda r: operate(r, operation_id="1700000000006-0d0d0d0d"))
    expect_violation("I4", lambda r: operate(r, details={"delta_sha256": "0" * 64}))
    expect_violation("I14", lambda r: os.mkdir(f"{r}/.jvs/undo/{OPERATION}"), recovered=True)

    def taken_back(root: str) -> None:
        operate(root)
        write(f"{root}/.jvs/undo/{OPERATION[:-1]}e/delta.cbor", b"\x80")
        journal = canonical.json_object(reader.read_file(f"{root}/.jvs/undo/{OPERATION}/op.json"))
        write_json(
            f"{root}/.jvs/undo/{OPERATION[:-1]}e/op.json",
            journal | {"operation_id": OPERATION[:-1] + "e", "of": OPERATION, "seq": 4},
        )
        chain = reader.read_file(f"{root}/.jvs/audit/audit.jsonl").splitlines()
        details = {"operation_id": OPERATION[:-1] + "e"}
        last = canonical.json_object(chain[-1])
        save_audit(root, [*map(canonical.json_object, chain), audit_record(last, "undo", IDS[0], details)])

    expect_violation("I15", taken_back)


def test_lineage_damage() -> None:
    def reparent(root: str) -> None:
        value = canonical.json_object(reader.read_file(f"{root}/.jvs/descriptors/{IDS[0]}.json"))
        value["parent_id"] = IDS[1]
        save_descriptor(root, value)

    expect_violation("I6", reparent)


def test_audit_damage() -> None:
    def log(root: str) -> list[bytes]:
        return reader.read_file(f"{root}/.jvs/audit/audit.jsonl").splitlines(keepends=True)

    def keep(root: str, lines: list[bytes]) -> None:
        write(f"{root}/.jvs/audit/audit.jsonl", b"".join(lines))

    expect_violation("I7", lambda r: keep(r, log(r)[:-1]))
    expect_violation("I8", lambda r: keep(r, log(r)[1:]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0], log(r)[2]]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0], log(r)[2], log(r)[1]]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0].replace(b"a@b", b"x@y"), *log(r)[1:]]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0][:20] + b"\n", *log(r)[1:]]))
    expect_violation("I8", lambda r: os.unlink(f"{r}/.jvs/audit/audit.jsonl"))
    expect_violation("I14", lambda r: keep(r, [*log(r), b'{"torn']), recovered=True)
    with repository() as root:
        keep(root, [*log(root), b'{"torn'])
        assert oracle.check_repository(root) == [], "a torn tail before recovery is no violation"
        keep(root, [*log(root)[:-2], b"\n"])
        assert oracle.check_repository(root) != []


def test_debris() -> None:
    other = "1700000000009-0c0c0c0c"
    expect_violation("I14", lambda r: os.mkdir(f"{r}/.jvs/snapshots/{other}.tmp"))
    expect_violation("I14", lambda r: write(f"{r}/.jvs/descriptors/{other}.json.tmp", "{}"))
    expect_violation("I5", lambda r: os.mkdir(f"{r}/.jvs/snapshots/{other}"))
    expect_violation("I10", lambda r: write(f"{r}/stray", ""))
    expect_violation("I14", lambda r: write(f"{r}/.jvs/stray", ""), recovered=True)
    expect_violation("I14", lambda r: write(f"{r}/worktrees/w/f", ""), recovered=True)

    def pending(root: str) -> None:
        os.mkdir(f"{root}/.jvs/snapshots/{other}.tmp")
        write(f"{root}/.jvs/snapshots/{other}.leaves", "torn")
        intent: dict[str, Any] = {
            "operation": "snapshot",
            "operation_id": other,
            "snapshot_id": other,
            "parent_id": IDS[1],
        }
        intent["audit"] = {"event_id": event_of(4)}
        write_json(f"{root}/.jvs/intents/{other}.json", intent)

    expect_violation("I14", pending, recovered=True)
    with repository() as root:
        pending(root)
        save_config(root, head_snapshot_id=other, latest_snapshot_id=other, event_id=event_of(4))
        assert oracle.check_repository(root) == [], "debris that an intent names is no violation before recovery"
        assert oracle.state(root)["heads"] == {"main": IDS[1]}


def test_torn_leaves() -> None:
    """What lists the leaves of a snapshot may be torn until that is published, and never afterwards."""

    def torn(root: str) -> None:
        write(f"{root}/.jvs/snapshots/{IDS[1]}.leaves", "torn")

    def pending(root: str) -> None:
        torn(root)
        intent = {"operation": "snapshot", "operation_id": IDS[1], "snapshot_id": IDS[1], "parent_id": IDS[0]}
        write_json(f"{root}/.jvs/intents/{IDS[1]}.json", intent | {"audit": {"event_id": event_of(4)}})

    expect_violation("I1", torn)
    expect_violation("I1", pending)


def test_expectations() -> None:
    """What the caller knows is compared with the disk."""
    with repository() as root:
        main = hash_tree(f"{root}/main")
        hashes = {i: s["payload_root_hash"] for i, s in oracle.state(root)["snapshots"].items()}
        expect = Expect(
            snapshots=hashes, worktrees={"main": [main]}, contents=main.contents(), outside=oracle.outside_of(root)
        )
        assert oracle.check_repository(root, expect=expect, recovered=True) == []
        write(f"{root}/main/new", "a byte that no snapshot holds")
        assert "I4" in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        expect.worktrees = {"main": [hash_tree(f"{root}/main")]}
        expect.contents = hash_tree(f"{root}/main").contents()
        os.rename(f"{root}/main/new", f"{root}/.jvs/undo/new")
        assert "bytes" not in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        os.unlink(f"{root}/.jvs/undo/new")
        assert "bytes" in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        write(f"{root}/../stranger", "")
        assert "I12" in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        expect.snapshots = {"1700000000009-0c0c0c0c": "0" * 64}
        assert "I1" in {v.invariant for v in oracle.check_repository(root, expect=expect)}
