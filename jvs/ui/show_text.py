"""What a person reads of one snapshot: every field that says something, fit to the screen.

Source: jvs-show(1); jvs-format(5), Descriptor.
"""

from __future__ import annotations

from jvs import units
from jvs.store import descriptor
from jvs.ui import history_text, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.ui.terminal import Terminal

_LABELS = (
    ("snapshot_id", "Snapshot"),
    ("parent_id", "Parent"),
    ("worktree_name", "Worktree"),
    ("head_of", "Head of"),
    ("tip_of", "Latest of"),
    ("created_at", "Created"),
    ("actor", "Actor"),
    ("tags", "Tags"),
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
_SHOWN_AT_ONCE = 10
_INDENT = " " * 12


def created(made: dict[str, Any], screen: Terminal) -> str:
    """Return what is said of a new snapshot: its id, and what could not be kept."""
    lines = [f"Created snapshot {made['snapshot_id']}"]
    lost = made["degraded"]
    if lost:
        lines.append(f"not kept ({len(lost)}):")
        for loss in lost[:_SHOWN_AT_ONCE]:
            lines += terminal.wrap(history_text.show_loss(loss), screen, "  ", "    ")
        if len(lost) > _SHOWN_AT_ONCE:
            more = f"... and {len(lost) - _SHOWN_AT_ONCE} more: 'jvs show {made['snapshot_id']}'"
            lines += terminal.wrap(more, screen, "  ", "    ")
    return "\n".join(lines) + "\n"


def page(value: dict[str, Any], screen: Terminal) -> str:
    """Return the page of a snapshot; `value` is its document for `--json`."""
    lines = []
    for key, label in _LABELS:
        shown = _show(key, value)
        if shown is not None:
            lines += terminal.wrap(shown, screen, f"{label + ':':<12}", _INDENT)
    known = {key for key, _ in _LABELS} | set(descriptor.FIELDS) | {"short_id", "path", "note"}
    known |= {"is_head", "is_latest"}
    for key in sorted(value.keys() - known):
        lines += terminal.wrap(terminal.show_json(value[key]), screen, f"{key + ':':<12}", _INDENT)
    lines.append(f"{'Files:':<12}{terminal.show_text(value['path'])}")
    lines += _losses(value["degraded"], screen)
    if value["note"]:
        lines.append("")
        for line in value["note"].split("\n"):
            lines += [text.rstrip() for text in terminal.wrap(terminal.show_text(line), screen, "    ", "    ")]
    lines[0] = screen.paint(lines[0], "yellow") + _marks(value, screen)
    return "\n".join(lines) + "\n"


def _marks(value: dict[str, Any], screen: Terminal) -> str:
    narrow = screen.tty and screen.width < history_text.WIDE_COLUMNS
    words = f"  ({value['short_id']})"
    if value["is_latest"]:
        words += " [HEAD]"
    if value["is_head"]:
        words += " here" if narrow else " you are here"
        words += "" if value["is_latest"] else " (detached)"
    return f"\n{_INDENT}{words.strip()}" if narrow else words


def _show(key: str, value: dict[str, Any]) -> str | None:
    """Return a field for people, or None for one that says nothing."""
    item = value.get(key)
    if key == "parent_id":
        return item or "none: it is the first"
    if key == "created_at":
        return f"{item} ({history_text.show_age(value)})"
    if key in ("tags", "head_of", "tip_of"):
        return ", ".join(terminal.show_text(str(word)) for word in value[key]) or None
    if key == "payload":
        return history_text.show_content(value["payload"])
    if key == "changes":
        return None if value["partial_paths"] else _changes(item)
    if key == "partial_paths":
        paths = [path["path"] if isinstance(path, dict) else path for path in item or ()]
        return ", ".join(terminal.show_text(path) for path in paths) or None
    if key == "degraded":
        return units.plural(len(value["degraded"]), "thing") if item else "nothing was lost"
    return terminal.show_text(str(item))


def _changes(changes: dict[str, Any] | None) -> str:
    if changes is None:
        return "not known; 'jvs diff' computes it"
    parts = [f"{changes[key]} {key}" for key in ("added", "modified", "removed") if changes.get(key)]
    if not parts:
        return "nothing against its parent"
    return f"{', '.join(parts)}; {units.size(changes.get('bytes', 0))} of new content"


def _losses(lost: list[dict[str, Any]], screen: Terminal) -> list[str]:
    shown = lost[:_SHOWN_LOSSES]
    lines = [line for loss in shown for line in terminal.wrap(history_text.show_loss(loss), screen, "  ", "    ")]
    if len(lost) > len(shown):
        lines.append(f"  ... and {len(lost) - len(shown)} more; '--json' lists them")
    return lines
