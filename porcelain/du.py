"""Show what takes the space: each snapshot, and what else is kept

Lists the snapshots, those first whose removal frees most: what each alone frees, what it shares with others and which
therefore stays, and what its files show. What protects one from a collection is said. Then what all of them free
together, which is more than the sum, and what 'undo', pending tries, the trash, the index, records and log hold. With
TARGETs it is about these. 'about' marks an estimate: space is exact only where the filesystem knows, ext4 by its links,
btrfs when root asks. On JuiceFS, which counts each clone in full, so does this. 'jvs gc drop' frees what is listed
here, 'jvs gc auto --max-bytes' the oldest.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, READING

RAISES = tuple(dict.fromkeys((*READING, *NAMING)))
SEE_ALSO = ("jvs-gc-drop(1)", "jvs-gc-auto(1)", "jvs-undo(1)", "jvs-info(1)", "jvs-engines(7)")
EXAMPLES = (
    ("jvs du", "what takes the space, and what would be freed"),
    ("jvs du HEAD HEAD~1", "what these two hold, each and together"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("du", __doc__, jsonl=True)
    parser.add_argument("targets", metavar="TARGET", nargs="*", help="a snapshot (all of them)")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree that targets are about")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Measure."""
    from jvs.operations import collection
    from jvs.ui import usage_text

    value = collection.usage(cli.open_store(args), args.targets, args.worktree)
    return cli.Result(value, lambda screen: usage_text.page(value, screen), items=value["snapshots"])


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
