"""Undoing the last restore, undo, rename or removal: what it displaced goes back, what it brought is kept.

Every operation has its journal in `undo/`. Undoing one moves its files back where they were and makes a journal of
its own out of what lay there, so that it can be undone in turn. `undo` walks back from the newest operation that
was not undone; `redo` reverses the last undo, as long as nothing new was done since.
Source: jvs-undo(1), jvs-protocol(7), Undo.
"""

from __future__ import annotations

import os

from jvs import canon, clock
from jvs.errors import Busy, NotFound, from_oserror
from jvs.fs import listing
from jvs.restore import belonging, bringing, delta, entries, journal
from jvs.restore import run as restore
from jvs.restore.plan import RestorePlan, RestoreTarget
from jvs.restore.spared import Spared, refuse_replacing
from jvs.store import audit, changing, lineage, mount_check, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.restore.journal import Operation
    from jvs.store.store import Store


def operations(store: Store, name: str) -> list[Operation]:
    """Return the operations that concern a worktree and were not undone, newest first."""
    worktrees = belonging.Worktrees(store.layout)
    found = [record for record in journal.load_all(store.layout) if record["undone_by"] is None]
    return [record for record in found if worktrees.concerns(name, record)]


def choose(store: Store, name: str, *, redo: bool = False, operation_id: str | None = None) -> Operation:
    """Return the operation that an undo reverses.

    Without an id: the newest that was not undone; with `redo`: the newest undo, unless something new was done after it.
    Errors: E_NOT_FOUND when there is none.
    """
    found = operations(store, name)
    if operation_id is not None:
        return by_id(found, operation_id, name)
    if not redo:
        for record in found:
            if record["forward"]:
                return record
        hint = "'jvs undo --redo' reverses the last undo" if found else "only restore, undo, rename and remove can be"
        raise NotFound(f"nothing to undo in worktree '{name}'", hint=hint)
    for record in found:
        if not record["forward"]:
            return record
        if record["of"] is None:
            break
    raise NotFound(
        f"no undo to reverse in worktree '{name}'",
        hint="'jvs undo --list' shows the operations; 'jvs undo OPERATION' undoes any of them",
    )


def by_id(found: list[Operation], operation_id: str, name: str) -> Operation:
    """Return the one operation that an id names, or the beginning of it or of its last part. Errors: E_NOT_FOUND."""
    fitting = [
        r
        for r in found
        if r["operation_id"].startswith(operation_id) or r["operation_id"][14:].startswith(operation_id)
    ]
    if len(fitting) == 1 and len(operation_id) >= 4:
        return fitting[0]
    raise NotFound(
        f"no single operation of worktree '{name}' answers to '{operation_id}'",
        hint="'jvs undo --list' shows them",
        candidates=[record["operation_id"] for record in fitting],
    )


def undo(
    store: Store, name: str, *, redo: bool = False, operation_id: str | None = None
) -> tuple[Operation, restore.Done | None]:
    """Undo one operation; return its journal, and what was done when files were moved.

    Takes the locks itself, since the operation says which worktree it is about.
    Durable: yes. Errors: E_NOT_FOUND, E_EXISTS (a name is taken), E_BUSY, E_NO_SPACE, E_IO.
    """
    chosen = choose(store, name, redo=redo, operation_id=operation_id)
    for _ in range(3):
        place = worktree_of(store, chosen)
        with changing.worktree(store, place):
            again = choose(store, name, redo=redo, operation_id=operation_id)
            if again["operation_id"] == chosen["operation_id"]:
                done = _undo(store, again, place)
                break
            chosen = again  # the recovery completed another operation, or somebody was faster
    else:
        raise Busy(f"others keep undoing in worktree '{name}'", hint="wait for them and run the command again")
    return chosen, done


def worktree_of(store: Store, record: Operation) -> str:
    """Return the worktree whose lock the undoing of an operation needs: it may have another name by now."""
    return belonging.Worktrees(store.layout).owner(record) or str(record["worktree"])


def _undo(store: Store, record: Operation, name: str) -> restore.Done | None:
    from jvs.worktrees import move

    mount_check.refuse_undoing(store, record["operation_id"])
    if record["kind"] == "worktree_rename":
        move.rename(store, name, record["worktree"], undoes=record)
        return None
    if record["kind"] == "worktree_remove":
        if record["details"].get("gone", True):
            bringing.bring_back(store, record["operation_id"])
            move.give_back(store, record)
        else:
            move.remove(store, name, undoes=record)
        return None
    return undo_restore(store, record, name)


def undo_restore(store: Store, record: Operation, name: str) -> restore.Done:
    """Undo a restore, or an undo of one, in a worktree whose lock the caller holds."""
    store.require_worktree(name)
    mount_check.refuse_moving(store, name)
    now = worktree.load(store.layout, name)
    bringing.bring_back(store, record["operation_id"])
    steps = plan(store, record, name)
    before: journal.Heads = {"head": now["head_snapshot_id"], "latest": now["latest_snapshot_id"]}
    details: journal.Details = {**steps.counts()}
    if "merging" in record["details"]:
        was = record["details"]["merging"]
        details["merging"] = {"before": was["after"], "after": was["before"]}
    if "layers" in record["details"]:  # it was a merge, and is called so
        details["layers"] = record["details"]["layers"]
    after = _heads_before(store, record, before)
    made = journal.new(
        "restore",
        name,
        clock.new_operation_id(),
        identity=worktree.identity(now),
        before=before,
        after=after,
        target=record["target"],
        undoes=record,
        details=details,
    )
    event = audit.event(
        "undo",
        store.actor,
        target=record["target"],
        worktree=name,
        details={"undoes": record["operation_id"], "before": before, "after": after, **steps.counts()},
    )
    done = restore.carry_out(store, made, steps, event, operation="undo")
    done.plan = RestorePlan(RestoreTarget("", (0, None, b""), None), steps, "")
    return done


