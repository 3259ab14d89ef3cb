"""Around a command of somebody else: a snapshot before it, what it changed, and back again.

Source: jvs-run(1).
"""

from __future__ import annotations

from jvs import units
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal, TypedDict

    from jvs.canon import PathJSON
    from jvs.ui.terminal import Terminal

    class RunChange(PathJSON):
        """One path that a command changed."""

        change: Literal["added", "modified", "removed"]

    class RunDocument(TypedDict):
        """What became of a command and of the files, as `jvs run --json` prints it."""

        command: list[str]
        exit: int
        worktree: str
        snapshot_id: str
        created: bool
        rolled_back: bool
        after_snapshot_id: str | None
        changes: Sequence[RunChange]


LISTED = 20
_SIGNS = {"added": "+", "modified": "~", "removed": "-"}


def report(value: RunDocument, screen: Terminal) -> str:
    """Return what became of the files, on few lines: what the command printed came before."""
    found = value["changes"]
    lines = []
    for item in found[:LISTED]:
        path = terminal.show_text(item["path"])
        lines.append(f"{_SIGNS[item['change']]} {terminal.cut_left(path, screen.width - 2) if screen.tty else path}")
    if len(found) > LISTED:
        lines.append(f"... and {len(found) - LISTED} more; '--json' lists them")
    count = units.plural(len(found), "change")
    if value["rolled_back"]:
        lines += terminal.wrap(f"exit {value['exit']}: rolled back {count} to {value['snapshot_id']}", screen, "", "  ")
        lines += terminal.wrap("what it had written is kept: 'jvs undo' brings it back", screen, "", "  ")
    else:
        words = f"exit {value['exit']}: {count if found else 'no changes'} since {value['snapshot_id']}"
        lines += terminal.wrap(words, screen, "", "  ")
    if value["after_snapshot_id"]:
        lines.append(f"Created snapshot {value['after_snapshot_id']}")
    return "\n".join(lines) + "\n"
