"""Show one snapshot

Prints every field of the descriptor, what changed against the parent, and where the files are: below `path` they can be
read like any others. Without TARGET it shows the head, the snapshot whose files the worktree holds.
"""

from __future__ import annotations

import argparse

from jvs import cli
from jvs.errors import NAMING, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.terminal import Terminal

RAISES = NAMING
SEE_ALSO = ("jvs-history(1)", "jvs-cat-descriptor(1)", "jvs-ls-tree(1)", "jvs-format(5)")
EXAMPLES = (
    ("jvs show", "the snapshot that the files are at"),
    ("jvs show baseline --json", "a tagged one, for machines"),
)
_LABELS = (
    ("snapshot_id", "Snapshot"),
    ("parent_id", "Parent"),
    ("worktree_name", "Worktree"),
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
_SHOWN_DEGRADED = 20


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("show", __doc__)
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the snapshot (the head)")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Read one descriptor, and what is known about the snapshot beside it."""
    from jvs import history, lineage, refs

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    marks = history.Marks(store, name)
    if args.target is not None:
        target = refs.resolve(store, args.target, name)
    elif marks.head is not None:
        target = marks.head
    else:
        raise NotFound(f"worktree '{name}' has no snapshot yet", hint="take one with 'jvs snapshot'", worktree=name)
    record = lineage.load_visible(store, target)
    value = {
        **record,
        "short_id": refs.short_id(store.layout, target),
        "path": store.layout.payload(target),
        **marks.describe(target),
    }
    return cli.Result(value, lambda screen: _text(value, screen), pager=True)


def _text(value: dict[str, Any], screen: Terminal) -> str:
    from jvs import descriptor, terminal

    lines = []
    for key, label in _LABELS:
        shown = _show(key, value)
        if shown is not None:
            lines.append(f"{label + ':':<12}{shown}")
    known = {key for key, _ in _LABELS} | set(descriptor.FIELDS) | {"short_id", "path", "note"}
    known |= {"is_head", "is_latest", "tip_of", "head_of"}
    lines += [f"{key + ':':<12}{_json(value[key])}" for key in sorted(value.keys() - known)]
    lines += [f"{'Files:':<12}{value['path']}", *_degraded(value["degraded"])]
    if value["note"]:
        lines += ["", *(f"    {terminal.show_text(line)}".rstrip() for line in value["note"].split("\n"))]
    lines[0] = screen.paint(lines[0], "yellow") + _marks(value)
    return "\n".join(lines) + "\n"


def _marks(value: dict[str, Any]) -> str:
    words = f"  ({value['short_id']})"
    if value["is_latest"]:
        words += " [HEAD]"
    if value["is_head"]:
        words += " you are here" + ("" if value["is_latest"] else " (detached)")
    return words


def _show(key: str, value: dict[str, Any]) -> str | None:
    """Return a field for people, or None for one that says nothing."""
    from jvs import history, terminal

    item = value.get(key)
    if key == "parent_id":
        return item or "none: it is the first"
    if key == "created_at":
        return f"{item} ({history.show_age(value)})"
    if key == "tags":
        return ", ".join(map(str, item)) or None  # type: ignore[arg-type]
    if key == "payload":
        return history.show_content(value["payload"])
    if key == "changes":
        return _changes(item)
    if key == "partial_paths":
        paths = [path["path"] if isinstance(path, dict) else path for path in item or ()]
        return ", ".join(terminal.show_text(path) for path in paths) or None
    if key == "degraded":
        return terminal.plural(len(item), "thing") if item else "nothing was lost"  # type: ignore[arg-type]
    return terminal.show_text(str(item))


def _changes(changes: dict[str, Any] | None) -> str:
    from jvs import terminal

    if changes is None:
        return "not known; 'jvs diff' computes it"
    parts = [f"{changes[key]} {key}" for key in ("added", "modified", "removed") if changes.get(key)]
    if not parts:
        return "nothing against its parent"
    return f"{', '.join(parts)}; {terminal.size(changes.get('bytes', 0))} of new content"


def _degraded(lost: list[dict[str, Any]]) -> list[str]:
    from jvs import terminal

    lines = [
        f"  {terminal.show_text(str(item.get('path', '')))}: {item.get('what')} ({item.get('why')})"
        for item in lost[:_SHOWN_DEGRADED]
    ]
    if len(lost) > _SHOWN_DEGRADED:
        lines.append(f"  ... and {len(lost) - _SHOWN_DEGRADED} more; '--json' lists them")
    return lines


def _json(value: Any) -> str:
    return cli.json_bytes(value, indent=None).decode("utf-8")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