def _heads_before(store: Store, record: Operation, now: journal.Heads) -> journal.Heads:
    """Return what head and latest were before an operation, as far as a collection has left those snapshots."""
    if record["before"] == record["after"]:
        return now
    there = set(lineage.visible_ids(store.layout))
    was = record["before"]
    return {
        "head": was["head"] if was["head"] is None or was["head"] in there else now["head"],
        "latest": was["latest"] if was["latest"] is None or was["latest"] in there else now["latest"],
    }


def plan(store: Store, record: Operation, name: str) -> delta.Delta:
    """Turn the steps of an operation round: what it displaced comes back, what it brought is displaced.

    Looks at the worktree as it is now, so that whatever changed since is displaced and not overwritten.
    Errors: E_PARTIAL_SNAPSHOT when the journal is damaged; E_IO.
    """
    was = journal.load_steps(store.layout, record)
    files = journal.files(store.layout, record["operation_id"])
    made = delta.Delta()
    try:
        named = [canon.path_from_json(path) for path in record["details"].get("paths") or ()]
        directory = store.layout.worktree_dir(name)
        with (
            entries.RootedDir(directory) as here,
            entries.RootedDir(files) as kept,
            Spared(directory, now=store.exclusion(name), wanted=named) as spared,
        ):
            replaced: list[bytes] = []
            for i, step in enumerate(was.steps):
                if not any(step.path.startswith(path + b"/") for path in replaced):
                    if spared.any and _turn_around(made, step, here, kept, spared):
                        continue
                    _turn(made, step, here, kept, twin=i in was.twins)
                    if step.how == delta.MAKE:
                        replaced.append(step.path)
            changed = {step.path.rpartition(b"/")[0] for step in made.steps}
            known = {path: before for path, before, _ in was.dirs}
            new = {step.path for step in made.steps if step.how == delta.MAKE}
            for path in sorted(changed | known.keys()):
                kind = entries.kind_of_meta(known[path]) if path in known else listing.DIR
                now = entries.meta_at(here, path, kind) or (known.get(path) if path in new else None)
                if now is not None:
                    made.dirs.append((path, now, known.get(path)))
    except OSError as error:
        raise from_oserror(error, "planning the undo") from error
    made.steps.sort(key=lambda step: step.path)
    return made


def _turn_around(
    made: delta.Delta, step: delta.Step, here: entries.RootedDir, kept: entries.RootedDir, spared: Spared
) -> bool:
    """Turn a step round whose place holds what is excluded now, which stays; False when it holds nothing of it.

    Errors: E_EXISTS when something is to come back to the place of such a directory.
    """
    if spared.is_inside(step.path) or spared.covers(step.path):
        return True
    if not spared.holds_here(step.path):
        return False
    if kept.lstat(step.path) is not None:
        raise refuse_replacing(step.path)
    for path, st in spared.others_in(step.path):
        made.steps.append(delta.Step(path, delta.DROP, _rough(path, st), None, old_ino=st.st_ino))
    return True


def _turn(made: delta.Delta, step: delta.Step, here: entries.RootedDir, kept: entries.RootedDir, *, twin: bool) -> None:
    """Add the step that turns another one round; of a `twin` only what is spelled just so counts."""
    if twin:
        now, back = here.lstat_spelled(step.path), kept.lstat_spelled(step.path)
    else:
        now, back = here.lstat(step.path), kept.lstat(step.path)
    if now is None and back is None:
        return
    entry = None if now is None else step.new or _rough(step.path, now)
    if back is None:
        made.steps.append(delta.Step(step.path, delta.DROP, entry, None, old_ino=now.st_ino if now else 0))
        return
    _make_way(made, step.path, here)
    place = (0, b"") if now is None else here.parent(step.path)
    old_seen, source_seen = entries.seen_apart(place, now, kept.parent(step.path), back)
    made.steps.append(
        delta.Step(
            step.path,
            delta.MOVE,
            entry,
            step.old or _rough(step.path, back),
            old_ino=now.st_ino if now else 0,
            source_ino=back.st_ino,
            old_seen=old_seen,
            source_seen=source_seen,
        )
    )


def _make_way(made: delta.Delta, path: bytes, here: entries.RootedDir) -> None:
    """Add steps for directories on the way that somebody removed or replaced since."""
    parts = path.split(b"/")
    for depth in range(1, len(parts)):
        above = b"/".join(parts[:depth])
        st = here.lstat(above)
        if st is not None and listing.kind_of(st.st_mode) == listing.DIR:
            continue
        if all(step.path != above for step in made.steps):
            entry = None if st is None else _rough(above, st)
            made.steps.append(delta.Step(above, delta.MAKE, entry, None, old_ino=st.st_ino if st is not None else 0))


def _rough(path: bytes, st: os.stat_result) -> tuple[bytes, int, int, int, bytes, None]:
    """Return an entry that says kind and size only: what somebody put there since was never hashed."""
    kind = listing.kind_of(st.st_mode)
    size = st.st_size if kind == listing.FILE else 0
    return path.rpartition(b"/")[2], kind, st.st_mode & 0o7777, size, bytes(32), None
