"""What a person reads of a merge, and what a program gets.

Source: jvs-merge(1), jvs-merge-tree(1).
"""

from __future__ import annotations

from jvs import canon, units
from jvs.compare.listing import entry_json
from jvs.restore import merging
from jvs.store import lineage, refs
from jvs.ui import history_text, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.compare.listing import EntryDocument
    from jvs.restore.merging import Outcome
    from jvs.restore.plan import PathChange
    from jvs.store.store import Store
    from jvs.tree.merge import Merger
    from jvs.ui.terminal import Terminal

    class Decided(canon.PathJSON):
        """A conflict that an option decided."""

        chosen: str

    class MergeDocument(TypedDict):
        """What a merge did or would do, as `jvs merge --json` prints it."""

        worktree: str
        source: str
        merged_snapshot_id: str
        base_snapshot_id: str
        snapshot_id: str | None
        operation_id: str | None
        dry_run: bool
        changes: list[PathChange]
        conflicts: list[dict[str, object]]
        decided: list[Decided]

    class TreeChange(canon.PathJSON):
        """One thing that merging trees changes in ours."""

        how: str
        entry: EntryDocument | None

    class MergeTreeDocument(TypedDict):
        """What merging three trees gives, as `jvs-merge-tree` prints it."""

        base_snapshot_id: str
        ours_snapshot_id: str
        theirs_snapshot_id: str
        changes: list[TreeChange]
        conflicts: list[dict[str, object]]


_SHOWN = 40


def facts(found: Outcome, *, dry_run: bool) -> MergeDocument:
    """Return the document for `--json`."""
    plan = found.plan
    return {
        "worktree": found.worktree,
        "source": found.source,
        "merged_snapshot_id": found.theirs,
        "base_snapshot_id": found.base,
        "snapshot_id": found.snapshot["snapshot_id"] if found.snapshot else None,
        "operation_id": found.done.operation_id if found.done else None,
        "dry_run": dry_run,
        "changes": plan.changes() if plan else [],
        "conflicts": [merging.conflict_json(conflict) for conflict in plan.conflicts] if plan else [],
        "decided": [{**canon.path_json(path or b"."), "chosen": word} for path, word in plan.decided] if plan else [],
    }


def tree_facts(found: Merger, base: str, ours: str, theirs: str) -> MergeTreeDocument:
    """Return the document of `jvs-merge-tree`."""
    return {
        "base_snapshot_id": base,
        "ours_snapshot_id": ours,
        "theirs_snapshot_id": theirs,
        "changes": [
            {
                **canon.path_json(action.path or b"."),
                "how": action.how,
                "entry": None if action.new is None else entry_json(action.source, action.new),
            }
            for action in found.actions
        ],
        "conflicts": [merging.conflict_json(conflict) for conflict in found.conflicts],
    }


def merged(store: Store, found: Outcome, screen: Terminal) -> str:
    """Return what was merged, or the conflicts because of which nothing was."""
    short = refs.ShortIds.among_all(store.layout)
    age = history_text.show_age(lineage.load_any(store.layout, found.theirs))
    source, name = terminal.show_text(found.source), found.worktree
    if found.plan is None:
        return f"Nothing to merge: '{name}' has all of '{source}' ({short(found.theirs)})\n"
    if found.plan.conflicts:
        return "".join(f"{line}\n" for line in _conflicts(found))
    lines = [f"  {_LETTERS[change['change']]}  {terminal.show_text(change['path'])}" for change in found.plan.changes()]
    count = units.plural(len(lines), "change")
    if len(lines) > _SHOWN:
        lines = [*lines[:_SHOWN], f"  ... and {len(lines) - _SHOWN} more; '--json' lists them"]
    lines += [f"conflict decided for {word}: {terminal.show_path(path)}" for path, word in found.plan.decided]
    if found.snapshot is None:
        verb = "Would merge" if found.done is None else "Merged"
        return (
            "\n".join([f"{verb} {count} from '{source}' ({short(found.theirs)}, {age}) into '{name}'", *lines]) + "\n"
        )
    head = f"Merged {count} from '{source}' ({short(found.theirs)}, {age}) into '{name}'"
    return "\n".join([screen.paint(head, "bold"), *lines, f"Created snapshot {found.snapshot['snapshot_id']}"]) + "\n"


_LETTERS = {"added": "A", "modified": "M", "removed": "D"}


def _conflicts(found: Outcome) -> list[str]:
    assert found.plan is not None
    lines = [f"Conflicts between '{found.worktree}' and '{terminal.show_text(found.source)}':"]
    for conflict in found.plan.conflicts:
        sides = merging.conflict_json(conflict)
        lines.append(f"  {terminal.show_path(conflict.path or b'.')}: {sides['ours']} here, {sides['theirs']} there")
    return lines
