"""What cloning and hashing a worktree need: the paths that were named, the index, the changes since the parent.

Source: jvs-protocol(7), Publish; jvs-engines(7).
"""

from __future__ import annotations

import contextlib
import os

from jvs.engine import traits
from jvs.errors import CloneIncomplete, IOFailure, JvsError, NotFound, PartialSnapshot, PayloadHashMismatch
from jvs.fs import paths as fs_paths
from jvs.store import descriptor, exclusion, node_store, other_mounts
from jvs.tree import node, rows, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.engine.base import Request
    from jvs.fs.rooted import Below
    from jvs.publish.large_files import LargeFiles
    from jvs.publish.record import PublishRecord
    from jvs.store.descriptor import Changes, Descriptor
    from jvs.store.store import Store


def check_paths(directory: Below, before: list[Below], paths: list[bytes]) -> None:
    """Refuse a path that is neither in the worktree nor in its head; one that was removed since may be named.

    `before` are the payloads of the head: itself and, when it is partial, those that it lies on.
    Errors: E_NOT_FOUND, E_PATH_ESCAPE.
    """
    with contextlib.ExitStack() as opened:
        places = [fs_paths.open_dir(place) for place in (directory, *filter(fs_paths.is_dir, before))]
        for fd in places:
            opened.callback(os.close, fd)
        for path in paths:
            parts = fs_paths.split_relative(path)
            if all(fs_paths.lstat_below(fd, parts) is None for fd in places):
                shown = path.decode("utf-8", "backslashreplace")
                hint = "name files and directories that are there"
                raise NotFound(f"there is no '{shown}' in the worktree", hint=hint)


def add_index(store: Store, name: str, request: Request, *, lazy: bool) -> None:
    """Give a clone what the index knows of the worktree, and the payload that its rows describe, if it is there.

    `lazy` reads only the rows that are asked for, for an engine that knows where to look; else all in one query,
    because on FUSE each query costs a lock and some calls.
    """
    other_mounts.learn_worktree(store, name)
    index, key = store.index(), store.tree_key(name)
    with index.at_once():
        base = index.bound_base(key)
        if base is not None and (base[4] == node.PLAIN or not lazy):
            request.rows = rows.as_wanted(index.rows(key, base[2]), index, base[4], plain=False)
        elif base is not None:
            request.rows = rows.LazyRows(index, key, base[2])
    request.known = index
    if base is not None:
        payload = store.layout.payload(base[0])
        if fs_paths.is_dir(payload) and fs_paths.exists(store.layout.ready(base[0])):
            request.base_payload = payload
            request.shared = None if base[4] == node.PLAIN else node_store.shared_leaves(store, base[0])
            request.base_is_plain = base[3]
            request.base_is_all = lazy and _holds_all(store, base[0])


def _holds_all(store: Store, snapshot_id: str) -> bool:
    """Answer whether a snapshot is known to hold all that was in the worktree."""
    try:
        return exclusion.holds_all(descriptor.load(store.layout, snapshot_id))
    except JvsError:
        return False


def add_head(store: Store, record: PublishRecord, request: Request) -> None:
    """Give a copy the payload of the head as well, where the index describes another: after a restore."""
    if record["parent_id"] is None or not store.settings.get("engine.link_restored"):
        return
    base = store.index().base_id(store.tree_key(record["worktree"]))
    head = descriptor.load(store.layout, record["parent_id"])
    if base in ("", head["snapshot_id"]) or head["partial_paths"] is not None:
        return
    root, payload = store.index().root(head["payload_root_hash"]), store.layout.payload(head["snapshot_id"])
    if root is not None and fs_paths.is_dir(payload) and fs_paths.exists(store.layout.ready(head["snapshot_id"])):
        request.head_payload, request.head_node = payload, root[2]


def hash_clone(store: Store, record: PublishRecord) -> scan.ScanResult:
    """Hash the clone of a snapshot by itself. Errors: E_IO; E_CLONE_INCOMPLETE when it is not there."""
    path = store.layout.payload_tmp(record["snapshot_id"])
    if not fs_paths.is_dir(path):
        raise CloneIncomplete(f"the clone '{path}' is not there", hint="run 'jvs-clone-tree --record' before this step")
    index = store.index()
    # What the index says of the worktree holds for a clone that carries the same inode numbers or ctimes over; a
    # copy has stamps of its own, and is read whole.
    own_inodes, btrfs = traits.scan_flags(path)
    comparable = record["partial_paths"] is None and traits.keeps_stamps(record["engine"])
    worker = scan.Hasher(jobs=store.settings.jobs(), slow_calls=not own_inodes)
    base = index.bound_base(store.tree_key(record["worktree"])) if comparable else None
    if base is not None and base[4] != node.PLAIN and fs_paths.exists(store.layout.ready(base[0])):
        worker.shared = node_store.shared_leaves(store, base[0])
    scanner = scan.Scanner(
        worker,
        rows=index.bound_rows(store.tree_key(record["worktree"]), plain=False) if comparable else None,
        known=index,
        with_inode=record["with_inode"],
        moment_ns=record["moment_ns"],
        btrfs=btrfs,
    )
    return scanner.run(path)


def remember(store: Store, record: PublishRecord, found: scan.ScanResult) -> None:
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


def count_changes(store: Store, record: PublishRecord, found: scan.ScanResult, large: LargeFiles) -> Changes | None:
    """Count what changed against the parent; None when the index does not know the parent's tree.

    None also where one of the two is partial: what a partial snapshot leaves out was not removed. `large` is told of
    all changes.
    """
    if record["partial_paths"] is not None:
        return None
    parent: Descriptor | None = None
    known = node_store.Trees(store)
    known.add(found)
    if record["parent_id"] is not None:
        parent = descriptor.load(store.layout, record["parent_id"])
        if known.root(parent, rebuild=False) is None or parent["partial_paths"] is not None:
            return None
    counts: Changes = {"added": 0, "removed": 0, "modified": 0, "bytes": 0}
    new_bytes = 0
    try:
        if parent is None:  # all is new, and counted already
            counts["added"] = found.files + found.dirs + found.symlinks + found.others
            counts["bytes"] = found.bytes
            large.note_all(known.load, found.digest)
            return counts
        before = known.root_as(parent, plain=False)[2]
        with store.index().at_once():
            for _, old, new in node.compare(known.load, before, found.digest):
                counts["added" if old is None else "removed" if new is None else "modified"] += 1
                if new is not None and new[1] == 0 and (old is None or old[4] != new[4]):
                    counts["bytes"] += new[3]
                new_bytes += large.note(old, new)
    except (IOFailure, PartialSnapshot, PayloadHashMismatch):  # the parent is damaged: no reason to fail its child
        return None
    if new_bytes != counts["bytes"]:
        counts["new_bytes"] = new_bytes
    return counts
