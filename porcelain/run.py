"""Run a command between snapshots, and roll back when it fails

Takes a snapshot of the worktree when it changed since the head, runs CMD, and says which paths CMD changed. With
--rollback a CMD that fails is undone: the files go back to the snapshot, and what CMD had written is kept for `jvs
undo`. The exit code is that of CMD, or 128 plus the number of the signal that ended it. With --json the report is the
only thing on stdout, and what CMD prints goes to stderr.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import CHANGING, CloneIncomplete, Detached, Dirty, PayloadHashMismatch, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.ui.run_text import RunDocument

RAISES = (*CHANGING, Detached, Dirty, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-snapshot(1)", "jvs-restore(1)", "jvs-undo(1)", "jvs-agents(7)")
EXAMPLES = (
    ("jvs run --rollback -- make install", "keep the result of a command, or nothing of it"),
    ("jvs run --note 'before cleanup' -- rm -r old", "have a way back"),
)
LISTED = 20


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("run", __doc__)
    parser.add_argument("--note", metavar="N", help="the note of the snapshot (the command line)")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="a tag for the snapshot; repeatable")
    parser.add_argument("--rollback", action="store_true", help="restore the files when CMD fails")
    parser.add_argument("--after", action="store_true", help="take a snapshot of what CMD changed, too")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    parser.add_argument("words", metavar="CMD", nargs=argparse.REMAINDER, help="the command, after '--'")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Snapshot if changed, run, compare, and roll back if asked to."""
    words = args.words
    if not words:
        raise UsageError("name a command to run", hint="jvs run [--rollback] -- CMD ...")
    import shlex

    from jvs.operations import programs, snapshots
    from jvs.ui import run_text

    store = cli.open_store(args)
    done = snapshots.run(
        store,
        lambda: programs.run(words, quiet=args.json).status,
        shlex.join(words),
        args.worktree,
        note=args.note,
        tags=args.tag,
        rollback=args.rollback,
        after=args.after,
        environment=os.environ,
    )
    value: RunDocument = {"command": words, **done}
    return cli.Result(value, lambda screen: run_text.report(value, screen), exit=done["exit"])


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
