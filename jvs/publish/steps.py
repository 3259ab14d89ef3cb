"""The steps that publish a snapshot, each called as the command that does it alone, in their order.

A step reads the publish record, does its work and notes in the record what it learned; `step` checks what must have
been done before, and marks it. `jvs.publish.run` calls all of them in one process. What that does more cheaply (one
barrier for steps 5, 7 and 8; hashing while copying) leaves the same repository as the single commands.
Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

from jvs import canon, names
from jvs.engine import base as engine
from jvs.engine import traits
from jvs.errors import DescriptorCorrupt, Detached
from jvs.fs import durable
from jvs.fs import paths as fs_paths
from jvs.publish import payload
from jvs.publish.large_files import LargeFiles
from jvs.publish.registry import StepContext, step
from jvs.store import audit, descriptor, exclusion, intent, reserved, worktree, write_ahead
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.publish.record import PublishRecord
    from jvs.store.shapes import Owner
    from jvs.store.store import Store


@step("check-worktree")
def check_worktree(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Step 1: check that a snapshot may begin; note its parent. Writes nothing.

    Errors: E_NOT_FOUND for a worktree or path that is not there, E_LINEAGE_BROKEN, E_DETACHED by policy,
    E_PATH_ESCAPE for paths that lead outside.
    """
    name = record["worktree"]
    directory = store.require_worktree(name)
    reserved.check_worktree(store.layout, name)
    config = worktree.load(store.layout, name)
    head, latest = config["head_snapshot_id"], config["latest_snapshot_id"]
    if head != latest and store.settings.get("snapshot.when_detached") == "refuse":
        raise Detached(
            f"worktree '{name}' is detached at '{head}', and 'snapshot.when_detached' is 'refuse'",
            hint="'jvs worktree fork NAME' goes on elsewhere, 'jvs restore LATEST' returns, "
            "'-c snapshot.when_detached=branch' goes on here",
            head=head,
            latest=latest,
        )
    paths = [canon.path_from_json(path) for path in record["partial_paths"] or []]
    reserved.check_paths(paths)
    payload.check_paths(directory, _payloads_before(store, head) if paths else [], paths)
    record["parent_id"], record["latest_id"] = head, latest
    if config.get("merging") and record["partial_paths"] is None:
        record["merged"] = config["merging"]


def _payloads_before(store: Store, head: str | None) -> list[Below]:
    """Return the payloads that together hold all paths that a partial snapshot may name."""
    from jvs.store import partial

    layers = partial.layers(store, descriptor.load(store.layout, head)) if head is not None else []
    return [store.layout.payload(layer["snapshot_id"]) for layer in layers]


@step("write-intent")
def write_intent(store: Store, record: PublishRecord, context: StepContext, *, owner: Owner) -> None:
    """Step 2: write down what is about to happen. Durable: yes."""
    event = audit.event(
        "snapshot",
        store.actor,
        target=record["snapshot_id"],
        worktree=record["worktree"],
        details={"parent_id": record["parent_id"]},
    )
    write_ahead.begin(
        store,
        "snapshot",
        record["worktree"],
        event,
        operation_id=record["snapshot_id"],
        owner=owner,
        snapshot_id=record["snapshot_id"],
        parent_id=record["parent_id"],
        latest_id=record["latest_id"],
    )


@step("clone-tree")
def clone_tree(
    store: Store,
    record: PublishRecord,
    context: StepContext,
    *,
    requested: str | None = None,
    allow_unreadable: bool = False,
) -> None:
    """Step 3: clone the worktree to `snapshots/ID.tmp` with the best engine, or the one that was asked for.

    Errors: E_IO for an engine that does not work here, E_CLONE_INCOMPLETE, E_NO_SPACE.
    """
    name = record["worktree"]
    chosen = store.engine(name, requested=requested)
    request = engine.Request(store.layout.worktree_dir(name), store.layout.payload_tmp(record["snapshot_id"]))
    request.jobs = store.settings.jobs()
    request.allow_unreadable = allow_unreadable
    request.exclude = store.exclusion(name)
    request.hash = context.is_shared  # else the tree of the walk would be lost with this process
    if record["partial_paths"] is not None:
        request.paths = [canon.path_from_json(path) for path in record["partial_paths"]]
    else:
        payload.add_index(store, name, request, lazy=chosen.name == engine.BTRFS)
        if chosen.name in (engine.COPY, engine.REFLINK):
            payload.add_head(store, record, request)
    cloned = chosen.clone(request)
    record["engine"] = cloned.engine
    record["degraded"] = cloned.degraded
    record["moment_ns"] = cloned.moment_ns
    record["with_inode"] = cloned.with_inode
    record["excluded"] = exclusion.describe(store.layout, name, request.exclude)
    context.tree = cloned.tree


