"""List what a snapshot holds

Lists the directory PATH of the snapshot TARGET (all of it without PATH, the latest snapshot without TARGET): kind and
mode, size and name of each entry. PATH begins at the top of the worktree, or in the current directory when it begins
with `./` or `../`. No file is read for that.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, PathEscape, PayloadHashMismatch

RAISES = tuple(dict.fromkeys((*NAMING, PayloadHashMismatch, PathEscape)))
SEE_ALSO = ("jvs-cat(1)", "jvs-history(1)", "jvs-diff(1)", "jvs-ls-tree(1)")
EXAMPLES = (
    ("jvs ls baseline:src", "a directory of a snapshot"),
    ("jvs ls -r LATEST~1", "everything, with its paths"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("ls", __doc__, jsonl=True, zero=True)
    parser.add_argument("what", metavar="TARGET[:PATH]", nargs="?", default="LATEST", help="a snapshot (the latest)")
    parser.add_argument("-r", "--recursive", action="store_true", help="also what lies in subdirectories")
    parser.add_argument("-1", "--names", action="store_true", help="names alone, one on each line")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Find the directory and list it."""
    from jvs.cli import contents
    from jvs.operations import looking
    from jvs.ui import listing_text

    store = cli.open_store(args)
    target, path = contents.target_and_path(store, args.what, args.worktree)
    found = looking.ls(store, target, path, recursive=args.recursive)
    value = listing_text.facts(found)
    if args.zero:
        return cli.Result(value, b"".join(path + b"\0" for path, _ in found), items=value)
    return cli.Result(value, lambda screen: listing_text.table(found, screen, names=args.names), items=value)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
