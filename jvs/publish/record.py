"""The publish record: what the steps of a snapshot learned, as one JSON object that each hands to the next.

Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

from jvs import canon, clock, names
from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.fs.losses import Loss
    from jvs.store.descriptor import Changes, Descriptor
    from jvs.tree.builder import Counts

    class Started(TypedDict):
        """What a publish record begins with."""

        version: int
        repo: str
        worktree: str
        snapshot_id: str
        parent_id: str | None
        latest_id: str | None
        created_at: str
        partial_paths: list[canon.PathJSON] | None
        done: list[str]

    class PublishRecord(Started, total=False):
        """What the steps hand to each other: `LEARNED` says which step adds what; note and tags may come with it."""

        engine: str
        degraded: list[Loss]
        moment_ns: int
        with_inode: bool
        payload_root_hash: str
        payload: Counts
        changes: Changes | None
        descriptor: Descriptor
        descriptor_checksum: str
        audit_hash: str
        note: str
        tags: list[str]


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
SYNC = "sync-tree"
"""The one step whose place may change: one barrier after `write-ready` serves payload, descriptor and marker."""
LEARNED: dict[str, tuple[str, ...]] = {
    "check-worktree": ("repo", "worktree", "snapshot_id", "parent_id", "latest_id", "created_at", "partial_paths"),
    "clone-tree": ("engine", "degraded", "moment_ns", "with_inode"),
    "hash-tree": ("payload_root_hash", "payload", "changes"),
    "write-descriptor": ("descriptor", "descriptor_checksum"),
    "chain-append": ("audit_hash",),
}
"""Step -> what it adds to the record."""


def new(repo: str, worktree: str, paths: list[bytes] | None = None) -> PublishRecord:
    """Return the record of a snapshot that is about to be taken, with its id; `paths` for a partial one.

    Shape: `version`, `repo`, `worktree`, `snapshot_id`, `parent_id`, `latest_id`, `created_at`, `partial_paths`,
    `done` (the names of the steps that were done), and what is in `LEARNED`. `check-worktree` fills in parent and
    latest.
    """
    return {
        "version": 1,
        "repo": repo,
        "worktree": worktree,
        "snapshot_id": clock.new_snapshot_id(),
        "parent_id": None,
        "latest_id": None,
        "created_at": clock.rfc3339(),
        "partial_paths": None if paths is None else [canon.path_json(path) for path in paths],
        "done": [],
    }


def require(record: PublishRecord, step: str, *, sync_follows: bool = False) -> None:
    """Refuse a record whose earlier steps are missing, or what they learned.

    `sync_follows` says that `sync-tree` has yet to come: see `SYNC`. Errors: E_USAGE, E_NAME_INVALID.
    """
    if record.get("version") != 1 or not isinstance(record.get("done"), list):
        raise UsageError("stdin does not hold a publish record", hint="begin with 'jvs-check-worktree --record NAME'")
    for earlier in STEPS[: STEPS.index(step)]:
        if earlier not in record["done"] and not (sync_follows and earlier == SYNC):
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


def mark_done(record: PublishRecord, step: str) -> None:
    """Note that a step is done."""
    if step not in record["done"]:
        record["done"].append(step)
