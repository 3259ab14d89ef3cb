"""Publishing a snapshot: the twelve steps as functions on the publish record, and `publish()` that calls them.

The record is a JSON object that collects what each step learned; every plumbing command of a step reads it, does
its step and writes it on. Whatever `publish()` does more cheaply (one barrier for steps 5, 7 and 8; hashing while
copying) leaves the same repository as the single steps.
Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

import os

from jvs import (
    audit,
    canon,
    clock,
    descriptor,
    durable,
    engine,
    intent,
    names,
    observe,
    safepath,
    scan,
    tree,
    trees,
    worktree,
)
from jvs.errors import (
    CloneIncomplete,
    DescriptorCorrupt,
    Detached,
    NotFound,
    PartialSnapshot,
    PayloadHashMismatch,
    StaleHead,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jvs.store import Store

Record = "dict[str, Any]"
STEPS = (
    "check-worktree",
    "write-intent",
    "clone-tree",
    "hash-tree",
    "sync-tree",
    "write-descriptor",
    "write-ready",
    "rename-ready",
    "update-head",
    "chain-append",
    "clear-intent",
)
LEARNED: dict[str, tuple[str, ...]] = {
    "check-worktree": ("repo", "worktree", "snapshot_id", "parent_id", "latest_id", "created_at", "partial_paths"),
    "clone-tree": ("engine", "degraded", "moment_ns", "with_inode"),
    "hash-tree": ("payload_root_hash", "payload", "changes"),
    "write-descriptor": ("descriptor", "descriptor_checksum"),
    "chain-append": ("audit_hash",),
}
"""Step -> what it adds to the record."""


class Local:
    """What steps in one process hand to each other beside the record: never needed, only cheaper."""

    def __init__(self) -> None:
        self.barrier: durable.Barrier | None = None
        self.tree: scan.Tree | None = None
        self.deferred: list[str] = []
        self.sync = True


def require(record: dict[str, Any], step: str) -> None:
    """Refuse a record whose earlier steps are missing. Errors: E_USAGE."""
    if record.get("version") != 1 or not isinstance(record.get("done"), list):
        raise UsageError("stdin does not hold a publish record", hint="begin with 'jvs-check-worktree --record NAME'")
    for earlier in STEPS[: STEPS.index(step)]:
        if earlier not in record["done"]:
            raise UsageError(
                f"step '{earlier}' is missing from the record", hint=f"run 'jvs-{earlier} --record' before this step"
            )
        for key in LEARNED.get(earlier, ()):
            if key not in record:
                raise UsageError(
                    f"the record lacks '{key}', which step '{earlier}' adds", hint="begin again with the first step"
                )
    names.check_snapshot_id(record["snapshot_id"])
    names.check_worktree_name(record["worktree"])
    if record["parent_id"] is not None:
        names.check_snapshot_id(record["parent_id"])


def _done(record: dict[str, Any], step: str) -> dict[str, Any]:
    if step not in record["done"]:
        record["done"].append(step)
    return record


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
    return _done(record, "check-worktree")


def _check_paths(directory: str, head: str | None, paths: list[bytes]) -> None:
    """Refuse a path that is neither in the worktree nor in its head; one that was removed since may be named."""
    here = safepath.open_dir(directory)
    before = safepath.open_dir(head) if head is not None and os.path.isdir(head) else -1
    try:
        for path in paths:
            parts = safepath.split_relative(path)
            if any(fd >= 0 and safepath.lstat_below(fd, parts) is not None for fd in (here, before)):
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
    return _done(record, "write-intent")


def clone_payload(
    store: Store,
    record: dict[str, Any],
    local: Local | None = None,
    *,
    requested: str | None = None,
    allow_unreadable: bool = False,
) -> dict[str, Any]:
    """Step 3: clone the worktree to `snapshots/ID.tmp` with the best engine, or the one that was asked for.

    Errors: E_IO for an engine that does not work here, E_CLONE_INCOMPLETE, E_NO_SPACE.
    """
    require(record, "clone-tree")
    name = record["worktree"]
    chosen = store.engine(name, requested=requested)
    request = engine.Request(store.layout.worktree_dir(name), store.layout.payload_tmp(record["snapshot_id"]))
    request.jobs = os.cpu_count() or 1
    request.allow_unreadable = allow_unreadable
    request.hash = local is not None
    if record["partial_paths"] is not None:
        request.paths = [canon.path_from_json(path) for path in record["partial_paths"]]
    else:
        with_index(store, name, request)
    cloned = chosen.clone(request)
    record["engine"] = cloned.engine
    record["degraded"] = cloned.degraded
    record["moment_ns"] = cloned.moment_ns
    record["with_inode"] = cloned.with_inode
    if local is not None:
        local.tree = cloned.tree
    return _done(record, "clone-tree")


def with_index(store: Store, name: str, request: engine.Request) -> None:
    """Give a clone what the index knows of the worktree, and the payload that its rows describe, if it is there."""
    index = store.index()
    request.rows = index.lazy_rows(name)
    request.load_node = index.node
    request.load_total = index.total
    base = index.base(name) if request.rows else None
    if base is not None:
        payload = store.layout.payload(base[0])
        if os.path.isdir(payload) and os.path.exists(store.layout.ready(base[0])):
            request.base_payload = payload


def hash_payload(store: Store, record: dict[str, Any], local: Local | None = None) -> dict[str, Any]:
    """Step 4: hash the clone, reading only what the index does not know.

    Errors: E_IO; E_CLONE_INCOMPLETE when the payload is not there.
    """
    require(record, "hash-tree")
    found = local.tree if local is not None else None
    if found is None:
        found = _hash_clone(store, record)
    if local is not None:
        local.tree = found
    else:
        _remember(store, record, found)
    record["payload_root_hash"] = found.root_hash
    record["payload"] = found.payload()
    record["changes"] = _changes(store, record, found)
    return _done(record, "hash-tree")


def _hash_clone(store: Store, record: dict[str, Any]) -> scan.Tree:
    path = store.layout.payload_tmp(record["snapshot_id"])
    if not os.path.isdir(path):
        raise CloneIncomplete(f"the clone '{path}' is not there", hint="run 'jvs-clone-tree --record' before this step")
    index = store.index()
    # What the index says of the worktree holds for a clone that carries the same inode numbers or ctimes over; a
    # copy has stamps of its own, which match nothing, and is read whole.
    own_inodes, btrfs = engine.scan_flags(path)
    partial = record["partial_paths"] is not None
    scanner = scan.Scanner(
        scan.Worker(jobs=os.cpu_count() or 1, slow_calls=not own_inodes),
        rows=None if partial else index.lazy_rows(record["worktree"]),
        load_node=index.node,
        with_inode=record["with_inode"],
        moment_ns=record["moment_ns"],
        btrfs=btrfs,
    )
    return scanner.run(path)


def _remember(store: Store, record: dict[str, Any], found: scan.Tree) -> None:
    """Give the index the nodes, and the rows when they describe the whole worktree with its own stamps."""
    base = (record["snapshot_id"], found.digest)
    if record["partial_paths"] is None and (found.source_stamps or engine.keeps_stamps(record["engine"])):
        store.index().store(
            record["worktree"],
            rows=found.rows,
            gone=found.gone,
            nodes=trees.with_root(found),
            totals=found.totals,
            base=base,
        )
    else:
        store.index().store(None, nodes=trees.with_root(found))


def _changes(store: Store, record: dict[str, Any], found: scan.Tree) -> dict[str, int] | None:
    """Count what changed against the parent; None when the index does not know the parent's tree."""
    before: bytes | None = None
    known = trees.Trees(store)
    known.add(found)
    if record["parent_id"] is not None:
        root = known.root(descriptor.load(store.layout, record["parent_id"]), rebuild=False)
        if root is None:
            return None
        before = root[2]
    counts = {"added": 0, "removed": 0, "modified": 0, "bytes": 0}
    try:
        for _, old, new in tree.compare(known.load, before, found.digest):
            counts["added" if old is None else "removed" if new is None else "modified"] += 1
            if new is not None and new[1] == 0 and (old is None or old[4] != new[4]):
                counts["bytes"] += new[3]
    except (PartialSnapshot, PayloadHashMismatch):  # the parent is damaged: no reason to fail its child
        return None
    return counts


