"""Descriptors and READY markers: what a snapshot says about itself, and when it counts as visible.

Source: jvs-format(5), Descriptor, READY marker.
"""

from __future__ import annotations

import hashlib

from jvs import canon
from jvs.errors import DescriptorCorrupt, FormatUnsupported, NotFound, PartialSnapshot
from jvs.fs import paths
from jvs.store import records
from jvs.tree.node import ALGORITHMS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NotRequired, TypedDict

    from jvs.fs.losses import Loss
    from jvs.store.layout import Layout
    from jvs.tree.builder import Counts

    class Changes(TypedDict):
        """What a snapshot changed against its parent; `bytes` are those of new and changed files.

        `new_bytes` counts of large files only the leaves that changed.
        """

        added: int
        removed: int
        modified: int
        bytes: int
        new_bytes: NotRequired[int]

    class PathVersion(canon.PathJSON):
        """What one snapshot did to one path; sizes and digests are null where there is no entry."""

        change: str
        kind: str
        size: int | None
        old_size: int | None
        digest: str | None
        old_digest: str | None

    class Excluded(TypedDict):
        """What a snapshot was taken without: the rules, and the entries of the root that they left out."""

        rules: list[str]
        caches: bool
        top: list[canon.PathJSON]
        entries: int

    class Summary(TypedDict):
        """What snapshots are chosen and ordered by: a part of what a descriptor says, and of what was said later."""

        snapshot_id: str
        parent_id: str | None
        created_at: str
        note: str
        tags: list[str]
        meta: NotRequired[dict[str, str]]
        collected: NotRequired[bool]
        annotated_at: NotRequired[str]
        annotated_by: NotRequired[str]

    class Descriptor(Summary):
        """A descriptor. On no disk are `collected`, which `lineage` sets on what a tombstone keeps, and `annotated_at`
        and `annotated_by`, which `annotations` sets where tags, note or meta are not those that it was taken with, and
        `path_changes`, which a history of paths sets."""

        format: int
        worktree_name: str
        engine: str
        hash_algorithm: str
        payload_root_hash: str
        payload: Counts
        changes: NotRequired[Changes | None]
        degraded: list[Loss]
        excluded: NotRequired[Excluded | None]
        partial_paths: list[str | canon.PathJSON] | None
        actor: str
        audit_head: str
        descriptor_checksum: str
        integrity_state: str
        merged: NotRequired[list[str]]
        path_changes: NotRequired[list[PathVersion]]

    class Ready(TypedDict):
        """A READY marker."""

        snapshot_id: str
        created_at: str
        engine: str
        descriptor_checksum: str
        payload_root_hash: str


def _is_path(value: Any) -> bool:
    """Answer whether a value is a path as `canon.path_json` writes it."""
    if not isinstance(value, dict) or not records.is_text(value.get("path")):
        return False
    try:
        return bool(canon.path_from_json(value)) or value["path"] == ""
    except (ValueError, TypeError):
        return False


def are_losses(value: Any) -> bool:
    """Answer whether a value is a list of what a clone could not keep."""
    return isinstance(value, list) and all(
        isinstance(item, dict) and _is_path(item) and all(records.is_text(item.get(key)) for key in ("what", "why"))
        for item in value
    )


_COUNTED = ("files", "dirs", "symlinks", "others", "bytes")


def are_counts(value: Any) -> bool:
    """Answer whether a value is what a payload counts."""
    return isinstance(value, dict) and all(map(records.is_count, map(value.get, _COUNTED)))


is_excluded = records.shaped(
    {
        "rules": records.each(records.is_text),
        "caches": records.is_bool,
        "top": records.each(records.is_path),
        "entries": records.is_count,
    }
)
FIELDS = {
    "format": records.is_count,
    "snapshot_id": records.is_id,
    "parent_id": records.is_id_or_null,
    "worktree_name": records.is_name,
    "created_at": records.is_time,
    "note": records.is_text,
    "tags": records.each(records.is_text),
    "engine": records.is_text,
    "hash_algorithm": records.is_text,
    "payload_root_hash": records.is_hash,
    "payload": are_counts,
    "degraded": are_losses,
    "partial_paths": records.nullable(records.each(records.is_path)),
    "actor": records.is_text,
    "audit_head": records.is_hash,
    "descriptor_checksum": records.is_hash,
    "integrity_state": records.is_text,
}
OPTIONAL = {
    "changes": records.nullable(records.is_object),
    "meta": records.is_meta,
    "merged": records.are_ids,
    "excluded": records.nullable(is_excluded),
}
READY_FIELDS = {
    "snapshot_id": records.is_id,
    "created_at": records.is_time,
    "engine": records.is_text,
    "descriptor_checksum": records.is_hash,
    "payload_root_hash": records.is_hash,
}
_NOT_COVERED = ("descriptor_checksum", "integrity_state")
MANY = 200
"""When so many were read, the others are recognised by `descriptor_text`, which takes as long to begin with."""
_loaded = 0
VERIFIED = "verified"
"""The `integrity_state` of every snapshot: its files were hashed before it was published."""


