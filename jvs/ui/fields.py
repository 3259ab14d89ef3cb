"""The fields of a snapshot that `--format` knows, and lines made from them.

Source: jvs-history(1), jvs-list-snapshots(1).
"""

from __future__ import annotations

from jvs import units
from jvs.store import refs, verified
from jvs.ui.history_text import are_counts, first_line, show_age

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any

    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.store.verified import Verified

FIELDS: dict[str, str] = {
    "id": "the full id",
    "short_id": "the shortest unique part of it",
    "parent_id": "the snapshot before, empty for the first",
    "note": "the note, all of it",
    "subject": "the first line of the note",
    "tags": "the tags, with commas between",
    "meta": "the facts as KEY=VALUE, with commas between; {meta.KEY} is the value of one",
    "created_at": "when it was taken, UTC",
    "age": "how long ago that is",
    "worktree": "the worktree that it was taken of",
    "engine": "the engine that took it",
    "actor": "who took it",
    "files": "how many files it holds",
    "dirs": "how many directories",
    "bytes": "the sum of the file sizes",
    "size": "the same, for people",
    "root_hash": "the root hash of its files",
    "added": "how many entries it added",
    "removed": "how many it removed",
    "modified": "how many it changed",
    "changed_bytes": "the size of the files that it added or changed",
    "degraded": "how many things could not be kept",
    "path": "where its files are",
    "collected": "true when a collection took its files",
    "verified": "when its files were last read whole and found complete, empty when you never did, or DAMAGED",
}
_PLAIN = {
    "id": "snapshot_id",
    "parent_id": "parent_id",
    "note": "note",
    "tags": "tags",
    "created_at": "created_at",
    "worktree": "worktree_name",
    "engine": "engine",
    "actor": "actor",
    "root_hash": "payload_root_hash",
}


def value_of(
    store: Store, record: Descriptor, short: Callable[[str], str], seen: Mapping[str, Verified] | None = None
) -> Callable[[str], Any]:
    """Return a function that gives the value of a `--format` field (`FIELDS`) of one snapshot.

    `seen` is what this user verified, where that is wanted.
    """
    snapshot_id = record["snapshot_id"]
    plain: Mapping[str, object] = record
    payload: Mapping[str, object] = record["payload"]
    found = record.get("changes")
    changes: Mapping[str, object] = found if are_counts(found) else {}
    computed: dict[str, Callable[[], Any]] = {
        "short_id": lambda: short(snapshot_id),
        "meta": lambda: [f"{key}={value}" for key, value in sorted(record.get("meta", {}).items())],
        "subject": lambda: first_line(record["note"]),
        "age": lambda: show_age(record),
        "size": lambda: units.size(record["payload"].get("bytes", 0)),
        "changed_bytes": lambda: changes.get("bytes"),
        "degraded": lambda: len(record["degraded"]),
        "path": lambda: str(store.layout.payload(snapshot_id)),
        "collected": lambda: bool(record.get("collected")),
        "verified": lambda: _verified((seen or {}).get(snapshot_id)),
    }

    def value(field: str) -> Any:
        if field in _PLAIN:
            return plain[_PLAIN[field]]
        if field in ("files", "dirs", "bytes"):
            return payload.get(field)
        if field in ("added", "removed", "modified"):
            return changes.get(field)
        if field.startswith("meta."):
            return record.get("meta", {}).get(field[5:])
        return computed[field]()

    return value


def _verified(last: Verified | None) -> str | None:
    return None if last is None else last["at"] if last["error"] is None else "DAMAGED"


def lines_with_format(store: Store, records: Iterable[Descriptor], text: str) -> Iterator[str]:
    """Yield one formatted line for each snapshot. Errors: E_USAGE for unknown fields, at once."""
    from jvs.ui import template

    fill = template.compile_format(text, FIELDS)
    short = refs.ShortIds.among_all(store.layout)
    seen = verified.recall(store) if "verified" in text else {}
    return (fill(value_of(store, record, short, seen)) for record in records)
