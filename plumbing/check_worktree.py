"""Check that a snapshot of a worktree may begin (step 1)

Checks the repository's format, the worktree, its head, and the policy for detached worktrees; writes nothing. Prints
the worktree, the id that a snapshot would get, and its parent, with TABs between. With --record it prints the publish
record that the other steps read and extend.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import READING, Detached

RAISES = (*READING, Detached)
SEE_ALSO = ("jvs-write-intent(1)", "jvs-snapshot(1)", "jvs-protocol(7)", "jvs-plumbing(7)")
EXAMPLES = (("jvs-check-worktree main", "check, and print worktree, new id and parent"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("check-worktree", __doc__)
    parser.add_argument("worktree", metavar="WORKTREE", nargs="?", help="the worktree (the one around you, or main)")
    parser.add_argument("--record", action="store_true", help="print the publish record")
    parser.add_argument("--paths", metavar="P", action="append", default=[], help="only this path; repeatable")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Do step 1."""
    from jvs.cli import pipeline
    from jvs.publish import record as publish_record
    from jvs.publish import steps

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    paths = cli.worktree_paths(store, name, args.paths) if args.paths else None
    record = steps.check_worktree(store, publish_record.new(store.root, name, paths))
    if args.record:
        return pipeline.record_result(record)
    line = f"{name}\t{record['snapshot_id']}\t{record['parent_id'] or '-'}\n"
    return cli.Result(record, line)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
