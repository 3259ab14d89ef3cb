"""What takes the space of a repository: each snapshot, all of them together, and what is kept besides them.

Source: jvs-du(1).
"""

from __future__ import annotations

import contextlib

from jvs.engine import space
from jvs.errors import JvsError
from jvs.fs import listing, paths
from jvs.gc import plan as gc_plan
from jvs.gc import reach
from jvs.gc.retention import ONLY, Policy
from jvs.store import annotation, held, lineage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.fs.rooted import Below
    from jvs.store.layout import Layout
    from jvs.store.store import Store

    class SnapshotUsage(TypedDict):
        """What one snapshot takes. `kept` says what protects it from a collection; null when that is not known."""

        snapshot_id: str
        worktree_name: str
        created_at: str
        note: str
        apparent_bytes: int
        exclusive_bytes: int
        shared_bytes: int
        kept: list[str] | None

    class KeptUsage(TypedDict):
        """Bytes that are freed when what is kept other than snapshots is removed, and that the records take."""

        undo_bytes: int
        tries_bytes: int
        trash_bytes: int
        index_bytes: int
        records_bytes: int
        log_bytes: int

    class UsageDocument(KeptUsage):
        """What takes the space, as `--json` prints it. `exclusive_bytes` are freed when all of it is removed."""

        snapshots: list[SnapshotUsage]
        apparent_bytes: int
        exclusive_bytes: int
        exact: bool


def usage(store: Store, ids: list[str] | None = None) -> UsageDocument:
    """Return what snapshots take, those first whose removal frees most; without ids all of them. Writes nothing.

    The caller holds the repository lock, shared. Errors: E_NOT_FOUND, E_IO.
    """
    layout = store.layout
    found = lineage.all_records(layout, tolerant=True)
    chosen = sorted(found) if ids is None else sorted(set(ids))
    for snapshot_id in chosen:
        if snapshot_id not in found:
            found[snapshot_id] = lineage.load_visible(store, snapshot_id)
    measured = reach.measure_each(store, found, chosen, layout.payload, without=_needed(layout))
    kept = _protected(store)
    overlay = annotation.Overlay(layout)
    snapshots: list[SnapshotUsage] = [
        {
            "snapshot_id": i,
            "worktree_name": found[i]["worktree_name"],
            "created_at": found[i]["created_at"],
            "note": overlay.over(found[i])["note"],
            "apparent_bytes": found[i]["payload"]["bytes"],
            "exclusive_bytes": measured.each[i],
            "shared_bytes": max(measured.refers[i] - measured.each[i], 0),
            "kept": None if kept is None else kept.get(i, []),
        }
        for i in chosen
    ]
    snapshots.sort(key=lambda one: (-one["exclusive_bytes"], one["snapshot_id"]))
    return {
        "snapshots": snapshots,
        "apparent_bytes": sum(one["apparent_bytes"] for one in snapshots),
        "exclusive_bytes": measured.total.bytes,
        "exact": measured.total.exact,
        **besides(layout),
    }


def besides(layout: Layout) -> KeptUsage:
    """Return what is kept besides the payloads of snapshots. Errors: E_IO."""
    records = (layout.descriptors, layout.annotations, layout.boundaries, layout.worktrees, layout.intents)
    kept = (layout.plans, layout.pins, layout.tombstones, layout.reserve)
    return {
        "undo_bytes": _inside(layout.undo),
        "tries_bytes": _inside(layout.tries),
        "trash_bytes": _inside(layout.trash),
        "index_bytes": _files(layout.jvs, "index.sqlite"),
        "records_bytes": sum(space.referred(place).bytes for place in (*records, *kept)) + _marks(layout),
        "log_bytes": space.referred(layout.audit).bytes,
    }


def _inside(place: Below) -> int:
    """Return what comes free when all goes that is in a directory, which itself stays."""
    names = listing.names(place) if paths.is_dir(place) else []
    return sum((space.of_tree if paths.is_dir(place / name) else space.referred)(place / name).bytes for name in names)


def _files(place: Below, prefix: str) -> int:
    """Return what the files of a directory take whose names begin so."""
    return sum(space.referred(place / name).bytes for name in listing.names(place) if name.startswith(prefix))


def _marks(layout: Layout) -> int:
    """Return what lies next to the payloads: READY markers and lists of leaves."""
    names = [name for name in listing.names(layout.snapshots) if name.endswith((".READY", ".leaves"))]
    return sum(space.referred(layout.snapshots / name).bytes for name in names)


def _needed(layout: Layout) -> dict[str, list[bytes]]:
    """Return what an undo needs of snapshots; nothing of what cannot be read, which `jvs doctor` reports."""
    with contextlib.suppress(JvsError):
        return held.needed(layout)
    return {}


def _protected(store: Store) -> dict[str, list[str]] | None:
    """Return what protects snapshots from `gc drop`; None when a record that cannot be read might protect any."""
    with contextlib.suppress(JvsError):
        everything = sorted(gc_plan.published(store.layout))
        made = gc_plan.make(store, Policy({ONLY: everything}), estimate=False)
        return {i: made.marks.sentences(i) for i in made.marks.reasons}
    return None
