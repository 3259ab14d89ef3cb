"""Make a worktree from a snapshot

Makes `worktrees/NAME` with everything that the snapshot holds, ignored files, '.git' and '.venv' included, by the best
engine that works here. One word is TARGET when it answers to exactly one snapshot, else the new NAME; without NAME
the worktree is called fork-SHORTID, without TARGET it is made from the head of the worktree around you.

An engine that reads every byte checks the snapshot on the way; --verify reads and checks it first with any engine.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, CloneIncomplete, Exists, PayloadHashMismatch
from jvs.store import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.ui.terminal import Terminal
    from jvs.worktrees.fork import Made

RAISES = (*CHANGING, Ambiguous, Exists, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-worktree-create(1)", "jvs-worktree-remove(1)", "jvs-worktree-path(1)", "jvs-engines(7)")
EXAMPLES = (
    ("jvs fork experiment", "go on in a worktree of its own"),
    ("jvs fork baseline trial-2", "from a snapshot with that tag"),
    ('cd "$(jvs worktree path experiment)"', "work there"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree fork", __doc__)
    parser.add_argument("word", metavar="[TARGET] [NAME]", nargs="*", help="the snapshot, the new name, or both")
    parser.add_argument("--at", metavar="TARGET", help="the snapshot, when the only word is the name")
    parser.add_argument("--verify", action="store_true", help="read and check the snapshot first")
    parser.add_argument("--engine", metavar="ENGINE", help="use this engine, or fail")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Fork."""
    from jvs import names
    from jvs.worktrees import fork

    store = cli.open_store(args)
    here = store.worktree_name()
    snapshot_id, name = fork.choose(store, args.word, args.at, here)
    name = names.check_worktree_name(name)
    with changing.worktree(store, name):
        made = fork.fork(store, snapshot_id, name, verify=args.verify)
    return cli.Result({**made, "snapshot_id": snapshot_id}, lambda screen: _text(made, name, snapshot_id, screen))


def _text(made: Made, name: str, snapshot_id: str, screen: Terminal) -> str:
    lines = [f"Created worktree '{name}' from snapshot {snapshot_id}"]
    if screen.tty and len(lines[0]) > screen.width:
        lines = [f"Created worktree '{name}'", f"  from snapshot {snapshot_id}"]
    lines.append(made["path"])
    if not made["degraded"]:
        return "\n".join(lines) + "\n"
    from jvs.ui import history_text, terminal

    for loss in made["degraded"][:10]:
        lines += terminal.wrap(history_text.show_loss(loss), screen, "not kept: ", "  ")
    if len(made["degraded"]) > 10:
        lines.append(f"  ... and {len(made['degraded']) - 10} more; '--json' lists them")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
