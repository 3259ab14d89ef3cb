"""Take the wiring of an agent away again

Removes from Claude Code's own settings what 'jvs agent install' adds, and nothing else. Running it again removes
nothing.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import Busy, IOFailure, NoSpace, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.operations.agents import Scope, Wired

RAISES = (UsageError, IOFailure, NoSpace, Busy)
SEE_ALSO = ("jvs-agent-install(1)", "jvs-agent-status(1)", "jvs-mcp(1)", "jvs-agents(7)")
EXAMPLES = (("jvs agent uninstall claude", "for this project"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("agent uninstall", __doc__)
    parser.add_argument("agent", metavar="AGENT", choices=("claude",), help="claude: Claude Code")
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--project", action="store_true", help="the settings in the current directory (the default)")
    scope.add_argument("--user", action="store_true", help="your own settings, for all projects")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would change, and change nothing")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Remove what is there."""
    from jvs.operations import agents

    scope: Scope = "user" if args.user else "project"
    found = agents.uninstall(scope, cli.here(), os.environ.get("HOME"), dry_run=args.dry_run)
    return cli.Result(found, "".join(_line(item, dry_run=args.dry_run) for item in found))


def _line(item: Wired, *, dry_run: bool) -> str:
    from jvs.ui.terminal import show_text

    what = "hooks" if item["part"] == "hooks" else "MCP server"
    if not item["changed"]:
        return f"{what}: not in {show_text(item['file'])}\n"
    return f"{what}: {'would be removed from' if dry_run else 'removed from'} {show_text(item['file'])}\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
