"""Bringing what another snapshot changed into a worktree: planned on three trees, carried out as a restore is.

What comes is copied from the payloads of theirs; what it displaces goes to `undo/`. The next snapshot of the worktree
names the merged one as its second parent; the worktree's configuration says so until then (`merging`).
Source: jvs-merge(1), jvs-protocol(7), Merge.
"""

from __future__ import annotations

from jvs import canon, clock, progress
from jvs.errors import Conflict, IOFailure, LineageBroken, from_oserror
from jvs.fs import listing
from jvs.restore import delta, entries, journal, plan, run
from jvs.restore.sources import LayeredDir
from jvs.restore.spared import Spared, refuse_replacing
from jvs.store import audit, exclusion, lineage, mount_check, node_store, partial, worktree, worktree_scan
from jvs.tree import merge, path_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.restore.plan import PathChange
    from jvs.restore.run import Done
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree import node
    from jvs.tree.merge import MergeConflict


class MergePlan:
    """What a merge would do to a worktree. Shape: `conflicts` empty, or nothing may be done."""

    def __init__(self, theirs: Descriptor, base_id: str, found: merge.Merger, tree_before: str) -> None:
        self.theirs = theirs
        self.base_id = base_id
        self.conflicts: list[MergeConflict] = found.conflicts
        self.decided = found.decided
        self.actions = found.actions
        self.tree_before = tree_before
        self.delta = delta.Delta()
        self.layers: list[journal.LayerJSON] = []
        self.steps: list[delta.Step] = []
        self.dirs: dict[bytes, node.Entry | None] = {}
        """What comes besides: entries that no tree tells apart, and those of which only metadata come."""
        self.renamed = {action.path: action.source for action in found.actions if action.source != action.path}

    def changes(self) -> list[PathChange]:
        """Return what changes, path by path."""
        found: list[PathChange] = []
        for action in self.actions:
            word = "removed" if action.new is None else "added" if action.old is None else "modified"
            entry = action.old if action.new is None else action.new
            found.append({**canon.path_json(action.path or b"."), "change": word, "size": entry[3] if entry else 0})  # type: ignore[typeddict-item]
        return found


class Outcome:
    """What a merge did or would do. Shape: with `conflicts` in its plan nothing was changed.

    `plan` is None when there is nothing to merge; `snapshot` the one that was taken, or None.
    """

    def __init__(self, name: str, source: str, theirs: str, base: str) -> None:
        self.worktree = name
        self.source = source
        self.theirs = theirs
        self.base = base
        self.plan: MergePlan | None = None
        self.done: Done | None = None
        self.snapshot: Descriptor | None = None

    def complaint(self) -> Conflict | None:
        """Return the error that says that nothing was changed, or None."""
        if self.plan is None or not self.plan.conflicts:
            return None
        hint = "decide with --ours, --theirs or --both, for all or for a pattern: --ours='*.lock'"
        return complaint(self.plan.conflicts, self.worktree, hint)


def complaint(conflicts: list[MergeConflict], name: str, hint: str) -> Conflict:
    """Return the error that names conflicts because of which nothing was changed in a worktree."""
    described = [conflict_json(conflict) for conflict in conflicts]
    shown = f"'{described[0]['path']}'" + (f" and {len(described) - 1} more" if len(described) > 1 else "")
    return Conflict(
        f"both sides changed {shown} differently; nothing was changed in '{name}'", hint=hint, conflicts=described
    )


