"""What a person reads of restores and undos, what a program gets, and the candidates to choose from.

Source: jvs-restore(1), jvs-undo(1).
"""

from __future__ import annotations

from jvs import clock, units
from jvs.errors import Ambiguous
from jvs.restore import journal
from jvs.store import annotation, lineage, refs, worktree
from jvs.ui import created_text, history_text, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypedDict

    from jvs.compare.history import Decorations
    from jvs.fs.losses import Loss
    from jvs.restore.delta import StepCounts
    from jvs.restore.journal import Kind, Operation
    from jvs.restore.plan import PathChange, RestorePlan
    from jvs.restore.run import Done
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.ui.terminal import Terminal

    class RestorePlanDocument(StepCounts):
        """What a restore would do, as `--dry-run --json` prints it."""

        snapshot_id: str
        worktree: str
        dry_run: bool
        changes: list[PathChange]

    class RestoreDocument(StepCounts):
        """What a restore did, as `--json` prints it."""

        snapshot_id: str
        worktree: str
        operation_id: str | None
        dry_run: bool
        head_snapshot_id: str | None
        latest_snapshot_id: str | None
        detached: bool
        kept_bytes: int
        discarded_bytes: int
        freed_bytes: int
        exact: bool
        degraded: list[Loss]
        changes: list[PathChange]

    class UndoDocument(TypedDict):
        """What an undo did, as `--json` prints it; the heads are null when its worktree is not there any more."""

        undone: str
        kind: Kind
        description: str
        worktree: str
        operation_id: str | None
        head_snapshot_id: str | None
        latest_snapshot_id: str | None
        kept_bytes: int
        changes: list[PathChange]

    class OperationItem(TypedDict):
        """One operation that can be undone, as `jvs undo --list --json` prints it."""

        operation_id: str
        created_at: str
        kind: Kind
        forward: bool
        description: str
        worktree: str
        bytes: int

    class ForgetDocument(TypedDict):
        """What `jvs undo --forget` removed, as `--json` prints it."""

        worktree: str
        forgotten: list[OperationItem]
        bytes: int


LISTED = 20
_LOSSES = 10
_SIGNS = {"added": ("+", "green"), "modified": ("~", "yellow"), "removed": ("-", "red")}


def plan_facts(name: str, planned: RestorePlan) -> RestorePlanDocument:
    """Return the document for `--dry-run --json`."""
    return {
        "snapshot_id": planned.target.snapshot_id,
        "worktree": name,
        "dry_run": True,
        **planned.delta.counts(),
        "changes": planned.changes(),
    }


def facts(name: str, done: Done) -> RestoreDocument:
    """Return the document for `--json`."""
    assert done.plan is not None
    return {
        "snapshot_id": done.plan.target.snapshot_id,
        "worktree": name,
        "operation_id": None if done.discarded else done.operation_id,
        "dry_run": False,
        "head_snapshot_id": done.config["head_snapshot_id"],
        "latest_snapshot_id": done.config["latest_snapshot_id"],
        "detached": done.detached,
        **done.plan.delta.counts(),
        "kept_bytes": 0 if done.discarded else done.displaced_bytes,
        "discarded_bytes": done.displaced_bytes if done.discarded else 0,
        "freed_bytes": done.freed.bytes,
        "exact": done.freed.exact,
        "degraded": done.degraded,
        "changes": done.plan.changes(),
    }


