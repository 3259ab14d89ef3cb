"""Write down what is about to be done (step 2)

Writes `intents/ID.json`, the write-ahead log of one snapshot, and makes it durable. While it is there, nobody sees
the snapshot; when its owner is dead, the next command recovers it. The owner is the process that runs the pipeline,
which is the parent of this one unless --owner-pid says another.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken, NoSpace

RAISES = (*OPENING, NoSpace, AuditChainBroken)
SEE_ALSO = ("jvs-check-worktree(1)", "jvs-clone-tree(1)", "jvs-list-intents(1)", "jvs-protocol(7)")
EXAMPLES = (("jvs-check-worktree --record main | jvs-write-intent --record", "begin a snapshot by hand"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("write-intent", __doc__)
    parser.add_argument("--record", action="store_true", required=True, help="filter a publish record")
    parser.add_argument("--owner-pid", metavar="PID", type=int, help="the process that owns the operation")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Do step 2."""
    from jvs.cli import pipeline
    from jvs.publish import steps
    from jvs.store import intent

    owner = intent.owner(args.owner_pid or os.getppid(), locked=False)
    return pipeline.record_step(args, steps.write_intent, owner=owner)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
