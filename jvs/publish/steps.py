"""Publishing a snapshot: the twelve steps as functions on the publish record, and `publish()` that calls them.

The record is a JSON object that collects what each step learned; every plumbing command of a step reads it, does
its step and writes it on. Whatever `publish()` does more cheaply (one barrier for steps 5, 7 and 8; hashing while
copying) leaves the same repository as the single steps.
Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

import os

from jvs import canon, clock, names, progress
from jvs.engine import registry
from jvs.errors import DescriptorCorrupt, Detached, NotFound, StaleHead
from jvs.fs import durable
from jvs.fs import paths as fs_paths
from jvs.publish.payload import clone_payload, hash_payload, remember, sync_payload
from jvs.publish.record import Local, done, require
from jvs.store import audit, descriptor, intent, worktree
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jvs.store.store import Store


def begin(store: Store, name: str, *, paths: list[bytes] | None = None) -> dict[str, Any]:
    """Step 1: check that a snapshot may begin, and start the record.

    Shape: `version`, `repo`, `worktree`, `snapshot_id`, `parent_id`, `latest_id`, `created_at`, `done`, ...
    Errors: E_NOT_FOUND for a worktree or path that is not there, E_LINEAGE_BROKEN, E_DETACHED by policy,
    E_PATH_ESCAPE for paths that lead outside.
    """
    directory = store.require_worktree(name)
    config = worktree.load(store.layout, name)
    head, latest = config["head_snapshot_id"], config["latest_snapshot_id"]
    if head != latest and store.settings.get("snapshot.when_detached") == "refuse":
        raise Detached(
            f"worktree '{name}' is detached at '{head}', and 'snapshot.when_detached' is 'refuse'",
            hint="'jvs worktree fork NAME' goes on elsewhere, 'jvs restore HEAD' returns, "
            "'-c snapshot.when_detached=branch' goes on here",
            head=head,
            latest=latest,
        )
    if head is not None:
        descriptor.load(store.layout, head)
    _check_paths(directory, store.layout.payload(head) if head is not None else None, paths or [])
    record: dict[str, Any] = {
        "version": 1,
        "repo": store.root,
        "worktree": name,
        "snapshot_id": clock.new_snapshot_id(),
        "parent_id": head,
        "latest_id": latest,
        "created_at": clock.rfc3339(),
        "partial_paths": None if paths is None else [canon.path_json(path) for path in paths],
        "done": [],
    }
    return done(record, "check-worktree")


def _check_paths(directory: str, head: str | None, paths: list[bytes]) -> None:
    """Refuse a path that is neither in the worktree nor in its head; one that was removed since may be named."""
    here = fs_paths.open_dir(directory)
    before = fs_paths.open_dir(head) if head is not None and os.path.isdir(head) else -1
    try:
        for path in paths:
            parts = fs_paths.split_relative(path)
            if any(fd >= 0 and fs_paths.lstat_below(fd, parts) is not None for fd in (here, before)):
                continue
            shown = path.decode("utf-8", "backslashreplace")
            raise NotFound(f"there is no '{shown}' in the worktree", hint="name files and directories that are there")
    finally:
        os.close(here)
        if before >= 0:
            os.close(before)


def write_intent(store: Store, record: dict[str, Any], *, owner: dict[str, Any]) -> dict[str, Any]:
    """Step 2: write down what is about to happen. Durable: yes."""
    require(record, "write-intent")
    seq, _ = store.log().tail()
    event = audit.event(
        "snapshot",
        store.actor,
        target=record["snapshot_id"],
        worktree=record["worktree"],
        details={"parent_id": record["parent_id"]},
    )
    pending = intent.new(
        "snapshot",
        record["worktree"],
        operation_id=record["snapshot_id"],
        owner=owner,
        audit=event,
        audit_seq=seq,
        snapshot_id=record["snapshot_id"],
        parent_id=record["parent_id"],
        latest_id=record["latest_id"],
    )
    intent.write(store.layout, pending)
    return done(record, "write-intent")


def write_descriptor(
    store: Store,
    record: dict[str, Any],
    local: Local | None = None,
    *,
    note: str | None = None,
    tags: list[str] | None = None,
) -> dict[str, Any]:
    """Steps 6 and 7: build the descriptor with its checksum and write it as `descriptors/ID.json.tmp`.

    Durable: yes, unless a barrier follows in the same process. Errors: E_NAME_INVALID (tags), E_USAGE (note).
    """
    if local is None:
        require(record, "write-descriptor")
    all_tags = [*(tags if tags is not None else record.get("tags", [])), *store.settings.get("default_tags")]
    _, audit_head = store.log().tail()
    built = {
        "format": 2,
        "snapshot_id": record["snapshot_id"],
        "parent_id": record["parent_id"],
        "worktree_name": record["worktree"],
        "created_at": record["created_at"],
        "note": names.check_note(note if note is not None else record.get("note", "")),
        "tags": list(dict.fromkeys(names.check_tag(tag) for tag in all_tags)),
        "engine": record["engine"],
        "hash_algorithm": node.ALGORITHM,
        "payload_root_hash": record["payload_root_hash"],
        "payload": record["payload"],
        "changes": record["changes"],
        "degraded": record["degraded"],
        "partial_paths": _paths_as_stored(record["partial_paths"]),
        "actor": store.actor,
        "audit_head": audit_head,
        "integrity_state": "verified",
    }
    built["descriptor_checksum"] = descriptor.checksum(built)
    path = store.layout.descriptor_tmp(record["snapshot_id"])
    durable.unlink(path, missing_ok=True)
    durable.create_file(path, canon.encode(built) + b"\n", sync=local is None)
    if local is None:
        durable.fsync_dir(store.layout.descriptors)
    else:
        local.deferred.append(path)
    record["descriptor"] = built
    record["descriptor_checksum"] = built["descriptor_checksum"]
    return done(record, "write-descriptor")


def _paths_as_stored(paths: list[dict[str, str]] | None) -> list[Any] | None:
    """Return partial paths for the descriptor: text, or an object with `path_b64` for names that are not UTF-8."""
    if paths is None:
        return None
    return [path if "path_b64" in path else path["path"] for path in paths]


def write_ready(store: Store, record: dict[str, Any], local: Local | None = None) -> dict[str, Any]:
    """Step 8: write the READY marker beside the payload. Durable: yes, unless a barrier follows."""
    if local is None:
        require(record, "write-ready")
    path = store.layout.ready(record["snapshot_id"])
    durable.unlink(path, missing_ok=True)
    durable.create_file(path, canon.encode(descriptor.ready_of(record["descriptor"])) + b"\n", sync=local is None)
    if local is None:
        durable.fsync_dir(store.layout.snapshots)
    else:
        local.deferred.append(path)
    return done(record, "write-ready")


def rename_ready(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """Steps 9 and 10: give payload and then descriptor their final names; done already is success.

    Durable: yes. Errors: E_PARTIAL_SNAPSHOT when marker, payload and descriptor do not agree.
    """
    require(record, "rename-ready")
    layout, snapshot_id = store.layout, record["snapshot_id"]
    ready = descriptor.load_ready(layout, snapshot_id)
    if ready["descriptor_checksum"] != record["descriptor_checksum"]:
        raise DescriptorCorrupt(
            f"the READY marker of '{snapshot_id}' is not that of this record", hint="take the snapshot again"
        )
    if not os.path.isdir(layout.payload(snapshot_id)):
        durable.publish(layout.payload_tmp(snapshot_id), layout.payload(snapshot_id))
    if not os.path.lexists(layout.descriptor(snapshot_id)):
        durable.publish(layout.descriptor_tmp(snapshot_id), layout.descriptor(snapshot_id))
    descriptor.check_agreement(layout, descriptor.load(layout, snapshot_id))
    return done(record, "rename-ready")


def update_head(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """Step 11: set head and latest, against the head that step 1 saw.

    Durable: yes. Errors: E_STALE_HEAD; E_NOT_FOUND, E_PARTIAL_SNAPSHOT: a head never names what is not published.
    """
    require(record, "update-head")
    descriptor.check_agreement(store.layout, descriptor.load(store.layout, record["snapshot_id"]))
    pending = intent.load(store.layout, record["snapshot_id"])
    worktree.move_head(
        store.layout,
        record["worktree"],
        record["snapshot_id"],
        expected=record["parent_id"],
        latest=record["snapshot_id"],
        event_id=pending["audit"]["event_id"],
        wait=store.settings.wait,
    )
    return done(record, "update-head")


def append_audit(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """Step 12, first half: append the event of the intent, now with the descriptor's checksum. Durable: yes."""
    require(record, "chain-append")
    pending = intent.load(store.layout, record["snapshot_id"])
    record["audit_hash"] = _append(store, pending, record["descriptor_checksum"])["record_hash"]
    return done(record, "chain-append")


