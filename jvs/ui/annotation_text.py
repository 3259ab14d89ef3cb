"""What a person reads of the tags, the note and the facts of a snapshot.

Source: jvs-tag(1), jvs-note(1), jvs-meta(1).
"""

from __future__ import annotations

from jvs.ui import history_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.store.descriptor import Descriptor

    class TagsDocument(TypedDict):
        """The tags of a snapshot, as `jvs tag --json` prints them."""

        snapshot_id: str
        tags: list[str]

    class NoteDocument(TypedDict):
        """The note of a snapshot, as `jvs note --json` prints it."""

        snapshot_id: str
        note: str

    class MetaDocument(TypedDict):
        """The facts of a snapshot, as `jvs meta --json` prints them."""

        snapshot_id: str
        meta: dict[str, str]


def tag_facts(record: Descriptor) -> TagsDocument:
    """Return the document of `jvs tag --json`."""
    return {"snapshot_id": record["snapshot_id"], "tags": record["tags"]}


def note_facts(record: Descriptor) -> NoteDocument:
    """Return the document of `jvs note --json`."""
    return {"snapshot_id": record["snapshot_id"], "note": record["note"]}


def meta_facts(record: Descriptor) -> MetaDocument:
    """Return the document of `jvs meta --json`."""
    return {"snapshot_id": record["snapshot_id"], "meta": record.get("meta", {})}


def tags(record: Descriptor) -> str:
    """Return which tags a snapshot has now."""
    return f"{record['snapshot_id']} has the tags: {', '.join(record['tags']) or 'none'}\n"


def note(record: Descriptor) -> str:
    """Return which note a snapshot has now."""
    return f"{record['snapshot_id']} has the note: {history_text.first_line(record['note']) or 'none'}\n"


def meta(record: Descriptor) -> str:
    """Return which facts a snapshot has now."""
    return f"{record['snapshot_id']} has the facts: {meta_words(record) or 'none'}\n"


def meta_words(record: Descriptor) -> str:
    """Return the facts of a snapshot in one line."""
    return ", ".join(f"{key}={value}" for key, value in sorted(record.get("meta", {}).items()))


def meta_lines(record: Descriptor) -> str:
    """Return the facts of a snapshot, one on each line."""
    return "".join(f"{key}={value}\n" for key, value in sorted(record.get("meta", {}).items()))
