"""Make a worktree, empty or from a snapshot

Makes `worktrees/NAME`, empty or with the files of the snapshot that --from names, and registers it. It is there as a
completely or not at all.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, CloneIncomplete, Exists, PayloadHashMismatch

RAISES = (*CHANGING, Ambiguous, Exists, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-worktree-fork(1)", "jvs-worktree-remove(1)", "jvs-worktree-list(1)")
EXAMPLES = (
    ("jvs worktree create scratch", "make an empty worktree"),
    ("jvs worktree create trial --from baseline", "make one with the files of a snapshot"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree create", __doc__)
    parser.add_argument("name", metavar="NAME", help="its name")
    parser.add_argument("--from", dest="source", metavar="TARGET", help="begin with the files of this snapshot")
    parser.add_argument("--engine", metavar="ENGINE", help="use this engine, or fail")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Make it."""
    from jvs.operations import worktrees

    made = worktrees.create(cli.open_store(args), args.name, target=args.source)
    origin = f" from snapshot {made['base_snapshot_id']}" if made["base_snapshot_id"] else ""
    return cli.Result(made, f"Created worktree '{made['name']}'{origin}\n{made['path']}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
