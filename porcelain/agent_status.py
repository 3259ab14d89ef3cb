"""Say whether an agent is wired to jvs

Looks for the hooks and the MCP server of 'jvs agent install' in the agent's own settings, without AGENT in those of
all agents that jvs knows. Writes nothing.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import agent_wiring
from jvs.cli import run as cli
from jvs.errors import IOFailure, UsageError

RAISES = (UsageError, IOFailure)
SEE_ALSO = ("jvs-agent-install(1)", "jvs-agent-uninstall(1)", "jvs-mcp(1)", "jvs-agents(7)")
EXAMPLES = (
    ("jvs agent status claude", "for this project"),
    ("jvs agent status --user", "for all agents, in your own settings"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("agent status", __doc__)
    agent_wiring.add_options(parser, changes=False)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Look."""
    from jvs.operations import agents

    place, home = agent_wiring.place(args), os.environ.get("HOME")
    chosen = [args.agent] if args.agent else agents.AGENTS
    found = [item for agent in chosen for item in agents.status(*place, home, agent)]
    return agent_wiring.result(found, lambda item: "in" if item["installed"] else "not in")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
