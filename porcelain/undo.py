"""Undo the last restore, rename, removal or undo

Brings back the content, the head and the latest snapshot as they were before the last operation of the worktree
around you (main, elsewhere). Repeated, it walks further back. An undo is an operation itself: '--redo' takes the last
undo back, and OPERATION, an id from '--list', takes back any operation. What lies in the way is kept in turn; files
that the operation did not touch stay as they are. An operation belongs to the worktree that it was done in, also after
a rename, and to no later one of the same name.

Operations go by themselves when they are both old (undo.max_age_days) and many (undo.max_operations), each with a word
about what goes. --forget removes them at once, and with them what they displaced: OPERATION, those that are --older
than AGE, or --all that '--list' shows and those of worktrees that are gone.
"""

from __future__ import annotations

import argparse

from jvs import units
from jvs.cli import run as cli
from jvs.errors import CHANGING, Exists, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.restore.journal import Operation
    from jvs.store.store import Store
    from jvs.ui.restore_text import ForgetDocument, OperationItem, UndoDocument

RAISES = (*CHANGING, Exists)
SEE_ALSO = ("jvs-restore(1)", "jvs-worktree-remove(1)", "jvs-history(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs undo", "undo the last operation"),
    ("jvs undo --list", "show what can be undone"),
    ("jvs undo --redo", "reverse the last undo"),
    ("jvs undo --forget --older 30d", "remove what was displaced more than 30 days ago"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("undo", __doc__)
    parser.add_argument("operation", metavar="OPERATION", nargs="?", help="undo this one")
    parser.add_argument("-l", "--list", action="store_true", help="list what can be undone, newest first")
    parser.add_argument("--redo", action="store_true", help="reverse the last undo")
    parser.add_argument("--forget", action="store_true", help="remove what operations displaced: this cannot be undone")
    parser.add_argument("--older", metavar="AGE", help="with --forget: all that are older than this (30d, 12h)")
    parser.add_argument("--all", action="store_true", help="with --forget: all of them")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Undo, redo, list or forget."""
    from jvs.restore import journal
    from jvs.store import worktree
    from jvs.ui import restore_text
    from jvs.worktrees import undo

    if args.redo and args.operation is not None:
        raise UsageError("--redo takes no OPERATION", hint="an operation is named alone: 'jvs undo OPERATION'")
    older_ns = _check_forget(args)
    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    if args.forget:
        return _forget(store, name, args.operation, older_ns)
    if args.list:
        return _list(store, name)
    record, done = undo.undo(store, name, redo=args.redo, operation_id=args.operation)
    place = done.config["name"] if done else record["worktree"]
    config = worktree.load(store.layout, place) if place in worktree.names(store.layout) else None
    value: UndoDocument = {
        "undone": record["operation_id"],
        "kind": record["kind"],
        "description": journal.describe(record),
        "worktree": place,
        "operation_id": done.operation_id if done else None,
        "head_snapshot_id": config and config["head_snapshot_id"],
        "latest_snapshot_id": config and config["latest_snapshot_id"],
        "kept_bytes": done.displaced_bytes if done else 0,
        "changes": done.plan.changes() if done and done.plan else [],
    }
    return cli.Result(value, lambda screen: restore_text.undone(value, record, done, screen))


def _check_forget(args: argparse.Namespace) -> int | None:
    """Return the age that `--older` names; errors: E_USAGE for options that do not go together."""
    chosen = [args.operation is not None, args.older is not None, args.all]
    if not args.forget:
        if args.older is not None or args.all:
            raise UsageError("--older and --all go with --forget", hint="'jvs undo --forget --all' removes all")
        return None
    if args.list or args.redo:
        raise UsageError("--forget goes with neither --list nor --redo", hint="'jvs undo --list' shows the operations")
    if sum(chosen) != 1:
        hint = "write 'jvs undo --forget OPERATION', '--forget --older 30d' or '--forget --all'"
        raise UsageError("--forget takes one of OPERATION, --older AGE and --all", hint=hint)
    return None if args.older is None else units.duration_ns(args.older, "--older")


def _forget(store: Store, name: str, operation_id: str | None, older_ns: int | None) -> cli.Result:
    from jvs.ui import restore_text
    from jvs.worktrees import forget

    items = _items(forget.forget(store, name, operation_id=operation_id, older_ns=older_ns))
    value: ForgetDocument = {"worktree": name, "forgotten": items, "bytes": sum(item["bytes"] for item in items)}
    return cli.Result(value, restore_text.forgotten(items))


def _list(store: Store, name: str) -> cli.Result:
    from jvs.ui import restore_text
    from jvs.worktrees import undo

    items = _items(undo.operations(store, name))
    return cli.Result(items, lambda screen: restore_text.operations(items, screen), items=items)


def _items(found: list[Operation]) -> list[OperationItem]:
    from jvs.restore import journal

    return [
        {
            "operation_id": record["operation_id"],
            "created_at": record["created_at"],
            "kind": record["kind"],
            "forward": record["forward"],
            "description": journal.describe(record),
            "worktree": record["worktree"],
            "bytes": record["bytes"],
        }
        for record in found
    ]


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
