"""What a person reads of a new snapshot: its id, and what of it could not be kept.

Apart from the page of a snapshot, because every `jvs snapshot` loads it: it needs neither lines nor ages.
Source: jvs-snapshot(1).
"""

from __future__ import annotations

from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.losses import Loss
    from jvs.store.descriptor import Descriptor
    from jvs.ui.terminal import Terminal

_SHOWN_AT_ONCE = 10


def created(made: Descriptor, screen: Terminal) -> str:
    """Return what is said of a new snapshot: its id, and what could not be kept."""
    lines = [f"Created snapshot {made['snapshot_id']}"]
    lost = made["degraded"]
    if lost:
        lines.append(f"not kept ({len(lost)}):")
        for loss in lost[:_SHOWN_AT_ONCE]:
            lines += terminal.wrap(show_loss(loss), screen, "  ", "    ")
        if len(lost) > _SHOWN_AT_ONCE:
            more = f"... and {len(lost) - _SHOWN_AT_ONCE} more: 'jvs show {made['snapshot_id']}'"
            lines += terminal.wrap(more, screen, "  ", "    ")
    return "\n".join(lines) + "\n"


def show_loss(loss: Loss) -> str:
    """Return what of one entry could not be kept, and why."""
    return f"{terminal.show_text(str(loss.get('path', '')))}: {loss.get('what')} ({loss.get('why')})"
