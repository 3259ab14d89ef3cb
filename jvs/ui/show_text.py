"""What a person reads of one snapshot: every field that says something, fit to the screen.

Source: jvs-show(1); jvs-format(5), Descriptor.
"""

from __future__ import annotations

from jvs import clock, units
from jvs.store import descriptor
from jvs.ui import annotation_text, created_text, history_text, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvs.compare.history import Labels
    from jvs.fs.losses import Loss
    from jvs.store.descriptor import Changes, Descriptor
    from jvs.store.verified import Verified
    from jvs.ui.terminal import Terminal

    class SnapshotDocument(Descriptor, Labels):
        """A snapshot as `jvs show --json` prints it: its descriptor, its short id, and where its files are."""

        short_id: str
        path: str
        last_verified: Verified | None


_LABELS = (
    ("snapshot_id", "Snapshot"),
    ("parent_id", "Parent"),
    ("merged", "Merged"),
    ("worktree_name", "Worktree"),
    ("head_of", "Head of"),
    ("tip_of", "Latest of"),
    ("created_at", "Created"),
    ("actor", "Actor"),
    ("tags", "Tags"),
    ("meta", "Facts"),
    ("annotated_at", "Annotated"),
    ("engine", "Engine"),
    ("payload", "Content"),
    ("changes", "Changed"),
    ("partial_paths", "Only paths"),
    ("degraded", "Not kept"),
    ("hash_algorithm", "Hash"),
    ("payload_root_hash", "Root hash"),
    ("descriptor_checksum", "Checksum"),
    ("audit_head", "Audit head"),
    ("integrity_state", "Integrity"),
    ("format", "Format"),
)
_SHOWN_LOSSES = 20
_INDENT = " " * 12


def page(value: SnapshotDocument, screen: Terminal) -> str:
    """Return the page of a snapshot; `value` is its document for `--json`."""
    lines = []
    for key, label in _LABELS:
        shown = _show(key, value)
        if shown is not None:
            lines += terminal.wrap(shown, screen, f"{label + ':':<12}", _INDENT)
    known = {key for key, _ in _LABELS} | set(descriptor.FIELDS) | {"short_id", "path", "note"}
    known |= {"is_head", "is_latest", "annotated_by", "last_verified"}
    others: Mapping[str, object] = value
    for key in sorted(value.keys() - known):
        lines += terminal.wrap(terminal.show_json(others[key]), screen, f"{key + ':':<12}", _INDENT)
    lines.append(f"{'Files:':<12}{terminal.show_text(value['path'])}")
    lines += _losses(value["degraded"], screen)
    if value["note"]:
        lines.append("")
        for line in value["note"].split("\n"):
            lines += [text.rstrip() for text in terminal.wrap(terminal.show_text(line), screen, "    ", "    ")]
    lines[0] = screen.paint(lines[0], "yellow") + _marks(value, screen)
    return "\n".join(lines) + "\n"


def _marks(value: SnapshotDocument, screen: Terminal) -> str:
    narrow = screen.tty and screen.width < history_text.WIDE_COLUMNS
    words = f"  ({value['short_id']})"
    if value["is_latest"]:
        words += " [HEAD]"
    if value["is_head"]:
        words += " here" if narrow else " you are here"
        words += "" if value["is_latest"] else " (detached)"
    return f"\n{_INDENT}{words.strip()}" if narrow else words


def _show(key: str, value: SnapshotDocument) -> str | None:
    """Return a field for people, or None for one that says nothing."""
    lists = {"tags": value["tags"], "head_of": value["head_of"], "tip_of": value["tip_of"]}
    if key == "parent_id":
        return value["parent_id"] or "none: it is the first"
    if key == "created_at":
        return f"{value['created_at']} ({history_text.show_age(value)})"
    if key == "merged":
        return ", ".join(value.get("merged", [])) or None
    if key == "meta":
        return terminal.show_text(annotation_text.meta_words(value)) or None
    if key == "annotated_at":
        by = terminal.show_text(str(value.get("annotated_by")))
        return f"{value['annotated_at']} by {by}" if "annotated_at" in value else None
    if key in lists:
        return ", ".join(terminal.show_text(str(word)) for word in lists[key]) or None
    if key == "payload":
        return history_text.show_content(value["payload"])
    if key == "changes":
        return None if value["partial_paths"] else _changes(value.get("changes"))
    if key == "partial_paths":
        paths = [path["path"] if isinstance(path, dict) else path for path in value["partial_paths"] or ()]
        return ", ".join(terminal.show_text(path) for path in paths) or None
    if key == "degraded":
        return units.plural(len(value["degraded"]), "thing") if value["degraded"] else "nothing was lost"
    if key == "integrity_state":
        return _integrity(value)
    others: Mapping[str, object] = value
    return terminal.show_text(str(others.get(key)))


def _integrity(value: SnapshotDocument) -> str:
    """Say what was true when a snapshot was published, and what was found when its files were last read whole."""
    state, last = value["integrity_state"], value["last_verified"]
    published = "complete when published" if state == descriptor.VERIFIED else f"changed to '{state}'"
    if last is None:
        return f"{terminal.show_text(published)}; not verified since"
    when = f"{last['at']} ({terminal.age(clock.parse_rfc3339(last['at']))})"
    if last["error"] is not None:
        return terminal.show_text(f"{published}; damaged ({last['error']}) when last checked: {when}")
    return terminal.show_text(f"{published}; last verified {when}")


def _changes(changes: Changes | None) -> str:
    if not history_text.are_counts(changes):
        return "not known; 'jvs diff' computes it"
    counts = {
        "added": changes.get("added"),
        "modified": changes.get("modified"),
        "removed": changes.get("removed"),
    }
    parts = [f"{count} {what}" for what, count in counts.items() if count]
    if not parts:
        return "nothing against its parent"
    return f"{', '.join(parts)}; {units.size(changes.get('new_bytes', changes.get('bytes', 0)))} of new content"


def _losses(lost: list[Loss], screen: Terminal) -> list[str]:
    shown = lost[:_SHOWN_LOSSES]
    lines = [line for loss in shown for line in terminal.wrap(created_text.show_loss(loss), screen, "  ", "    ")]
    if len(lost) > len(shown):
        lines.append(f"  ... and {len(lost) - len(shown)} more; '--json' lists them")
    return lines
