"""Who descends from whom, over both parents of a merge, and where two snapshots come together.

History and diff walk `parent_id` alone (`lineage`); here `merged`, the second parents, count as well.
Source: jvs-merge-base(1); jvs-protocol(7), Lineage.
"""

from __future__ import annotations

from jvs.store import lineage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.descriptor import Descriptor
    from jvs.store.layout import Layout


def parents(record: Descriptor) -> list[str]:
    """Return all parents of a snapshot, that of its line first."""
    first = [] if record["parent_id"] is None else [record["parent_id"]]
    return [*first, *record.get("merged", [])]


class Ancestry:
    """Finds ancestors; each descriptor is read once. What a collection left of one counts."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._parents: dict[str, list[str]] = {}

    def parents(self, snapshot_id: str) -> list[str]:
        """Return the parents of a snapshot. Errors: E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT."""
        if snapshot_id not in self._parents:
            self._parents[snapshot_id] = parents(lineage.load_any(self._layout, snapshot_id))
        return self._parents[snapshot_id]

    def ancestors(self, snapshot_id: str) -> set[str]:
        """Return a snapshot and all that it descends from. Errors: as `parents`, for any that is missing."""
        found: set[str] = set()
        stack = [snapshot_id]
        while stack:
            here = stack.pop()
            if here not in found:
                found.add(here)
                stack += self.parents(here)
        return found

    def merge_bases(self, a: str, b: str) -> list[str]:
        """Return the best common ancestors of two snapshots, sorted: none of them is an ancestor of another.

        None at all when the two have nothing in common; several after two lines were merged into each other.
        Errors: as `parents`.
        """
        common = self.ancestors(a) & self.ancestors(b)
        # What leads from one common ancestor to an older one is common as well: so a parent of one is not the best.
        return sorted(common - {parent for snapshot_id in common for parent in self.parents(snapshot_id)})
