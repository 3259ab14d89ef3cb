"""Collecting: two phases with tombstones, so that a snapshot is there completely or not at all, after a crash too.

Under the repository lock, taken alone, the plan is checked again, a tombstone with the whole descriptor is written for
each candidate, and the snapshots are taken out: descriptors first, then markers, then payloads (to `gc/trash/`). The
long work, deleting the trash, holds only `gc.lock`. Recovering an interrupted run finishes what is half out and lets
everything stay that is still complete; running the same plan again continues.
Source: jvs-gc-run(1), jvs-protocol(7), Collection.
"""

from __future__ import annotations

import contextlib

from jvs import progress
from jvs.engine import space
from jvs.engine.btrfs import cleaner as btrfs_cleaner
from jvs.errors import Busy, GcPlanMismatch, IOFailure, JvsError, NoSpace, NotFound, from_oserror
from jvs.fs import durable, listing, locks, paths
from jvs.gc import plan as gc_plan
from jvs.gc import reach, tombstone
from jvs.gc import remove as gc_remove
from jvs.gc.retention import Policy
from jvs.names import check_snapshot_id, is_snapshot_id
from jvs.store import audit, changing, held, intent, lineage, reserve, worktree, write_ahead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.fs.rooted import Below
    from jvs.store.layout import Layout
    from jvs.store.shapes import CollectionIntent
    from jvs.store.store import Store

    class Collected(TypedDict):
        """What a run collected."""

        plan_id: str
        collected: list[str]
        collected_count: int
        freed_bytes: int
        exact: bool

    class Pruned(TypedDict):
        """What collecting one snapshot came to."""

        snapshot_id: str
        collected: list[str]
        freed_bytes: int
        exact: bool


CHEAP_ENTRIES = 2000
"""Recovery deletes trash of up to so many files at once; more is left to `gc run` and `doctor`."""


def run(store: Store, plan_id: str, policy: Policy | None = None, *, allow_newer: bool = False) -> Collected:
    """Collect the candidates of a plan, or continue a run of it that was interrupted.

    `policy` replaces the plan's file when there is none. `allow_newer` accepts that the repository changed since,
    as long as nothing protects any candidate. Shape: `plan_id`, `collected` (ids), `collected_count`;
    `freed_bytes` of disk space that this call freed, an estimate unless `exact`.
    Durable: yes; on return every candidate is deleted, bytes and all.
    Errors: E_NOT_FOUND for an unknown plan, E_GC_PLAN_MISMATCH when the repository changed since, E_BUSY; E_IO,
    E_NO_SPACE when something could not be removed: run it again.
    """
    layout, wait, command = store.layout, store.settings.wait, store.settings.command
    gc_plan.path_of(layout, plan_id)
    with _lock(store):
        _recover_own(store)
        sweep(store)
        collected: list[str] = []
        freed, left = space.Freed(0, exact=True), True
        while left:  # more than one round only when the disk is too full to mark all candidates at once
            with contextlib.ExitStack() as alone:
                alone.enter_context(locks.acquire_repository(layout.locks, exclusive=True, wait=wait, command=command))
                changing.recover(store)
                plan, done = _check(store, plan_id, policy, allow_newer=allow_newer)
                collected = sorted({*collected, *done})
                if not plan.candidates:
                    break
                out = _collect(store, plan, plan_id, alone, freed)
            collected = sorted({*collected, *out})
            left = set(out) != set(plan.candidates)
    _tidy_index(store)
    reserve.fill(layout)
    return {
        "plan_id": plan_id,
        "collected": collected,
        "collected_count": len(collected),
        "freed_bytes": freed.bytes,
        "exact": freed.exact,
    }


def _lock(store: Store) -> locks.Lock:
    """Take the lock of collections; its file may have to be made, on a disk that has no room. Errors: E_BUSY, E_IO."""
    path, wait, command = store.layout.lock("gc"), store.settings.wait, store.settings.command
    try:
        return locks.acquire(path, wait=wait, command=command)
    except NoSpace:
        if not gc_plan.make_room(store):
            raise
    return locks.acquire(path, wait=wait, command=command)


