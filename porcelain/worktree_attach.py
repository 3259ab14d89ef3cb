"""Bind a directory as a worktree, after it was moved or copied by hand

Says that the directory PATH is the worktree that its file `.jvs` names: it was moved with mv(1), or copied with `cp -a`
and is the one to go on with. It gets a new token, so that no other copy of it counts any more. Where that file is lost,
NAME says which worktree it is. The repository is the one that --repo names, that PATH leads to, or around you.

Where PATH is a repository itself, and leads elsewhere than it did when you used it last, this says that it is meant.
No file in PATH but `.jvs` is touched.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING

RAISES = CHANGING
SEE_ALSO = ("jvs-worktree-move(1)", "jvs-worktree-list(1)", "jvs-threats(7)")
EXAMPLES = (
    ("jvs worktree attach .", "this directory is the worktree"),
    ("jvs worktree attach ~/trial-2", "that one is, after 'mv'"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree attach", __doc__)
    parser.add_argument("path", metavar="PATH", help="the directory with the files of the worktree")
    parser.add_argument("name", metavar="NAME", nargs="?", help="which worktree it is (what its .jvs says)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Attach."""
    from jvs.operations import worktrees
    from jvs.ui import terminal

    done = worktrees.attach(cli.settings_of(args), args.path, args.name, start=cli.here())
    return cli.Result(done, f"Attached {terminal.show_text(done['path'])} as worktree '{done['name']}'\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
