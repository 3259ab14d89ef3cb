"""Receiving a stream: all of its snapshots become visible in one moment, or none does.

The intent names them before anything is written. Each payload is built, hashed and compared with its descriptor under
temporary names; when the hash of the stream itself is right and all is durable, payloads and then descriptors get their
final names. The first descriptor that has its name decides: before it a recovery takes everything away, after it all
is completed. The end of the intent makes them visible.
Source: jvs-protocol(7), Receive; jvs-stream(5).
"""

from __future__ import annotations

import contextlib

from jvs import canon, names, progress
from jvs.engine import registry
from jvs.errors import DescriptorCorrupt, Exists, JvsError, LineageBroken, NotFound, PartialSnapshot, from_oserror
from jvs.fs import durable, listing, locks, paths
from jvs.fs.losses import Losses
from jvs.store import (
    annotation,
    audit,
    boundary,
    changing,
    descriptor,
    leaf_lists,
    lineage,
    node_store,
    records,
    write_ahead,
)
from jvs.stream import items, staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NotRequired, TypedDict

    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.layout import Layout
    from jvs.store.shapes import ReceiveIntent
    from jvs.store.store import Store
    from jvs.tree import scan

    class ReceivedSnapshot(TypedDict):
        """What the audit record says of one snapshot that was received."""

        snapshot_id: str
        descriptor_checksum: str
        annotation_sha256: NotRequired[str]

    class ReceiptDetails(TypedDict):
        """What the audit record of a receipt says."""

        snapshots: list[ReceivedSnapshot]

    class Received(TypedDict):
        """What came of a stream: the snapshots that are new, those that were here, and where lines end."""

        source_repo: str
        snapshots: list[str]
        present: list[str]
        boundary: list[str]
        degraded: list[Loss]


LOCK = "receive"
OPERATION = "receive"


def receive(store: Store, file: items.Readable) -> Received:
    """Receive the snapshots of a stream that are not here yet.

    Durable: yes; on return all are visible. After an error nothing is left, and the stream may be received again.
    Errors: E_FORMAT_UNSUPPORTED, E_PARTIAL_SNAPSHOT for a stream that is cut or damaged, E_PATH_ESCAPE,
    E_DESCRIPTOR_CORRUPT, E_PAYLOAD_HASH_MISMATCH, E_NOT_FOUND for a base that is not here, E_EXISTS for another
    snapshot of the same id, E_LINEAGE_BROKEN, E_BUSY, E_NO_SPACE, E_IO.
    """
    reader = items.ItemReader(file)
    _, _, source, ids = reader.header()
    _check_header(source, ids)
    wait, command = store.settings.wait, store.settings.command
    with locks.acquire_repository(store.layout.locks, exclusive=False, wait=wait, command=command):
        changing.recover(store)
        with locks.acquire(store.layout.lock(LOCK), wait=wait, command=command):
            return _Receiving(store, reader, source, ids).run()


def _check_header(source: object, ids: object) -> None:
    if not records.is_uuid(source) or not records.are_ids(ids) or not isinstance(ids, list):
        raise items.damaged("its first item names no repository, or no snapshots")
    if len(set(ids)) != len(ids):
        raise items.damaged("it announces a snapshot twice")


