"""What differs between a payload and what was published, named entry by entry and, in large files, by bytes.

Source: jvs-verify(1).
"""

from __future__ import annotations

from jvs import canon
from jvs.errors import JvsError
from jvs.fs import listing
from jvs.store import leaf_lists, node_store
from jvs.tree import leaves, node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NotRequired

    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree import scan
    from jvs.tree.leaves import Lists

    class Difference(canon.PathJSON):
        """One entry of a payload that is not what was published."""

        what: str
        ranges: NotRequired[list[list[int]]]


MAX_DIFFERENCES = 1000


def find(store: Store, record: Descriptor, found: scan.ScanResult) -> list[Difference]:
    """Name what differs, as far as the index still knows the tree that was published."""
    known = node_store.Trees(store)
    known.add(found)
    root = known.root(record, rebuild=False)
    if root is None:
        return []
    named: list[Difference] = []
    lists = leaf_lists.load(store.layout, record["snapshot_id"])
    if root[:2] != found.root[:2]:
        named.append({"path": ".", "what": "mode" if root[0] != found.root[0] else "xattrs"})
    try:
        for path, old, new in node.compare(known.load, root[2], found.digest):
            named.append({**canon.path_json(path), "what": describe(old, new)})
            if (parts := _damaged_parts(lists, found, old, new)) is not None:
                named[-1]["ranges"] = parts
            if len(named) >= MAX_DIFFERENCES:
                break
    except JvsError:  # a node that the index lost: what was found so far is still true
        pass
    return named


def _damaged_parts(
    lists: Lists, found: scan.ScanResult, old: node.Entry | None, new: node.Entry | None
) -> list[list[int]] | None:
    """Return the parts of a large file that are not what was published: first byte, and the one after the last.

    None where that is not known: the leaves were not written down, or the list is not that of the published file.
    """
    if old is None or new is None or old[1] != new[1] or old[4] == new[4]:
        return None
    before, after = lists.get(old[4]), found.lists.get(new[4])
    if before is None or after is None or not leaves.is_list_of(old[4], *before):
        return None
    return [list(part) for part in leaves.differing_parts(before, after)]


def describe(old: node.Entry | None, new: node.Entry | None) -> str:
    """Say in a word how an entry differs: added, removed, kind, content, mode or xattrs."""
    if old is None:
        return "added"
    if new is None:
        return "removed"
    if old[1] != new[1]:
        return f"kind ({listing.KIND_NAMES[old[1]]} to {listing.KIND_NAMES[new[1]]})"
    if old[1] != listing.DIR and old[4] != new[4]:
        return "content"
    return "mode" if old[2] != new[2] else "xattrs"
