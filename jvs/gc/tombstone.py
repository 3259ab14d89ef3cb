"""The tombstones of collected snapshots: each holds the whole descriptor, so that lines still lead through it.

Source: jvs-format(5), Tombstones; jvs-protocol(7), Collection.
"""

from __future__ import annotations

from jvs.errors import JvsError, LineageBroken, from_oserror
from jvs.fs import listing
from jvs.names import is_snapshot_id
from jvs.store import descriptor, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Literal, TypedDict

    from jvs.store.layout import Layout

    class Tombstone(TypedDict):
        """What a collection leaves of a snapshot."""

        version: int
        snapshot_id: str
        descriptor: descriptor.Descriptor
        gc_state: Literal["marked", "committed", "failed"]
        plan_id: str
        reason: str
        marked_at: str


FIELDS = {
    "snapshot_id": records.is_id,
    "descriptor": records.is_object,
    "gc_state": lambda value: value in ("marked", "committed", "failed"),
    "plan_id": records.is_text,
    "reason": records.is_text,
    "marked_at": records.is_time,
}


def load(layout: Layout, snapshot_id: str) -> Tombstone:
    """Read one tombstone. Errors: FileNotFoundError; E_LINEAGE_BROKEN when damaged; E_IO."""
    path = layout.tombstone(snapshot_id)
    tombstone: Tombstone = records.load(path, FIELDS, LineageBroken)
    record: Mapping[str, object] = tombstone["descriptor"]
    shaped = all(key in record and fits(record[key]) for key, fits in descriptor.FIELDS.items())
    try:
        if tombstone["snapshot_id"] != snapshot_id or not shaped:
            raise LineageBroken("it is that of another snapshot", hint="")
        descriptor.check(tombstone["descriptor"], snapshot_id)
    except JvsError as error:
        raise LineageBroken(
            f"tombstone '{snapshot_id}' is damaged: {error.message}",
            hint=f"restore '{path}' from a copy of the repository: the line leads through it",
            path=str(path),
        ) from error
    return tombstone


def load_all(layout: Layout) -> dict[str, Tombstone]:
    """Read every tombstone, by id.

    Shape: `version`, `snapshot_id`, `descriptor`, `gc_state`, `plan_id`, `reason`, `marked_at`.
    Errors: E_LINEAGE_BROKEN when one is damaged: lines lead through them; E_IO.
    """
    try:
        names = listing.names(layout.tombstones)
    except OSError as error:
        raise from_oserror(error, "listing the tombstones") from error
    found = {}
    for name in names:
        if name.endswith(".json") and is_snapshot_id(name[:-5]):
            try:
                found[name[:-5]] = load(layout, name[:-5])
            except FileNotFoundError:
                continue
    return found
