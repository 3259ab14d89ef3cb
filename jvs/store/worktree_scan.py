"""The worktree as it is now: its tree, and whether anything changed since the head.

Source: jvs-engines(7), Speed.
"""

from __future__ import annotations

from jvs import canon, clock
from jvs.engine import traits
from jvs.store import descriptor, exclusion, lineage, node_store, other_mounts, partial
from jvs.tree import kept, node, path_filter, racy, scan
from jvs.tree.rows import seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree.node import Entry
    from jvs.tree.shared_leaves import SharedLeaves

MUCH_READ = 200
"""A look that had to read more files than this remembers what it found."""


def unchanged_since(store: Store, name: str, paths: list[bytes] | None = None) -> str | None:
    """Return the head when the worktree still has its content, else None.

    Reads only what the index does not know; writes nothing. With `paths` only those are compared.
    """
    head, _ = store.head_of(name)
    if head is None:
        return None
    record = descriptor.load(store.layout, head)
    if paths is None and not exclusion.same_rules(record, store.exclusion(name)):
        return None
    found = walk_now(store, name, compare=record)
    if found.unreadable:  # what cannot be read cannot be called unchanged
        return None
    differs = [path for path, words in found.differs.items() if kept.shown_words(words)]
    if paths is None:
        same = found.root_hash == record["payload_root_hash"] and record["partial_paths"] is None
        return head if same and not differs else None
    known = node_store.Trees(store)
    known.add(found)
    whole, _ = partial.whole_tree(store, known, record)
    wanted = [path.strip(b"/") for path in paths]
    for path in (*differs, *(path for path, _, _ in node.compare(known.load, whole, found.digest))):
        if any(path == w or path.startswith(w + b"/") or w in (b"", b".") for w in wanted):
            return None
    return head


def walk_now(
    store: Store, name: str, *, compare: Descriptor | None = None, plain: bool | None = None
) -> scan.ScanResult:
    """Walk a worktree as it is now, reading only what the index does not know.

    The tree has the algorithm of `compare`, so that its digests can be compared with those of that snapshot, unless
    `plain` says which (True: `sha256-tree-1`).

    With `compare` the metadata that the tree hash does not cover is compared with that of a snapshot: see `differs`.
    Writes nothing but, after much had to be looked at, what was found to the index, so that the next look is quick.
    """
    directory = store.require_worktree(name)
    traits.commit_writes(directory)
    other_mounts.learn_worktree(store, name)
    if plain is None:
        plain = compare is not None and node.is_plain(compare["hash_algorithm"])
    against = _against(store, name, compare, plain) if compare is not None else None
    shared = _shared_leaves(store, compare) if compare is not None and not plain else None
    found = _walk(store, name, directory, against, moment_ns=0, plain=plain, shared=shared)
    compared = found.files + found.dirs if against is not None and against.full and not against.hidden else 0
    quick = found.taken < MUCH_READ and compared < MUCH_READ
    if quick or not store.settings.use_index:
        return found
    moment = clock.now_ns()
    # Stores into mapped files move no stamp while their page is dirty.
    moment = racy.writeback(directory, moment, juicefs=not traits.scan_flags(directory)[0])
    if moment == racy.NEVER_NS or (compare is not None and compare["snapshot_id"] != store.head_of(name)[0]):
        return found
    found = _walk(store, name, directory, against, moment_ns=moment, plain=plain, shared=shared)
    index, key = store.index(), store.tree_key(name)
    snapshot_id = compare["snapshot_id"] if compare is not None and found.marks_hold else ""
    fresh = index.seen_checks(key, plain=plain) is None or index.compared_with(key, plain=plain) != snapshot_id
    base = (f"{index.base_id(key)} {snapshot_id}", found.digest)
    algorithm = node.PLAIN if plain else node.ALGORITHM
    index.store(
        seen(key),
        rows=found.rows,
        nodes=found.nodes,
        totals=found.totals,
        base=base,
        replace=fresh,
        algorithm=algorithm,
    )
    return found


def _against(store: Store, name: str, record: Descriptor, plain: bool) -> kept.Against:
    """Return what to compare metadata with: a partial snapshot counts for its own paths, its parent for the others."""
    layers = []
    now: Descriptor | None = record
    while now is not None:
        losses: dict[bytes, set[str]] = {}
        for loss in now["degraded"]:
            losses.setdefault(canon.path_from_json(loss), set()).add(loss["what"])
        own = now["partial_paths"]
        chosen = None if own is None else [path_filter.stored_path(path) for path in own]
        layers.append(kept.Layer(store.layout.payload(now["snapshot_id"]), chosen, losses))
        parent = now["parent_id"] if own is not None else None
        now = lineage.load_any(store.layout, parent) if parent is not None else None
        if now is not None and now.get("collected"):
            break
    index, key = store.index(), store.tree_key(name)
    full = index.compared_with(key, plain=plain) != record["snapshot_id"]
    base_id = index.base_id(key)
    base = store.layout.payload(base_id) if full and base_id and len(layers) == 1 else None
    overlaid = frozenset(index.paths(seen(key))) if base is not None else frozenset[bytes]()
    return kept.Against(record["snapshot_id"], layers, full=full, base=base, overlaid=overlaid)


def _shared_leaves(store: Store, record: Descriptor) -> Callable[[], SharedLeaves] | None:
    """Return what proves leaves of large files by those of a snapshot, where nobody turned that off."""
    known = node_store.Trees(store)

    def entry_of(path: bytes) -> Entry | None:
        root = known.root(record, rebuild=False)
        return None if root is None else path_filter.find_entry(known.load, root[2], path)

    return node_store.shared_leaves(store, record["snapshot_id"], entry_of)


def _walk(
    store: Store,
    name: str,
    directory: Below,
    against: kept.Against | None,
    *,
    moment_ns: int,
    plain: bool,
    shared: Callable[[], SharedLeaves] | None,
) -> scan.ScanResult:
    index = store.index()
    with_inode, btrfs = traits.scan_flags(directory)
    changes = None
    if btrfs and (against is None or not against.full):
        from jvs.store import live_changes

        changes = live_changes.ask(store, name, directory, plain=plain)
    jobs = store.settings.jobs()
    comparing = None
    if against is not None:
        comparing = kept.KeptHasher(against, jobs=jobs, slow_calls=not with_inode, plain=plain)
    worker = comparing or scan.Hasher(jobs=jobs, allow_unreadable=True, slow_calls=not with_inode, plain=plain)
    worker.shared = shared
    scanner = scan.Scanner(
        worker,
        rows=index.seen_rows(store.tree_key(name), plain=plain) if changes is None else changes.rows,
        known=index,
        with_inode=with_inode,
        moment_ns=moment_ns,
        btrfs=btrfs,
        exclude=store.exclusion(name),
        touched=None if changes is None else changes.touched,
    )
    found = scanner.run(directory)
    if comparing is not None:
        comparing.finish()
        found.differs, found.marks_hold = comparing.differs, comparing.lasting
    return found
