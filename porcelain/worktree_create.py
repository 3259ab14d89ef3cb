"""Make a worktree, empty or from a snapshot

Makes `worktrees/NAME`, empty or with the files of the snapshot that --from names, and registers it. It is there as a
whole or not at all.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, CloneIncomplete, Exists, PayloadHashMismatch
from jvs.store import changing

RAISES = (*CHANGING, Ambiguous, Exists, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-worktree-fork(1)", "jvs-worktree-remove(1)", "jvs-worktree-list(1)")
EXAMPLES = (
    ("jvs worktree create scratch", "make an empty worktree"),
    ("jvs worktree create trial --from baseline", "make one with the files of a snapshot"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree create", __doc__)
    parser.add_argument("name", metavar="NAME", help="its name")
    parser.add_argument("--from", dest="source", metavar="TARGET", help="begin with the files of this snapshot")
    parser.add_argument("--engine", metavar="ENGINE", help="use this engine, or fail")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Make it."""
    from jvs import names
    from jvs.store import refs
    from jvs.worktrees import fork

    store = cli.open_store(args)
    name = names.check_worktree_name(args.name)
    with changing.worktree(store, name):
        snapshot_id = refs.resolve(store, args.source, store.worktree_name()) if args.source is not None else None
        made = fork.create(store, name, snapshot_id)
    origin = f" from snapshot {snapshot_id}" if snapshot_id else ""
    return cli.Result(made, f"Created worktree '{name}'{origin}\n{made['path']}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
