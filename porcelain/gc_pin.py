"""Protect a snapshot from collection

Pins the snapshot that TARGET names: no collection takes it, whatever the policy says, until the pin is removed
or expires. Pinning again changes reason and end. The pin is recorded in the audit log.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous

RAISES = (*CHANGING, Ambiguous)
SEE_ALSO = ("jvs-gc-unpin(1)", "jvs-gc-pins(1)", "jvs-gc-plan(1)")
EXAMPLES = (
    ("jvs gc pin baseline --reason 'paper, table 2'", "keep it for good"),
    ("jvs gc pin LATEST --expires 30d", "keep it for a month"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("gc pin", __doc__)
    parser.add_argument("target", metavar="TARGET", help="the snapshot")
    parser.add_argument("--reason", metavar="TEXT", help="why, for those who find the pin later")
    parser.add_argument("--expires", metavar="WHEN", help="when the pin ends: 30d, or 2030-01-31[T12:00:00Z] (UTC)")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Pin the snapshot."""
    from jvs.operations import collection

    pin = collection.pin(cli.open_store(args), args.target, args.worktree, reason=args.reason, expires=args.expires)
    until = f" until {pin['expires_at']}" if pin["expires_at"] else ""
    return cli.Result(pin, f"Pinned {pin['snapshot_id']}{until}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