def restored(store: Store, done: Done, screen: Terminal, *, partial: bool) -> str:
    """Return what a restore did, how to undo it, and where the worktree is now."""
    assert done.plan is not None
    snapshot_id = done.plan.target.snapshot_id
    count = len(done.plan.delta.steps)
    what = f"{units.plural(count, 'entry', 'entries')} from " if partial else ""
    lines = terminal.wrap(f"Restored {what}snapshot {snapshot_id}", screen, "", "  ")
    lines += _changes(done.plan, screen, LISTED)
    if count:
        lines += _sum(done.plan, "Changed", screen)
    lines += _displaced(done, screen)
    for loss in done.degraded[:_LOSSES]:
        lines += terminal.wrap(created_text.show_loss(loss), screen, "not kept: ", "  ")
    if len(done.degraded) > _LOSSES:
        lines.append(f"  ... and {len(done.degraded) - _LOSSES} more; '--json' lists them")
    if not partial:
        lines += _state(done.detached)
    if not partial and done.detached:
        lines += terminal.wrap("to go on from here: 'jvs snapshot'", screen, "  ", "    ")
        short = refs.short_id(store.layout, snapshot_id)
        lines += terminal.wrap(f"to go on elsewhere: 'jvs worktree fork {short} NAME'", screen, "  ", "    ")
        lines += terminal.wrap("to return to the latest snapshot: 'jvs restore LATEST'", screen, "  ", "    ")
    return "\n".join(lines) + "\n"


def _displaced(done: Done, screen: Terminal) -> list[str]:
    size = units.size(done.displaced_bytes)
    if done.discarded:
        freed = f"{'' if done.freed.exact else 'about '}{units.size(done.freed.bytes)}"
        said = f"discarded {size} of files, which frees {freed}: this cannot be undone"
        return terminal.wrap(said, screen, "", "  ")
    if done.operation_id is None:
        return []
    return [(f"{size} displaced; " if done.displaced_bytes else "") + "'jvs undo' reverses it"]


def _state(detached: bool) -> list[str]:
    return [f"Worktree is {'now in DETACHED' if detached else 'at HEAD'} state."]


def planned(plan: RestorePlan, screen: Terminal) -> str:
    """Return what a restore would change."""
    return "".join(line + "\n" for line in [*_changes(plan, screen, None), *_sum(plan, "Would restore", screen)])


def _changes(plan: RestorePlan, screen: Terminal, most: int | None) -> list[str]:
    lines = []
    changes = plan.changes()
    for change in changes[:most]:
        sign, color = _SIGNS[change["change"]]
        path = terminal.show_text(change["path"])
        shown = terminal.cut_left(path, screen.width - 2) if screen.tty else path
        lines.append(screen.paint(f"{sign} {shown}", color))
    if most is not None and len(changes) > most:
        lines.append(f"... and {len(changes) - most} more; '--json' lists them")
    return lines


def _sum(plan: RestorePlan, verb: str, screen: Terminal, more: str = "") -> list[str]:
    counts = plan.delta.counts()
    words = f"{verb}: {counts['added']} added, {counts['modified']} modified, {counts['removed']} removed{more}"
    return terminal.wrap(words, screen, "", "  ")


def undone(value: UndoDocument, record: Operation, done: Done | None, screen: Terminal) -> str:
    """Return what an undo did; `value` is its document for `--json`."""
    words = terminal.wrap(f"Undid the {value['description']}", screen, "", "  ")
    lines = [screen.paint(line, "bold") for line in words]
    if done is not None and done.plan is not None:
        displaced = f"; {units.size(done.displaced_bytes)} displaced" if done.displaced_bytes else ""
        lines += [*_changes(done.plan, screen, LISTED), *_sum(done.plan, "Changed", screen, displaced)]
    if value["head_snapshot_id"] is not None and record["kind"] == "restore":
        lines += _state(value["head_snapshot_id"] != value["latest_snapshot_id"])
    again = "'jvs undo --redo' takes the undo back" if record["forward"] else "'jvs undo' reverses it"
    return "\n".join([*lines, again]) + "\n"


def operation_items(records: list[Operation]) -> list[OperationItem]:
    """Return what can be undone, one object each, for `--json`."""
    return [
        {
            "operation_id": record["operation_id"],
            "created_at": record["created_at"],
            "kind": record["kind"],
            "forward": record["forward"],
            "description": journal.describe(record),
            "worktree": record["worktree"],
            "bytes": record["bytes"],
        }
        for record in records
    ]


