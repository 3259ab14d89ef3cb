"""Take a pin away

From now on the snapshot is protected no more than any other. A pin that is damaged, or whose snapshot was deleted, is
removed by its full id. The removal is recorded in the audit log.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous

RAISES = (*CHANGING, Ambiguous)
SEE_ALSO = ("jvs-gc-pin(1)", "jvs-gc-pins(1)", "jvs-gc-plan(1)")
EXAMPLES = (("jvs gc unpin baseline", "let the next collection decide"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("gc unpin", __doc__)
    parser.add_argument("target", metavar="TARGET", help="the snapshot")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Remove the pin."""
    from jvs.operations import collection

    target = collection.unpin(cli.open_store(args), args.target, args.worktree)
    return cli.Result({"snapshot_id": target, "pinned": False}, f"Unpinned {target}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
