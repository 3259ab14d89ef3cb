"""Partial snapshots laid over the ones that they were taken on: the tree that a worktree had, as far as it was kept.

Source: jvs-snapshot(1), jvs-protocol(7), Lineage.
"""

from __future__ import annotations

from jvs import canon
from jvs.fs import listing
from jvs.store import lineage
from jvs.tree import node, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.descriptor import Descriptor
    from jvs.store.node_store import Trees
    from jvs.store.store import Store


def whole_tree(
    store: Store, known: Trees, record: Descriptor, *, plain: bool | None = None
) -> tuple[bytes, list[Descriptor]]:
    """Return the digest of a snapshot's tree, a partial one laid over the tree of its parent, and those parents.

    `plain`: whether as `sha256-tree-1` has it; None: as the snapshot itself has it.
    Errors: E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT; E_PAYLOAD_HASH_MISMATCH, E_IO when a payload had to be read.
    """
    lying = layers(store, record)
    if plain is None:
        plain = node.is_plain(record["hash_algorithm"])
    digest = known.root_as(lying[-1], plain=plain)[2]
    for layer in reversed(lying[:-1]):
        digest = lay_over(known, digest, layer, plain=plain)
    return digest, lying[1:]


def lay_over(known: Trees, digest: bytes, layer: Descriptor, *, plain: bool) -> bytes:
    """Return the digest of a tree with the own paths of a partial snapshot in place. Errors: as `whole_tree`."""
    own = known.root_as(layer, plain=plain)[2]
    for item in layer["partial_paths"] or ():
        path = canon.path_from_json(item) if isinstance(item, dict) else item.encode("utf-8")
        digest = _graft(known, digest, own, [part for part in path.split(b"/") if part])
    return digest


def layers(store: Store, record: Descriptor) -> list[Descriptor]:
    """Return a snapshot and, when it is partial, those that it lies on, down to one that holds all paths.

    A collected one ends it. Errors: E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT.
    """
    found, here = [record], record
    while here["partial_paths"] is not None and here["parent_id"] is not None:
        here = lineage.load_any(store.layout, here["parent_id"])
        if here.get("collected") or any(here["snapshot_id"] == layer["snapshot_id"] for layer in found):
            break
        found.append(here)
    return found


def _graft(known: Trees, base: bytes | None, other: bytes | None, parts: list[bytes]) -> bytes:
    """Return the digest of a directory with one path taken from another directory, or taken away."""
    if not parts:
        return node.EMPTY_DIGEST if other is None else other
    entries = {} if base is None else {entry[0]: entry for entry in known.load(base)}
    mine, theirs = entries.get(parts[0]), _find(known, other, parts[0])
    mine_below = mine[4] if mine is not None and mine[1] == listing.DIR else None
    theirs_below = theirs[4] if theirs is not None and theirs[1] == listing.DIR else None
    if len(parts) == 1 or (mine_below is None and theirs is not None) or (theirs is not None and theirs_below is None):
        entries.pop(parts[0], None)
        if theirs is not None:
            entries[parts[0]] = theirs
    elif mine_below is not None and mine is not None:  # a path that went away may leave the directories that held it
        around = mine if theirs is None else theirs
        digest = _graft(known, mine_below, theirs_below, parts[1:])
        size = sum(entry[3] for entry in known.load(digest))
        entries[parts[0]] = (around[0], around[1], around[2], size, digest, around[5])
    data = node.encode_node([entries[name] for name in sorted(entries)])
    made = scan.ScanResult()
    made.nodes[node.node_digest(data)] = data
    known.add(made)
    return node.node_digest(data)


def _find(known: Trees, digest: bytes | None, name: bytes) -> node.Entry | None:
    entries = [] if digest is None else known.load(digest)
    return next((entry for entry in entries if entry[0] == name), None)
