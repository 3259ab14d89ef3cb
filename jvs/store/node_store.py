"""The trees of snapshots: root and nodes from the index, or from the payload when the index does not know them.

A node that is missing makes the whole payload be hashed once, which also proves it; then the index knows it again.
Source: jvs-format(5), Tree hash.
"""

from __future__ import annotations

from jvs.engine import traits
from jvs.errors import PayloadHashMismatch
from jvs.fs import listing
from jvs.fs import paths as fs_paths
from jvs.store import other_mounts
from jvs.tree import node, scan
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree.exclusion import Exclusion
    from jvs.tree.node import Entry
    from jvs.tree.shared_leaves import SharedLeaves


class Trees:
    """Loads the trees of one repository; nodes that were made during this run are kept in memory."""

    def __init__(self, store: Store) -> None:
        listing.allow_deep_trees()
        self.store = store
        self._nodes: dict[bytes, bytes] = {}
        self._roots: dict[str, node.Root] = {}
        self._sources: dict[bytes, Descriptor] = {}
        self._last: tuple[bytes, bytes | None] | None = None
        """The node that was fetched last: a root is looked at when it is found, and then again."""
        self._translated: dict[tuple[str, bool], node.Root] = {}

    def add(self, found: scan.ScanResult) -> None:
        """Take over the nodes of a tree that was just walked."""
        self._nodes.update(found.nodes)
        self._last = None
        self._roots[found.root_hash] = found.root

    def add_nodes(self, nodes: dict[bytes, bytes]) -> None:
        """Take over nodes that were made of others."""
        self._nodes.update(nodes)
        self._last = None

    def root_as(self, record: Descriptor, *, plain: bool) -> node.Root:
        """Return the root of a snapshot's tree as one of the two algorithms has it; see `translation`.

        Errors: E_PAYLOAD_HASH_MISMATCH; E_IO.
        """
        root = self.root(record)
        assert root is not None
        if node.is_plain(record["hash_algorithm"]) == plain or record["payload"]["bytes"] <= LEAF_BYTES:
            return root
        key = (record["snapshot_id"], plain)
        if key not in self._translated:
            from jvs.store import translation

            payload = self.store.layout.payload(record["snapshot_id"])
            self._translated[key], nodes = translation.translate(
                self.load, payload, record["snapshot_id"], root, plain=plain
            )
            self._nodes.update(nodes)
        return self._translated[key]

    def root(self, record: Descriptor, *, rebuild: bool = True) -> node.Root | None:
        """Return the root of a snapshot; None when the index does not know it and `rebuild` is off.

        Errors: E_PAYLOAD_HASH_MISMATCH when the payload had to be read and is not what was published; E_IO.
        """
        wanted = record["payload_root_hash"]
        root = self._roots.get(wanted) or self.store.index().root(wanted)
        if root is not None and self.data(root[2]) is None:
            root = None
        if root is None:
            root = other_mounts.find_root(self.store, wanted)
        if root is None:
            if not rebuild:
                return None
            root = self.rebuild(record)
        self._roots[wanted] = root
        self._sources[root[2]] = record
        return root

    def rebuild(self, record: Descriptor) -> node.Root:
        """Hash a snapshot's payload and give its nodes to the index. Errors: E_PAYLOAD_HASH_MISMATCH, E_IO."""
        snapshot_id = record["snapshot_id"]
        plain = node.is_plain(record["hash_algorithm"])
        found = hash_payload(self.store.layout.payload(snapshot_id), jobs=self.store.settings.jobs(), plain=plain)
        if found.root_hash != record["payload_root_hash"]:
            raise PayloadHashMismatch(
                f"the files of snapshot '{snapshot_id}' are not what was published",
                hint=f"'jvs verify {snapshot_id}' names what differs; another snapshot may hold the files",
                snapshot_id=snapshot_id,
            )
        self.add(found)
        self.keep(found)
        return found.root

    def keep(self, found: scan.ScanResult) -> None:
        """Store the nodes and the root of a tree in the index."""
        self.store.index().store(None, nodes=with_root(found))

    def data(self, digest: bytes) -> bytes | None:
        """Return the bytes of a node, or None."""
        known = self._nodes.get(digest)
        if known is not None:
            return known
        if self._last is None or self._last[0] != digest:
            self._last = digest, self.store.index().node(digest)
        return self._last[1]

    def preload_roots(self, snapshots: Iterable[Descriptor]) -> int:
        """Fetch the roots of several snapshots together, and their nodes, which will be asked for one by one.

        Returns how many bytes those nodes have.
        """
        index = self.store.index()
        wanted = {record["payload_root_hash"] for record in snapshots} - self._roots.keys()
        index.preload({bytes.fromhex(root_hash) for root_hash in wanted}, set())
        found = {root_hash: root for root_hash in sorted(wanted) if (root := index.root(root_hash)) is not None}
        self._roots.update(found)
        return self.preload({root[2] for root in found.values()})

    def preload(self, digests: set[bytes]) -> int:
        """Fetch nodes together that will be asked for one by one; returns how many bytes they have."""
        return self.store.index().preload(digests - self._nodes.keys(), set())

    def load(self, digest: bytes) -> list[Entry]:
        """Return the entries of a node. Errors: E_PAYLOAD_HASH_MISMATCH, E_IO when the payload had to be read."""
        data = self.data(digest)
        if data is None:
            for record in list(self._sources.values()):
                self.rebuild(record)
                data = self._nodes.get(digest)
                if data is not None:
                    break
        if data is None:
            raise PayloadHashMismatch(
                "a directory of a snapshot is not known any more",
                hint="delete '.jvs/index.sqlite*' (it is rebuilt) and run the command again",
            )
        return node.decode_node(data)


def with_root(found: scan.ScanResult) -> dict[bytes, bytes]:
    """Return the nodes of a tree and its root, as the index keeps them."""
    return {**found.nodes, bytes.fromhex(found.root_hash): node.encode_root(found.root)}


def hash_payload(
    path: Below, *, jobs: int = 1, plain: bool = False, exclude: Exclusion | None = None
) -> scan.ScanResult:
    """Hash a directory reading every byte, in `jobs` threads for big files. Errors: E_IO.

    `plain`: as `sha256-tree-1` has it.
    """
    with_inode, btrfs = traits.scan_flags(path)
    worker = scan.Hasher(jobs=jobs, slow_calls=not with_inode, plain=plain)
    return scan.Scanner(worker, btrfs=btrfs, exclude=exclude, one_mount=True).run(path)


def shared_leaves(
    store: Store, snapshot_id: str, entry_of: Callable[[bytes], Entry | None] | None = None
) -> Callable[[], SharedLeaves] | None:
    """Return what gives, when it is asked for, the leaves of a snapshot's payload; None where that is turned off.

    `entry_of` tells what the snapshot has under a path, where whoever asks knows only what something else has there.
    """
    if not store.settings.get("engine.shared_extents"):
        return None

    def give() -> SharedLeaves:
        from jvs.store import leaf_lists
        from jvs.tree.shared_leaves import SharedLeaves

        layout = store.layout
        ready = fs_paths.lstat(layout.ready(snapshot_id)).st_mtime_ns
        return SharedLeaves(layout.payload(snapshot_id), lambda: leaf_lists.load(layout, snapshot_id), ready, entry_of)

    return give
