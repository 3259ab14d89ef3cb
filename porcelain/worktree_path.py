"""Print where a worktree's files are

Prints the absolute path of the worktree NAME, or of the one around you, on one line.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import READING

RAISES = READING
SEE_ALSO = ("jvs-worktree-list(1)", "jvs-worktree-fork(1)")
EXAMPLES = (('cd "$(jvs worktree path experiment)"', "go to a worktree"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree path", __doc__)
    parser.add_argument("name", metavar="NAME", nargs="?", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Print the path."""
    from jvs import names

    store = cli.open_store(args)
    name = names.check_worktree_name(store.worktree_name(args.name))
    path = str(store.require_worktree(name))
    return cli.Result({"name": name, "path": path}, os.fsencode(path) + b"\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
