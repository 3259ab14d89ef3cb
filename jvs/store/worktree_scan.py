"""The worktree as it is now: its tree, and whether anything changed since the head.

Source: jvs-engines(7), Speed.
"""

from __future__ import annotations

import os

from jvs import clock
from jvs.engine import traits
from jvs.store import descriptor, node_store, partial
from jvs.tree import node, racy, scan
from jvs.tree.rows import seen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

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
    found = walk_now(store, name)
    if found.unreadable:  # what cannot be read cannot be called unchanged
        return None
    if paths is None:
        return head if found.root_hash == record["payload_root_hash"] and record["partial_paths"] is None else None
    known = node_store.Trees(store)
    known.add(found)
    whole, _ = partial.whole_tree(store, known, record)
    wanted = [path.strip(b"/") for path in paths]
    for path, _, _ in node.compare(known.load, whole, found.digest):
        if any(path == w or path.startswith(w + b"/") or w in (b"", b".") for w in wanted):
            return None
    return head


def walk_now(store: Store, name: str) -> scan.ScanResult:
    """Walk a worktree as it is now, reading only what the index does not know.

    Writes nothing but, after much had to be read, what was found to the index, so that the next look is quick.
    """
    directory = store.require_worktree(name)
    traits.commit_writes(directory)
    found = _walk(store, name, directory, moment_ns=0)
    if found.taken < MUCH_READ or not store.settings.use_index:
        return found
    moment = clock.now_ns()
    # Stores into mapped files move no stamp while their page is dirty.
    moment = racy.writeback(directory, moment, juicefs=not traits.scan_flags(directory)[0])
    if moment == racy.NEVER_NS:
        return found
    found = _walk(store, name, directory, moment_ns=moment)
    index, key = store.index(), store.tree_key(name)
    base, fresh = (index.base_id(key), found.digest), index.seen_checks(key) is None
    index.store(seen(key), rows=found.rows, nodes=found.nodes, totals=found.totals, base=base, replace=fresh)
    return found


def _walk(store: Store, name: str, directory: Below, *, moment_ns: int) -> scan.ScanResult:
    index = store.index()
    with_inode, btrfs = traits.scan_flags(directory)
    scanner = scan.Scanner(
        scan.Worker(jobs=os.cpu_count() or 1, allow_unreadable=True, slow_calls=not with_inode),
        rows=index.seen_rows(store.tree_key(name)),
        known=index,
        with_inode=with_inode,
        moment_ns=moment_ns,
        btrfs=btrfs,
    )
    return scanner.run(directory)
