"""Undo the last restore, rename, removal or undo

Brings back the content, the head and the latest snapshot as they were before the last operation of the worktree
around you (main, elsewhere). Repeated, it walks further back. An undo is an operation itself: '--redo' takes the last
undo back, and OPERATION, an id from '--list', undoes any operation. What lies in the way is kept in turn; files
that the operation did not touch stay as they are. An operation belongs to the worktree that it was done in, also after
a rename, and to no later one of the same name.

What a snapshot holds as well is not kept twice, and no snapshot is kept for an undo: a collection that takes one leaves
what an undo needs of it.

Operations go by themselves when they are both old (undo.max_age_days) and many (undo.max_operations), each with a word
about what goes. --forget removes them at once, and with them what they displaced: OPERATION, those that are --older
than AGE, or --all that '--list' shows and those of worktrees that are gone.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Exists, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.store import Store
    from jvs.ui.restore_text import ForgetDocument

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
    from jvs.operations import snapshots
    from jvs.ui import restore_text

    _check_forget(args)
    store = cli.open_store(args)
    if args.forget:
        return _forget(store, args.worktree, args.operation, args.older)
    if args.list:
        items = restore_text.operation_items(snapshots.operations(store, args.worktree))
        return cli.Result(items, lambda screen: restore_text.operations(items, screen), items=items)
    record, done = snapshots.undo(store, args.worktree, redo=args.redo, operation_id=args.operation)
    value = restore_text.undo_facts(store, record, done)
    return cli.Result(value, lambda screen: restore_text.undone(value, record, done, screen))


def _check_forget(args: argparse.Namespace) -> None:
    """Errors: E_USAGE for options that do not go together."""
    chosen = [args.operation is not None, args.older is not None, args.all]
    if not args.forget:
        if args.older is not None or args.all:
            raise UsageError("--older and --all go with --forget", hint="'jvs undo --forget --all' removes all")
        return
    if args.list or args.redo:
        raise UsageError("--forget goes with neither --list nor --redo", hint="'jvs undo --list' shows the operations")
    if sum(chosen) != 1:
        hint = "write 'jvs undo --forget OPERATION', '--forget --older 30d' or '--forget --all'"
        raise UsageError("--forget takes one of OPERATION, --older AGE and --all", hint=hint)


def _forget(store: Store, worktree: str | None, operation_id: str | None, older: str | None) -> cli.Result:
    from jvs.operations import snapshots
    from jvs.ui import restore_text

    forgotten = snapshots.forget(store, worktree, operation_id=operation_id, older=older)
    items = restore_text.operation_items(forgotten)
    size = sum(item["bytes"] for item in items)
    value: ForgetDocument = {"worktree": store.worktree_name(worktree), "forgotten": items, "bytes": size}
    return cli.Result(value, restore_text.forgotten(items))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
