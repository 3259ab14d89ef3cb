"""What a person reads of a try, and what a program gets.

Source: jvs-try(1).
"""

from __future__ import annotations

from jvs import canon, clock, units
from jvs.fs import listing as kinds
from jvs.store import refs
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.restore.plan import PathChange
    from jvs.restore.trying import TryChange, TryOutcome
    from jvs.store.store import Store
    from jvs.store.tries import Try
    from jvs.ui.terminal import Terminal

    class TryDocument(TypedDict):
        """What became of a try, as `jvs try --json` prints it."""

        try_id: str
        worktree: str
        snapshot_id: str
        command: list[str] | str
        exit: int
        state: str
        operation_id: str | None
        fork: str | None
        changes: list[PathChange]
        conflicts: list[dict[str, object]]

    class PendingTry(TypedDict):
        """One try, as `jvs try --list --json` prints it."""

        try_id: str
        worktree: str
        snapshot_id: str
        command: str
        state: str
        exit: int | None
        created_at: str
        host: str
        bytes: int


_SHOWN = 40
_LETTERS = {"added": "A", "modified": "M", "removed": "D"}
_SAID = {
    "applied": "Applied to '{worktree}': {count}; 'jvs undo' takes it back",
    "kept": "Kept as the fork '{fork}': {count}",
    "discarded": "Discarded: {count}",
    "empty": "Nothing changed",
    "pending": "Pending: {count}, nothing of it is in '{worktree}'",
}
_KILLED = "Discarded: the command was ended by a signal, and nothing of it is in '{worktree}'"


def change_json(change: TryChange) -> PathChange:
    """Return one change for `--json`."""
    word = "removed" if change.new is None else "added" if change.old is None else "modified"
    entry = change.old if change.new is None else change.new
    return {**canon.path_json(change.path or b"."), "change": word, "size": entry[3] if entry else 0}  # type: ignore[typeddict-item]


def facts(found: TryOutcome, words: list[str]) -> TryDocument:
    """Return the document for `--json`."""
    record = found.record
    return {
        "try_id": record["operation_id"],
        "worktree": record["worktree"],
        "snapshot_id": record["snapshot_id"],
        "command": words or record["command"],
        "exit": found.exit,
        "state": found.state,
        "operation_id": found.operation_id,
        "fork": found.fork,
        "changes": [change_json(change) for change in found.changes],
        "conflicts": found.conflict.facts["conflicts"] if found.conflict is not None else [],
    }


def report(store: Store, found: TryOutcome, screen: Terminal) -> str:
    """Return what changed, removals first and all of them, and what became of it."""
    gone: list[str] = []
    others: list[str] = []
    for change in found.changes:
        fact = change_json(change)
        is_dir = (change.new or change.old or (b"", 0))[1] == kinds.DIR
        line = f"  {_LETTERS[fact['change']]}  {terminal.show_path(change.path or b'.')}{'/' if is_dir else ''}"
        (gone if change.new is None else others).append(line)
    if len(others) > _SHOWN:
        others = [*others[:_SHOWN], f"  ... and {len(others) - _SHOWN} more; '--json' lists them"]
    said = (_KILLED if found.state == "discarded" and not found.changes else _SAID[found.state]).format(
        worktree=found.record["worktree"], fork=found.fork, count=units.plural(len(found.changes), "change")
    )
    lines = [*gone, *others, screen.paint(said, "bold")]
    if found.conflict is not None:
        lines += [f"conflict: {terminal.show_text(str(item['path']))}" for item in found.conflict.facts["conflicts"]]
    if found.state == "pending":
        number = found.record["operation_id"]
        lines += [f"try {number}: 'jvs try --apply {number}', '--keep {number} NAME' or '--discard {number}'"]
    return "\n".join(lines) + "\n"


def listed(found: list[Try]) -> list[PendingTry]:
    """Return all tries for `--json`."""
    return [
        {
            "try_id": record["operation_id"],
            "worktree": record["worktree"],
            "snapshot_id": record["snapshot_id"],
            "command": record["command"],
            "state": record["state"],
            "exit": record["exit"],
            "created_at": record["created_at"],
            "host": record["owner"]["host"],
            "bytes": record["bytes"],
        }
        for record in found
    ]


def listing(store: Store, found: list[Try]) -> str:
    """Return one line for each try."""
    if not found:
        return "No tries are pending\n"
    short = refs.ShortIds.among_all(store.layout)
    lines = []
    for record in found:
        age = terminal.age(clock.parse_rfc3339(record["created_at"]))
        ended = f"exit {record['exit']}" if record["state"] == "pending" else f"runs on {record['owner']['host']}"
        lines.append(
            f"{record['operation_id']}  {record['worktree']}  on {short(record['snapshot_id'])}  {age}  {ended}  "
            f"{units.size(record['bytes'])}  {terminal.show_text(record['command'])}"
        )
    return "\n".join(lines) + "\n"
