"""The publish record: what the steps of a snapshot learned, as one JSON object that each hands to the next.

Source: jvs-protocol(7), Publish.
"""

from __future__ import annotations

from jvs import canon, clock
from jvs.engine import base as engine
from jvs.errors import UsageError
from jvs.store import descriptor, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from jvs.fs.losses import Loss
    from jvs.store.descriptor import Changes, Descriptor, Excluded
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
        """What the steps hand to each other: `LEARNED` says which step adds what; note, tags, meta may come with it."""

        engine: str
        degraded: list[Loss]
        moment_ns: int
        with_inode: bool
        excluded: Excluded | None
        payload_root_hash: str
        payload: Counts
        changes: Changes | None
        descriptor: Descriptor
        descriptor_checksum: str
        audit_hash: str
        note: str
        tags: list[str]
        meta: dict[str, str]
        merged: list[str]


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
LEARNED: dict[str, records.Fields] = {
    "check-worktree": {
        "repo": records.is_text,
        "worktree": records.is_name,
        "snapshot_id": records.is_id,
        "parent_id": records.is_id_or_null,
        "latest_id": records.is_id_or_null,
        "created_at": records.is_time,
        "partial_paths": records.nullable(records.each(records.is_path)),
    },
    "clone-tree": {
        "engine": records.one_of(*engine.NAMES),
        "degraded": descriptor.are_losses,
        "moment_ns": records.is_count,
        "with_inode": records.is_bool,
        "excluded": records.nullable(descriptor.is_excluded),
    },
    "hash-tree": {
        "payload_root_hash": records.is_hash,
        "payload": descriptor.are_counts,
        "changes": descriptor.OPTIONAL["changes"],
    },
    "write-descriptor": {
        "descriptor": records.shaped(descriptor.FIELDS, descriptor.OPTIONAL),
        "descriptor_checksum": records.is_hash,
    },
    "chain-append": {"audit_hash": records.is_hash},
}
"""Step -> what it adds to the record, each with its check."""
GIVEN: records.Fields = {
    "note": records.is_text,
    "tags": records.each(records.is_text),
    "meta": records.is_meta,
    "merged": records.are_ids,
}
"""What may come with a record; `merged` only when the files hold a merge that no snapshot names yet."""


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

    `sync_follows` says that `sync-tree` has yet to come: see `SYNC`. Errors: E_USAGE.
    """
    if record.get("version") != 1 or not records.each(records.is_text)(record.get("done")):
        raise UsageError("stdin does not hold a publish record", hint="begin with 'jvs-check-worktree --record NAME'")
    for earlier in STEPS[: STEPS.index(step)]:
        if earlier not in record["done"] and not (sync_follows and earlier == SYNC):
            raise UsageError(
                f"step '{earlier}' is missing from the record", hint=f"run 'jvs-{earlier} --record' before this step"
            )
    values: Mapping[str, object] = record
    learned = [(key, fits) for name in STEPS[: STEPS.index(step)] for key, fits in LEARNED.get(name, {}).items()]
    for key, fits in [*learned, *((key, fits) for key, fits in GIVEN.items() if key in values)]:
        if key not in values or not fits(values[key]):
            problem = "is missing" if key not in values else "is not valid"
            raise UsageError(f"'{key}' {problem} in the publish record", hint="begin again with the first step")
    written = record.get("descriptor")
    if written is not None and written["snapshot_id"] != record["snapshot_id"]:
        raise UsageError("the publish record holds the descriptor of another snapshot", hint="begin again")


def mark_done(record: PublishRecord, step: str) -> None:
    """Note that a step is done."""
    if step not in record["done"]:
        record["done"].append(step)
