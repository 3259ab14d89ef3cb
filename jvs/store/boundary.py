"""Where lines end that came from elsewhere: the descriptors of parents that were not sent along.

A file `boundaries/ID.json` each, the parent's own descriptor, checked by its checksum. A line ends there, declared and
not damaged; when the parent itself is received later, it goes on again. Source: jvs-format(5), Boundaries.
"""

from __future__ import annotations

from jvs import names
from jvs.errors import JvsError, LineageBroken, from_oserror
from jvs.fs import listing
from jvs.store import descriptor, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.descriptor import Descriptor
    from jvs.store.layout import Layout


def load(layout: Layout, snapshot_id: str) -> Descriptor:
    """Read what is known of a parent that was not received. Errors: FileNotFoundError; E_LINEAGE_BROKEN; E_IO."""
    path = layout.boundary(snapshot_id)
    record: Descriptor = records.load(path, descriptor.FIELDS, LineageBroken, descriptor.OPTIONAL)
    try:
        return descriptor.check(record, snapshot_id)
    except JvsError as error:
        raise LineageBroken(
            f"boundary '{snapshot_id}' is damaged: {error.message}",
            hint=f"restore '{path}' from a copy of the repository, or receive that snapshot",
            path=str(path),
        ) from error


def end_of(layout: Layout, snapshot_id: str) -> Descriptor | None:
    """Return a declared end of a line as the first of it, with `collected` true; None when it is none."""
    try:
        record = load(layout, snapshot_id)
    except (FileNotFoundError, JvsError):
        return None
    ended: Descriptor = {**record, "parent_id": None, "collected": True}
    ended.pop("merged", None)
    return ended


def ids(layout: Layout) -> list[str]:
    """Return the declared ends of lines, sorted. Errors: E_IO."""
    return [name[:-5] for name in all_names(layout) if name.endswith(".json") and names.is_snapshot_id(name[:-5])]


def all_names(layout: Layout) -> list[str]:
    """Return the names in the directory of boundaries, sorted; nothing when there is none. Errors: E_IO."""
    try:
        return listing.names(layout.boundaries)
    except FileNotFoundError:  # nothing was received yet
        return []
    except OSError as error:
        raise from_oserror(error, "listing the boundaries") from error