def make(
    store: Store,
    name: str,
    theirs_id: str,
    base_id: str,
    *,
    choose: Callable[[bytes], str | None],
    paths: list[bytes] | None = None,
) -> MergePlan:
    """Find out what a merge does, and check in the payloads all that will be copied. Changes nothing.

    Errors: E_LINEAGE_BROKEN for a base whose files are gone, E_NOT_FOUND for paths, E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    known = node_store.Trees(store)
    theirs, base = lineage.load_visible(store, theirs_id), _load_base(store, base_id)
    roots = [root_of(store, known, base), root_of(store, known, theirs)]
    with progress.step("look at the worktree"):
        found = worktree_scan.walk_now(store, name)
    known.add(found)
    if found.unreadable:
        shown = found.unreadable[0][0].decode("utf-8", "backslashreplace")
        raise IOFailure(f"'{shown}' cannot be read, so that nothing is merged", hint="check its permissions")
    if paths is not None:
        paths = path_filter.match_paths(known.load, [roots[0][2], roots[1][2], found.digest], paths)
    merged = merge.Merger(known.load, choose, paths).run(roots[0], found.root, roots[1])
    planned = MergePlan(theirs, base_id, merged, found.root_hash)
    planned.layers = _layers(store, theirs)
    if not planned.conflicts:
        make_delta(store, name, planned, known)
    return planned


def _load_base(store: Store, base_id: str) -> Descriptor:
    record = lineage.load_any(store.layout, base_id)
    if record.get("collected"):
        raise LineageBroken(
            f"snapshot '{base_id}', where the two lines meet, was collected",
            hint="name another snapshot to compare with: '--base SNAPSHOT'",
            snapshot_id=base_id,
        )
    return lineage.load_visible(store, base_id)


def root_of(store: Store, known: node_store.Trees, record: Descriptor) -> node.Root:
    """Return the root of a snapshot as `sha256-tree-2` has it, of a partial one with what it lies on."""
    root = known.root_as(record, plain=False)
    return root[0], root[1], partial.whole_tree(store, known, record, plain=False)[0]


def _layers(store: Store, theirs: Descriptor) -> list[journal.LayerJSON]:
    """Return the snapshots whose payloads hold what theirs has: itself and, when it is partial, what it lies on."""
    return [
        {
            "snapshot_id": layer["snapshot_id"],
            "paths": None
            if layer["partial_paths"] is None
            else [canon.path_json(path_filter.stored_path(path)) for path in layer["partial_paths"]],
        }
        for layer in partial.layers(store, theirs)
    ]


def make_delta(store: Store, name: str, planned: MergePlan, known: node_store.Trees) -> None:
    """Turn the actions of a merge into steps, check what they copy, and note what is there now. Errors: as `make`."""
    how = {merge.COPY: delta.COPY, merge.MAKE: delta.MAKE, merge.DROP: delta.DROP}
    dirs, steps = dict(planned.dirs), list(planned.steps)
    for action in planned.actions:
        if action.how == merge.META:
            dirs[action.path] = action.new
            continue
        steps.append(delta.Step(action.path, how[action.how], action.old, action.new))
        if action.how == merge.MAKE:
            dirs[action.path] = action.new
        dirs.setdefault(action.path.rpartition(b"/")[0], None)
    made = planned.delta
    made.metadata = [path for path, entry in planned.dirs.items() if entry is not None and entry[1] != listing.DIR]
    made.replace_steps(_without_excluded(store, name, planned, steps))
    target = plan.RestoreTarget(planned.theirs["snapshot_id"], (0, None, b""), None)
    try:
        with (
            entries.RootedDir(store.layout.worktree_dir(name)) as here,
            LayeredDir.of(store.layout, planned.layers, planned.renamed) as source,
        ):
            plan.check_sources(made, source, target.snapshot_id)
            planned.conflicts += _twins(made, here, planned)
            plan.add_directories(made, dirs, here, source, target)
            plan.note_inodes(made, here)
    except OSError as error:
        raise from_oserror(error, f"planning the merge into '{name}'") from error


def _without_excluded(store: Store, name: str, planned: MergePlan, steps: list[delta.Step]) -> list[delta.Step]:
    """Return the steps that touch nothing that is excluded, here or in the snapshot that comes.

    Errors: E_EXISTS when a directory goes, or is replaced, that holds something of it.
    """
    rules = store.exclusion(name), exclusion.of_snapshot(planned.theirs)
    with Spared(store.layout.worktree_dir(name), now=rules[0], then=rules[1]) as spared:
        if not spared.any:
            return steps
        kept = []
        for step in steps:
            if spared.is_inside(step.path) or spared.covers(step.path, step.old, step.new):
                continue
            if spared.holds_here(step.path):
                raise refuse_replacing(step.path)
            kept.append(step)
        return kept


def _twins(made: delta.Delta, here: entries.RootedDir, planned: MergePlan) -> list[MergeConflict]:
    """Return what cannot come because a filesystem that folds case has it under another spelling, which stays."""
    going = {delta.fold(step.path) for step in made.steps if step.how == delta.DROP}
    actions = {action.path: action for action in planned.actions}
    return [
        merge.MergeConflict(step.path, None, None, actions[step.path].new)
        for step in made.steps
        if step.old is None
        and step.how in (delta.COPY, delta.MAKE)
        and delta.fold(step.path) not in going
        and here.lstat(step.path) is not None
    ]


def carry_out(store: Store, name: str, planned: MergePlan, *, records_parent: bool, try_id: str | None = None) -> Done:
    """Bring the changes into a worktree whose lock the caller holds. `records_parent`: the next snapshot names theirs.

    They are those of a merge, or of the try `try_id`.

    Durable: yes; `undo` undoes it. Errors: as a restore.
    """
    store.require_worktree(name)
    mount_check.refuse_moving(store, name)
    before = worktree.load(store.layout, name)
    heads: journal.Heads = {"head": before["head_snapshot_id"], "latest": before["latest_snapshot_id"]}
    was = before.get("merging", [])
    merging: journal.Merging = {
        "before": was,
        "after": [*was, planned.theirs["snapshot_id"]] if records_parent else was,
    }
    counts = planned.delta.counts()
    details: journal.Details = {
        "tree_before": planned.tree_before,
        "merging": merging,
        "layers": planned.layers,
        "renamed": [[canon.path_json(path), canon.path_json(source)] for path, source in planned.renamed.items()],
        **counts,
    }
    operation = "merge" if try_id is None else "try"
    event = audit.event(
        operation,
        store.actor,
        target=planned.theirs["snapshot_id"],
        worktree=name,
        details={**counts, "base": planned.base_id, **({} if try_id is None else {"try": try_id})},
    )
    record = journal.new(
        "restore",
        name,
        clock.new_operation_id(),
        identity=worktree.identity(before),
        before=heads,
        after=heads,
        target=planned.theirs["snapshot_id"],
        details=details,
    )
    return run.carry_out(store, record, planned.delta, event, operation=operation)


def note_snapshot(store: Store, operation_id: str, snapshot_id: str) -> None:
    """Note in the journal of a merge that a snapshot holds it: undoing it then goes back before that one too.

    A crash before this leaves an undo that brings back the files alone. Durable: yes.
    """
    record = journal.load(store.layout, operation_id)
    record["after"] = {"head": snapshot_id, "latest": snapshot_id}
    record["details"]["merging"] = {"before": record["details"]["merging"]["before"], "after": []}
    journal.save(store.layout, record)


def conflict_json(conflict: MergeConflict) -> dict[str, object]:
    """Return a conflict for `--json`: what each side did to the path, and what it has there now."""
    return {
        **canon.path_json(conflict.path or b"."),
        "ours": _did(conflict.base, conflict.ours),
        "theirs": _did(conflict.base, conflict.theirs),
        "ours_kind": None if conflict.ours is None else listing.KIND_NAMES[conflict.ours[1]],
        "theirs_kind": None if conflict.theirs is None else listing.KIND_NAMES[conflict.theirs[1]],
    }


def _did(base: node.Entry | None, now: node.Entry | None) -> str:
    if now is None:
        return "removed" if base is not None else "has another spelling"
    return "added" if base is None else "modified"
