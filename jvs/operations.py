"""What a person can do with a repository, one function each: the layer under the commands and the Python API.

Source: the man pages of section 1.
"""

from __future__ import annotations

from jvs import canon
from jvs.publish import run as publishing
from jvs.restore import pruning
from jvs.restore import run as restore
from jvs.store import changing, descriptor, node_store, worktree_scan
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from jvs.store.store import Store

    class PathChanged(canon.PathJSON):
        """One path that differs from a snapshot."""

        change: Literal["added", "modified", "removed"]


def snapshot(store: Store, name: str, note: str, tags: list[str]) -> tuple[str, bool]:
    """Return the snapshot that holds the files as they are, and whether it had to be taken. Errors: as publishing."""
    same = worktree_scan.unchanged_since(store, name)
    if same is not None:
        return same, False
    with changing.worktree(store, name):
        return publishing.publish(store, name, note=note, tags=tags)["snapshot_id"], True


def changes(store: Store, name: str, before: str) -> list[PathChanged]:
    """Return what differs from the snapshot now, path by path."""
    found = worktree_scan.walk_now(store, name)
    known = node_store.Trees(store)
    known.add(found)
    record = descriptor.load(store.layout, before)
    if found.root_hash == record["payload_root_hash"]:
        return []
    root = known.root(record)
    assert root is not None
    changed: list[PathChanged] = []
    if root[:2] != found.root[:2]:
        changed.append({"path": ".", "change": "modified"})
    for path, old, new in node.compare(known.load, root[2], found.digest):
        word: Literal["added", "modified", "removed"]
        word = "added" if old is None else "removed" if new is None else "modified"
        changed.append({**canon.path_json(path), "change": word})
    return changed


def restore_to(store: Store, name: str, snapshot_id: str) -> None:
    """Bring the files back to a snapshot; what was written since is kept for undo."""
    with changing.worktree(store, name):
        restore.restore(store, name, snapshot_id)
    pruning.prune(store, name)
