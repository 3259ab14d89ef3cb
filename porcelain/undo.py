"""Undo the last restore, rename, removal or undo

Brings back the content, the head and the latest snapshot as they were before the last operation of the worktree
around you (main, elsewhere). Repeated, it walks further back. An undo is an operation itself: '--redo' takes the last
undo back, and OPERATION, an id from '--list', takes back any operation. What lies in the way is kept in turn; files
that the operation did not touch stay as they are. Operations are kept for a while only (undo.max_operations,
undo.max_age_days).
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Exists, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.store import Store
    from jvs.ui.restore_text import OperationItem, UndoDocument

RAISES = (*CHANGING, Exists)
SEE_ALSO = ("jvs-restore(1)", "jvs-worktree-remove(1)", "jvs-history(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs undo", "undo the last operation"),
    ("jvs undo --list", "show what can be undone"),
    ("jvs undo --redo", "reverse the last undo"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("undo", __doc__)
    parser.add_argument("operation", metavar="OPERATION", nargs="?", help="undo this one")
    parser.add_argument("-l", "--list", action="store_true", help="list what can be undone, newest first")
    parser.add_argument("--redo", action="store_true", help="reverse the last undo")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Undo, redo or list."""
    from jvs.store import worktree
    from jvs.ui import restore_text
    from jvs.worktrees import undo

    if args.redo and args.operation is not None:
        raise UsageError("--redo takes no OPERATION", hint="an operation is named alone: 'jvs undo OPERATION'")
    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    if args.list:
        return _list(store, name)
    record, done = undo.undo(store, name, redo=args.redo, operation_id=args.operation)
    place = record["worktree"]
    config = worktree.load(store.layout, place) if place in worktree.names(store.layout) else None
    value: UndoDocument = {
        "undone": record["operation_id"],
        "kind": record["kind"],
        "description": undo.describe(record),
        "worktree": place,
        "operation_id": done.operation_id if done else None,
        "head_snapshot_id": config and config["head_snapshot_id"],
        "latest_snapshot_id": config and config["latest_snapshot_id"],
        "kept_bytes": done.displaced_bytes if done else 0,
        "changes": done.plan.changes() if done and done.plan else [],
    }
    return cli.Result(value, lambda screen: restore_text.undone(value, record, done, screen))


def _list(store: Store, name: str) -> cli.Result:
    from jvs.ui import restore_text
    from jvs.worktrees import undo

    found = undo.operations(store, name)
    items: list[OperationItem] = [
        {
            "operation_id": record["operation_id"],
            "created_at": record["created_at"],
            "kind": record["kind"],
            "forward": record["forward"],
            "description": undo.describe(record),
            "worktree": record["worktree"],
            "bytes": record["bytes"],
        }
        for record in found
    ]
    return cli.Result(items, lambda screen: restore_text.operations(items, screen), items=items)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
