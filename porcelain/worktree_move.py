"""Move a worktree to another place

Renames the directory of the worktree NAME to PATH, which must be free, outside of the repository and of every other
worktree, and on the same filesystem. Nothing is copied, and what works in it does not notice. Without PATH it goes back
to where worktrees are: `worktrees/NAME`, in place `.jvs/forks/NAME`. A file `.jvs` in it leads to the repository.

When it returns 0 the move is durable; after a crash the worktree is where it was or where it was to go, and the next
command completes the rest.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Exists

RAISES = (*CHANGING, Exists)
SEE_ALSO = ("jvs-worktree-attach(1)", "jvs-worktree-rename(1)", "jvs-worktree-path(1)")
EXAMPLES = (("jvs worktree move trial-2 ~/trial-2", "work on it elsewhere"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree move", __doc__)
    parser.add_argument("name", metavar="NAME", help="the worktree")
    parser.add_argument("path", metavar="PATH", nargs="?", help="where it goes (back into the repository)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Move."""
    from jvs.operations import worktrees
    from jvs.ui import terminal

    done = worktrees.move(cli.open_store(args), args.name, args.path)
    return cli.Result(done, f"Moved worktree '{done['name']}' to {terminal.show_text(done['path'])}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
