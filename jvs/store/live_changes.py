"""Where a worktree may differ from the snapshot that the index describes, as the filesystem says: btrfs, as root.

A look then costs what changed, whatever the number of files. It finds what a walk finds: whatever is not certain is
walked. Source: jvs-engines(7), btrfs-snapshot.
"""

from __future__ import annotations

from jvs import system
from jvs.engine.options import BTRFS
from jvs.errors import JvsError
from jvs.fs import paths
from jvs.store import descriptor, exclusion
from jvs.tree import node
from jvs.tree import rows as tree_rows
from jvs.tree.prune import Named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

LEAST_ENTRIES = 20_000
"""Smaller trees are walked in the time that a flush takes."""
UNWRITTEN_BYTES_PER_ENTRY = 256
"""More data than that waiting to be written takes longer to flush than a walk: it may be everybody's, on any disk."""
SEEN_SHARE = 8
"""The directories that earlier looks found changed are visited; they may be one in so many."""


class LiveChanges:
    """What to walk: the directories in `touched` alone may differ from `rows`."""

    def __init__(self, rows: tree_rows.RowsOver, touched: Named) -> None:
        self.rows = rows
        self.touched = touched


def ask(store: Store, name: str, directory: Below, *, plain: bool) -> LiveChanges | None:
    """Ask what changed in a worktree since the snapshot that its rows describe; None: all of it is to be walked.

    Writes nothing, but has the filesystem write back what is in memory.
    """
    index, key = store.index(), store.tree_key(name)
    with index.at_once():
        base = index.bound_base(key)
        total = index.total(base[1]) if base is not None else None
        if base is None or total is None or (base[4] == node.PLAIN) != plain or sum(total[:4]) < LEAST_ENTRIES:
            return None
        seen = tree_rows.seen(key)
        if len(index.paths(seen)) * SEEN_SHARE > total[1]:
            return None
        checks = index.seen_checks(key, plain=plain)
        over = index.rows(seen, checks) if checks is not None else {}
    changed = _changed_since(store, name, directory, base[0], sum(total[:4]))
    if changed is None:
        return None
    # What a look left says what it saw, and may carry marks: only a visit tells whether that is so now.
    return LiveChanges(tree_rows.RowsOver(index, key, base[2], over), Named.of(changed, over))


def _changed_since(
    store: Store, name: str, directory: Below, snapshot_id: str, entries: int
) -> dict[int, bytes] | None:
    """Return which directories changed since a snapshot of all that is in the worktree; None: nobody can say.

    Not where something is excluded, or was, or could not be read: no transaction tells of changed rules, and what is in
    no row has to be tried again. Nor where something is mounted, which hides what the tree holds.
    """
    from jvs.engine.btrfs import ioctl, search
    from jvs.engine.btrfs.engine import BtrfsEngine

    unwritten = system.unwritten_bytes()
    if not BtrfsEngine.search or unwritten is None or unwritten > entries * UNWRITTEN_BYTES_PER_ENTRY:
        return None
    if store.exclusion(name).has_rules:
        return None
    try:
        record = descriptor.load(store.layout, snapshot_id)
        ready = paths.lstat(store.layout.ready(snapshot_id)).st_mtime
        if ioctl.nested(directory):
            return None
    except (JvsError, OSError):
        return None
    if record["engine"] != BTRFS or not exclusion.holds_all(record):
        return None
    return search.changed_now(directory, store.layout.payload(snapshot_id), ready)
