"""Wire an agent to jvs: a snapshot around each tool, and the tools of jvs

Adds to Claude Code's own settings two hooks, which take a snapshot before and after each tool that may change files,
and the MCP server `jvs mcp`. Nothing else in the files changes, and what is there already stays; running it again
adds nothing. --project (the default) writes `.claude/settings.json` and `.mcp.json` in the current directory, --user
`~/.claude/settings.json` and `~/.claude.json`.
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
SEE_ALSO = ("jvs-agent-uninstall(1)", "jvs-agent-status(1)", "jvs-mcp(1)", "jvs-agents(7)")
EXAMPLES = (
    ("jvs agent install claude", "for this project"),
    ("jvs agent install claude --user --dry-run", "say what would change for all projects"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("agent install", __doc__)
    parser.add_argument("agent", metavar="AGENT", choices=("claude",), help="claude: Claude Code")
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--project", action="store_true", help="the settings in the current directory (the default)")
    scope.add_argument("--user", action="store_true", help="your own settings, for all projects")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would change, and change nothing")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Add what is missing."""
    from jvs.operations import agents

    scope: Scope = "user" if args.user else "project"
    found = agents.install(scope, cli.here(), os.environ.get("HOME"), dry_run=args.dry_run)
    return cli.Result(found, "".join(_line(item, dry_run=args.dry_run) for item in found))


def _line(item: Wired, *, dry_run: bool) -> str:
    from jvs.ui.terminal import show_text

    what = "hooks" if item["part"] == "hooks" else "MCP server"
    if not item["changed"]:
        return f"{what}: there already, in {show_text(item['file'])}\n"
    return f"{what}: {'would be added to' if dry_run else 'added to'} {show_text(item['file'])}\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
