"""Sending snapshots: which ones the other side lacks, what each is to be built on, and the stream of all of them.

Source: jvs-stream(5); jvs-send(1).
"""

from __future__ import annotations

import contextlib
import os

from jvs import canon
from jvs.errors import JvsError, UsageError
from jvs.fs import locks, paths
from jvs.store import annotation, descriptor, leaf_lists, lineage, node_store, refs
from jvs.stream import items
from jvs.stream.difference import Difference, Sendable
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypedDict

    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree.leaves import Lists

    class Sent(TypedDict):
        """What was sent: the snapshots, parents first, each with what it was built on, and the size of the stream."""

        snapshots: list[str]
        bases: dict[str, str | None]
        boundary: list[str]
        bytes: int


class Selection:
    """The snapshots of a stream, parents first, and what the other side has."""

    def __init__(self, wanted: list[Descriptor], have: set[str], spare: str | None) -> None:
        self.wanted = wanted
        self.ids = [record["snapshot_id"] for record in wanted]
        self._have = have
        self._spare = spare

    def bases(self, store: Store) -> dict[str, str | None]:
        """Return what each snapshot is to be built on: its nearest ancestor that is there by then, or another one."""
        there, found = set(self._have), dict[str, str | None]()
        for record in self.wanted:
            found[record["snapshot_id"]] = _nearest(store, record, there) or self._spare
            there.add(record["snapshot_id"])
        return found

    def boundary(self, store: Store) -> list[Descriptor]:
        """Return what is left of the parents that are not in the stream: their lines end there for one who lacks them.

        Errors: E_LINEAGE_BROKEN.
        """
        found: dict[str, Descriptor] = {}
        for record in self.wanted:
            for parent in (record["parent_id"], *record.get("merged", [])):
                if parent is not None and parent not in self.ids and parent not in found:
                    found[parent] = lineage.stored_of(store.layout, parent)
        return list(found.values())


def everything(store: Store) -> Selection:
    """Return all visible snapshots, each after its parents and what was merged into it. Errors: E_DESCRIPTOR_CORRUPT.

    Shape: as many as there are; one stream holds `items.MOST_SNAPSHOTS`.
    """
    found = lineage.all_records(store.layout)
    wanted: dict[str, Descriptor] = {}
    for start in found:
        stack = [start]
        while stack:
            record = found[stack[-1]]
            parents = [i for i in (record["parent_id"], *record.get("merged", [])) if i in found and i not in wanted]
            parents = [i for i in parents if i not in stack]  # a forged cycle ends here, and is reported by its line
            if parents:
                stack.append(str(parents[0]))
            else:
                wanted[stack.pop()] = record
    return Selection(list(wanted.values()), set(), None)


def _nearest(store: Store, record: Descriptor, there: set[str]) -> str | None:
    with contextlib.suppress(JvsError):  # a line that is broken further up
        for ancestor in lineage.line(store.layout, record["parent_id"]):
            if ancestor["snapshot_id"] in there and not ancestor.get("collected"):
                return ancestor["snapshot_id"]
    return None


def select(
    store: Store,
    targets: Iterable[str],
    *,
    since: str | None = None,
    have: Iterable[str] = (),
    only: bool = False,
    worktree: str | None = None,
) -> Selection:
    """Find out what to send: each target with its line, but for what the other side has.

    `since` and its line are there; so are `have`, ids of which those that are unknown here do not count. `only` leaves
    the lines out. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT; E_USAGE.
    """
    visible = set(lineage.visible_ids(store.layout))
    there = {snapshot_id for snapshot_id in have if snapshot_id in visible}
    spare = max(there, default=None)
    if since is not None:
        spare = refs.resolve(store, since, worktree)
        there |= {record["snapshot_id"] for record in lineage.line(store.layout, spare)} & visible
    wanted: dict[str, Descriptor] = {}
    for target in targets:
        start = refs.resolve(store, target, worktree)
        line: list[Descriptor] = []
        for record in lineage.line(store.layout, start):
            if record["snapshot_id"] in there or record["snapshot_id"] in wanted:
                break
            if record["snapshot_id"] in visible:
                line.append(descriptor.load(store.layout, record["snapshot_id"]))
            if only:
                break
        wanted.update({record["snapshot_id"]: record for record in reversed(line)})
    if len(wanted) > items.MOST_SNAPSHOTS:
        raise UsageError("more snapshots than one stream may hold", hint="send them in parts, with --since")
    return Selection(list(wanted.values()), there, spare)


def write(store: Store, selection: Selection, file: items.Writable) -> Sent:
    """Write the stream of a selection. The snapshots cannot be collected meanwhile.

    Errors: E_PAYLOAD_HASH_MISMATCH, E_CLONE_INCOMPLETE for files that are not what was published; E_IO, E_BUSY.
    """
    wait, command = store.settings.wait, store.settings.command
    with locks.acquire_repository(store.layout.locks, exclusive=False, wait=wait, command=command):
        return write_locked(store, selection, file)


def write_locked(store: Store, selection: Selection, file: items.Writable) -> Sent:
    """Do as `write`, for a caller that shares the lock of the repository."""
    bases = selection.bases(store)
    boundary = selection.boundary(store)
    writer = items.ItemWriter(file)
    writer.put(items.HEADER, items.MAGIC, store.repo_id, selection.ids)
    for record in boundary:
        writer.put(items.BOUNDARY, record["snapshot_id"], encoded(record))
    for record in selection.wanted:
        _write_snapshot(store, writer, record, bases[record["snapshot_id"]])
    writer.end()
    return {
        "snapshots": selection.ids,
        "bases": bases,
        "boundary": [record["snapshot_id"] for record in boundary],
        "bytes": writer.size_bytes,
    }


def encoded(record: Descriptor) -> bytes:
    """Return a descriptor as its file holds it."""
    return canon.encode(record) + b"\n"


def _write_snapshot(store: Store, writer: items.ItemWriter, record: Descriptor, base_id: str | None) -> None:
    """Write one snapshot: descriptor, annotation, and what its files have that those of its base have not."""
    snapshot_id = record["snapshot_id"]
    descriptor.check_agreement(store.layout, record)
    base = None if base_id is None else descriptor.load(store.layout, base_id)
    try:
        said: bytes | None = canon.encode(annotation.load(store.layout, snapshot_id)) + b"\n"
    except FileNotFoundError:
        said = None
    writer.put(items.SNAPSHOT, snapshot_id, base_id, encoded(record), said)
    known = node_store.Trees(store)
    plain = node.is_plain(record["hash_algorithm"])
    with contextlib.ExitStack() as opened:
        sides = [_side(store, known, one, plain, opened) for one in (record, *([] if base is None else [base]))]
        Difference(writer, sides[0], sides[1] if base is not None else None).write()


def _side(
    store: Store, known: node_store.Trees, record: Descriptor, plain: bool, opened: contextlib.ExitStack
) -> Sendable:
    root = paths.open_dir(store.layout.payload(record["snapshot_id"]))
    opened.callback(os.close, root)
    digest = known.root_as(record, plain=plain)[2]
    kept: list[Lists] = []

    def lists() -> Lists:
        if not kept:
            kept.append(leaf_lists.load(store.layout, record["snapshot_id"]))
        return kept[0]

    return Sendable(root, digest, known.load, lists)
