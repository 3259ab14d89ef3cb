"""Bring a worktree, or some of its paths, back to a snapshot

Only what differs is written: all other files keep inode and times, and directories that both sides have stay, so that
whatever works in them goes on working. What is displaced is kept, and 'jvs undo' brings it back; so nothing is ever
asked. TARGET is an id, a prefix of one, a tag, a note, HEAD (the latest snapshot), HEAD~N or @{2h}. With PATHs (or
patterns such as '*.py') only those are restored, and the worktree stays where it is in history; otherwise it is at
TARGET then, and detached when that is not the latest. The next snapshot goes on from there. With PATHs and without
TARGET nothing is restored: the snapshots that changed them are listed, to choose one from, those that are deleted by
now too. What --except names (a path with all below it, or a pattern, which without a slash means names in any
directory) stays as it is, and so does what is excluded, by the rules of today or those of the snapshot, unless it is
named as PATH.

Everything that will be copied is read and checked first: a snapshot whose files were tampered with is not restored.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, Dirty, PayloadHashMismatch, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.store import Store

RAISES = (*CHANGING, Ambiguous, Dirty, PayloadHashMismatch)
SEE_ALSO = ("jvs-undo(1)", "jvs-history(1)", "jvs-diff(1)", "jvs-worktree-fork(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs restore LATEST~1", "go back one snapshot"),
    ("jvs restore LATEST", "return to the latest snapshot"),
    ("jvs restore baseline -- src/model.py '*.toml'", "bring back some paths only"),
    ("jvs restore -- src/model.py", "list the versions of a file that there are"),
    ("jvs restore baseline --except .git --except '*.log'", "but leave some paths as they are"),
    ("jvs restore --dry-run LATEST", "see what would change"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("restore", __doc__)
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the snapshot")
    parser.add_argument("path", metavar="PATH", nargs="*", help="only these paths or patterns")
    parser.add_argument("--paths", metavar="P", action="append", default=[], help="only this path; repeatable")
    parser.add_argument(
        "--except", dest="excepted", metavar="P", action="append", default=[], help="leave this as it is; repeatable"
    )
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
    from jvs.operations import snapshots
    from jvs.ui import restore_text

    store = cli.open_store(args)
    paths = cli.worktree_paths(store, args.worktree, [*args.paths, *args.path])
    excepted = cli.worktree_paths(store, args.worktree, args.excepted, reserved=True)
    target = _choose(store, args.worktree, args.target, paths) if args.interactive else args.target
    if target is None and paths is not None:
        return _candidates(store, args.worktree, paths)
    if target is None:
        raise UsageError("no TARGET was given", hint="name a snapshot, or choose one with '-i'; see 'jvs history'")
    if args.dry_run:
        planned = snapshots.plan_restore(store, target, args.worktree, paths=paths, excepted=excepted)
        return cli.Result(
            restore_text.plan_facts(store.worktree_name(args.worktree), planned),
            lambda screen: restore_text.planned(planned, screen),
            pager=True,
        )
    done = snapshots.restore(
        store,
        target,
        args.worktree,
        paths=paths,
        excepted=excepted,
        forced=args.force_tampered,
        discard=args.discard,
        environment=os.environ,
    )
    return cli.Result(
        restore_text.facts(store.worktree_name(args.worktree), done),
        lambda screen: restore_text.restored(store, done, screen, partial=paths is not None),
    )


def _candidates(store: Store, worktree: str | None, paths: list[bytes]) -> cli.Result:
    """List the snapshots that changed some paths: nothing was restored."""
    from jvs.compare import history
    from jvs.operations import looking
    from jvs.ui import restore_text

    found = list(looking.history(store, worktree, paths=paths))
    marks = history.Decorations(store, store.worktree_name(worktree))
    candidates = [{**record, **marks.describe(record["snapshot_id"])} for record in found]
    value = {"restored": False, "candidates": candidates}
    return cli.Result(value, lambda screen: restore_text.versions(store, found, marks, screen, paths))


def _choose(store: Store, worktree: str | None, target: str | None, paths: list[bytes] | None) -> str:
    """Let a person choose among numbered candidates. Errors: E_NOT_FOUND, E_USAGE when nothing was chosen."""
    import sys

    from jvs.operations import looking
    from jvs.ui import restore_text

    if target is None and paths is not None:
        found = looking.history(store, worktree, paths=paths, limit=restore_text.LISTED)
        ids = [record["snapshot_id"] for record in found]
    else:
        ids = restore_text.candidates(store, store.worktree_name(worktree), target)
    for line in restore_text.numbered(store, ids):
        sys.stderr.write(line + "\n")
    sys.stderr.write(f"restore which one? (1-{len(ids)}, nothing to cancel) ")
    sys.stderr.flush()
    answer = sys.stdin.readline().strip()
    if not (answer.isascii() and answer.isdigit() and 1 <= int(answer) <= len(ids)):
        raise UsageError("nothing was chosen, nothing was restored", hint=f"answer with a number from 1 to {len(ids)}")
    return ids[int(answer) - 1]


def main(argv: list[str] | None = None) -> int:
    """Run the command; what comes after `--` is a path, also when an option comes between it and TARGET."""
    return cli.run(build_parser(), work, cli.with_paths(argv))