@step("hash-tree")
def hash_tree(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Step 4: hash the clone, reading only what the index does not know.

    Errors: E_IO; E_CLONE_INCOMPLETE when the payload is not there.
    """
    found = context.tree
    if found is None:
        found = context.tree = payload.hash_clone(store, record)
    if not context.is_shared:
        payload.remember(store, record, found)
    record["payload_root_hash"] = found.root_hash
    record["payload"] = found.payload()
    large = LargeFiles(store.layout, record["parent_id"], found)
    record["changes"] = payload.count_changes(store, record, found, large)
    lists = large.lists(all_noted=record["changes"] is not None)
    if lists:
        from jvs.store import leaf_lists

        # A crash before the marker leaves a file that recovery removes with the payload.
        _write(context, store.layout.leaves(record["snapshot_id"]), leaf_lists.encode(lists))


@step("sync-tree")
def sync_tree(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Step 5: make the payload durable, and what steps 7 and 8 wrote where they came before it. Durable: yes."""
    shared = context.barrier
    barrier = shared or durable.Barrier(store.layout.snapshots, each=store.settings.get("durability") == "each")
    try:
        committed = traits.is_committed(record["engine"])
        barrier.sync_trees([] if committed else [store.layout.payload_tmp(record["snapshot_id"])], context.unsynced)
    finally:
        if shared is None:
            barrier.close()


@step("write-descriptor")
def write_descriptor(
    store: Store,
    record: PublishRecord,
    context: StepContext,
    *,
    note: str | None = None,
    tags: list[str] | None = None,
    meta: dict[str, str] | None = None,
) -> None:
    """Steps 6 and 7: build the descriptor with its checksum and write it as `descriptors/ID.json.tmp`.

    Durable: yes, unless `sync-tree` follows in the same process. Errors: E_NAME_INVALID (tags), E_USAGE (note).
    """
    all_tags = [*(tags if tags is not None else record.get("tags", [])), *store.settings.get("default_tags")]
    _, audit_head = store.log().tail()
    built: descriptor.Descriptor = {
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
        "excluded": record["excluded"],
        "partial_paths": _paths_as_stored(record["partial_paths"]),
        "actor": store.actor,
        "audit_head": audit_head,
        "descriptor_checksum": "",
        "integrity_state": descriptor.VERIFIED,
    }
    if record.get("merged"):
        built["merged"] = record["merged"]
    facts = names.check_meta(meta if meta is not None else record.get("meta", {}))
    if facts:
        built["meta"] = facts
    built["descriptor_checksum"] = descriptor.checksum(built)
    _write(context, store.layout.descriptor_tmp(record["snapshot_id"]), canon.encode(built) + b"\n")
    record["descriptor"] = built
    record["descriptor_checksum"] = built["descriptor_checksum"]


def _paths_as_stored(paths: list[canon.PathJSON] | None) -> list[str | canon.PathJSON] | None:
    """Return partial paths for the descriptor: text, or an object with `path_b64` for names that are not UTF-8."""
    if paths is None:
        return None
    return [path if "path_b64" in path else path["path"] for path in paths]


def _write(context: StepContext, path: Below, data: bytes) -> None:
    """Write a file of this snapshot anew: durable at once when the step is alone, else with `sync-tree`."""
    durable.unlink(path, missing_ok=True)
    durable.create_file(path, data, sync=not context.is_shared)
    if context.is_shared:
        context.unsynced.append(path)
    else:
        durable.fsync_dir(path.parent)  # or a crash could keep what the next step does and lose the name


@step("write-ready")
def write_ready(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Step 8: write the READY marker next to the payload. Durable: yes, unless `sync-tree` follows."""
    ready = descriptor.ready_of(record["descriptor"])
    _write(context, store.layout.ready(record["snapshot_id"]), canon.encode(ready) + b"\n")


@step("rename-ready")
def rename_ready(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Steps 9 and 10: give payload and then descriptor their final names; done already is success.

    Durable: yes. Errors: E_PARTIAL_SNAPSHOT when marker, payload and descriptor do not agree.
    """
    layout, snapshot_id = store.layout, record["snapshot_id"]
    ready = descriptor.load_ready(layout, snapshot_id)
    if ready["descriptor_checksum"] != record["descriptor_checksum"]:
        raise DescriptorCorrupt(
            f"the READY marker of '{snapshot_id}' is not that of this record", hint="take the snapshot again"
        )
    if not fs_paths.is_dir(layout.payload(snapshot_id)):
        durable.publish(layout.payload_tmp(snapshot_id), layout.payload(snapshot_id))
    if not fs_paths.exists(layout.descriptor(snapshot_id)):
        durable.publish(layout.descriptor_tmp(snapshot_id), layout.descriptor(snapshot_id))
    descriptor.check_agreement(layout, descriptor.load(layout, snapshot_id))


@step("update-head")
def update_head(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Step 11: set head and latest, against the head that step 1 saw.

    Durable: yes. Errors: E_STALE_HEAD; E_NOT_FOUND, E_PARTIAL_SNAPSHOT: a head never names what is not published.
    """
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
        holds_merge=record["partial_paths"] is None,
    )


@step("chain-append")
def chain_append(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Step 12, first half: append the event of the intent, now with the descriptor's checksum. Durable: yes."""
    pending = intent.load(store.layout, record["snapshot_id"])
    appended = write_ahead.append(store, pending, descriptor_checksum=record["descriptor_checksum"])
    record["audit_hash"] = appended["record_hash"]


@step("clear-intent")
def clear_intent(store: Store, record: PublishRecord, context: StepContext) -> None:
    """Step 12, second half: remove the intent, which makes the snapshot visible. Durable: yes."""
    intent.clear(store.layout, record["snapshot_id"])
