"""Make a directory tree durable (step 5)

When it returns 0, everything below DIR survives a power cut: one syncfs where the filesystem is known to flush on
it (ext4, XFS, btrfs, f2fs, tmpfs), an fsync of each file and directory everywhere else. As a filter it does so for
the payload of a publish record.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import OPENING, NoSpace, UsageError

RAISES = (*OPENING, NoSpace)
SEE_ALSO = ("jvs-clone-tree(1)", "jvs-write-descriptor(1)", "jvs-protocol(7)")
EXAMPLES = (("jvs-sync-tree dataset-copy", "make a tree durable"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("sync-tree", __doc__)
    parser.add_argument("dir", metavar="DIR", nargs="?", help="the directory to make durable")
    parser.add_argument("--record", action="store_true", help="filter a publish record from stdin to stdout")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Sync one directory, or do step 5."""
    if args.record:
        from jvs.cli import pipeline
        from jvs.publish import steps

        return pipeline.record_step(args, steps.sync_tree)
    if args.dir is None:
        raise UsageError("name a directory, or use --record", hint="jvs-sync-tree DIR")
    from jvs.fs import durable, rooted

    directory = rooted.at(os.path.abspath(args.dir))
    with durable.Barrier(directory) as barrier:
        barrier.sync_trees([directory], [])
    return cli.Result({"synced": str(directory), "one_barrier": barrier.whole_filesystem})


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
