"""Wire an agent to jvs: a snapshot around each tool, and the tools of jvs

Adds to Claude Code's own settings two hooks, which take a snapshot before and after each tool that may change files,
and the MCP server `jvs mcp`; to those of codex, gemini and opencode the MCP server. Nothing else in the files changes,
and what is there already stays; running it again adds nothing. --project (the default) writes to the current directory,
--user to your home: `.claude/settings.json` with `.mcp.json` (`~/.claude.json`), `.codex/config.toml`,
`.gemini/settings.json`, `opencode.json` (`~/.config/opencode/opencode.json`).
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import agent_wiring
from jvs.cli import run as cli
from jvs.errors import Busy, IOFailure, NoSpace, UsageError

RAISES = (UsageError, IOFailure, NoSpace, Busy)
SEE_ALSO = ("jvs-agent-uninstall(1)", "jvs-agent-status(1)", "jvs-mcp(1)", "jvs-agents(7)")
EXAMPLES = (
    ("jvs agent install claude", "for this project"),
    ("jvs agent install codex", "the tools of jvs for Codex"),
    ("jvs agent install claude --user --dry-run", "say what would change for all projects"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("agent install", __doc__)
    agent_wiring.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Add what is missing."""
    from jvs.operations import agents

    added = "would be added to" if args.dry_run else "added to"
    found = agents.install(*agent_wiring.place(args), os.environ.get("HOME"), args.agent, dry_run=args.dry_run)
    return agent_wiring.result(found, lambda item: added if item["changed"] else "there already, in")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