def _append(store: Store, pending: dict[str, Any], checksum: str) -> dict[str, Any]:
    event = {**pending["audit"], "details": {**pending["audit"]["details"], "descriptor_checksum": checksum}}
    return store.log().append(event, after_seq=pending["audit_seq"])


def clear_intent(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """Step 12, second half: remove the intent, which makes the snapshot visible. Durable: yes."""
    require(record, "clear-intent")
    intent.clear(store.layout, record["snapshot_id"])
    return done(record, "clear-intent")


def publish(
    store: Store,
    name: str,
    *,
    note: str = "",
    tags: list[str] | None = None,
    paths: list[bytes] | None = None,
    requested: str | None = None,
    allow_unreadable: bool = False,
) -> dict[str, Any]:
    """Publish a snapshot of a worktree whose lock the caller holds; return its descriptor.

    Durable: yes; on return the snapshot is visible. On any error before step 10 nothing is left; behind it the
    next command completes the snapshot.
    Errors: those of the steps.
    """
    names.check_note(note)
    tags = [names.check_tag(tag) for tag in tags or []]
    record = _timed("check-worktree", begin, store, name, paths=paths)
    try:
        _timed("write-intent", write_intent, store, record, owner=intent.owner(locked=True))
        local = Local()
        local.barrier = durable.Barrier(store.layout.snapshots, each=store.settings.get("durability") == "each")
        try:
            _timed(
                "clone-tree",
                clone_payload,
                store,
                record,
                local,
                requested=requested,
                allow_unreadable=allow_unreadable,
            )
            _timed("hash-tree", hash_payload, store, record, local)
            _timed("write-descriptor", write_descriptor, store, record, local, note=note, tags=tags)
            _timed("write-ready", write_ready, store, record, local)
            _timed("sync-tree", sync_payload, store, record, local)
        finally:
            local.barrier.close()
        _timed("rename-ready", rename_ready, store, record)
        _timed("update-head", update_head, store, record)
        _timed("chain-append", append_audit, store, record)
        _timed("clear-intent", clear_intent, store, record)
    except BaseException:
        roll_back(store, record["snapshot_id"])
        raise
    assert local.tree is not None
    with progress.step("index"):
        remember(store, record, local.tree)
    return record["descriptor"]


def _timed(name: str, step: Callable[..., dict[str, Any]], *args: Any, **more: Any) -> dict[str, Any]:
    with progress.step(name):
        return step(*args, **more)


def roll_back(store: Store, snapshot_id: str) -> bool:
    """Remove everything of a snapshot that did not get its descriptor's final name; False when it did.

    The order is that of publishing backwards, the intent last, so that a crash here is settled by trying again.
    """
    layout = store.layout
    if os.path.lexists(layout.descriptor(snapshot_id)):
        return False
    durable.unlink(layout.descriptor_tmp(snapshot_id), missing_ok=True)
    durable.unlink(layout.ready(snapshot_id), missing_ok=True)
    for entry in sorted(os.listdir(layout.snapshots)):
        if entry.startswith(snapshot_id):
            registry.remove_any(os.path.join(layout.snapshots, entry))
    durable.fsync_dir(layout.descriptors)  # or a crash brings back what no intent names any more: on btrfs a READY
    durable.fsync_dir(layout.snapshots)  # marker came back alone, which looks like damage and not like debris
    intent.clear(layout, snapshot_id)
    return True


def recover(store: Store, pending: dict[str, Any]) -> str:
    """Complete or undo a snapshot whose owner died; returns what was done, as a sentence."""
    snapshot_id = names.check_snapshot_id(pending["snapshot_id"])
    if roll_back(store, snapshot_id):
        return f"rolled back the unfinished snapshot {snapshot_id}"
    layout = store.layout
    durable.fsync_dir(layout.snapshots)  # the dead process may have renamed without living to sync
    durable.fsync_dir(layout.descriptors)
    record = descriptor.load(layout, snapshot_id)
    descriptor.check_agreement(layout, record)
    try:
        worktree.move_head(
            layout,
            record["worktree_name"],
            snapshot_id,
            expected=record["parent_id"],
            latest=snapshot_id,
            event_id=pending["audit"]["event_id"],
            wait=store.settings.wait,
        )
    except StaleHead:
        # Another snapshot was published on the same parent without the lock: this one stays as a leaf of its own,
        # visible in 'history --all' and protected from collection like every leaf.
        pass
    _append(store, pending, record["descriptor_checksum"])
    intent.clear(layout, snapshot_id)
    return f"completed the snapshot {snapshot_id}"
