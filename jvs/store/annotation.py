"""Annotations: tags, note and facts that a snapshot got after it was taken; its descriptor never changes.

One file `annotations/ID.json` each, made when the first is needed. It holds the whole value of what was changed, so
that the newest one alone counts. Each revision is in the audit log by its checksum: one that was changed by hand, or
put back to an older state, shows.
Source: jvs-format(5), Annotations; jvs-tag(1), jvs-note(1), jvs-meta(1).
"""

from __future__ import annotations

import contextlib
import hashlib

from jvs import canon, clock, names, progress
from jvs.errors import JvsError, PartialSnapshot, from_oserror
from jvs.fs import durable, listing, paths
from jvs.store import lineage, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    from jvs.store.descriptor import Descriptor, Summary
    from jvs.store.layout import Layout
    from jvs.store.shapes import AnnotateIntent, Annotation
    from jvs.store.store import Store

    Change = Callable[[list[str], str, dict[str, str]], tuple[list[str], str, dict[str, str]]]
    """Shape: tags, note and facts as they are -> as they are to be."""
    AnySummary = TypeVar("AnySummary", bound=Summary)

LOCK = "annotations"
OPERATION = "annotate"


def load(layout: Layout, snapshot_id: str) -> Annotation:
    """Read one annotation. Errors: FileNotFoundError; E_PARTIAL_SNAPSHOT when damaged; E_IO."""
    found: Annotation = records.load_of(
        snapshot_id,
        layout.annotation(snapshot_id),
        records.ANNOTATION_FIELDS,
        PartialSnapshot,
        kind="annotation",
        hint="'jvs doctor --repair clean_intents' sets it aside; then give the snapshot its tags and note again",
    )
    return found


def ids(layout: Layout) -> list[str]:
    """Return the snapshots that have an annotation, sorted. Errors: E_IO."""
    try:
        found = listing.names(layout.annotations)
    except FileNotFoundError:  # nobody said anything yet
        return []
    except OSError as error:
        raise from_oserror(error, "listing the annotations") from error
    return sorted(name[:-5] for name in found if name.endswith(".json") and names.is_snapshot_id(name[:-5]))


def others(layout: Layout) -> list[str]:
    """Return the names in the directory of annotations that are none. Errors: OSError."""
    if not paths.exists(layout.annotations):
        return []
    known = {f"{snapshot_id}.json" for snapshot_id in ids(layout)}
    return sorted(name for name in listing.names(layout.annotations) if name not in known)


def checksum(found: Annotation) -> str:
    """Return the SHA-256 of an annotation's canonical JSON, as the audit log has it."""
    return hashlib.sha256(canon.encode(found)).hexdigest()


def checksums(layout: Layout) -> dict[str, str]:
    """Return the checksums of all annotations; that of one that is damaged is empty."""
    found = {}
    for snapshot_id in ids(layout):
        try:
            found[snapshot_id] = checksum(load(layout, snapshot_id))
        except (FileNotFoundError, JvsError):
            found[snapshot_id] = ""
    return found


class Overlay:
    """Lays annotations over descriptors: one listing, and a file is read only for snapshots that have one.

    A damaged annotation is left out with a remark, so that it hides nothing; with `strict` it is an error. `read` gives
    an annotation instead of `load`, with the same errors.
    """

    def __init__(
        self, layout: Layout, *, strict: bool = False, read: Callable[[str], Annotation] | None = None
    ) -> None:
        self._read = read or (lambda snapshot_id: load(layout, snapshot_id))
        self._strict = strict
        self._there = set(ids(layout))
        self.is_empty = not self._there

    def over(self, record: AnySummary) -> AnySummary:
        """Return a descriptor with the tags, note and facts that count today; `annotated_at` when any came later."""
        snapshot_id = record["snapshot_id"]
        if snapshot_id not in self._there:
            return record
        try:
            return laid_over(record, self._read(snapshot_id))
        except FileNotFoundError:
            return record
        except PartialSnapshot as error:
            if self._strict:
                raise
            progress.remark(f"{error.message}: the words of its descriptor count")
            return record


def laid_over(record: AnySummary, found: Annotation) -> AnySummary:
    """Return a descriptor with what an annotation says in place of its own words."""
    made: Any = {**record, "annotated_at": found["changed_at"], "annotated_by": found["actor"]}
    if found["tags"] is not None:
        made["tags"] = found["tags"]
    if found["note"] is not None:
        made["note"] = found["note"]
    if found["meta"] is not None:
        made["meta"] = found["meta"]
    laid: AnySummary = made
    return laid


def shown(layout: Layout, record: Descriptor) -> Descriptor:
    """Return one descriptor with what was said later. Errors: E_IO."""
    return Overlay(layout).over(record)


def add_tags(store: Store, snapshot_id: str, tags: list[str]) -> Descriptor:
    """Give a snapshot more tags. Durable, errors: as `change`; E_NAME_INVALID."""
    new = [names.check_tag(tag) for tag in tags]
    return change(store, snapshot_id, lambda old, note, meta: (list(dict.fromkeys([*old, *new])), note, meta))


def delete_tags(store: Store, snapshot_id: str, tags: list[str]) -> Descriptor:
    """Take tags away from a snapshot; those that it has not are ignored. Durable, errors: as `change`."""
    return change(store, snapshot_id, lambda old, note, meta: ([t for t in old if t not in tags], note, meta))


