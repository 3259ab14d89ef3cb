"""Give a worktree another name

Renames `worktrees/OLD` to `worktrees/NEW`, or where a worktree is elsewhere gives it the name only; the files, and
whatever works in them, do not notice. main keeps its name. 'jvs undo' reverses it.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Exists

RAISES = (*CHANGING, Exists)
SEE_ALSO = ("jvs-worktree-list(1)", "jvs-undo(1)")
EXAMPLES = (("jvs worktree rename trial-2 winner", "rename a worktree"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree rename", __doc__)
    parser.add_argument("old", metavar="OLD", help="the name it has")
    parser.add_argument("new", metavar="NEW", help="the name it gets")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Rename."""
    from jvs.operations import worktrees

    value = worktrees.rename(cli.open_store(args), args.old, args.new)
    return cli.Result(value, f"Renamed worktree '{value['old']}' to '{value['new']}'\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