def checksum(record: Mapping[str, object]) -> str:
    """Return the SHA-256 of the canonical JSON of all fields but the checksum itself and `integrity_state`."""
    return hashlib.sha256(canon.encode(_covered(record))).hexdigest()


def _covered(record: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in record.items() if key not in _NOT_COVERED}


def check(record: Descriptor, snapshot_id: str) -> Descriptor:
    """Return a descriptor that was decoded, and whose id and checksum are right.

    Errors: E_DESCRIPTOR_CORRUPT, E_FORMAT_UNSUPPORTED.
    """
    hint = "restore the file from a copy of the repository, or take the snapshot again"
    if record["format"] != 2:
        raise FormatUnsupported(f"snapshot '{snapshot_id}' has format {record['format']}", hint="use a newer jvs")
    if record["hash_algorithm"] not in ALGORITHMS:
        raise FormatUnsupported(
            f"snapshot '{snapshot_id}' is hashed by '{record['hash_algorithm']}'", hint="use a newer jvs"
        )
    if record["snapshot_id"] != snapshot_id:
        raise DescriptorCorrupt(
            f"the descriptor of '{snapshot_id}' is that of '{record['snapshot_id']}'",
            hint=hint,
            snapshot_id=snapshot_id,
        )
    if hashlib.sha256(canon.encode_decoded(_covered(record))).hexdigest() != record["descriptor_checksum"]:
        raise DescriptorCorrupt(
            f"the descriptor of '{snapshot_id}' does not fit its checksum", hint=hint, snapshot_id=snapshot_id
        )
    return record


def load(layout: Layout, snapshot_id: str) -> Descriptor:
    """Read one descriptor under its final name.

    Errors: E_NOT_FOUND; E_DESCRIPTOR_CORRUPT; E_IO.
    """
    global _loaded
    path = layout.descriptor(snapshot_id)
    try:
        data = records.read_as(path, DescriptorCorrupt)
    except FileNotFoundError as error:
        raise NotFound(
            f"there is no snapshot '{snapshot_id}'", hint="'jvs history --all' lists the snapshots"
        ) from error
    _loaded += 1
    if _loaded > MANY:
        from jvs.store import descriptor_text

        usual: Descriptor | None = descriptor_text.read(data, snapshot_id)
        if usual is not None:
            return usual
    return check(records.parse(data, path, FIELDS, DescriptorCorrupt, OPTIONAL), snapshot_id)


def load_ready(layout: Layout, snapshot_id: str) -> Ready:
    """Read one READY marker. Errors: E_PARTIAL_SNAPSHOT when it is missing; E_DESCRIPTOR_CORRUPT when damaged."""
    try:
        marker: Ready = records.load(layout.ready(snapshot_id), READY_FIELDS, DescriptorCorrupt)
        return marker
    except FileNotFoundError as error:
        raise PartialSnapshot(
            f"snapshot '{snapshot_id}' has no READY marker",
            hint="it was damaged after it was published: restore it from a copy of the repository",
            snapshot_id=snapshot_id,
        ) from error


def ready_of(record: Descriptor) -> Ready:
    """Return the READY marker that belongs to a descriptor."""
    return {
        "snapshot_id": record["snapshot_id"],
        "created_at": record["created_at"],
        "engine": record["engine"],
        "descriptor_checksum": record["descriptor_checksum"],
        "payload_root_hash": record["payload_root_hash"],
    }


def check_state(record: Descriptor) -> None:
    """Check the one field that no checksum covers: a published snapshot is `verified`. Errors: E_DESCRIPTOR_CORRUPT."""
    if record["integrity_state"] != VERIFIED:
        raise DescriptorCorrupt(
            f"the descriptor of '{record['snapshot_id']}' was changed: 'integrity_state' is not '{VERIFIED}'",
            hint="restore the file from a copy of the repository, or put the word back",
            snapshot_id=record["snapshot_id"],
        )


def check_agreement(layout: Layout, record: Descriptor) -> None:
    """Check that payload, READY marker and descriptor are all there and agree.

    Errors: E_PARTIAL_SNAPSHOT, E_DESCRIPTOR_CORRUPT.
    """
    snapshot_id = record["snapshot_id"]
    if not paths.is_dir(layout.payload(snapshot_id)):
        raise PartialSnapshot(
            f"the files of snapshot '{snapshot_id}' are missing",
            hint="restore '.jvs/snapshots' from a copy of the repository",
            snapshot_id=snapshot_id,
        )
    found: Mapping[str, object] = load_ready(layout, snapshot_id)
    wrong = [key for key, value in ready_of(record).items() if found[key] != value]
    if wrong:
        raise DescriptorCorrupt(
            f"the READY marker of '{snapshot_id}' does not agree with its descriptor in '{wrong[0]}'",
            hint="one of the two was changed: restore them from a copy of the repository",
            snapshot_id=snapshot_id,
        )