def set_note(store: Store, snapshot_id: str, text: str) -> Descriptor:
    """Give a snapshot another note. Durable, errors: as `change`; E_USAGE."""
    text = names.check_note(text)
    return change(store, snapshot_id, lambda tags, note, meta: (tags, text, meta))


def set_meta(store: Store, snapshot_id: str, values: dict[str, str], delete: list[str]) -> Descriptor:
    """Set facts of a snapshot, and delete others. Durable, errors: as `change`; E_NAME_INVALID, E_USAGE."""
    values = names.check_meta(values)

    def changed(tags: list[str], note: str, meta: dict[str, str]) -> tuple[list[str], str, dict[str, str]]:
        return tags, note, {**{key: value for key, value in meta.items() if key not in delete}, **values}

    return change(store, snapshot_id, changed)


def change(store: Store, snapshot_id: str, work: Change) -> Descriptor:
    """Change what is said of a visible snapshot; return its descriptor with that. No change writes nothing.

    The words are read and written under one lock, and the revision that was read is the one that is replaced.
    Durable: annotation and audit record. Errors: E_NOT_FOUND, E_PARTIAL_SNAPSHOT, E_BUSY, E_IO, E_NO_SPACE.
    """
    with _changing(store):
        record = lineage.load_visible(store, snapshot_id)
        before = _load_or_none(store.layout, snapshot_id)
        now = record if before is None else laid_over(record, before)
        had = (now["tags"], now["note"], now.get("meta", {}))
        tags, note, meta = work(list(had[0]), had[1], dict(had[2]))
        if (tags, note, meta) == had:
            return now
        made: Annotation = {
            "version": 1,
            "snapshot_id": snapshot_id,
            "revision": 1 if before is None else before["revision"] + 1,
            "changed_at": clock.rfc3339(),
            "actor": store.actor,
            "tags": None if tags == record["tags"] else tags,
            "note": None if note == record["note"] else note,
            "meta": None if meta == record.get("meta", {}) else meta,
        }
        _carry_out(store, made, _changed(had, (tags, note, meta)))
    return laid_over(record, made)


def _changed(
    had: tuple[list[str], str, dict[str, str]], has: tuple[list[str], str, dict[str, str]]
) -> dict[str, object]:
    """Return what an audit record says of a change: tags that came and went, the note before and after, facts."""
    changed: dict[str, object] = {}
    if had[0] != has[0]:
        changed["tags_added"] = [tag for tag in has[0] if tag not in had[0]]
        changed["tags_removed"] = [tag for tag in had[0] if tag not in has[0]]
    if had[1] != has[1]:
        changed["note_before"], changed["note_after"] = had[1][:500], has[1][:500]
    if had[2] != has[2]:
        changed["meta_before"] = {key: value for key, value in had[2].items() if has[2].get(key) != value}
        changed["meta_after"] = {key: value for key, value in has[2].items() if had[2].get(key) != value}
    return changed


def _load_or_none(layout: Layout, snapshot_id: str) -> Annotation | None:
    try:
        return load(layout, snapshot_id)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _changing(store: Store) -> Iterator[None]:
    """Share the repository, recover, and hold the lock that orders annotations and guards a live one's intent."""
    from jvs.fs import locks
    from jvs.store import changing

    wait, command = store.settings.wait, store.settings.command
    with locks.acquire_repository(store.layout.locks, exclusive=False, wait=wait, command=command):
        changing.recover(store)
        with locks.acquire(store.layout.lock(LOCK), wait=wait, command=command):
            yield


def _carry_out(store: Store, made: Annotation, changed: dict[str, object]) -> None:
    """Write an annotation; after an error nothing of it is left, or the next command completes it."""
    from jvs.store import audit, write_ahead

    details = {**changed, "revision": made["revision"], "annotation_sha256": checksum(made)}
    event = audit.event(OPERATION, store.actor, target=made["snapshot_id"], details=details)
    with write_ahead.operation(
        store,
        OPERATION,
        None,
        event,
        roll_back=lambda pending: _roll_back(store.layout, pending),
        snapshot_id=made["snapshot_id"],
        annotation=made,
    ) as pending:
        _apply(store.layout, pending)


def _roll_back(layout: Layout, pending: AnnotateIntent) -> bool:
    """Answer whether an annotation is as it was, for good."""
    try:
        if _load_or_none(layout, pending["snapshot_id"]) == pending["annotation"]:
            return False
    except JvsError:
        return False
    if paths.exists(layout.annotations):
        durable.fsync_dir(layout.annotations)  # or a crash brings a half-made one back that no intent names
    return True


def _apply(layout: Layout, pending: AnnotateIntent) -> None:
    """Put an annotation in its place, unless a later revision is there. Can be repeated. Durable: yes."""
    made = pending["annotation"]
    if not paths.exists(layout.annotations):
        durable.make_dir(layout.annotations)
        durable.fsync_dir(layout.jvs)  # a crash before this loses an empty directory, which the intent makes again
    there = _load_or_none(layout, made["snapshot_id"])
    if there is None or there["revision"] < made["revision"]:
        records.save(layout.annotation(made["snapshot_id"]), made)


def recover(store: Store, pending: AnnotateIntent) -> str:
    """Complete what a dead process began to say of a snapshot; returns what was done, or nothing when it lives."""
    from jvs.store import write_ahead

    with write_ahead.abandoned(store, pending, LOCK) as dead:
        if not dead:
            return ""
        _apply(store.layout, pending)
        write_ahead.complete(store, pending)
    return f"completed the annotation of {pending['snapshot_id']}"
