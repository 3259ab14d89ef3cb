"""What the commands on an agent's wiring share: their options, and a line for each settings file.

Source: jvs-agent-install(1), jvs-agent-uninstall(1), jvs-agent-status(1).
"""

from __future__ import annotations

from jvs.cli import run as cli

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from jvs.operations.agents import Scope, Wired


_PRODUCTS = {"claude-code": "claude", "gemini-cli": "gemini"}


def add_options(parser: argparse.ArgumentParser, *, changes: bool = True) -> None:
    """Give a parser the agent and the scope of its settings, and to what `changes` them a dry run.

    What only looks needs no agent, and looks at all of them then.
    """
    from jvs.operations.agents import AGENTS

    agents = "claude (Claude Code), codex, gemini (Gemini CLI) or opencode"
    parser.add_argument(
        "agent",
        metavar="AGENT",
        choices=AGENTS,
        type=lambda word: _PRODUCTS.get(word, word),
        nargs=None if changes else "?",
        help=agents if changes else f"{agents} (all of them)",
    )
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--project", action="store_true", help="the settings in the current directory (the default)")
    scope.add_argument("--user", action="store_true", help="your own settings, for all projects")
    if changes:
        parser.add_argument("-n", "--dry-run", action="store_true", help="say what would change, and change nothing")


def place(args: argparse.Namespace) -> tuple[Scope, str]:
    """Return the scope and the directory of a project."""
    return "user" if args.user else "project", cli.here()


def result(found: list[Wired], words: Callable[[Wired], str]) -> cli.Result:
    """Return what a command found or did; `words` says it of one file: `in`, `added to`."""
    from jvs.ui.terminal import show_text

    lines = (
        f"{'hooks' if item['part'] == 'hooks' else 'MCP server'}: {words(item)} {show_text(item['file'])}\n"
        for item in found
    )
    return cli.Result(found, "".join(lines))
