"""Around a command of somebody else: a snapshot before it, what it changed, and back again.

Source: jvs-run(1).
"""

from __future__ import annotations

from jvs import units
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.ui.terminal import Terminal

LISTED = 20
_SIGNS = {"added": "+", "modified": "~", "removed": "-"}


def report(value: dict[str, Any], screen: Terminal) -> str:
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