def _check(store: Store, plan_id: str, policy: Policy | None, *, allow_newer: bool) -> tuple[gc_plan.Plan, set[str]]:
    """Plan again; return the plan and what an earlier run of it has collected. Errors: E_GC_PLAN_MISMATCH."""
    stored = gc_plan.load(store, plan_id)
    if stored is None and policy is None:
        raise NotFound(f"there is no plan '{plan_id}'", hint="'jvs gc plan' makes one and prints its id")
    chosen = policy if stored is None else stored.policy
    assert chosen is not None
    plan = gc_plan.make(store, chosen, estimate=False)
    tombstones = tombstone.load_all(store.layout)
    done = {i for i, record in tombstones.items() if record["plan_id"] == plan_id and i not in plan.found}
    now = plan.plan_id(done)
    if now == plan_id:
        return plan, done
    if stored is None:
        raise NotFound(
            f"there is no plan '{plan_id}', and with these options it would be '{now}'",
            hint="'jvs gc plan' makes one and prints its id",
        )
    new = "look at a new plan with 'jvs gc plan', then run that one"
    left = [i for i in stored.candidates if i in plan.found or i not in tombstones]  # others may have collected some
    kept = {i: plan.marks.sentences(i) or ["it is not there"] for i in left if i not in plan.candidates}
    if kept:
        first, more = next(iter(kept)), f", and {len(kept) - 1} more" if len(kept) > 1 else ""
        raise GcPlanMismatch(
            f"since plan '{plan_id}' was made snapshot '{first}' became protected ({'; '.join(kept[first])}){more}",
            hint=new,
            plan_id=plan_id,
            now=now,
            protected=kept,
        )
    if not allow_newer:
        raise GcPlanMismatch(
            f"the repository changed since plan '{plan_id}' was made: it would be '{now}' now",
            hint=f"nothing protects what it names: '--allow-newer' collects that all the same; or {new}",
            plan_id=plan_id,
            now=now,
        )
    plan.candidates = left
    return plan, done


def _collect(
    store: Store, plan: gc_plan.Plan, plan_id: str, alone: contextlib.ExitStack, freed: space.Freed
) -> list[str]:
    """Do one round: take the candidates out under the repository lock (`alone`), release it, delete their trash.

    Durable: yes, with its audit record. Returns what was collected; on a full disk that may be only a part. What that
    frees is added to `freed`.
    Errors: E_IO when trash cannot be deleted: its tombstone says `failed` and why, and the next run goes on.
    """
    event = audit.event("gc_run", store.actor, target=plan_id, reason="collection", details={"plan_id": plan_id})
    half_done = True

    def roll_back(pending: CollectionIntent) -> bool:
        """Finish what is half out and let the rest stay; when that fails too, the intent tells the next command."""
        if not half_done:  # the lock was released: only a recovery may go on
            return False
        try:
            _finish_half(store, pending)
        except (JvsError, OSError):
            return False
        return True

    with write_ahead.operation(
        store,
        "gc_run",
        None,
        event,
        roll_back=roll_back,
        write=lambda write: gc_plan.with_room(store, write, "writing the record of the collection"),
        plan_id=plan_id,
        candidates=plan.candidates,
    ) as pending:
        _take_out_all(store, plan, pending)
        half_done = False
        alone.close()
        out, failure = _delete_all(store, plan, pending, freed)
        taken = {i for i in pending["candidates"] if i in out or gc_remove.is_stuck(store.layout, i)}
        pending["audit"]["details"]["collected"] = sorted(taken)
    if failure is not None:
        raise failure
    return out


def _take_out_all(store: Store, plan: gc_plan.Plan, pending: CollectionIntent) -> None:
    """Mark and take out the candidates; on a full disk as many as could be marked, the rest in the next round."""
    tombstones = [gc_remove.make_tombstone(plan, pending["plan_id"], i) for i in pending["candidates"]]
    try:
        with progress.step("gc mark"):
            marked = gc_remove.mark(store, tombstones)
        with progress.step("gc take out"):
            gc_remove.take_out(store.layout, marked)
            _rescue(store, marked)
    except OSError as error:
        raise from_oserror(error, "taking snapshots out") from error


