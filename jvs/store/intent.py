"""Intents: the write-ahead log of operations, one file each, and who owns them.

An operation writes its intent before it changes anything and removes it last: removal is the commit point. What a
dead owner left is recovered by the next command (`jvs.store.recovery`).
Source: jvs-protocol(7), Intents.
"""

from __future__ import annotations

import os

from jvs import canon, clock, system
from jvs.errors import Busy, PartialSnapshot, from_oserror, readable
from jvs.fs import durable, listing, locks
from jvs.names import is_operation_id
from jvs.store import pointer, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Unpack

    from jvs.store.audit import Event
    from jvs.store.layout import Layout
    from jvs.store.shapes import Begun, Intent, Owner, Particulars

FIELDS = {
    "version": records.is_count,
    "operation_id": records.is_id,
    "operation": records.is_text,
    "worktree": records.is_name_or_null,
    "created_at": records.is_time,
    "owner": records.shaped(
        {"pid": records.is_count, "locked": records.is_bool},
        dict.fromkeys(("started", "boot", "namespace", "host"), records.is_text),
    ),
    "audit": records.is_event,
    "audit_seq": records.is_count,
}
_IN_WORKTREE: records.Fields = {"worktree": records.is_name}
_IN_REPOSITORY: records.Fields = {"worktree": records.is_null}
_UNDOES: records.Fields = {"undoes": records.is_id_or_null}
_PLACE: records.Fields = {
    "path": records.nullable(pointer.is_way),
    "token": records.nullable(pointer.is_token),
}
PARTICULARS: dict[str, records.Fields] = {
    "snapshot": {**_IN_WORKTREE, "snapshot_id": records.is_id, "parent_id": records.is_id_or_null},
    "head_update": {**_IN_WORKTREE, "target": records.is_id},
    "restore": {**_IN_WORKTREE, **_UNDOES, "snapshot_id": records.is_id_or_null},
    "merge": {**_IN_WORKTREE, **_UNDOES, "snapshot_id": records.is_id},
    "try": {**_IN_WORKTREE, **_UNDOES, "snapshot_id": records.is_id},
    "undo": {**_IN_WORKTREE, **_UNDOES, "snapshot_id": records.is_id_or_null},
    "undo_forget": {**_IN_WORKTREE, "operations": records.are_ids},
    "worktree_create": {**_IN_WORKTREE, "snapshot_id": records.is_id_or_null},
    "worktree_fork": {**_IN_WORKTREE, "snapshot_id": records.is_id_or_null},
    "worktree_rename": {
        **_IN_WORKTREE,
        **_UNDOES,
        "what": records.one_of("rename"),
        "new_name": records.is_name,
    },
    "worktree_remove": {**_IN_WORKTREE, **_UNDOES, "what": records.one_of("remove", "give_back")},
    "worktree_move": {**_IN_WORKTREE, **_PLACE},
    "worktree_attach": {**_IN_WORKTREE, **_PLACE},
    "gc_run": {**_IN_REPOSITORY, "plan_id": records.is_text, "candidates": records.are_ids},
    "pin": {**_IN_REPOSITORY, "snapshot_id": records.is_id, "pin": records.is_pin},
    "unpin": {**_IN_REPOSITORY, "snapshot_id": records.is_id, "pin": records.is_null},
    "annotate": {**_IN_REPOSITORY, "snapshot_id": records.is_id, "annotation": records.is_annotation},
    "receive": {**_IN_REPOSITORY, "snapshots": records.are_ids},
    "config": {**_IN_REPOSITORY, "text": records.is_text},
}
"""What a recovery needs to know of each kind of operation, besides `FIELDS`."""
_ORPHAN_HOURS = 24


def owner(pid: int | None = None, *, locked: bool) -> Owner:
    """Return who owns an operation.

    Shape: `locked` says that the owner holds the worktree's lock all the while, so that whoever gets the lock
    knows it to be dead; without, the process itself is looked at.
    """
    pid = os.getpid() if pid is None else pid
    return {
        "pid": pid,
        "started": system.start_time(pid),
        "boot": system.boot_id(),
        "namespace": system.pid_namespace(),
        "host": readable(os.uname().nodename),
        "locked": locked,
    }


def is_alive(record: Begun, *, lock_held: bool) -> bool:
    """Answer whether the owner of an intent may still be at work.

    `lock_held` says that the caller holds the worktree's lock. An owner on another host or in another process
    namespace that held no lock counts as alive for a day.
    """
    who = record["owner"]
    if who.get("locked"):
        return not lock_held
    if who.get("boot") == system.boot_id() and who.get("namespace") == system.pid_namespace():
        pid = who.get("pid")
        return isinstance(pid, int) and bool(who.get("started")) and system.start_time(pid) == who.get("started")
    if who.get("host") == readable(os.uname().nodename) and who.get("namespace") == system.pid_namespace():
        return False  # this host booted since
    age = clock.now_ns() - clock.parse_rfc3339(record["created_at"])
    return age < _ORPHAN_HOURS * 3_600_000_000_000


