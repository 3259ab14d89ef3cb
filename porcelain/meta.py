"""Give a snapshot facts, such as metrics

Facts are values by key: `loss=0.12`, `host=gpu3`. They can be given with the snapshot ('jvs snapshot --meta') or at any
time later, without changing the snapshot or its checksum. 'jvs history' chooses by them (--meta) and sorts by them
(--sort), numbers as numbers. Without KEY=VALUE the facts of the snapshot are printed.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous

RAISES = (*CHANGING, Ambiguous)
SEE_ALSO = ("jvs-tag(1)", "jvs-note(1)", "jvs-history(1)", "jvs-snapshot(1)", "jvs-format(5)")
EXAMPLES = (
    ("jvs meta LATEST loss=0.12 epoch=40", "two facts about the latest snapshot"),
    ("jvs history --sort loss -n 1", "the snapshot with the smallest loss"),
    ("jvs meta LATEST --delete epoch", "take a fact away"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("meta", __doc__)
    parser.add_argument("target", metavar="TARGET", help="the snapshot")
    parser.add_argument("values", metavar="KEY=VALUE", nargs="*", help="the facts")
    parser.add_argument("-d", "--delete", metavar="K", action="append", default=[], help="take away K; repeatable")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Change the facts, or say which there are."""
    from jvs import names
    from jvs.operations import annotating
    from jvs.ui import annotation_text

    values = names.split_meta(args.values)
    store = cli.open_store(args)
    if not values and not args.delete:
        record = annotating.shown(store, args.target, args.worktree)
        return cli.Result(annotation_text.meta_facts(record), annotation_text.meta_lines(record))
    record = annotating.meta(store, args.target, values, args.worktree, delete=args.delete)
    return cli.Result(annotation_text.meta_facts(record), annotation_text.meta(record))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
