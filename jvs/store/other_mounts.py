"""What the index of this mount may learn: of a snapshot that was taken through another mount, and of a new clone.

Nodes are proved by their digests. Rows hold for every clone of a snapshot, on every mount: a clone by JuiceFS shows the
stamps of its source, ctimes included. So a fork that nobody has looked at yet is known by the rows of its snapshot,
and none of its files is read. Source: jvs-format(5), Index; jvs-engines(7), Speed.
"""

from __future__ import annotations

from jvs.fs import listing
from jvs.store import index_place, worktree
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.store import Store
    from jvs.tree.index import Index


def find_root(store: Store, root_hash: str) -> node.Root | None:
    """Return a root that the index of another mount knows, when it knows all nodes below it; ours knows them then.

    What is not known there has to be read from the payload. Errors: none.
    """
    for other in store.other_indexes():
        root = other.root(root_hash)
        nodes = _nodes_below(other, root[2]) if root is not None else None
        if root is None or nodes is None:
            continue
        totals = {digest: total for digest in nodes if (total := other.total(digest)) is not None}
        nodes[bytes.fromhex(root_hash)] = node.encode_root(root)
        store.index().store(None, nodes=nodes, totals=totals)
        return root if store.index().root(root_hash) is not None else None
    return None


def _nodes_below(index: Index, top: bytes) -> dict[bytes, bytes] | None:
    """Return the nodes of a tree; None when one is not known."""
    found: dict[bytes, bytes] = {}
    wanted = [top]
    while wanted:
        digest = wanted.pop()
        if digest in found or digest == node.EMPTY_DIGEST:
            continue
        data = index.node(digest)
        if data is None:
            return None
        found[digest] = data
        wanted += [entry[4] for entry in node.decode_node(data) if entry[1] == listing.DIR]
    return found


def learn_worktree(store: Store, name: str) -> None:
    """Give the index rows of a worktree of which it has none, when it or another mount's knows its head.

    Only on JuiceFS. Errors: those of reading its configuration.
    """
    if not index_place.is_shared_volume(store.layout.index) or not store.settings.get("engine.remember_forks"):
        return
    index, key = store.index(), store.tree_key(name)
    if not index.keeps or index.base_id(key):
        return
    head = worktree.load(store.layout, name)["head_snapshot_id"]
    if head is None or _copy_rows(index, index, head, key):
        return
    for other in store.other_indexes():
        if _copy_rows(other, index, head, key):
            return


def _copy_rows(source: Index, target: Index, snapshot_id: str, key: str) -> bool:
    """Give a worktree the rows that describe a snapshot, and their nodes; False when they are not known."""
    for tree in source.trees_of(snapshot_id):
        base = source.bound_base(tree)
        if base is None or base[0] != snapshot_id:
            continue
        rows = source.rows(tree, base[2])
        digests = {digest for _, digest in rows.values()}
        nodes = {} if source is target else {d: data for d in digests if (data := source.node(d)) is not None}
        totals = {} if source is target else {d: total for d in digests if (total := source.total(d)) is not None}
        target.store(
            key,
            rows=[(path, row, digest) for path, (row, digest) in rows.items()],
            nodes=nodes,
            totals=totals,
            base=base[:2],
            plain=base[3],
            replace=True,
            algorithm=base[4],
        )
        return True
    return False
