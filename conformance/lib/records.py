"""The records of format 2: their keys and types, their checksums, and what is wrong with one by itself."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from lib.canonical import json_encode

ID = re.compile(r"\d{13}-[0-9a-f]{8}\Z", re.ASCII)
NAME = re.compile(r"(?!-)(?!\.\.?\Z)[A-Za-z0-9._-]{1,64}\Z", re.ASCII)
HEX64 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\Z", re.ASCII)
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)
OPERATIONS = frozenset(
    [
        *("init", "snapshot", "restore", "undo", "gc_run", "pin", "unpin", "doctor_repair", "config", "audit_repair"),
        *("annotate", "merge", "receive", "clone", "detach", "try", "try_discard"),
        *("head_update", "undo_forget", "worktree_create", "worktree_fork", "worktree_rename", "worktree_remove"),
        *("worktree_move", "worktree_attach"),
    ]
)
READY_KEYS = ("snapshot_id", "created_at", "engine", "descriptor_checksum", "payload_root_hash")
DESCRIPTOR_TYPES: dict[str, tuple[type, ...]] = {
    "format": (int,),
    "snapshot_id": (str,),
    "parent_id": (str, type(None)),
    "worktree_name": (str,),
    "created_at": (str,),
    "note": (str,),
    "tags": (list,),
    "engine": (str,),
    "hash_algorithm": (str,),
    "payload_root_hash": (str,),
    "payload": (dict,),
    "degraded": (list,),
    "partial_paths": (list, type(None)),
    "actor": (str,),
    "audit_head": (str,),
    "descriptor_checksum": (str,),
    "integrity_state": (str,),
}
AUDIT_KEYS = frozenset(
    [
        *("seq", "event_id", "timestamp", "operation", "actor", "target", "worktree", "reason", "details"),
        *("prev_hash", "record_hash"),
    ]
)
JOURNAL_TYPES: dict[str, tuple[type, ...]] = {
    "version": (int,),
    "operation_id": (str,),
    "kind": (str,),
    "worktree": (str,),
    "created_at": (str,),
    "seq": (int,),
    "of": (str, type(None)),
    "root": (str,),
    "forward": (bool,),
    "undone_by": (str, type(None)),
    "target": (str, type(None)),
    "before": (dict,),
    "after": (dict,),
    "bytes": (int,),
    "details": (dict,),
}


def annotation_hash(annotation: dict[str, Any]) -> str:
    """Return what the audit log records of an annotation."""
    return hashlib.sha256(json_encode(annotation)).hexdigest()


def checksum(descriptor: dict[str, Any]) -> str:
    """Return what `descriptor_checksum` must be."""
    covered = {k: v for k, v in descriptor.items() if k not in ("descriptor_checksum", "integrity_state")}
    return hashlib.sha256(json_encode(covered)).hexdigest()


def record_hash(record: dict[str, Any]) -> str:
    """Return what an audit record's `record_hash` must be."""
    return hashlib.sha256(json_encode({k: v for k, v in record.items() if k != "record_hash"})).hexdigest()


def genesis_hash(repo_id: str) -> str:
    """Return the `prev_hash` of the first audit record."""
    return hashlib.sha256(repo_id.encode("ascii")).hexdigest()


def check_descriptor(descriptor: dict[str, Any], snapshot_id: str) -> list[str]:
    """Return what is wrong with a descriptor by itself."""
    wrong = []
    for key, types in DESCRIPTOR_TYPES.items():
        if key not in descriptor:
            wrong.append(f"'{key}' is missing")
        elif not isinstance(descriptor[key], types) or isinstance(descriptor[key], bool):
            wrong.append(f"'{key}' is a {type(descriptor[key]).__name__}")
    if wrong:
        return wrong
    expected = {
        "format": 2,
        "snapshot_id": snapshot_id,
        "integrity_state": "verified",
        "descriptor_checksum": checksum(descriptor),
    }
    wrong += [f"'{k}' is {descriptor[k]!r}, not {v!r}" for k, v in expected.items() if descriptor[k] != v]
    if descriptor["hash_algorithm"] not in ("sha256-tree-1", "sha256-tree-2"):
        wrong.append(f"'hash_algorithm' is {descriptor['hash_algorithm']!r}")
    if descriptor["parent_id"] is not None and not ID.match(descriptor["parent_id"]):
        wrong.append("'parent_id' is not an id")
    if not TIME.match(descriptor["created_at"]):
        wrong.append(f"'created_at' is {descriptor['created_at']!r}")
    if not NAME.match(descriptor["worktree_name"]):
        wrong.append("'worktree_name' is not a name")
    if descriptor["engine"] not in ("juicefs-clone", "btrfs-snapshot", "reflink-copy", "copy"):
        wrong.append(f"'engine' is {descriptor['engine']!r}")
    odd = [tag for tag in descriptor["tags"] if not (isinstance(tag, str) and NAME.match(tag))]
    wrong += [f"tag {tag!r} is not a name" for tag in odd]
    for key in ("payload_root_hash", "audit_head"):
        if not HEX64.match(descriptor[key]):
            wrong.append(f"'{key}' is not a hash")
    counts = descriptor["payload"]
    if any(type(counts.get(key)) is not int for key in ("files", "dirs", "symlinks", "others", "bytes")):
        wrong.append("'payload' is not the five counts")
    return wrong


