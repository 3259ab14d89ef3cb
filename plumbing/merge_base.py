"""Print where the lines of two snapshots meet

Prints the ids of the best common ancestors of A and B, one on each line: none of them is an ancestor of another. Both
parents of a merged snapshot count. There are several when two lines were merged into each other. With none the status
is 5.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, NotFound

RAISES = NAMING
SEE_ALSO = ("jvs-merge(1)", "jvs-merge-tree(1)", "jvs-history(1)", "jvs-protocol(7)")
EXAMPLES = (("jvs-merge-base HEAD baseline", "where the two meet"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("merge-base", __doc__)
    parser.add_argument("a", metavar="A", help="a snapshot")
    parser.add_argument("b", metavar="B", help="a snapshot")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Find the best common ancestors."""
    from jvs.operations import merging
    from jvs.store import refs

    store = cli.open_store(args)
    a, b = (refs.resolve(store, word) for word in (args.a, args.b))
    found = merging.merge_bases(store, a, b)
    if not found:
        raise NotFound(f"'{a}' and '{b}' have no snapshot in common", hint="'jvs history --graph' shows all lines")
    return cli.Result(found, "".join(f"{snapshot_id}\n" for snapshot_id in found))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
