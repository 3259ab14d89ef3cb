"""Print what merging three snapshots gives

Merges B into A, both compared with SNAPSHOT, and prints one JSON object: `changes`, what would have to change in A
(path, how: copy, make, drop or meta, and the entry that comes), and `conflicts`, the paths that both changed
differently. No file is read and nothing is changed. The status is 7 when there are conflicts.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, Conflict, PayloadHashMismatch

RAISES = (*NAMING, PayloadHashMismatch, Conflict)
SEE_ALSO = ("jvs-merge(1)", "jvs-merge-base(1)", "jvs-diff-tree(1)", "jvs-ls-tree(1)")
EXAMPLES = (("jvs-merge-tree $(jvs-merge-base HEAD good) HEAD good", "what merging good into HEAD would do"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("merge-tree", __doc__)
    parser.add_argument("base", metavar="SNAPSHOT", help="the snapshot that both sides are compared with")
    parser.add_argument("ours", metavar="A", help="our side")
    parser.add_argument("theirs", metavar="B", help="the side that is merged into it")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Merge the trees, and print what comes of it."""
    from jvs.operations import merging
    from jvs.store import refs
    from jvs.ui import merge_text

    store = cli.open_store(args)
    base, ours, theirs = (refs.resolve(store, word) for word in (args.base, args.ours, args.theirs))
    value = merge_text.tree_facts(merging.merge_trees(store, base, ours, theirs), base, ours, theirs)
    return cli.Result(value, cli.json_bytes(value) + b"\n", exit=Conflict.exit if value["conflicts"] else 0)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