def _stuck(layout: Layout, snapshot_id: str) -> JvsError:
    return IOFailure(
        f"the files of snapshot '{snapshot_id}' could not be moved: Operation not permitted",
        hint=f"look at '{layout.payload(snapshot_id)}' (lsattr, ls -ld); the next 'jvs gc run' tries again",
    )


def _rescue(store: Store, ids: list[str]) -> None:
    """Move what an undo needs out of the trash while nobody is at work; what fails is tried again before deleting."""
    with contextlib.suppress(JvsError):
        held.rescue(store, ids)


def _delete_all(
    store: Store, plan: gc_plan.Plan, pending: CollectionIntent, freed: space.Freed
) -> tuple[list[str], JvsError | None]:
    """Delete the trash of one round and commit its tombstones; return what is out, and the first failure."""
    layout = store.layout
    out = sorted(i for i in pending["candidates"] if gc_remove.is_out(layout, i))
    with progress.step("gc measure"):
        freed.add(reach.measure(store, plan.found, out, lambda i: layout.trash / i))
    stuck = [i for i in pending["candidates"] if gc_remove.is_stuck(layout, i)]
    failure: JvsError | None = _stuck(layout, stuck[0]) if stuck else None
    needed = held.needed(layout, set(out))
    with progress.step("gc delete"):
        for snapshot_id in out:
            try:
                if snapshot_id in needed:
                    held.rescue(store, [snapshot_id])
                gc_remove.delete_trash(store, snapshot_id)
            except JvsError as error:
                failure = failure or error
                freed.exact = False
                gc_remove.note_failure(store, snapshot_id, error)
            progress.advance("gc", 1, len(out), "snapshots")
        durable.fsync_dir(layout.trash)  # or a crash could bring trash back that a tombstone calls deleted
        if out:
            btrfs_cleaner.wait_for_space(layout.trash)
    gc_remove.commit_tombstones(store, pending["candidates"])
    return out, failure


def recover(store: Store, pending: CollectionIntent) -> str:
    """Recover a run whose process died: what is half out goes, what is complete stays. The cost is bounded.

    Returns what was done; nothing when the run lives, or somebody else is recovering it.
    """
    try:
        lock = locks.acquire(store.layout.lock("gc"), wait=0, command="recover")
    except Busy:
        return ""
    with lock:
        if not paths.exists(store.layout.intent(pending["operation_id"])):
            return ""
        return _recover_locked(store, pending)


def _recover_locked(store: Store, pending: CollectionIntent) -> str:
    half = _finish_half(store, pending)
    intent.clear(store.layout, pending["operation_id"])
    whole = len(pending["candidates"]) - half
    return f"completed an interrupted collection: {half} snapshots are deleted, {whole} stay"


def _finish_half(store: Store, pending: CollectionIntent) -> int:
    """Finish what is half out, for good, and record it; return how many snapshots that were. The rest stays."""
    layout = store.layout
    gc_plan.check_places(layout)
    candidates = [check_snapshot_id(i) for i in pending["candidates"]]
    gc_remove.sweep_tombstones(layout)
    # Nobody can be reading these: a marked snapshot without a descriptor has not been visible since the run died.
    half = [i for i in candidates if not paths.exists(layout.descriptor(i)) and gc_remove.is_marked(layout, i)]
    gc_remove.take_out(layout, half)
    _rescue(store, half)
    gc_remove.commit_tombstones(store, candidates)
    if half:
        write_ahead.append(store, pending, collected=sorted(half))
        _delete_cheap_trash(store, half)
    durable.fsync_dir(layout.trash)  # a crash after the intent's end must bring neither trash nor a tombstone back
    durable.fsync_dir(layout.tombstones)
    return len(half)


