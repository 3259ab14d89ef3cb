"""Print a file as a snapshot holds it

Prints the content of the file PATH of the snapshot TARGET, or where a symbolic link leads to; no worktree is touched.
PATH begins at the top of the worktree, or in the current directory when it begins with `./` or `../`. The content is
checked against its hash before any of it is printed: nothing that was tampered with comes out.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, PathEscape, PayloadHashMismatch

RAISES = tuple(dict.fromkeys((*NAMING, PayloadHashMismatch, PathEscape)))
SEE_ALSO = ("jvs-ls(1)", "jvs-history(1)", "jvs-restore(1)", "jvs-cat-file(1)")
EXAMPLES = (
    ("jvs cat LATEST~1:src/model.py", "a file as it was one snapshot before the latest"),
    ("jvs cat baseline:./config.toml", "a file of the directory that you are in"),
    ("jvs cat LATEST:data.csv | head", "a file that was deleted since, piped on"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("cat", __doc__)
    parser.add_argument("what", metavar="TARGET:PATH", help="a snapshot, and a file in it")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Prove the content and print it."""
    from jvs.cli import contents

    return contents.print_file(cli.open_store(args), args.what, args.worktree)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
