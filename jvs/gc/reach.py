"""What trees hold, node by node: the space that only some snapshots take, and the nodes that are still needed."""

from __future__ import annotations

from jvs import canon
from jvs.engine import sharing, space
from jvs.engine.btrfs import ioctl
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
_WORTH_BYTES = 64 << 10
"""Smaller files are not looked at for what they share with other contents."""


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


class Measured:
    """What comes free when snapshots go. Units: bytes of disk space.

    Shape: `each` when that one goes alone, without what the others share with it; `refers` what its files take, shared
    or not; `total` when all of them go.
    """

    def __init__(self, each: dict[str, int], refers: dict[str, int], total: space.Freed) -> None:
        self.each = each
        self.refers = refers
        self.total = total


def measure(
    store: Store,
    found: dict[str, Descriptor],
    candidates: Iterable[str],
    where: Callable[[str], Below],
    *,
    without: dict[str, list[bytes]] | None = None,
) -> space.Freed:
    """Return the space that comes free when all candidates go; as `measure_each`."""
    return measure_each(store, found, candidates, where, without=without).total


def measure_each(
    store: Store,
    found: dict[str, Descriptor],
    candidates: Iterable[str],
    where: Callable[[str], Below],
    *,
    without: dict[str, list[bytes]] | None = None,
) -> Measured:
    """Return the space that comes free when candidates go, whose files are at `where`, and whether that is exact.

    What only they hold counts, metadata included, without the tombstones that they leave, and without the paths that
    an undo needs (`without`): they stay. Of very many entries the first are looked at, and the rest is estimated from
    them.
    """
    gone = sorted(candidates)
    staying = without or {}
    measured = _ask(store, found, gone, where, staying) or _walk(store, found, gone, where, staying)
    inode_bytes = space.Meter(store.layout.snapshots).inode_bytes
    for snapshot_id in gone:
        control = _control_bytes(found[snapshot_id], inode_bytes)
        control += _leaves_bytes(store.layout.leaves(snapshot_id), inode_bytes)
        measured.each[snapshot_id] = max(measured.each[snapshot_id] + control, 0)
        measured.total.bytes += control
    measured.total.bytes = max(measured.total.bytes, 0)
    return measured


def _ask(
    store: Store,
    found: dict[str, Descriptor],
    gone: list[str],
    where: Callable[[str], Below],
    staying: dict[str, list[bytes]],
) -> Measured | None:
    """Ask the filesystem what only some snapshots hold; None where it does not say."""
    if not gone or not ioctl.is_btrfs(store.layout.snapshots):
        return None
    from jvs.engine.btrfs import blocks

    layout = store.layout
    kept = [layout.payload(i) for i in found.keys() - set(gone)]
    kept += [layout.worktree_dir(name) for name in worktree.names(layout)]
    kept += [layout.undo / name / "worktree" for name in listing.names(layout.undo)]
    try:
        answer = blocks.measure([where(i) for i in gone], kept, _stay(store, where, staying, gone))
    except OSError:
        return None
    if answer is None:
        return None
    each = dict(zip(gone, answer[0], strict=True))
    refers = {i: max(found[i]["payload"]["bytes"], each[i]) for i in gone}
    return Measured(each, refers, space.Freed(answer[1], exact=not any(i in staying for i in gone)))


def _stay(
    store: Store, where: Callable[[str], Below], staying: dict[str, list[bytes]], gone: list[str]
) -> list[sharing.Part]:
    """Return the parts of the disk that stay because an undo needs them."""
    meter = space.Meter(store.layout.snapshots)
    places = [paths.below(where(i), path) for i in gone for path in staying.get(i, ())] if meter.maps else []
    return [part for place in places for part in meter.parts_of(place)]


def _walk(
    store: Store,
    found: dict[str, Descriptor],
    gone: list[str],
    where: Callable[[str], Below],
    staying: dict[str, list[bytes]],
) -> Measured:
    """Look at the files of snapshots, and at what may share with them."""
    kept, trees = Reach(store), node_store.Trees(store)
    meter = space.Meter(store.layout.snapshots, kept=kept.files)
    if meter.may_share:
        for snapshot_id in found.keys() - set(gone):
            kept.take(found[snapshot_id])
    entries = _loader(trees)
    looked: list[str] = []
    holdings: list[sharing.Holding] = []
    for snapshot_id in gone:
        if meter.left < 0:
            break
        root = trees.root(found[snapshot_id], rebuild=False) if meter.may_share else None
        top = None if root is None else root[2]
        holdings.append(meter.look(where(snapshot_id), top, entries, without=staying.get(snapshot_id, ())))
        looked.append(snapshot_id)
    complete = meter.left >= 0
    elsewhere: list[sharing.Part] = []
    if any(one.parts or any(group.shared for group in one.groups.values()) for one in holdings):
        elsewhere = _elsewhere(store, found, set(gone), trees) + _stay(store, where, staying, gone)
    each, total = sharing.free(holdings, elsewhere)
    mixed = kept.algorithms and kept.algorithms | {found[i]["hash_algorithm"] for i in gone} != kept.algorithms
    freed = space.Freed(total, meter.exact and complete and not mixed)
    alone = dict(zip(looked, each, strict=True))
    refers = {i: holding.refers for i, holding in zip(looked, holdings, strict=True)}
    if not complete:
        _extrapolate(found, gone, looked, alone, refers, freed)
    return Measured(alone, refers, freed)


def _loader(trees: node_store.Trees) -> Callable[[bytes], dict[bytes, bytes] | None]:
    def entries(digest: bytes) -> dict[bytes, bytes] | None:
        data = trees.data(digest)
        return None if data is None else {entry[0]: entry[4] for entry in tree_node.decode_node(data)}

    return entries


def _elsewhere(
    store: Store, found: dict[str, Descriptor], gone: set[str], trees: node_store.Trees
) -> list[sharing.Part]:
    """Return the parts of the disk that something of the repository shares with anything, besides some snapshots."""
    layout, seen = store.layout, set[bytes]()
    meter = space.Meter(layout.snapshots)
    shared: list[sharing.Part] = []
    entries = _loader(trees)
    for snapshot_id in sorted(found.keys() - gone, reverse=True):
        root = trees.root(found[snapshot_id], rebuild=False)
        top = None if root is None else root[2]
        shared += meter.shared_in(layout.payload(snapshot_id), top, entries, seen, _WORTH_BYTES)
    for name in worktree.names(layout):
        shared += meter.shared_in(layout.worktree_dir(name), None, None, seen, _WORTH_BYTES)
    for place in (layout.undo, layout.tries):
        if paths.is_dir(place):
            shared += meter.shared_in(place, None, None, seen, _WORTH_BYTES)
    return shared


def _extrapolate(
    found: dict[str, Descriptor],
    gone: list[str],
    looked: list[str],
    alone: dict[str, int],
    refers: dict[str, int],
    freed: space.Freed,
) -> None:
    """Estimate the snapshots that were not looked at from those that were, the last of which only in part."""
    walked = max(sum(_entries_of(found[i]) for i in looked), 1)
    known = freed.bytes, sum(refers.values())
    for snapshot_id in set(gone) - set(looked):
        share = _entries_of(found[snapshot_id])
        alone[snapshot_id], refers[snapshot_id] = (amount * share // walked for amount in known)
    freed.bytes = freed.bytes * sum(_entries_of(found[i]) for i in gone) // walked


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
