"""Say whether an agent is wired to jvs

Looks for the hooks and the MCP server of 'jvs agent install' in Claude Code's own settings. Writes nothing.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import IOFailure, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.operations.agents import Scope, Wired

RAISES = (UsageError, IOFailure)
SEE_ALSO = ("jvs-agent-install(1)", "jvs-agent-uninstall(1)", "jvs-mcp(1)", "jvs-agents(7)")
EXAMPLES = (("jvs agent status claude", "for this project"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("agent status", __doc__)
    parser.add_argument("agent", metavar="AGENT", choices=("claude",), help="claude: Claude Code")
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--project", action="store_true", help="the settings in the current directory (the default)")
    scope.add_argument("--user", action="store_true", help="your own settings, for all projects")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Look."""
    from jvs.operations import agents

    scope: Scope = "user" if args.user else "project"
    found = agents.status(scope, cli.here(), os.environ.get("HOME"))
    return cli.Result(found, "".join(_line(item) for item in found))


def _line(item: Wired) -> str:
    from jvs.ui.terminal import show_text

    what = "hooks" if item["part"] == "hooks" else "MCP server"
    return f"{what}: {'in' if item['installed'] else 'not in'} {show_text(item['file'])}\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
