"""Take the wiring of an agent away again

Removes from Claude Code's own settings what 'jvs agent install' adds, and nothing else. Running it again removes
nothing.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import agent_wiring
from jvs.cli import run as cli
from jvs.errors import Busy, IOFailure, NoSpace, UsageError

RAISES = (UsageError, IOFailure, NoSpace, Busy)
SEE_ALSO = ("jvs-agent-install(1)", "jvs-agent-status(1)", "jvs-mcp(1)", "jvs-agents(7)")
EXAMPLES = (("jvs agent uninstall claude", "for this project"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("agent uninstall", __doc__)
    agent_wiring.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Remove what is there."""
    from jvs.operations import agents

    removed = "would be removed from" if args.dry_run else "removed from"
    found = agents.uninstall(*agent_wiring.place(args), os.environ.get("HOME"), args.agent, dry_run=args.dry_run)
    return agent_wiring.result(found, lambda item: removed if item["changed"] else "not in")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
