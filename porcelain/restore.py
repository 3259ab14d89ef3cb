"""Bring a worktree, or some of its paths, back to a snapshot

Only what differs is written: all other files keep inode and times, and directories that both sides have stay, so that
whatever works in them goes on working. What is displaced is kept, and 'jvs undo' brings it back; so nothing is ever
asked. TARGET is an id, a prefix of one, a tag, a note, HEAD (the latest snapshot), HEAD~N or @{2h}. With PATHs (or
patterns such as '*.py') only those are restored, and the worktree stays where it is in history; otherwise it is at
TARGET then, and detached when that is not the latest. The next snapshot goes on from there.

Everything that will be copied is read and checked first: a snapshot whose files were tampered with is not restored.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, Dirty, PayloadHashMismatch, UsageError
from jvs.store import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.store import Store

RAISES = (*CHANGING, Ambiguous, Dirty, PayloadHashMismatch)
SEE_ALSO = ("jvs-undo(1)", "jvs-history(1)", "jvs-diff(1)", "jvs-worktree-fork(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs restore HEAD~1", "go back one snapshot"),
    ("jvs restore HEAD", "return to the latest snapshot"),
    ("jvs restore baseline -- src/model.py '*.toml'", "bring back some paths only"),
    ("jvs restore --dry-run HEAD", "see what would change"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("restore", __doc__)
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the snapshot")
    parser.add_argument("path", metavar="PATH", nargs="*", help="only these paths or patterns")
    parser.add_argument("--paths", metavar="P", action="append", default=[], help="only this path; repeatable")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    parser.add_argument("-i", "--interactive", action="store_true", help="choose among numbered candidates")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show what would change, and change nothing")
    parser.add_argument("--discard", action="store_true", help="keep nothing of what is displaced: no undo")
    parser.add_argument(
        "--force-tampered", metavar="REASON", help="restore although checks fail; the reason goes to the audit log"
    )
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Restore, or show what would change."""
    from jvs.restore import pruning
    from jvs.restore import run as restore
    from jvs.store import hooks, refs
    from jvs.ui import restore_text

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    store.require_worktree(name)
    words = [*args.paths, *args.path]
    paths = cli.worktree_paths(store, name, words) if words else None
    if args.force_tampered is not None and not args.force_tampered.strip():
        raise UsageError("--force-tampered needs a reason", hint="it is written to the audit log: say why")
    target = _choose(store, name, args.target) if args.interactive else args.target
    if target is None:
        raise UsageError("no TARGET was given", hint="name a snapshot, or choose one with '-i'; see 'jvs history'")
    if args.dry_run:
        return _dry_run(store, name, target, paths)
    hooks.run(store, "pre-restore", name, os.environ, target=target)
    with changing.worktree(store, name):
        snapshot_id = _resolve(store, target, name, forced=args.force_tampered is not None)
        done = restore.restore(store, name, snapshot_id, paths=paths, forced=args.force_tampered, discard=args.discard)
    hooks.run(store, "post-restore", name, os.environ, target=target, snapshot_id=snapshot_id)
    pruning.prune(store, name)
    short = refs.short_id(store.layout, snapshot_id)
    return cli.Result(
        restore_text.facts(name, snapshot_id, done),
        lambda screen: restore_text.restored(done, snapshot_id, short, screen, partial=paths is not None),
    )


def _resolve(store: Store, target: str, name: str, *, forced: bool) -> str:
    """Return the snapshot; with `forced` a full id is taken as it is, whatever its checks say."""
    from jvs import names
    from jvs.store import refs

    if forced and names.is_snapshot_id(target):
        return target
    return refs.resolve(store, target, name)


def _dry_run(store: Store, name: str, target: str, paths: list[bytes] | None) -> cli.Result:
    from jvs.restore import plan
    from jvs.store import node_store, refs
    from jvs.ui import restore_text

    with store.reading():
        snapshot_id = refs.resolve(store, target, name)
        known = node_store.Trees(store)
        planned = plan.make(store, name, plan.find_target(store, snapshot_id, known, paths=paths), known)
    value = {"snapshot_id": snapshot_id, "worktree": name, "dry_run": True, **planned.delta.counts()}
    value["changes"] = planned.changes()
    return cli.Result(value, lambda screen: restore_text.planned(planned, screen), pager=True)


def _choose(store: Store, name: str, target: str | None) -> str:
    """Let a person choose among numbered candidates. Errors: E_NOT_FOUND, E_USAGE when nothing was chosen."""
    import sys

    from jvs.ui import restore_text

    ids = restore_text.candidates(store, name, target)
    for line in restore_text.numbered(store, ids):
        sys.stderr.write(line + "\n")
    sys.stderr.write(f"restore which one? (1-{len(ids)}, nothing to cancel) ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if not (answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(ids)):
        raise UsageError("nothing was chosen, nothing was restored", hint=f"answer with a number from 1 to {len(ids)}")
    return ids[int(answer) - 1]


def main(argv: list[str] | None = None) -> int:
    """Run the command; what stands behind `--` is a path, also when an option stands between it and TARGET."""
    return cli.run(build_parser(), work, cli.with_paths(argv))
