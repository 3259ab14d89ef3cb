"""Around a command of somebody else: a snapshot before it, what it changed, and back again.

Source: jvs-run(1).
"""

from __future__ import annotations

from jvs import canon
from jvs.publish import steps
from jvs.restore import journal
from jvs.restore import run as restore
from jvs.store import descriptor, node_store, worktree_scan
from jvs.tree import node
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.store.store import Store
    from jvs.ui.terminal import Terminal

LISTED = 20
_SIGNS = {"added": "+", "modified": "~", "removed": "-"}


def snapshot(store: Store, name: str, note: str, tags: list[str]) -> tuple[str, bool]:
    """Return the snapshot that holds the files as they are, and whether it had to be taken. Errors: as publishing."""
    same = worktree_scan.unchanged_since(store, name)
    if same is not None:
        return same, False
    with store.changing(name):
        return steps.publish(store, name, note=note, tags=tags)["snapshot_id"], True


def changes(store: Store, name: str, before: str) -> list[dict[str, Any]]:
    """Return what differs from the snapshot now, path by path."""
    found = worktree_scan.walk_now(store, name)
    known = node_store.Trees(store)
    known.add(found)
    record = descriptor.load(store.layout, before)
    if found.root_hash == record["payload_root_hash"]:
        return []
    root = known.root(record)
    assert root is not None
    changed: list[dict[str, Any]] = []
    if root[:2] != found.root[:2]:
        changed.append({"path": ".", "change": "modified"})
    for path, old, new in node.compare(known.load, root[2], found.digest):
        word = "added" if old is None else "removed" if new is None else "modified"
        changed.append({**canon.path_json(path), "change": word})
    return changed


def restore_to(store: Store, name: str, snapshot_id: str) -> None:
    """Bring the files back to a snapshot; what was written since is kept for undo."""
    with store.changing(name):
        restore.restore(store, name, snapshot_id)
    journal.prune(store, name)


def report(value: dict[str, Any], screen: Terminal) -> str:
    """Return what became of the files, on few lines: what the command printed came before."""
    found = value["changes"]
    lines = []
    for item in found[:LISTED]:
        path = terminal.show_text(item["path"])
        lines.append(f"{_SIGNS[item['change']]} {terminal.cut_left(path, screen.width - 2) if screen.tty else path}")
    if len(found) > LISTED:
        lines.append(f"... and {len(found) - LISTED} more; '--json' lists them")
    count = terminal.plural(len(found), "change")
    if value["rolled_back"]:
        lines += terminal.wrap(f"exit {value['exit']}: rolled back {count} to {value['snapshot_id']}", screen, "", "  ")
        lines += terminal.wrap("what it had written is kept: 'jvs undo' brings it back", screen, "", "  ")
    else:
        words = f"exit {value['exit']}: {count if found else 'no changes'} since {value['snapshot_id']}"
        lines += terminal.wrap(words, screen, "", "  ")
    if value["after_snapshot_id"]:
        lines.append(f"Created snapshot {value['after_snapshot_id']}")
    return "\n".join(lines) + "\n"
