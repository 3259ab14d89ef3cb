"""Move the head of a worktree by compare-and-swap (step 11)

As a filter it sets head and latest of the worktree to the new snapshot if the head is still the one that step 1 saw.
Alone, `jvs-update-head NAME NEW [OLD]` sets both to the snapshot NEW if the head is OLD (`-` for no snapshot; left out:
whatever it is), and appends an audit record. Set already is success. The files are not touched.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, StaleHead, UsageError

RAISES = (*CHANGING, Ambiguous, StaleHead)
SEE_ALSO = ("jvs-resolve(1)", "jvs-rename-ready(1)", "jvs-with-lock(1)", "jvs-protocol(7)")
EXAMPLES = (("jvs-update-head main 1700000000000-0a1b2c3d", "move the head, whatever it was"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("update-head", __doc__)
    parser.add_argument("worktree", metavar="NAME", nargs="?", help="the worktree")
    parser.add_argument("new", metavar="NEW", nargs="?", help="the snapshot to set")
    parser.add_argument("old", metavar="OLD", nargs="?", help="what the head must be now")
    parser.add_argument("--record", action="store_true", help="filter a publish record from stdin to stdout")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Move one head, or do step 11."""
    from jvs.cli import pipeline
    from jvs.publish import steps
    from jvs.worktrees import heads

    if args.record:
        return pipeline.record_step(args, steps.update_head)
    if args.worktree is None or args.new is None:
        raise UsageError("name a worktree and a snapshot, or use --record", hint="jvs-update-head NAME NEW [OLD]")
    from jvs.store import refs

    store = cli.open_store(args)
    new = refs.resolve(store, args.new, args.worktree)
    old = args.old if args.old in (None, "-") else refs.resolve(store, args.old, args.worktree)
    config = heads.set_head(store, args.worktree, new, old)
    return cli.Result(config, f"{args.worktree}\t{config['head_snapshot_id']}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