def _delete_cheap_trash(store: Store, ids: list[str]) -> None:
    """Delete trash as long as it is little; whatever happens, the rest is left to `gc run` and `doctor`."""
    left = CHEAP_ENTRIES
    for snapshot_id in ids:
        counts = tombstone.load(store.layout, snapshot_id)["descriptor"]["payload"]
        left -= sum(n for key, n in counts.items() if key != "bytes" and isinstance(n, int))
        if left < 0:
            return
        try:
            held.rescue(store, [snapshot_id])
            gc_remove.delete_trash(store, snapshot_id)
        except JvsError:
            return


def _recover_own(store: Store) -> None:
    """Recover dead runs ourselves, because we hold the lock that their handler would ask for."""
    for pending in intent.load_all(store.layout):
        if pending["operation"] == "gc_run":
            progress.remark(_recover_locked(store, pending))


def sweep(store: Store) -> list[Below]:
    """Delete all trash and what dead runs left next to tombstones; the caller holds `gc.lock`. Returns what went.

    A snapshot whose trash could not be deleted before is committed now. Errors: E_IO.
    """
    layout = store.layout
    gc_plan.check_places(layout)
    gc_remove.sweep_tombstones(layout)
    failed = [i for i, record in tombstone.load_all(layout).items() if record["gc_state"] == "failed"]
    for snapshot_id in failed:
        with contextlib.suppress(PermissionError):
            gc_remove.move_payload(layout, snapshot_id)
    removed = []
    trash = listing.names(layout.trash)
    held.rescue(store, sorted({name[:22] for name in trash if is_snapshot_id(name[:22])}))
    for name in trash:
        gc_remove.remove(store, layout.trash / name)
        removed.append(layout.trash / name)
    if removed:
        durable.fsync_dir(layout.trash)  # before a tombstone says that they are deleted
        btrfs_cleaner.wait_for_space(layout.trash)
    gc_remove.commit_tombstones(store, failed)
    return removed


def leftovers(store: Store) -> list[Below]:
    """Return the trash that no live run is about to delete."""
    names = listing.names(store.layout.trash)
    if not names:
        return []
    try:
        locks.acquire(store.layout.lock("gc"), wait=0, command="doctor").close()
    except (Busy, IOFailure):
        return []
    return [store.layout.trash / name for name in names]


def _tidy_index(store: Store) -> None:
    """Let the index forget nodes that nothing needs any more, unless somebody is working: it is only a cache."""
    try:
        lock = locks.acquire_repository(store.layout.locks, exclusive=True, wait=0, command="gc")
    except (Busy, IOFailure):
        return
    with lock:
        keep = reach.live_nodes(store, lineage.all_records(store.layout, tolerant=True))
        if keep is not None:
            store.index().forget_nodes(keep)
            with contextlib.suppress(JvsError):  # a configuration that cannot be read: its rows would be lost
                store.index().forget_trees({store.tree_key(name) for name in worktree.names(store.layout)})


def prune(store: Store, snapshot_id: str, policy: Policy) -> Pruned:
    """Collect one snapshot that nothing protects. Errors: E_NOT_FOUND, E_GC_PLAN_MISMATCH naming what protects it."""
    layout, wait, command = store.layout, store.settings.wait, store.settings.command
    with _lock(store):
        _recover_own(store)
        with contextlib.ExitStack() as alone:
            alone.enter_context(locks.acquire_repository(layout.locks, exclusive=True, wait=wait, command=command))
            changing.recover(store)
            plan = gc_plan.make(store, policy, estimate=False)
            if snapshot_id not in plan.found:
                raise NotFound(f"there is no snapshot '{snapshot_id}'", hint="'jvs-list-snapshots' lists them")
            if snapshot_id not in plan.candidates:
                raise GcPlanMismatch(
                    f"snapshot '{snapshot_id}' is protected: {'; '.join(plan.marks.sentences(snapshot_id))}",
                    hint="'jvs-mark-live' lists what is protected and why",
                    reasons=plan.marks.sentences(snapshot_id),
                )
            plan.candidates = [snapshot_id]
            freed = space.Freed(0, exact=True)
            collected = _collect(store, plan, plan.plan_id(), alone, freed)
    return {
        "snapshot_id": snapshot_id,
        "collected": collected,
        "freed_bytes": freed.bytes,
        "exact": freed.exact,
    }
