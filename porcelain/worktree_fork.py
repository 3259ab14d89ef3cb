"""Make a worktree from a snapshot

Makes `worktrees/NAME` (in place: `.jvs/forks/NAME`; with --path PATH, or by the setting worktrees.path, anywhere on the
same filesystem, outside of the repository and of every worktree) with everything that the snapshot holds, files that
git ignores, '.git' and '.venv' included, by the best engine that works here. One word is the new NAME, whatever
snapshots are called; of two, the first is TARGET. Without TARGET the worktree is made from the head of the worktree
around you, without NAME it is called fork-SHORTID. With --now a snapshot is taken first when something changed, and the
fork has the files as they are; --with-excluded brings along what is excluded, by sharing blocks where the filesystem
can: environments in it go on naming the paths of the worktree that they were made in, and 'jvs enter' shows the fork
there.

With --copy PATH may be on another filesystem. Nothing can be shared there, so that everything is copied, also what a
restore in that worktree displaces, and the worktree when it is removed; an undo of that brings it back inside of the
repository.

An engine that reads every byte checks the snapshot on the way; --verify reads and checks it first with any engine.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, CloneIncomplete, Exists, PayloadHashMismatch, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.operations.worktrees import Forked
    from jvs.ui.terminal import Terminal

RAISES = (*CHANGING, Ambiguous, Exists, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-worktree-create(1)", "jvs-worktree-remove(1)", "jvs-worktree-path(1)", "jvs-engines(7)")
EXAMPLES = (
    ("jvs fork experiment", "go on in a worktree of its own"),
    ("jvs fork --now attempt", "with what no snapshot holds yet"),
    ("jvs fork --now --with-excluded twin", "with its environments and caches as well"),
    ("jvs fork trial --path ~/trial", "in a directory of its own"),
    ("jvs fork baseline trial-2", "from a snapshot with that tag"),
    ("jvs fork --at baseline", "the same, under a name that is made"),
    ('cd "$(jvs worktree path experiment)"', "work there"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree fork", __doc__)
    parser.add_argument("word", metavar="[TARGET] NAME", nargs="*", help="the new name, alone or after a snapshot")
    parser.add_argument("--at", metavar="TARGET", help="the snapshot (the head)")
    parser.add_argument("--now", action="store_true", help="from the files as they are now: snapshot first")
    parser.add_argument("--with-excluded", action="store_true", help="with --now: bring along what is excluded")
    parser.add_argument("--path", metavar="PATH", help="where to make it, outside of the repository")
    parser.add_argument("--copy", action="store_true", help="with --path: it may be on another filesystem")
    parser.add_argument("--verify", action="store_true", help="read and check the snapshot first")
    parser.add_argument("--engine", metavar="ENGINE", help="use this engine, or fail")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Fork."""
    from jvs.operations import worktrees

    *targets, name = args.word or [None]
    if len(targets) > 1 or (targets and args.at is not None):
        raise UsageError("too many words", hint="jvs fork [TARGET] NAME, or jvs fork --at TARGET [NAME]")
    target = targets[0] if targets else args.at
    if args.now and target is not None:
        raise UsageError("--now and a snapshot do not go together", hint="jvs fork --now NAME, or jvs fork TARGET NAME")
    store = cli.open_store(args)
    now = os.environ if args.now else None
    made = worktrees.fork(
        store,
        name,
        target=target,
        verify=args.verify,
        now=now,
        path=args.path,
        with_excluded=args.with_excluded,
        copy=args.copy,
    )
    return cli.Result(made, lambda screen: _text(made, screen))


def _text(made: Forked, screen: Terminal) -> str:
    name, snapshot_id = made["name"], made["snapshot_id"]
    lines = [f"Created worktree '{name}' from snapshot {snapshot_id}"]
    if screen.tty and len(lines[0]) > screen.width:
        lines = [f"Created worktree '{name}'", f"  from snapshot {snapshot_id}"]
    lines.append(made["path"])
    if not made["degraded"]:
        return "\n".join(lines) + "\n"
    from jvs.ui import created_text, terminal

    for loss in made["degraded"][:10]:
        lines += terminal.wrap(created_text.show_loss(loss), screen, "not kept: ", "  ")
    if len(made["degraded"]) > 10:
        lines.append(f"  ... and {len(made['degraded']) - 10} more; '--json' lists them")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