class _Receiving:
    """One stream that is being received."""

    def __init__(self, store: Store, reader: items.ItemReader, source: str, ids: list[str]) -> None:
        self._store = store
        self._layout = store.layout
        self._reader = reader
        self._source = source
        self._ids = ids
        here = set(lineage.published_ids(store.layout)) | {i for i in ids if paths.exists(store.layout.tombstone(i))}
        self._present = [i for i in ids if i in here]
        self._new = [i for i in ids if i not in here]
        self._done: dict[str, Descriptor] = {}
        self._boundary: dict[str, Descriptor] = {}
        self._losses = Losses()
        self._written: list[Below] = []

    def run(self) -> Received:
        if not self._new:
            self._read_all()
            return self._answer()
        event = audit.event(OPERATION, self._store.actor, details={"source_repo": self._source})
        try:
            with write_ahead.operation(
                self._store,
                OPERATION,
                None,
                event,
                roll_back=lambda pending: _roll_back(self._store, pending),
                applied=write_ahead.LEAVE,
                snapshots=self._new,
            ) as pending:
                self._stage()
                _publish(self._layout, self._new)
                pending["audit"]["details"].update(_details(self._layout, self._new))
        except OSError as error:
            raise from_oserror(error, "receiving the stream") from error
        return self._answer()

    def _stage(self) -> None:
        """Make all that the stream holds, under temporary names; durable on return."""
        each = self._store.settings.get("durability") == "each"
        with durable.Barrier(self._layout.snapshots, each=bool(each)) as barrier:
            self._read_all()
            for snapshot_id, record in self._boundary.items():
                self._make_directory(self._layout.boundaries)
                self._write(self._layout.boundary(snapshot_id).plus(".tmp"), _encoded(record))
            barrier.sync_trees([self._layout.payload_tmp(i) for i in self._new], self._written)

    def _read_all(self) -> None:
        """Read to the end of the stream, and check that it holds what it announced, in that order."""
        waiting = list(self._ids)
        while True:
            kind, *values = self._reader.item()
            if kind == items.END:
                break
            if kind == items.BOUNDARY and not self._done:
                self._take_boundary(*values)
            elif kind == items.SNAPSHOT and waiting and values[0] == waiting[0]:
                self._take_snapshot(waiting.pop(0), *values[1:])
            else:
                raise items.damaged("its items are out of order")
        if waiting:
            raise items.damaged("a snapshot that it announced is missing")

    def _take_boundary(self, snapshot_id: Any, data: Any) -> None:
        if not records.is_id(snapshot_id) or snapshot_id in self._boundary or snapshot_id in self._ids:
            raise items.damaged("the end of a line is not named, or twice")
        record = _descriptor(self._layout, snapshot_id, data)
        if not _is_known(self._layout, snapshot_id):
            self._boundary[snapshot_id] = record

    def _take_snapshot(self, snapshot_id: str, base_id: Any, data: Any, said: Any) -> None:
        record = _descriptor(self._layout, snapshot_id, data)
        words = _annotation(self._layout, snapshot_id, said)
        self._check_parents(record)
        if snapshot_id in self._present:
            self._compare(record)
            self._pass_over()
        else:
            base, place = self._base(snapshot_id, base_id)
            with progress.step("receive"):
                found = staging.build(self._store, record, base, place, self._reader, self._losses)
            self._keep(record, words, found)
        self._done[snapshot_id] = record

    def _check_parents(self, record: Descriptor) -> None:
        for parent in (record["parent_id"], *record.get("merged", [])):
            if parent is None or parent in self._done or parent in self._boundary:
                continue
            if parent in self._ids or not _is_known(self._layout, parent):
                raise LineageBroken(
                    f"the stream says nothing of '{parent}', the parent of '{record['snapshot_id']}'",
                    hint="send it again by a program that keeps the order of jvs-stream(5): nothing was received",
                    snapshot_id=parent,
                )

    def _base(self, snapshot_id: str, base_id: Any) -> tuple[Descriptor | None, Below | None]:
        if base_id is None:
            return None, None
        if not records.is_id(base_id):
            raise items.damaged("a snapshot is built on nothing")
        if base_id in self._done and base_id in self._new:
            return self._done[base_id], self._layout.payload_tmp(base_id)
        try:
            record = lineage.load_visible(self._store, base_id)
        except NotFound as error:
            raise NotFound(
                f"'{snapshot_id}' was sent as a change of '{base_id}', which is not here",
                hint="'jvs-list-snapshots --ids > FILE' here, and 'jvs send --have FILE' there",
                snapshot_id=base_id,
            ) from error
        return record, self._layout.payload(base_id)

    def _compare(self, record: Descriptor) -> None:
        """Refuse another snapshot under the id of one that is here. Errors: E_EXISTS."""
        here = lineage.load_any(self._layout, record["snapshot_id"])
        if here["descriptor_checksum"] != record["descriptor_checksum"]:
            raise Exists(
                f"another snapshot '{record['snapshot_id']}' is here already",
                hint="nothing was received: one of the two was changed, 'jvs verify' says which",
            )

    def _pass_over(self) -> None:
        """Read the items of a tree that is here already."""
        level = 1
        while level:
            kind = self._reader.item()[0]
            if kind in (items.END, items.SNAPSHOT, items.BOUNDARY):
                raise items.damaged("its items are out of order")
            level += {items.ENTER: 1, items.MAKE: 1, items.LEAVE: -1}.get(kind, 0)

    def _keep(self, record: Descriptor, words: bytes | None, found: scan.ScanResult) -> None:
        """Write what belongs to a payload, under temporary names where that makes it visible."""
        snapshot_id = record["snapshot_id"]
        self._store.index().store(None, nodes=node_store.with_root(found))
        if found.lists:
            self._write(self._layout.leaves(snapshot_id), leaf_lists.encode(found.lists))
        if words is not None:
            self._make_directory(self._layout.annotations)
            self._write(self._layout.annotation(snapshot_id).plus(".tmp"), words)
        self._write(self._layout.descriptor_tmp(snapshot_id), _encoded(record))
        self._write(self._layout.ready(snapshot_id), canon.encode(descriptor.ready_of(record)) + b"\n")

    def _make_directory(self, place: Below) -> None:
        if not paths.exists(place):
            durable.make_dir(place)
            durable.fsync_dir(place.parent)

    def _write(self, path: Below, data: bytes) -> None:
        durable.unlink(path, missing_ok=True)
        durable.create_file(path, data, sync=False)
        self._written.append(path)

    def _answer(self) -> Received:
        return {
            "source_repo": self._source,
            "snapshots": self._new,
            "present": self._present,
            "boundary": sorted(self._boundary),
            "degraded": self._losses.as_json(),
        }


