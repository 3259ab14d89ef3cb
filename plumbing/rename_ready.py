"""Give payload and descriptor their final names (steps 9 and 10)

As a filter it renames `snapshots/ID.tmp` to `ID` and `descriptors/ID.json.tmp` to `ID.json`, in this order, and makes
each durable; done already is success. Alone it publishes any directory atomically: `jvs-rename-ready TMP FINAL` makes
TMP durable, renames it to FINAL, which must be free, and makes the name durable. TMP missing and FINAL
present is success.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import OPENING, DescriptorCorrupt, Exists, NoSpace, NotFound, PartialSnapshot, UsageError

RAISES = (*OPENING, NoSpace, NotFound, Exists, DescriptorCorrupt, PartialSnapshot)
SEE_ALSO = ("jvs-sync-tree(1)", "jvs-update-head(1)", "jvs-plumbing(7)", "jvs-protocol(7)")
EXAMPLES = (("jvs-rename-ready build.tmp build", "publish a directory atomically"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("rename-ready", __doc__)
    parser.add_argument("source", metavar="TMP", nargs="?", help="the finished directory or file")
    parser.add_argument("target", metavar="FINAL", nargs="?", help="its final name; must be free")
    parser.add_argument("--record", action="store_true", help="filter a publish record from stdin to stdout")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Publish one directory, or do steps 9 and 10."""
    if args.record:
        from jvs.cli import pipeline
        from jvs.publish import steps

        return pipeline.record_step(args, steps.rename_ready)
    if args.source is None or args.target is None:
        raise UsageError("name both names, or use --record", hint="jvs-rename-ready TMP FINAL")
    from jvs.fs import durable, paths, rooted

    value = {"from": os.path.abspath(args.source), "to": os.path.abspath(args.target)}
    source, target = rooted.at(value["from"]), rooted.at(value["to"])
    if not paths.exists(source):
        if paths.exists(target):
            return cli.Result(value)
        raise NotFound(f"'{args.source}' is not there", hint="name what is to be published")
    if paths.exists(target):
        raise Exists(f"'{args.target}' is already there", hint="move it away first: nothing is replaced")
    with durable.Barrier(source.parent) as barrier:
        is_dir = paths.is_dir(source)
        barrier.sync_trees([source] if is_dir else [], [] if is_dir else [source])
    durable.publish(source, target)
    return cli.Result(value)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
