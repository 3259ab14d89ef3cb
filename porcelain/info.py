"""Show the repository, its engine and what that costs

Says where the repository is and how it is laid out, which engine takes snapshots here and how its cost grows, why the
better ones do not work, how many snapshots and worktrees there are, what the newest snapshot of the worktree holds, and
the head of the audit log. Snapshots are counted by their names. --sizes reads every descriptor and adds up what all
snapshots show, and how much of it was new or changed when it was taken; and it says what is kept besides: for undo, of
pending tries, in the trash, the index, records and log. 'jvs du' says what comes free.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import READING

RAISES = READING
SEE_ALSO = ("jvs-status(1)", "jvs-probe-engine(1)", "jvs-engines(7)", "jvs-audit(5)")
EXAMPLES = (
    ("jvs info", "what is this repository, and what does a snapshot cost here"),
    ("jvs info --sizes", "and how much all snapshots hold"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("info", __doc__)
    parser.add_argument("--sizes", action="store_true", help="add up the sizes of all snapshots: reads each descriptor")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Collect the facts."""
    from jvs.ui import info_text

    store = cli.open_store(args)
    value = info_text.facts(store, store.worktree_name(args.worktree), sizes=args.sizes)
    return cli.Result(value, lambda screen: info_text.page(value, screen))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
