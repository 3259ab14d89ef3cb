"""Remove a worktree, keeping what no snapshot holds

Takes `worktrees/NAME`, or the directory of a worktree elsewhere, away. The whole of it is kept for a while, and 'jvs
undo' gives it back; its snapshots stay in any case. --discard keeps nothing and says how many bytes went. main cannot
be removed.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.worktrees.move import Removed

RAISES = CHANGING
SEE_ALSO = ("jvs-undo(1)", "jvs-worktree-list(1)", "jvs-gc-plan(1)")
EXAMPLES = (
    ("jvs worktree remove trial-2", "remove a worktree"),
    ("jvs undo", "give it back"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("worktree remove", __doc__)
    parser.add_argument("name", metavar="NAME", help="the worktree")
    parser.add_argument("-f", "--force", action="store_true", help="accepted, and changes nothing: all is kept anyway")
    parser.add_argument("--discard", action="store_true", help="keep nothing: this cannot be undone")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Remove."""
    from jvs.operations import worktrees

    done = worktrees.remove(cli.open_store(args), args.name, discard=args.discard)
    return cli.Result(done, _text(done))


def _text(done: Removed) -> str:
    from jvs.units import plural, size

    text = f"Removed worktree '{done['name']}'\n"
    if done["changes"]:
        text += f"{plural(done['changes'], 'entry', 'entries')} in it were in no snapshot\n"
    elif done["changes"] is None:
        text += "whether snapshots hold everything in it could not be found out\n"
    if done["discarded"]:
        freed = f"{'' if done['exact'] else 'about '}{size(done['freed_bytes'])}"
        return text + f"discarded {size(done['bytes'])} of files, which frees {freed}: this cannot be undone\n"
    return text + "all of it is kept: 'jvs undo' gives it back\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