def _encoded(record: Descriptor) -> bytes:
    return canon.encode(record) + b"\n"


def _descriptor(layout: Layout, snapshot_id: str, data: Any) -> Descriptor:
    """Return a descriptor that came in a stream, as it is. Errors: E_DESCRIPTOR_CORRUPT, E_FORMAT_UNSUPPORTED."""
    if not isinstance(data, bytes):
        raise items.damaged("a descriptor is no bytes")
    path = layout.descriptor(snapshot_id)
    record: Descriptor = records.parse(data, path, descriptor.FIELDS, DescriptorCorrupt, descriptor.OPTIONAL)
    descriptor.check(record, snapshot_id)
    descriptor.check_state(record)
    if _encoded(record) != data or {"collected", "annotated_at", "annotated_by", "path_changes"} & record.keys():
        raise DescriptorCorrupt(
            f"the descriptor of '{snapshot_id}' is not one of jvs", hint="send it again: nothing was received"
        )
    names.check_note(record["note"])
    for tag in record["tags"]:
        names.check_tag(tag)
    return record


def _annotation(layout: Layout, snapshot_id: str, data: Any) -> bytes | None:
    """Return an annotation that came in a stream. Errors: E_PARTIAL_SNAPSHOT."""
    if data is None:
        return None
    if not isinstance(data, bytes):
        raise items.damaged("an annotation is no bytes")
    path = layout.annotation(snapshot_id)
    found = records.parse(data, path, records.ANNOTATION_FIELDS, PartialSnapshot)
    if found["snapshot_id"] != snapshot_id or canon.encode(found) + b"\n" != data:
        raise items.damaged("an annotation is that of another snapshot")
    for tag in found["tags"] or []:
        names.check_tag(tag)
    return data


def _is_known(layout: Layout, snapshot_id: str) -> bool:
    """Answer whether a line can lead through a snapshot: it is here, or something is left of it."""
    try:
        lineage.stored_of(layout, snapshot_id)
    except LineageBroken:
        return False
    except JvsError:
        return True  # damaged: what is said of it elsewhere does not repair it
    return True


