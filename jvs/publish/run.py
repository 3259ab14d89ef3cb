"""Publishing a snapshot in one process: the steps in their order, and what happens when one of them fails or dies.

Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

from jvs import names, progress
from jvs.engine import registry
from jvs.errors import StaleHead
from jvs.fs import durable, listing, paths
from jvs.publish import payload, steps
from jvs.publish import record as publish_record
from jvs.publish.registry import StepContext
from jvs.store import descriptor, intent, worktree, write_ahead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.shapes import SnapshotIntent
    from jvs.store.store import Store


def publish(
    store: Store,
    name: str,
    *,
    note: str = "",
    tags: list[str] | None = None,
    meta: dict[str, str] | None = None,
    paths: list[bytes] | None = None,
    merged: list[str] | None = None,
    requested: str | None = None,
    allow_unreadable: bool = False,
) -> descriptor.Descriptor:
    """Publish a snapshot of a worktree whose lock the caller holds; return its descriptor.

    Durable: yes; on return the snapshot is visible. On any error before step 10 nothing is left; after it the
    next command completes the snapshot.
    Errors: those of the steps.
    """
    names.check_note(note)
    tags = [names.check_tag(tag) for tag in tags or []]
    meta = names.check_meta(meta or {})
    record = publish_record.new(store.root, name, paths)
    steps.check_worktree(store, record)
    if merged:
        record["merged"] = list(dict.fromkeys([*record.get("merged", []), *merged]))
    try:
        steps.write_intent(store, record, owner=intent.owner(locked=True))
        with StepContext(durable.Barrier(store.layout.snapshots, each=_syncs_each(store))) as context:
            steps.clone_tree(store, record, context, requested=requested, allow_unreadable=allow_unreadable)
            steps.hash_tree(store, record, context)
            steps.write_descriptor(store, record, context, note=note, tags=tags, meta=meta)
            steps.write_ready(store, record, context)
            steps.sync_tree(store, record, context)
        steps.rename_ready(store, record)
        steps.update_head(store, record)
        steps.chain_append(store, record)
        steps.clear_intent(store, record)
    except BaseException:
        roll_back(store, record["snapshot_id"])
        raise
    assert context.tree is not None
    with progress.step("index"):
        payload.remember(store, record, context.tree)
    return record["descriptor"]


def _syncs_each(store: Store) -> bool:
    return bool(store.settings.get("durability") == "each")


def roll_back(store: Store, snapshot_id: str) -> bool:
    """Remove everything of a snapshot that did not get its descriptor's final name; False when it did.

    The order is that of publishing backwards, the intent last, so that a crash here is recovered by trying again.
    """
    layout = store.layout
    if paths.exists(layout.descriptor(snapshot_id)):
        return False
    durable.unlink(layout.descriptor_tmp(snapshot_id), missing_ok=True)
    durable.unlink(layout.ready(snapshot_id), missing_ok=True)
    durable.unlink(layout.leaves(snapshot_id), missing_ok=True)
    for entry in listing.names(layout.snapshots):
        if entry.startswith(snapshot_id):
            registry.remove_any(layout.snapshots / entry, store.settings.engine_options())
    durable.fsync_dir(layout.descriptors)  # or a crash brings back what no intent names any more: on btrfs a READY
    durable.fsync_dir(layout.snapshots)  # marker came back alone, which looks like damage and not like debris
    intent.clear(layout, snapshot_id)
    return True


def recover(store: Store, pending: SnapshotIntent) -> str:
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
            holds_merge=record["partial_paths"] is None,
        )
    except StaleHead:
        # Another snapshot was published on the same parent without the lock: this one stays as a leaf of its own,
        # visible in 'history --all' and protected from collection like every leaf.
        pass
    write_ahead.append(store, pending, descriptor_checksum=record["descriptor_checksum"])
    intent.clear(layout, snapshot_id)
    return f"completed the snapshot {snapshot_id}"