def undo_facts(store: Store, record: Operation, done: Done | None) -> UndoDocument:
    """Return the document for `--json` of an undo."""
    place = done.config["name"] if done else record["worktree"]
    config = worktree.load(store.layout, place) if place in worktree.names(store.layout) else None
    return {
        "undone": record["operation_id"],
        "kind": record["kind"],
        "description": journal.describe(record),
        "worktree": place,
        "operation_id": done.operation_id if done else None,
        "head_snapshot_id": config and config["head_snapshot_id"],
        "latest_snapshot_id": config and config["latest_snapshot_id"],
        "kept_bytes": done.displaced_bytes if done else 0,
        "changes": done.plan.changes() if done and done.plan else [],
    }


def operations(items: list[OperationItem], screen: Terminal) -> str:
    """Return the table of what can be undone; the first column is what `jvs undo` takes."""
    lines = []
    for item in items:
        label = item["operation_id"][14:]
        when = terminal.age(clock.parse_rfc3339(item["created_at"]))
        front = f"  {when:>10}  {units.size(item['bytes']):>10}  "
        if screen.tty and screen.width < history_text.MEDIUM_COLUMNS:
            front = f"  {when:>10}  "
        what = item["description"]
        if screen.tty:
            what = terminal.cut(what, max(screen.width - len(label) - len(front), 8))
        lines.append(f"{screen.paint(label, 'yellow')}{front}{what}\n")
    return "".join(lines) or "nothing to undo\n"


def forgotten(items: list[OperationItem]) -> str:
    """Return which operations were removed, with what they had displaced."""
    lines = [
        f"Forgot the {item['description']} ({item['operation_id']}): {units.size(item['bytes'])}\n" for item in items
    ]
    total = sum(item["bytes"] for item in items)
    if len(items) > 1:
        lines.append(f"{units.plural(len(items), 'operation')} forgotten, {units.size(total)} ({total} bytes)\n")
    return "".join(lines) or "nothing to forget\n"


def versions(store: Store, found: list[Descriptor], marks: Decorations, screen: Terminal, paths: list[bytes]) -> str:
    """Return the snapshots that changed some paths, and how to bring one of these versions back."""
    from jvs.compare.history import Choice

    lines = list(history_text.lines(store, found, Choice(), marks, screen, all=True, paths=paths))
    held = next((r for r in found if any(version["size"] is not None for version in r["path_changes"])), found[0])
    word = refs.short_id(store.layout, held["snapshot_id"])
    words = f"Nothing was restored. 'jvs restore {word} -- PATH' brings a version back, 'jvs cat {word}:PATH' shows it."
    return "".join([*lines, *(line + "\n" for line in terminal.wrap(words, screen))])


def candidates(store: Store, name: str, target: str | None) -> list[str]:
    """Return the snapshots that a person may choose from: those a target could be, or the newest of the line.

    Errors: E_NOT_FOUND when there is none.
    """
    if target is not None:
        try:
            return [refs.resolve(store, target, name)]
        except Ambiguous as error:
            return list(error.facts["candidates"])[:LISTED]
    line = (r["snapshot_id"] for r in lineage.line(store.layout, store.head_of(name)[1]) if not r.get("collected"))
    ids = [snapshot_id for snapshot_id, _ in zip(line, range(LISTED), strict=False)]
    if not ids:
        raise refs.no_snapshot(name)
    return ids


def numbered(store: Store, ids: list[str]) -> Iterator[str]:
    """Yield a numbered line for each candidate."""
    short, overlay = refs.ShortIds.among_all(store.layout), annotation.Overlay(store.layout)
    for number, snapshot_id in enumerate(ids, 1):
        record = overlay.over(lineage.load_visible(store, snapshot_id))
        front = f"{number:3}  {short(snapshot_id)}  {history_text.show_age(record):>10}  "
        tags = "".join(f" [{terminal.show_text(str(tag))}]" for tag in record["tags"])
        yield front + terminal.cut(history_text.first_line(record["note"]) + tags, 80 - len(front)).strip()
