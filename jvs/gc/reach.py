"""What trees hold, node by node: the space that only some snapshots take, and the nodes that are still needed."""

from __future__ import annotations

from jvs import canon
from jvs.engine import space
from jvs.fs import listing, paths
from jvs.store import node_store, worktree
from jvs.tree import node as tree_node
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store


_BLOCK_BYTES = 4096
_TOMBSTONE_BYTES = 300
"""What a tombstone holds besides the descriptor."""


class Reach:
    """The nodes and file contents that trees hold; a tree that the index does not know makes it incomplete."""

    def __init__(self, store: Store) -> None:
        self._trees = node_store.Trees(store)
        self.nodes: set[bytes] = set()
        self.files: dict[bytes, int] = {}
        self.algorithms: set[str] = set()
        """The algorithms of trees that hold large files: two of them give one content two digests."""
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
                    if entry[3] > LEAF_BYTES:
                        self.algorithms.add(record["hash_algorithm"])


def measure(
    store: Store, found: dict[str, Descriptor], candidates: Iterable[str], where: Callable[[str], Below]
) -> space.Freed:
    """Return the space that comes free when candidates go, whose files are at `where`, and whether that is exact.

    What only they hold counts, metadata included, without the tombstones that they leave. Of very many entries the
    first are looked at, and the rest is estimated from them.
    """
    gone = sorted(candidates)
    kept, trees = Reach(store), node_store.Trees(store)
    meter = space.Meter(store.layout.snapshots, kept=kept.files)
    if meter.may_share:
        for snapshot_id in found.keys() - set(gone):
            kept.take(found[snapshot_id])

    def entries(digest: bytes) -> dict[bytes, bytes] | None:
        data = trees.data(digest)
        return None if data is None else {entry[0]: entry[4] for entry in tree_node.decode_node(data)}

    walked = 0
    for snapshot_id in gone:
        if meter.left < 0:
            break
        record = found[snapshot_id]
        walked += _entries_of(record)
        root = trees.root(record, rebuild=False) if meter.may_share else None
        meter.add(where(snapshot_id), None if root is None else root[2], entries)
    total = sum(_entries_of(found[i]) for i in gone)
    if meter.left < 0:
        return space.Freed(meter.bytes * total // max(walked, 1), exact=False)
    control = sum(_control_bytes(found[i], meter.inode_bytes) for i in gone)
    control += sum(_leaves_bytes(store.layout.leaves(i), meter.inode_bytes) for i in gone)
    mixed = kept.algorithms and kept.algorithms | {found[i]["hash_algorithm"] for i in gone} != kept.algorithms
    return space.Freed(max(meter.bytes + control, 0), meter.exact and not mixed)


def _entries_of(record: Descriptor) -> int:
    counts = record["payload"]
    return 1 + counts["files"] + counts["dirs"] + counts["symlinks"] + counts["others"]


def _control_bytes(record: Descriptor, inode_bytes: int) -> int:
    """Return what the descriptor and the READY marker of a snapshot take, without the tombstone that comes for them."""
    size = len(canon.encode(record))
    blocks = -(-size // _BLOCK_BYTES) + 1 - -(-(size + _TOMBSTONE_BYTES) // _BLOCK_BYTES)
    return blocks * _BLOCK_BYTES + inode_bytes


def _leaves_bytes(path: Below, inode_bytes: int) -> int:
    """Return what the leaves of a snapshot's large files take."""
    try:
        return paths.lstat(path).st_blocks * 512 + inode_bytes
    except OSError:
        return 0


def live_nodes(store: Store, found: dict[str, Descriptor]) -> set[bytes] | None:
    """Return the index nodes that the snapshots and the worktrees' rows need; None when some are not known."""
    reach = Reach(store)
    for record in found.values():
        reach.take(record)
    for name in worktree.names(store.layout):
        reach.nodes.update(node for _, node in store.index().rows(store.tree_key(name)).values())
    return None if reach.unknown else reach.nodes
