"""What trees hold, node by node: the bytes that only some snapshots have, and the nodes that are still needed."""

from __future__ import annotations

from jvs.fs import listing
from jvs.store import node_store, records, worktree
from jvs.tree import node as tree_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store


class Reach:
    """The nodes and file contents that trees hold; a tree that the index does not know makes it incomplete."""

    def __init__(self, store: Store) -> None:
        self._trees = node_store.Trees(store)
        self.nodes: set[bytes] = set()
        self.files: dict[bytes, int] = {}
        self.unknown: list[Descriptor] = []

    def take(self, record: Descriptor) -> None:
        """Add the tree of a snapshot, each node once."""
        root = self._trees.root(record, rebuild=False)
        if root is None:
            self.unknown.append(record)
            return
        self.nodes.add(bytes.fromhex(record["payload_root_hash"]))
        stack = [root[2]]
        while stack:
            digest = stack.pop()
            if digest in self.nodes:
                continue
            data = self._trees.data(digest)
            if data is None:
                self.unknown.append(record)
                return
            self.nodes.add(digest)
            for entry in tree_node.decode_node(data):
                if entry[1] == listing.DIR:
                    stack.append(entry[4])
                elif entry[1] == listing.FILE:
                    self.files[entry[4]] = entry[3]


def estimate(store: Store, found: dict[str, Descriptor], candidates: Iterable[str]) -> tuple[int, bool]:
    """Return the bytes of file contents that only candidates hold, and whether all trees were known.

    A candidate whose tree the index does not know counts whole; what an unknown snapshot that stays shares with the
    candidates cannot be taken off. So an inexact number is the most that can be freed, never less.
    """
    gone = set(candidates)
    kept, going = Reach(store), Reach(store)
    for snapshot_id, record in found.items():
        (going if snapshot_id in gone else kept).take(record)
    total = sum(size for digest, size in going.files.items() if digest not in kept.files)
    for record in going.unknown:
        size = record["payload"].get("bytes")
        total += size if records.is_count(size) else 0
    return total, not kept.unknown and not going.unknown


def live_nodes(store: Store, found: dict[str, Descriptor]) -> set[bytes] | None:
    """Return the index nodes that the snapshots and the worktrees' rows need; None when some are not known."""
    reach = Reach(store)
    for record in found.values():
        reach.take(record)
    for name in worktree.names(store.layout):
        reach.nodes.update(node for _, node in store.index().rows(store.tree_key(name)).values())
    return None if reach.unknown else reach.nodes
