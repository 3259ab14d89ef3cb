"""Show where the worktree is and what changed since

Compares the files of the worktree with the snapshot that it was last brought to (its head). Directories and files
that did not change since are recognised by their stamps and not read. Besides content, kind and mode the owner, the
mtime, all extended attributes that a snapshot keeps, and hard links are compared; the times of directories are not, as
every temporary file moves them (a restore puts them right all the same). Writes nothing below the worktree. Before
the first snapshot everything counts as added. The exit code is 0 either way; with --exit-code it is 3 when something
changed.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import READING, PayloadHashMismatch

RAISES = (*READING, PayloadHashMismatch)
SEE_ALSO = ("jvs-diff(1)", "jvs-snapshot(1)", "jvs-restore(1)", "jvs-history(1)")
EXAMPLES = (
    ("jvs status", "where am I, and what changed"),
    ("jvs status -s", "one line for each path"),
    ("jvs status --porcelain -z", "the same for scripts, raw names"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("status", __doc__, zero=True)
    parser.add_argument(
        "path", metavar="PATH", nargs="*", help="only these paths or patterns, and what lies below them"
    )
    parser.add_argument("-s", "--short", action="store_true", help="a letter (A, M, D) and a path on each line")
    parser.add_argument("--porcelain", action="store_true", help="as --short, in a form that never changes, no colour")
    parser.add_argument("--exit-code", action="store_true", help="exit 3 when something changed")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Look at the worktree."""
    from jvs.operations import looking
    from jvs.ui import status_text

    store = cli.open_store(args)
    found = looking.status(store, args.worktree, paths=cli.worktree_paths(store, args.worktree, args.path))
    code = 3 if args.exit_code and not found.clean else 0
    if args.short or args.porcelain or args.zero:
        form = {"zero": args.zero, "plain": args.porcelain}
        return cli.Result(
            found.as_json(), lambda screen: status_text.short(found, screen, **form), exit=code, pager=args.short
        )
    return cli.Result(
        found.as_json(), lambda screen: status_text.long(store.layout, found, screen), exit=code, pager=True
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
