"""Clone a directory with the best engine (step 3)

Alone it clones SRC to DST, which must not exist, with the best engine that works there or the one that --engine
names, and prints the engine and what could not be kept. As a filter it clones the worktree of a publish record to
`snapshots/ID.tmp`, and adds `engine` and `degraded`. DST appears complete or not at all: it is made as
`DST.XXXXXXXX.tmp` and renamed. It holds all of SRC; --skip-root-control leaves `.jvs` at the root of it out.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import OPENING, CloneIncomplete, Exists, NoSpace, NotFound, UsageError

RAISES = (*OPENING, NoSpace, NotFound, Exists, CloneIncomplete)
SEE_ALSO = ("jvs-probe-engine(1)", "jvs-hash-tree(1)", "jvs-engines(7)", "jvs-plumbing(7)")
EXAMPLES = (("jvs-clone-tree dataset dataset-copy", "clone a directory, as cheaply as the filesystem can"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("clone-tree", __doc__)
    parser.add_argument("source", metavar="SRC", nargs="?", help="the directory to clone")
    parser.add_argument("target", metavar="DST", nargs="?", help="the clone; must not exist")
    parser.add_argument("--record", action="store_true", help="filter a publish record from stdin to stdout")
    parser.add_argument("--engine", metavar="ENGINE", help="use this engine, or fail")
    parser.add_argument("--allow-unreadable", action="store_true", help="leave out what cannot be read, and say so")
    parser.add_argument("--skip-root-control", action="store_true", help="leave '.jvs' at the root of SRC out")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Clone one directory, or do step 3."""
    if args.record:
        from jvs.cli import pipeline
        from jvs.publish import steps

        return pipeline.record_step(
            args, steps.clone_tree, requested=args.engine, allow_unreadable=args.allow_unreadable
        )
    if args.source is None or args.target is None:
        raise UsageError("name a source and a target, or use --record", hint="jvs-clone-tree SRC DST")
    from jvs import clock
    from jvs.engine import base as engine
    from jvs.engine import registry
    from jvs.engine.btrfs.ioctl import is_btrfs
    from jvs.fs import durable, paths, rooted
    from jvs.tree.exclusion import RESERVED, Exclusion

    if os.path.lexists(args.target):
        raise Exists(f"'{args.target}' is already there", hint="remove it, or clone to another name")
    settings = cli.settings_of(args)
    source, target = rooted.at(args.source), rooted.at(os.path.abspath(args.target))
    request = engine.Request(source, target.plus(f".{clock.random_hex(8)}.tmp"))
    request.allow_unreadable = args.allow_unreadable
    request.exclude = Exclusion() if args.skip_root_control and paths.exists(source / RESERVED) else None
    wanted, options = settings.get("default_engine"), settings.engine_options()
    if request.exclude is not None and wanted in (None, "auto", engine.BTRFS) and is_btrfs(source):
        wanted = engine.REFLINK  # a snapshot of a subvolume holds all of it
    chosen = registry.pick_for_fork(wanted, source, target.parent, options)
    try:
        cloned = chosen.fork(request)
        durable.publish(request.target, target)
    except BaseException:
        registry.remove_any(request.target, options)
        raise
    value = {"engine": cloned.engine, "degraded": cloned.degraded}
    lines = [cloned.engine, *(f"{lost['path']}\t{lost['what']}\t{lost['why']}" for lost in cloned.degraded)]
    return cli.Result(value, "\n".join(lines) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
