"""What came of a stream, in words."""

from __future__ import annotations

from jvs import units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.stream.receiving import Received
    from jvs.stream.sending import Sent


def sent(value: Sent) -> str:
    """Return what to say of a stream that was written to a file."""
    return f"Sent {_snapshots(len(value['snapshots']))} in {units.size(value['bytes'])}.\n"


def received(value: Received) -> str:
    """Return what to say of a stream that was received."""
    lines = [f"Received {_snapshots(len(value['snapshots']))}.\n"]
    if value["present"]:
        lines.append(f"Here already: {_snapshots(len(value['present']))}.\n")
    for snapshot_id in value["boundary"]:
        lines.append(f"A line ends at {snapshot_id}, which was not sent.\n")
    for loss in value["degraded"][:20]:
        lines.append(f"Not kept: {loss['what']} of {loss['path']}: {loss['why']}\n")
    if len(value["degraded"]) > 20:
        lines.append(f"And {len(value['degraded']) - 20} more: --json lists them.\n")
    return "".join(lines)


def _snapshots(count: int) -> str:
    return "1 snapshot" if count == 1 else f"{count} snapshots"
