"""The publish record: what the steps of a snapshot learned, as one JSON object that each hands to the next.

Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

from jvs import names
from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs import durable
    from jvs.tree import scan

STEPS = (
    "check-worktree",
    "write-intent",
    "clone-tree",
    "hash-tree",
    "sync-tree",
    "write-descriptor",
    "write-ready",
    "rename-ready",
    "update-head",
    "chain-append",
    "clear-intent",
)
LEARNED: dict[str, tuple[str, ...]] = {
    "check-worktree": ("repo", "worktree", "snapshot_id", "parent_id", "latest_id", "created_at", "partial_paths"),
    "clone-tree": ("engine", "degraded", "moment_ns", "with_inode"),
    "hash-tree": ("payload_root_hash", "payload", "changes"),
    "write-descriptor": ("descriptor", "descriptor_checksum"),
    "chain-append": ("audit_hash",),
}
"""Step -> what it adds to the record."""


class Local:
    """What steps in one process hand to each other beside the record: never needed, only cheaper."""

    def __init__(self) -> None:
        self.barrier: durable.Barrier | None = None
        self.tree: scan.Tree | None = None
        self.deferred: list[str] = []


def require(record: dict[str, Any], step: str) -> None:
    """Refuse a record whose earlier steps are missing. Errors: E_USAGE."""
    if record.get("version") != 1 or not isinstance(record.get("done"), list):
        raise UsageError("stdin does not hold a publish record", hint="begin with 'jvs-check-worktree --record NAME'")
    for earlier in STEPS[: STEPS.index(step)]:
        if earlier not in record["done"]:
            raise UsageError(
                f"step '{earlier}' is missing from the record", hint=f"run 'jvs-{earlier} --record' before this step"
            )
        for key in LEARNED.get(earlier, ()):
            if key not in record:
                raise UsageError(
                    f"the record lacks '{key}', which step '{earlier}' adds", hint="begin again with the first step"
                )
    names.check_snapshot_id(record["snapshot_id"])
    names.check_worktree_name(record["worktree"])
    if record["parent_id"] is not None:
        names.check_snapshot_id(record["parent_id"])


def done(record: dict[str, Any], step: str) -> dict[str, Any]:
    """Note that a step is done, and return the record."""
    if step not in record["done"]:
        record["done"].append(step)
    return record
