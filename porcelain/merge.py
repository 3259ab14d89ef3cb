"""Bring the work of a fork back: merge it into a worktree

Merges the last snapshot of the worktree SOURCE, or the snapshot SOURCE, into the worktree around the current directory
(main, elsewhere in the repository). Both sides are compared with the snapshot where their lines meet. What only one
side changed is taken, whatever it is: files, links, modes, attributes, directories. Owners and times come with what is
taken and count for nothing else. Files of the worktree that no snapshot holds count as ours. Where both sides changed
the same path differently, nothing is changed at all: the conflicts are listed, and --ours, --theirs or --both decides
them, for all or, as --ours=PATTERN or after SOURCE, for a pattern. --both keeps ours and puts the other next to it as
NAME.theirs.

Only what differs is written, in place, and 'jvs undo' takes it back. Then a snapshot is taken that names the other side
as its second parent, so that the next merge begins there; 'jvs history' shows it as merged. With PATHs only these are
merged, and the snapshot names no second parent: the rest is yet to come.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, CloneIncomplete, Conflict, Detached, Dirty, PayloadHashMismatch, UsageError

RAISES = (*CHANGING, Conflict, Ambiguous, Detached, Dirty, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = (
    *("jvs-worktree-fork(1)", "jvs-diff(1)", "jvs-undo(1)", "jvs-history(1)"),
    *("jvs-merge-base(1)", "jvs-merge-tree(1)", "jvs-agents(7)"),
)
EXAMPLES = (
    ("jvs merge experiment", "bring the last snapshot of a fork into this worktree"),
    ("jvs merge experiment --now", "take a snapshot of its files first"),
    ("jvs merge experiment --dry-run", "see what would change, and the conflicts"),
    ("jvs merge experiment --theirs --ours='*.lock'", "the fork wins everywhere but in lock files"),
    ("jvs merge experiment -- src", "only what it changed below src"),
)
CHOICES = ("--ours", "--theirs", "--both")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("merge", __doc__)
    parser.add_argument("source", metavar="SOURCE", help="a worktree, or a snapshot")
    parser.add_argument("path", metavar="PATH", nargs="*", help="only these paths or patterns, after '--'")
    parser.add_argument("--paths", metavar="P", action="append", default=[], help="only this path; repeatable")
    parser.add_argument("--into", metavar="NAME", help="the worktree to merge into (the one around you, or main)")
    parser.add_argument("--base", metavar="T", help="compare both sides with this snapshot")
    parser.add_argument("--now", action="store_true", help="merge the files of SOURCE: take a snapshot of them first")
    for option, text in zip(CHOICES, ("ours counts", "theirs counts", "keep ours, theirs as NAME.theirs"), strict=True):
        parser.add_argument(
            option, metavar="PATTERN", action="append", default=[], help=f"in a conflict {text}; repeatable"
        )
    parser.add_argument("-m", "--message", metavar="NOTE", help="the note of the snapshot (merge SOURCE)")
    parser.add_argument("-t", "--tag", metavar="TAG", action="append", default=[], help="give it this tag; repeatable")
    parser.add_argument("-n", "--dry-run", action="store_true", help="show what would change, and change nothing")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Merge, or show what would come of it; conflicts are told before the error."""
    from jvs.operations import merging
    from jvs.ui import merge_text

    if args.path:
        raise UsageError(f"unexpected argument '{args.path[0]}'", hint="put paths after '--'")
    if args.dry_run and args.now:
        raise UsageError("--now takes a snapshot, and --dry-run changes nothing", hint="leave one of them out")
    store = cli.open_store(args)
    paths = cli.worktree_paths(store, args.into, args.paths)
    choices = {"ours": args.ours, "theirs": args.theirs, "both": args.both}
    if args.dry_run:
        found = merging.plan_merge(store, args.source, args.into, base=args.base, paths=paths, choices=choices)
    else:
        found = merging.merge(
            store,
            args.source,
            args.into,
            base=args.base,
            paths=paths,
            now=args.now,
            choices=choices,
            note=args.message,
            tags=args.tag,
            environment=os.environ,
        )
    value = merge_text.facts(found, dry_run=args.dry_run)
    return cli.Result(value, lambda screen: merge_text.merged(store, found, screen), complaint=found.complaint())


def main(argv: list[str] | None = None) -> int:
    """Run the command; `--ours` alone decides all, and before SOURCE no word after it is its pattern."""
    return cli.run(build_parser(), work, cli.with_paths(_with_patterns(argv)))


def _with_patterns(argv: list[str] | None) -> list[str] | None:
    """Return arguments in which each of the three options has a pattern: the next word when SOURCE came before it."""
    if argv is None:
        return None
    own = argv.index("--") if "--" in argv else len(argv)
    takes = {"--into", "--base", "-m", "--message", "-t", "--tag", "-C", "-c", "--wait", "--paths"}
    found: list[str] = []
    seen, i = False, 0
    while i < own:
        word = argv[i]
        following = argv[i + 1] if i + 1 < own else "-"
        i += 1
        if word in CHOICES and seen and not following.startswith("-"):
            found.append(f"{word}={following}")
            i += 1
        elif word in CHOICES:
            found.append(f"{word}=")
        elif word in takes and i < own:
            found += [word, argv[i]]
            i += 1
        else:
            seen = seen or not word.startswith("-")
            found.append(word)
    return [*found, *argv[own:]]
