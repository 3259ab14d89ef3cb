"""A small repository written by hand, and the ways to damage it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from lib import canonical, oracle, reader, records
from lib.harness import write
from lib.treehash import hash_tree

IDS = ("1700000000001-0a0a0a0a", "1700000000002-0b0b0b0b")
TIME = "2024-01-02T03:04:05.000006Z"
REPO_ID = "3f0c2f6e-1111-4222-8333-944445555666"


def write_json(path: str, value: Any) -> None:
    """Write canonical JSON and a newline."""
    write(path, canonical.json_encode(value) + b"\n")


def build(root: str) -> None:
    """Write a small repository with two snapshots by hand."""
    jvs = os.path.join(root, ".jvs")
    for name in ("worktrees", "intents", "gc/plans", "gc/pins", "gc/tombstones", "gc/trash", "undo", "locks"):
        os.makedirs(os.path.join(jvs, name))
    os.chmod(jvs, 0o700)
    os.makedirs(os.path.join(root, "worktrees"))
    write(f"{jvs}/format_version", "2\n")
    write(f"{jvs}/repo_id", REPO_ID + "\n")
    chain = [audit_record(None, "init", None, {})]
    for number, snapshot_id in enumerate(IDS):
        write(f"{root}/main/sub/file{number}", f"content {number}\n")
        shutil.copytree(f"{root}/main", f"{jvs}/snapshots/{snapshot_id}")
        descriptor = describe(root, snapshot_id, IDS[number - 1] if number else None, chain[-1]["record_hash"])
        save_descriptor(root, descriptor)
        details = {"descriptor_checksum": descriptor["descriptor_checksum"]}
        chain.append(audit_record(chain[-1], "snapshot", snapshot_id, details))
    save_audit(root, chain)
    save_config(root, head_snapshot_id=IDS[1], latest_snapshot_id=IDS[1])


def event_of(seq: int) -> str:
    """Return the event id of the record with a number."""
    return f"00000000-0000-4000-8000-{seq:012d}"


def audit_record(before: dict[str, Any] | None, operation: str, target: Any, details: dict[str, Any]) -> dict[str, Any]:
    """Return the record that comes after another."""
    seq = 1 if before is None else before["seq"] + 1
    record = {
        "seq": seq,
        "event_id": event_of(seq),
        "timestamp": TIME,
        "operation": operation,
        "actor": "a@b",
        "target": target,
        "worktree": "main",
        "reason": None,
        "details": details,
        "prev_hash": records.genesis_hash(REPO_ID) if before is None else before["record_hash"],
    }
    record["record_hash"] = records.record_hash(record)
    return record


def describe(root: str, snapshot_id: str, parent: str | None, audit_head: str) -> dict[str, Any]:
    """Return a descriptor of what lies below `snapshots/ID`."""
    tree = hash_tree(f"{root}/.jvs/snapshots/{snapshot_id}")
    return {
        "format": 2,
        "snapshot_id": snapshot_id,
        "parent_id": parent,
        "worktree_name": "main",
        "created_at": TIME,
        "note": "nöte",
        "tags": ["v1"],
        "engine": "copy",
        "hash_algorithm": tree.algorithm,
        "payload_root_hash": tree.root_hash,
        "payload": tree.counts(),
        "degraded": [],
        "partial_paths": None,
        "actor": "a@b",
        "audit_head": audit_head,
        "integrity_state": "verified",
    }


def save_descriptor(root: str, descriptor: dict[str, Any]) -> None:
    """Write a descriptor with a right checksum, and its READY marker."""
    descriptor["descriptor_checksum"] = records.checksum(descriptor)
    snapshot_id = descriptor["snapshot_id"]
    write_json(f"{root}/.jvs/descriptors/{snapshot_id}.json", descriptor)
    ready = {key: descriptor[key] for key in records.READY_KEYS}
    write_json(f"{root}/.jvs/snapshots/{snapshot_id}.READY", ready)


def save_audit(root: str, chain: list[dict[str, Any]]) -> None:
    """Write the complete log."""
    write(f"{root}/.jvs/audit/audit.jsonl", b"".join(canonical.json_encode(r) + b"\n" for r in chain))


def save_config(root: str, **changes: Any) -> None:
    """Write the configuration of main."""
    config = {"name": "main", "created_at": TIME, "base_snapshot_id": None, "event_id": event_of(3)} | changes
    write_json(f"{root}/.jvs/worktrees/main/config.json", config)


@contextlib.contextmanager
def repository() -> Any:
    """A fresh hand-written repository in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="jvs-selftest-") as directory:
        root = os.path.join(os.path.realpath(directory), "repo")
        build(root)
        yield root


def expect_violation(invariant: str, damage: Callable[[str], object], **options: Any) -> None:
    """Build, check that it is clean, damage it, and require that the oracle names the invariant."""
    with repository() as root:
        clean = oracle.check_repository(root, recovered=True)
        assert clean == [], clean
        damage(root)
        found = oracle.check_repository(root, **options)
        assert invariant in {v.invariant for v in found}, f"wanted {invariant}, found {[str(v) for v in found]}"


def edit(root: str, path: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place, without repairing any checksum."""
    full = os.path.join(root, ".jvs", path)
    value = canonical.json_object(reader.read_file(full))
    change(value)
    write_json(full, value)


OPERATION = "1700000000005-0d0d0d0d"


def operate(root: str, *, log: bool = True, **changes: Any) -> None:
    """Let a restore of the first snapshot have been done, with its journal in `undo/` and its record."""
    journal = {
        "version": 1,
        "operation_id": OPERATION,
        "kind": "restore",
        "worktree": "main",
        "created_at": TIME,
        "seq": 3,
        "of": None,
        "root": OPERATION,
        "forward": True,
        "undone_by": None,
        "target": IDS[0],
        "before": {"head": IDS[1], "latest": IDS[1]},
        "after": {"head": IDS[0], "latest": IDS[1]},
        "bytes": 0,
        "details": {"delta_sha256": hashlib.sha256(b"\x80").hexdigest()},
    }
    details = {"operation_id": OPERATION, "before": journal["before"], "after": journal["after"]}
    write(f"{root}/.jvs/undo/{OPERATION}/delta.cbor", b"\x80")
    write_json(f"{root}/.jvs/undo/{OPERATION}/op.json", journal | changes)
    chain = [canonical.json_object(line) for line in reader.read_file(f"{root}/.jvs/audit/audit.jsonl").splitlines()]
    if log:
        save_audit(root, [*chain, audit_record(chain[-1], "restore", IDS[0], details)])
        save_config(root, head_snapshot_id=IDS[0], latest_snapshot_id=IDS[1], event_id=event_of(4))