def check_config(config: dict[str, Any], name: str) -> list[str]:
    """Return what is wrong with a worktree's configuration by itself."""
    wrong = [f"'{k}' is {config.get(k)!r}" for k in ("base", "head", "latest") if not _id_or_null(config, k)]
    if config.get("name") != name:
        wrong.append(f"'name' is {config.get('name')!r}")
    if not TIME.match(str(config.get("created_at"))):
        wrong.append(f"'created_at' is {config.get('created_at')!r}")
    if not UUID.match(str(config.get("event_id"))):
        wrong.append(f"'event_id' is {config.get('event_id')!r}")
    path = config.get("path")
    if path not in (None, ".") and not str(path).startswith("../"):
        wrong.append(f"'path' is {path!r}")
    if str(path).startswith("../") and not re.fullmatch("[0-9a-f]{32}", str(config.get("token"))):
        wrong.append(f"'token' is {config.get('token')!r}")
    return wrong


def _id_or_null(config: dict[str, Any], which: str) -> bool:
    value = config.get(which + "_snapshot_id", 0)
    return value is None or (isinstance(value, str) and bool(ID.match(value)))


def check_journal(record: dict[str, Any], operation_id: str) -> list[str]:
    """Return what is wrong with the `op.json` of an operation by itself."""
    wrong = [f"'{k}' is {record.get(k)!r}" for k, t in JOURNAL_TYPES.items() if not isinstance(record.get(k, 0.5), t)]
    if wrong:
        return wrong
    if record["operation_id"] != operation_id:
        wrong.append(f"'operation_id' is {record['operation_id']!r}")
    if record["kind"] not in ("restore", "worktree_rename", "worktree_remove"):
        wrong.append(f"'kind' is {record['kind']!r}")
    if not TIME.match(record["created_at"]):
        wrong.append(f"'created_at' is {record['created_at']!r}")
    return wrong


def check_annotation(annotation: dict[str, Any], snapshot_id: str) -> list[str]:
    """Return what is wrong with an annotation by itself."""
    fixed = {"version": 1, "snapshot_id": snapshot_id}
    wrong = [f"'{k}' is {annotation.get(k)!r}" for k, v in fixed.items() if annotation.get(k) != v]
    if type(annotation.get("revision")) is not int or annotation["revision"] < 1:
        wrong.append(f"'revision' is {annotation.get('revision')!r}")
    if not TIME.match(str(annotation.get("changed_at"))):
        wrong.append(f"'changed_at' is {annotation.get('changed_at')!r}")
    for key, kind in (("tags", list), ("note", str), ("meta", dict)):
        if not isinstance(annotation.get(key, 0), (kind, type(None))):
            wrong.append(f"'{key}' is {annotation.get(key)!r}")
    odd = [tag for tag in annotation.get("tags") or [] if not (isinstance(tag, str) and NAME.match(tag))]
    return wrong + [f"tag {tag!r} is not a name" for tag in odd]


def check_audit_record(record: Any) -> str:
    """Return what is wrong with an audit record by itself, or nothing."""
    if not isinstance(record, dict) or set(record) & AUDIT_KEYS != AUDIT_KEYS:
        return "is not a complete record"
    if record_hash(record) != record["record_hash"]:
        return "record_hash is wrong"
    if type(record["seq"]) is not int or record["operation"] not in OPERATIONS:
        return f"seq {record['seq']!r} or operation {record['operation']!r} is not valid"
    if not TIME.match(str(record["timestamp"])):
        return f"timestamp {record['timestamp']!r} is not valid"
    return ""


def ids_in(value: Any) -> list[str]:
    """Return every snapshot id anywhere in a JSON value."""
    if isinstance(value, str):
        return [value] if ID.match(value) else []
    if isinstance(value, dict):
        return [i for key, item in value.items() for i in (*ids_in(key), *ids_in(item))]
    if isinstance(value, list):
        return [i for item in value for i in ids_in(item)]
    return []
