"""Who is whose parent: visible snapshots, history, leaves, and lines that are broken.

Order comes from `parent_id`, never from clocks. A collected snapshot leaves a tombstone with its descriptor, so
that a line stays complete.
Source: jvs-protocol(7), Lineage.
"""

from __future__ import annotations

from jvs import canon
from jvs.errors import DescriptorCorrupt, JvsError, LineageBroken, NotFound
from jvs.fs import listing
from jvs.names import is_snapshot_id
from jvs.store import descriptor, intent, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import TypeVar

    from jvs.store.descriptor import Descriptor, Summary
    from jvs.store.layout import Layout
    from jvs.store.store import Store

    AnySummary = TypeVar("AnySummary", bound=Summary)


def published_ids(layout: Layout) -> list[str]:
    """Return the ids with a descriptor under its final name, sorted; some may be damaged or being published."""
    return sorted(
        name[:-5] for name in listing.names(layout.descriptors) if name.endswith(".json") and is_snapshot_id(name[:-5])
    )


def visible_ids(layout: Layout) -> list[str]:
    """Return the ids of all visible snapshots, sorted: descriptor, marker and payload there, no intent pending.

    Looks at names only (three listings), not into the files.
    """
    pending = intent.pending_snapshots(layout)
    store = set(listing.names(layout.snapshots))
    return [
        snapshot_id
        for snapshot_id in published_ids(layout)
        if snapshot_id in store and snapshot_id + ".READY" in store and snapshot_id not in pending
    ]


def load_visible(store: Store, snapshot_id: str) -> Descriptor:
    """Read the descriptor of a visible snapshot.

    Errors: E_NOT_FOUND when there is none or it is still being published; E_PARTIAL_SNAPSHOT, E_DESCRIPTOR_CORRUPT.
    """
    if snapshot_id in intent.pending_snapshots(store.layout):
        raise NotFound(
            f"snapshot '{snapshot_id}' is still being made", hint="wait for it, or let the next command recover it"
        )
    record = descriptor.load(store.layout, snapshot_id)
    descriptor.check_agreement(store.layout, record)
    return record


def tombstone_of(layout: Layout, snapshot_id: str) -> Descriptor | None:
    """Return the descriptor that a collected snapshot left, with `collected` true, or None.

    A collection that was interrupted counts: whoever asks has not found the descriptor itself. What was not received
    counts as collected, and is the first of its line.
    """
    found = _tombstone_of(layout, snapshot_id)
    if found is not None:
        return found
    from jvs.store import boundary

    return boundary.end_of(layout, snapshot_id)


def _tombstone_of(layout: Layout, snapshot_id: str) -> Descriptor | None:
    path = layout.tombstone(snapshot_id)
    try:
        tombstone = canon.decode_object(records.read(path))
    except (OSError, canon.BadJSON):
        return None
    record = tombstone.get("descriptor")
    if not isinstance(record, dict):
        return None
    try:
        checked: Descriptor = records.parse(canon.encode(record), path, descriptor.FIELDS, LineageBroken)
        descriptor.check(checked, snapshot_id)
    except JvsError:  # a tombstone that was changed leads nowhere: the line is broken there
        return None
    return {**checked, "collected": True}


def load_any(layout: Layout, snapshot_id: str) -> Descriptor:
    """Read a descriptor, or what a collection left of it. Errors: E_LINEAGE_BROKEN when neither is there."""
    try:
        return descriptor.load(layout, snapshot_id)
    except NotFound as error:
        tombstone = tombstone_of(layout, snapshot_id)
        if tombstone is None:
            raise LineageBroken(
                f"snapshot '{snapshot_id}' is missing from the line",
                hint="restore its descriptor and payload from a copy of the repository",
                snapshot_id=snapshot_id,
            ) from error
        return tombstone


def stored_of(layout: Layout, snapshot_id: str) -> Descriptor:
    """Read a descriptor as it was written, here or elsewhere. Errors: E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT."""
    found = load_any(layout, snapshot_id)
    if not found.pop("collected", False):
        return found
    collected = _tombstone_of(layout, snapshot_id)
    if collected is None:
        from jvs.store import boundary

        return boundary.load(layout, snapshot_id)
    collected.pop("collected")
    return collected


def line(layout: Layout, start: str | None) -> Iterator[Descriptor]:
    """Yield the descriptors from `start` back to the first snapshot.

    Errors: E_LINEAGE_BROKEN for a missing parent or a cycle; E_DESCRIPTOR_CORRUPT.
    """
    return line_by(lambda snapshot_id: load_any(layout, snapshot_id), start)


def line_by(load: Callable[[str], AnySummary], start: str | None) -> Iterator[AnySummary]:
    """Yield what `load`, which is as `load_any`, returns from `start` back to the first snapshot. Errors: as `line`."""
    seen: set[str] = set()
    while start is not None:
        if start in seen:
            raise LineageBroken(
                f"cycle in the history of '{start}'",
                hint="a descriptor was forged: restore the descriptors from a copy of the repository",
            )
        seen.add(start)
        record = load(start)
        yield record
        start = record["parent_id"]


def is_ancestor(layout: Layout, ancestor: str, of: str | None) -> bool:
    """Answer whether one snapshot lies on the line of another (or is it)."""
    return any(record["snapshot_id"] == ancestor for record in line(layout, of))


def all_records(layout: Layout, *, tolerant: bool = False) -> dict[str, Descriptor]:
    """Read every visible descriptor, by id; `tolerant` leaves damaged ones out."""
    return all_by(lambda snapshot_id: descriptor.load(layout, snapshot_id), visible_ids(layout), tolerant=tolerant)


def all_by(load: Callable[[str], AnySummary], ids: list[str], *, tolerant: bool) -> dict[str, AnySummary]:
    """Return what `load`, as `descriptor.load`, returns of visible snapshots. Errors: as `all_records`."""
    found = {}
    for snapshot_id in ids:
        try:
            found[snapshot_id] = load(snapshot_id)
        except (NotFound, DescriptorCorrupt):
            if not tolerant:
                raise
    return found


def leaves(found: dict[str, Descriptor]) -> list[str]:
    """Return the snapshots that are nobody's parent."""
    parents = {record["parent_id"] for record in found.values()}
    return sorted(snapshot_id for snapshot_id in found if snapshot_id not in parents)


def order(found: Mapping[str, Summary]) -> list[str]:
    """Return all ids, children before parents, later siblings first."""
    children: dict[str | None, list[str]] = {}
    for snapshot_id, record in found.items():
        parent = record["parent_id"] if record["parent_id"] in found else None
        children.setdefault(parent, []).append(snapshot_id)
    result: list[str] = []
    stack = sorted(children.get(None, []), reverse=True)
    while stack:
        here = stack.pop()
        result.append(here)
        stack.extend(sorted(children.get(here, []), reverse=True))
    if len(result) < len(found):  # a cycle, which only a forged descriptor makes; doctor names it
        reached = set(result)
        result += sorted(snapshot_id for snapshot_id in found if snapshot_id not in reached)
    return result[::-1]