def _publish(layout: Layout, ids: list[str]) -> None:
    """Give everything its final name: payloads, then descriptors, then words. Can be repeated. Durable: yes."""
    for snapshot_id in ids:
        if not paths.is_dir(layout.payload(snapshot_id)):
            durable.publish(layout.payload_tmp(snapshot_id), layout.payload(snapshot_id))
    for snapshot_id in ids:
        if not paths.exists(layout.descriptor(snapshot_id)):
            durable.publish(layout.descriptor_tmp(snapshot_id), layout.descriptor(snapshot_id))
        descriptor.check_agreement(layout, descriptor.load(layout, snapshot_id))
    for temporary in _words(layout, ids):
        final = temporary.parent / temporary.name.removesuffix(".tmp")
        durable.publish(temporary, final)


def _words(layout: Layout, ids: list[str]) -> list[Below]:
    """Return what is to be known of the snapshots besides, and waits under a temporary name."""
    found = [layout.annotation(i).plus(".tmp") for i in ids if paths.exists(layout.annotation(i).plus(".tmp"))]
    ends = [name for name in boundary.all_names(layout) if name.endswith(".json.tmp")]
    return [*found, *(layout.boundaries / name for name in ends)]


def _details(layout: Layout, ids: list[str]) -> ReceiptDetails:
    """Return what the audit record says: each snapshot with the checksums of its descriptor and annotation."""
    found: list[ReceivedSnapshot] = []
    for snapshot_id in ids:
        checksum = descriptor.load(layout, snapshot_id)["descriptor_checksum"]
        received: ReceivedSnapshot = {"snapshot_id": snapshot_id, "descriptor_checksum": checksum}
        with contextlib.suppress(FileNotFoundError):
            received["annotation_sha256"] = annotation.checksum(annotation.load(layout, snapshot_id))
        found.append(received)
    return {"snapshots": found}


def _is_decided(layout: Layout, ids: list[str]) -> bool:
    return any(paths.exists(layout.descriptor(snapshot_id)) for snapshot_id in ids)


def _roll_back(store: Store, pending: ReceiveIntent) -> bool:
    """Take away everything of a stream of which no descriptor has its name; False when one has. Durable: yes."""
    layout, ids = store.layout, pending["snapshots"]
    if _is_decided(layout, ids):
        return False
    for temporary in _words(layout, ids):
        durable.unlink(temporary, missing_ok=True)
        durable.fsync_dir(temporary.parent)
    for place in (layout.annotations, layout.boundaries):
        if paths.is_dir(place) and not listing.names(place):  # made for this stream, as likely as not
            with contextlib.suppress(OSError):  # ENOTEMPTY: somebody puts something into it just now
                durable.rmdir(place, missing_ok=True)
    for snapshot_id in ids:
        durable.unlink(layout.descriptor_tmp(snapshot_id), missing_ok=True)
        durable.unlink(layout.ready(snapshot_id), missing_ok=True)
        durable.unlink(layout.leaves(snapshot_id), missing_ok=True)
    wanted = set(ids)
    for entry in listing.names(layout.snapshots):
        if entry.removesuffix(".tmp") in wanted:
            registry.remove_any(layout.snapshots / entry, store.settings.engine_options())
    durable.fsync_dir(layout.descriptors)  # or a crash brings back what no intent names any more
    durable.fsync_dir(layout.snapshots)
    return True


def recover(store: Store, pending: ReceiveIntent) -> str:
    """Complete or undo what a dead process received; returns what was done, or nothing when it lives."""
    with write_ahead.abandoned(store, pending, LOCK) as dead:
        if not dead:
            return ""
        ids = [names.check_snapshot_id(snapshot_id) for snapshot_id in pending["snapshots"]]
        from jvs.store import intent

        if _roll_back(store, pending):
            intent.clear(store.layout, pending["operation_id"])
            return f"rolled back the receipt of {len(ids)} snapshots"
        durable.fsync_dir(store.layout.snapshots)  # the dead process may have renamed without living to sync
        durable.fsync_dir(store.layout.descriptors)
        _publish(store.layout, ids)
        write_ahead.append(store, pending, **_details(store.layout, ids))
        intent.clear(store.layout, pending["operation_id"])
    return f"completed the receipt of {len(ids)} snapshots"