def new(
    operation: str,
    worktree: str | None,
    *,
    operation_id: str,
    owner: Owner,
    audit: Event,
    audit_seq: int,
    **more: Unpack[Particulars],
) -> Any:
    """Return an intent; `audit` is the event to be appended, `audit_seq` the last one in the log by now.

    Shape: the caller names its kind of intent (`shapes`), which has these and no other particulars.
    """
    return {
        "version": 1,
        "operation_id": operation_id,
        "operation": operation,
        "worktree": worktree,
        "created_at": clock.rfc3339(),
        "owner": owner,
        "audit": audit,
        "audit_seq": audit_seq,
        **more,
    }


def write(layout: Layout, record: Begun) -> None:
    """Write an intent, or replace it when an operation enters another phase. Durable: yes, before it returns."""
    with locks.acquire(layout.lock("intents"), exclusive=False):
        durable.replace_file(layout.intent(record["operation_id"]), canon.encode(record) + b"\n")


def sweep(layout: Layout) -> None:
    """Remove temporary files whose writer died before the rename: nothing had happened yet.

    Writers share the lock, so whoever has it alone knows that nobody is writing.
    """
    leftovers = [name for name in listing.names(layout.intents) if name.endswith(".json.tmp")]
    if not leftovers:
        return
    try:
        lock = locks.acquire(layout.lock("intents"), wait=0)
    except Busy:
        return
    with lock:
        for name in leftovers:
            durable.unlink(layout.intents / name, missing_ok=True)


def clear(layout: Layout, operation_id: str) -> None:
    """Remove an intent: the operation is done or undone. Durable: yes. Not there is success."""
    durable.unlink(layout.intent(operation_id), missing_ok=True)
    durable.fsync_dir(layout.intents)  # a crash before this brings the intent back: recovering it again is harmless


def load(layout: Layout, operation_id: str) -> Intent:
    """Read one intent. Errors: FileNotFoundError; E_PARTIAL_SNAPSHOT when damaged."""
    record: Intent = records.load(layout.intent(operation_id), FIELDS, PartialSnapshot)
    more = PARTICULARS.get(record["operation"], {})
    records.check(record, layout.intent(operation_id), more, PartialSnapshot)
    if record["operation_id"] != operation_id:
        raise _damaged(operation_id, f"is that of '{record['operation_id']}'")
    if record["operation"] == "snapshot" and record["snapshot_id"] != operation_id:
        raise _damaged(operation_id, f"is of the snapshot '{record['snapshot_id']}'")
    if record["operation"] == "pin" and record["pin"] and record["pin"]["snapshot_id"] != record["snapshot_id"]:
        raise _damaged(operation_id, "holds the pin of another snapshot")
    if record["operation"] == "annotate" and record["annotation"]["snapshot_id"] != record["snapshot_id"]:
        raise _damaged(operation_id, "holds the annotation of another snapshot")
    if record["operation"] == "worktree_remove" and record["what"] == "give_back" and record["undoes"] is None:
        raise _damaged(operation_id, "does not say which removal it undoes")
    return record


def _damaged(operation_id: str, problem: str) -> PartialSnapshot:
    hint = "'jvs doctor --repair clean_intents' sets it aside"
    return PartialSnapshot(f"intent '{operation_id}' {problem}", hint=hint)


def list_ids(layout: Layout) -> list[str]:
    """Return the ids of all intents, oldest first. Errors: E_IO."""
    try:
        found = listing.names(layout.intents)
    except OSError as error:
        raise from_oserror(error, "listing the operations in flight") from error
    ids = [name[:-5] for name in found if name.endswith(".json")]
    return sorted(name for name in ids if is_operation_id(name))


def load_all(layout: Layout) -> list[Intent]:
    """Read every intent; one that is removed meanwhile is left out. Errors: E_PARTIAL_SNAPSHOT when one is damaged."""
    found = []
    for operation_id in list_ids(layout):
        try:
            found.append(load(layout, operation_id))
        except FileNotFoundError:
            continue
    return found


def on_worktree(layout: Layout, name: str) -> Begun | None:
    """Return the operation in flight that makes, renames or removes a worktree, under its old name or its new one."""
    for record in load_all(layout):
        about = (record["worktree"], record.get("new_name"))
        if record["operation"].startswith("worktree_") and name in about:
            return record
    return None


def snapshots_of(found: list[Intent]) -> set[str]:
    """Return every snapshot that operations in flight are about."""
    about: set[str] = set()
    for record in found:
        about.update(record["snapshots"] if record["operation"] == "receive" else [])
        snapshot_id = record.get("snapshot_id")
        about.update([snapshot_id] if isinstance(snapshot_id, str) else [])
    return about


def pending_snapshots(layout: Layout) -> dict[str, str | None]:
    """Return the snapshots that are being published, each with its parent: readers do not see them yet."""
    found: dict[str, str | None] = {}
    for record in load_all(layout):
        if record["operation"] == "snapshot":
            found[record["snapshot_id"]] = record["parent_id"]
        elif record["operation"] == "receive":
            found.update(dict.fromkeys(record["snapshots"]))
    return found
