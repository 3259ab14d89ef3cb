"""Collect exactly the snapshots that are named

Makes the plan for these snapshots and carries it out at once: their files are deleted, and what only they held comes
free. When one of them is protected (a head, a pin, a tag that names it, a kept partial snapshot that stands on it) it
says why, and none goes. With '--dry-run' it says what would come free.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, GcPlanMismatch

RAISES = (*CHANGING, GcPlanMismatch)
SEE_ALSO = ("jvs-gc-auto(1)", "jvs-gc-plan(1)", "jvs-gc-unpin(1)", "jvs-prune-snapshot(1)")
EXAMPLES = (
    ("jvs gc drop HEAD~1 --drop-tagged --dry-run", "what would come free"),
    ("jvs gc drop HEAD~1 --drop-tagged", "let the snapshot before the newest go, whatever names it"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("gc drop", __doc__)
    parser.add_argument("targets", metavar="TARGET", nargs="+", help="a snapshot")
    parser.add_argument("--drop-tagged", action="store_true", help="also what a tag names")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would go, and remove nothing")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Plan and collect."""
    from jvs.operations import collection
    from jvs.ui import plan_text

    store = cli.open_store(args)
    plan, done = collection.drop_these(store, args.targets, drop_tagged=args.drop_tagged, dry_run=args.dry_run)
    planned = plan.as_json()
    return cli.Result({**planned, "done": done}, lambda screen: plan_text.carried_out(planned, done, screen))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