def sync_payload(store: Store, record: dict[str, Any], local: Local | None = None) -> dict[str, Any]:
    """Step 5: make the payload durable; in one process this also serves steps 7 and 8."""
    require(record, "sync-tree")
    payload = store.layout.payload_tmp(record["snapshot_id"])
    own = local.barrier if local is not None else None
    barrier = own or durable.Barrier(store.layout.snapshots, each=store.settings.get("durability") == "each")
    try:
        committed = engine.is_committed(record["engine"])
        barrier.sync_trees([] if committed else [payload], local.deferred if local is not None else [])
    finally:
        if own is None:
            barrier.close()
    return _done(record, "sync-tree")


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
        "hash_algorithm": tree.ALGORITHM,
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
    return _done(record, "write-descriptor")


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
    return _done(record, "write-ready")


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
    return _done(record, "rename-ready")


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
    return _done(record, "update-head")


def append_audit(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """Step 12, first half: append the event of the intent, now with the descriptor's checksum. Durable: yes."""
    require(record, "chain-append")
    pending = intent.load(store.layout, record["snapshot_id"])
    record["audit_hash"] = _append(store, pending, record["descriptor_checksum"])["record_hash"]
    return _done(record, "chain-append")


def _append(store: Store, pending: dict[str, Any], checksum: str) -> dict[str, Any]:
    event = {**pending["audit"], "details": {**pending["audit"]["details"], "descriptor_checksum": checksum}}
    return store.log().append(event, after_seq=pending["audit_seq"])


def clear_intent(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """Step 12, second half: remove the intent, which makes the snapshot visible. Durable: yes."""
    require(record, "clear-intent")
    intent.clear(store.layout, record["snapshot_id"])
    return _done(record, "clear-intent")


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
    with observe.step("index"):
        _remember(store, record, local.tree)
    return record["descriptor"]


def _timed(name: str, step: Callable[..., dict[str, Any]], *args: Any, **more: Any) -> dict[str, Any]:
    with observe.step(name):
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
            engine.remove_any(os.path.join(layout.snapshots, entry))
    intent.clear(layout, snapshot_id)
    return True


def settle(store: Store, pending: dict[str, Any]) -> str:
    """Complete or undo a snapshot, or a move of a head, whose owner died; returns what was done, as a sentence."""
    if pending["operation"] == "head_update":
        return _settle_head(store, pending)
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


def set_head(store: Store, name: str, new: str, old: str | None) -> dict[str, Any]:
    """Set head and latest of a worktree outside of a publication, and say so in the audit log.

    `old` is what the head must be: an id, `-` for none, None for anything. Durable: yes.
    Errors: E_STALE_HEAD, E_NOT_FOUND, E_BUSY.
    """
    seen = worktree.load(store.layout, name)["head_snapshot_id"]
    expected = seen if old is None else None if old == "-" else old
    event = audit.event("head_update", store.actor, target=new, worktree=name, details={"old": expected, "new": new})
    seq, _ = store.log().tail()
    operation_id = clock.new_operation_id()
    owner = intent.owner(locked=False)
    pending = intent.new(
        "head_update", name, operation_id=operation_id, owner=owner, audit=event, audit_seq=seq, target=new
    )
    intent.write(store.layout, pending)
    try:
        config = worktree.move_head(
            store.layout,
            name,
            new,
            expected=expected,
            latest=new,
            event_id=event["event_id"],
            wait=store.settings.wait,
        )
    finally:
        _settle_head(store, pending)
    return config


def _settle_head(store: Store, pending: dict[str, Any]) -> str:
    """Record a head that was moved outside of a publication, or forget the intent when it was not."""
    name, event = pending["worktree"], pending["audit"]
    moved = worktree.load(store.layout, name).get("event_id") == event["event_id"]
    if moved:
        store.log().append(event, after_seq=pending["audit_seq"])
    intent.clear(store.layout, pending["operation_id"])
    return f"{'recorded' if moved else 'forgot'} a move of the head of '{name}'"
