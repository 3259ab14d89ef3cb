"""Print the id of the snapshot that a name refers to

TARGET is a full id; the beginning of one, or of its hex part, when no other begins so; a tag (the newest snapshot
that has it); a note, or the beginning of one; `HEAD`, `HEAD~N`; or `@{2h}`, the newest that is at least that old. More
than one match is an error that lists them, never a guess.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, UsageError

RAISES = NAMING
SEE_ALSO = ("jvs-cat-descriptor(1)", "jvs-list-snapshots(1)", "jvs-history(1)")
EXAMPLES = (
    ("jvs-resolve LATEST~2", "the second before the latest"),
    ("jvs-resolve --head", "the one that the files were last brought to"),
    ("jvs-resolve --short baseline", "the short id of a tagged one"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("resolve", __doc__)
    parser.add_argument("target", metavar="TARGET", nargs="?", default=None, help="what to look for (HEAD)")
    parser.add_argument("--head", action="store_true", help="the head: the snapshot that the files are at")
    parser.add_argument("--short", action="store_true", help="print the short id")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Resolve one name."""
    from jvs.store import refs

    if args.head and args.target is not None:
        raise UsageError("--head and a target exclude each other", hint="leave one of them out")
    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    target = "LATEST" if args.target is None else args.target
    found = store.head_of(name)[0] if args.head else refs.resolve(store, target, name)
    if found is None:
        raise refs.no_snapshot(name)
    short = refs.short_id(store.layout, found)
    return cli.Result({"snapshot_id": found, "short_id": short}, (short if args.short else found) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
