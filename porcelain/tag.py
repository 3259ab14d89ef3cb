"""Give a snapshot tags, or take them away

Tags are names for TARGET: more of them can be given to a snapshot at any time, without changing the snapshot or its
checksum. A tag that several snapshots have names the newest of them; collections keep what a tag names. Without NAME
the tags of the snapshot are printed. LATEST and HEAD are no tags.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, UsageError

RAISES = (*CHANGING, Ambiguous)
SEE_ALSO = ("jvs-note(1)", "jvs-meta(1)", "jvs-history(1)", "jvs-gc-plan(1)", "jvs-format(5)")
EXAMPLES = (
    ("jvs tag LATEST~1 good paper-v2", "two more names for a snapshot"),
    ("jvs tag good bad --delete", "the snapshot called good is not called bad any more"),
    ("jvs tag LATEST", "print the tags that it has"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("tag", __doc__)
    parser.add_argument("target", metavar="TARGET", help="the snapshot")
    parser.add_argument("tag", metavar="NAME", nargs="*", help="the tags")
    parser.add_argument(
        "-d", "--delete", action="store_true", help="take these tags away; those it has not are ignored"
    )
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Change the tags, or say which there are."""
    from jvs.operations import annotating
    from jvs.ui import annotation_text

    if args.delete and not args.tag:
        raise UsageError("--delete needs the NAME of a tag", hint="'jvs tag TARGET' prints the tags that it has")
    store = cli.open_store(args)
    if not args.tag:
        record = annotating.shown(store, args.target, args.worktree)
        return cli.Result(annotation_text.tag_facts(record), "".join(f"{tag}\n" for tag in record["tags"]))
    record = annotating.tag(store, args.target, args.tag, args.worktree, delete=args.delete)
    return cli.Result(annotation_text.tag_facts(record), annotation_text.tags(record))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
