"""Steps 3 to 5 of a publication: clone the worktree, hash the clone, make it durable.

Source: jvs-protocol(7), Publish; jvs-engines(7).
"""

from __future__ import annotations

import os

from jvs import canon
from jvs.engine import base as engine
from jvs.engine import traits
from jvs.errors import CloneIncomplete, PartialSnapshot, PayloadHashMismatch
from jvs.fs import durable
from jvs.publish.record import Local, done, require
from jvs.store import descriptor, node_store
from jvs.tree import node, scan
from jvs.tree.rows import LazyRows

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.store.store import Store


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
        with_index(store, name, request, lazy=chosen.name == engine.BTRFS)
    cloned = chosen.clone(request)
    record["engine"] = cloned.engine
    record["degraded"] = cloned.degraded
    record["moment_ns"] = cloned.moment_ns
    record["with_inode"] = cloned.with_inode
    if local is not None:
        local.tree = cloned.tree
    return done(record, "clone-tree")


def with_index(store: Store, name: str, request: engine.Request, *, lazy: bool) -> None:
    """Give a clone what the index knows of the worktree, and the payload that its rows describe, if it is there.

    `lazy` reads only the rows that are asked for, for an engine that knows where to look; else all in one query,
    because on FUSE each query costs a lock and some calls.
    """
    index, key = store.index(), store.tree_key(name)
    with index.at_once():
        base = index.bound_base(key)
        if base is not None:
            request.rows = LazyRows(index, key, base[2]) if lazy else index.rows(key, base[2])
    request.known = index
    if base is not None:
        payload = store.layout.payload(base[0])
        if os.path.isdir(payload) and os.path.exists(store.layout.ready(base[0])):
            request.base_payload = payload
            request.base_is_plain = base[3]


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
        remember(store, record, found)
    record["payload_root_hash"] = found.root_hash
    record["payload"] = found.payload()
    record["changes"] = _changes(store, record, found)
    return done(record, "hash-tree")


def _hash_clone(store: Store, record: dict[str, Any]) -> scan.Tree:
    path = store.layout.payload_tmp(record["snapshot_id"])
    if not os.path.isdir(path):
        raise CloneIncomplete(f"the clone '{path}' is not there", hint="run 'jvs-clone-tree --record' before this step")
    index = store.index()
    # What the index says of the worktree holds for a clone that carries the same inode numbers or ctimes over; a
    # copy has stamps of its own, and is read whole.
    own_inodes, btrfs = traits.scan_flags(path)
    comparable = record["partial_paths"] is None and traits.keeps_stamps(record["engine"])
    scanner = scan.Scanner(
        scan.Worker(jobs=os.cpu_count() or 1, slow_calls=not own_inodes),
        rows=index.bound_rows(store.tree_key(record["worktree"])) if comparable else None,
        known=index,
        with_inode=record["with_inode"],
        moment_ns=record["moment_ns"],
        btrfs=btrfs,
    )
    return scanner.run(path)


def remember(store: Store, record: dict[str, Any], found: scan.Tree) -> None:
    """Give the index the nodes, and the rows when they describe the whole worktree with its own stamps."""
    base = (record["snapshot_id"], found.digest)
    if record["partial_paths"] is None and (found.source_stamps or traits.keeps_stamps(record["engine"])):
        store.index().store(
            store.tree_key(record["worktree"]),
            rows=found.rows,
            gone=found.gone,
            nodes=node_store.with_root(found),
            totals=found.totals,
            base=base,
            plain=found.plain,
        )
    else:
        store.index().store(None, nodes=node_store.with_root(found))


def _changes(store: Store, record: dict[str, Any], found: scan.Tree) -> dict[str, int] | None:
    """Count what changed against the parent; None when the index does not know the parent's tree.

    None also where one of the two is partial: what a partial snapshot leaves out was not removed.
    """
    if record["partial_paths"] is not None:
        return None
    before: bytes | None = None
    known = node_store.Trees(store)
    known.add(found)
    if record["parent_id"] is not None:
        parent = descriptor.load(store.layout, record["parent_id"])
        root = known.root(parent, rebuild=False)
        if root is None or parent["partial_paths"] is not None:
            return None
        before = root[2]
    counts = {"added": 0, "removed": 0, "modified": 0, "bytes": 0}
    try:
        with store.index().at_once():
            for _, old, new in node.compare(known.load, before, found.digest):
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
        committed = traits.is_committed(record["engine"])
        barrier.sync_trees([] if committed else [payload], local.deferred if local is not None else [])
    finally:
        if own is None:
            barrier.close()
    return done(record, "sync-tree")
