"""Collecting: two phases with tombstones, so that a snapshot is there whole or gone whole, after a crash too.

Under the repository lock, taken alone, the plan is checked again, a tombstone with the whole descriptor is written for
each candidate, and the snapshots are taken out: descriptors first, then markers, then payloads (to `gc/trash/`). The
long work, deleting the trash, holds only `gc.lock`. Settling an interrupted run finishes what is half out and lets
everything stay that is still whole; running the same plan again continues.
Source: jvs-gc-run(1), jvs-protocol(7), Gc.
"""

from __future__ import annotations

import errno
import os

from jvs import audit, canon, clock, durable, engine, gc_plan, intent, lineage, locks, observe, reach, tombstone
from jvs.errors import Busy, GcPlanMismatch, IOFailure, JvsError, NoSpace, NotFound, from_oserror
from jvs.names import check_snapshot_id, is_snapshot_id
from jvs.retention import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.layout import Layout
    from jvs.store import Store

CHEAP_ENTRIES = 2000
"""Settling deletes trash of up to so many files at once; more is left to `gc run` and `doctor`."""


def run(store: Store, plan_id: str, policy: Policy | None = None) -> dict[str, Any]:
    """Collect the candidates of a plan, or continue a run of it that was interrupted.

    `policy` stands in for the plan's file when there is none. Shape: `plan_id`, `collected` (ids), `collected_count`.
    Durable: yes; on return every candidate is gone, bytes and all.
    Errors: E_NOT_FOUND for an unknown plan, E_GC_PLAN_MISMATCH when the repository changed since, E_BUSY; E_IO,
    E_NO_SPACE when something could not be removed: run it again.
    """
    layout, wait, command = store.layout, store.settings.wait, store.settings.command
    gc_plan.path_of(layout, plan_id)
    with locks.acquire(layout.lock("gc"), wait=wait, command=command):
        _settle_own(store)
        sweep(store)
        collected: list[str] = []
        left = True
        while left:  # more than one round only when the disk is too full to mark all candidates at once
            with locks.acquire_repository(layout.locks, exclusive=True, wait=wait, command=command):
                store.settle()
                plan, done = _check(store, plan_id, policy)
                if not plan.candidates:
                    collected = sorted({*collected, *done})
                    break
                pending = _begin(store, plan, plan_id)
                _take_out_all(store, plan, pending)
            out = _finish(store, pending)
            collected += out
            left = set(out) != set(pending["candidates"])
    _tidy_index(store)
    return {"plan_id": plan_id, "collected": collected, "collected_count": len(collected)}


def _check(store: Store, plan_id: str, policy: Policy | None) -> tuple[gc_plan.Plan, set[str]]:
    """Plan again; return the plan and what an earlier run of it has collected. Errors: E_GC_PLAN_MISMATCH."""
    stored = gc_plan.load_policy(store, plan_id)
    if stored is None and policy is None:
        raise NotFound(f"there is no plan '{plan_id}'", hint="'jvs gc plan' makes one and prints its id")
    chosen = stored or policy
    assert chosen is not None
    plan = gc_plan.make(store, chosen, estimate=False)
    stones = tombstone.load_all(store.layout)
    done = {i for i, stone in stones.items() if stone["plan_id"] == plan_id and i not in plan.found}
    now = plan.plan_id(done)
    if now != plan_id:
        if stored is None:
            raise NotFound(
                f"there is no plan '{plan_id}', and with these options it would be '{now}'",
                hint="'jvs gc plan' makes one and prints its id",
            )
        raise GcPlanMismatch(
            f"the repository changed since plan '{plan_id}' was made: it would be '{now}' now",
            hint="look at a new plan with 'jvs gc plan', then run that one",
            plan_id=plan_id,
            now=now,
        )
    return plan, done


def _begin(store: Store, plan: gc_plan.Plan, plan_id: str) -> dict[str, Any]:
    """Write the intent of one round: durable, with the audit event. On a full disk room is made first."""
    seq, _ = store.log().tail()
    event = audit.event("gc_run", store.actor, target=plan_id, reason="collection", details={"plan_id": plan_id})
    pending = intent.new(
        "gc_run",
        None,
        operation_id=clock.new_operation_id(),
        owner=intent.owner(locked=True),
        audit=event,
        audit_seq=seq,
        plan_id=plan_id,
        candidates=plan.candidates,
    )
    _with_room(store, lambda: intent.write(store.layout, pending))
    return pending


def _with_room(store: Store, write: Any) -> None:
    """Do a small write; when the disk is full, free the index and try once more. Errors: E_NO_SPACE, E_IO."""
    for last in (False, True):
        try:
            write()
            return
        except OSError as error:
            refused = from_oserror(error, "writing the record of the collection")
            if last or not isinstance(refused, NoSpace) or not gc_plan.make_room(store):
                raise refused from error


def stone_of(plan: gc_plan.Plan, plan_id: str, snapshot_id: str) -> dict[str, Any]:
    """Return the tombstone of a snapshot that is about to go."""
    return {
        "version": 1,
        "snapshot_id": snapshot_id,
        "descriptor": plan.found[snapshot_id],
        "gc_state": "marked",
        "plan_id": plan_id,
        "reason": plan.why_dropped(snapshot_id),
        "marked_at": clock.rfc3339(),
    }


def _take_out_all(store: Store, plan: gc_plan.Plan, pending: dict[str, Any]) -> None:
    """Mark and take out the candidates; on a full disk as many as could be marked, the rest in the next round."""
    stones = [stone_of(plan, pending["plan_id"], i) for i in pending["candidates"]]
    try:
        with observe.step("gc mark"):
            marked = _mark(store, stones)
        with observe.step("gc take out"):
            take_out(store.layout, marked)
    except BaseException as error:
        _give_up(store, pending)
        if isinstance(error, OSError):
            raise from_oserror(error, "taking snapshots out") from error
        raise


def _give_up(store: Store, pending: dict[str, Any]) -> None:
    """After an error finish what is half out and let the rest stay; when that fails too, the intent tells the next."""
    try:
        _settle_locked(store, pending)
    except (JvsError, OSError):
        return


def _mark(store: Store, stones: list[dict[str, Any]]) -> list[str]:
    """Write the tombstones; return the ids of those that are durable, on a full disk at least one. Errors: OSError."""
    written: list[dict[str, Any]] = []
    for stone in stones:
        try:
            _write_stone(store.layout, stone)
        except OSError as error:
            if not isinstance(from_oserror(error, ""), NoSpace):
                raise
            if written:
                break  # what goes first makes room for the others
            if not gc_plan.make_room(store):
                raise
            _write_stone(store.layout, stone)
        written.append(stone)
    _publish_stones(store, written)
    return [stone["snapshot_id"] for stone in written]


def _write_stone(layout: Layout, stone: dict[str, Any]) -> None:
    temporary = _stone_path(layout, stone["snapshot_id"]) + ".tmp"
    durable.unlink(temporary, missing_ok=True)
    durable.create_file(temporary, canon.encode(stone) + b"\n", sync=False)


def write_stones(store: Store, stones: list[dict[str, Any]]) -> None:
    """Write tombstones, or put others in their place, with one barrier for all. Durable: yes. Errors: OSError."""
    for stone in stones:
        _write_stone(store.layout, stone)
    _publish_stones(store, stones)


def _publish_stones(store: Store, stones: list[dict[str, Any]]) -> None:
    """Give written tombstones their final names. Durable: content before name, both on return."""
    paths = [_stone_path(store.layout, stone["snapshot_id"]) for stone in stones]
    with durable.Barrier(store.layout.tombstones, each=store.settings.get("durability") == "each") as barrier:
        barrier.sync_trees([], [path + ".tmp" for path in paths])
    for path in paths:
        durable.rename(path + ".tmp", path)  # replaces the state before: after a crash it is the old or the new one
    durable.fsync_dir(store.layout.tombstones)


def _stone_path(layout: Layout, snapshot_id: str) -> str:
    return os.path.join(layout.tombstones, check_snapshot_id(snapshot_id) + ".json")


def take_out(layout: Layout, ids: list[str]) -> None:
    """Take marked snapshots out of sight, each wholly or, after a crash, so that doing it again completes it.

    Durable: yes. A descriptor is durably gone before its marker goes, and that before the payload is moved.
    """
    for snapshot_id in ids:
        durable.unlink(layout.descriptor(snapshot_id), missing_ok=True)
    durable.fsync_dir(layout.descriptors)  # or a crash could bring a descriptor back whose payload has gone
    for snapshot_id in ids:
        durable.unlink(layout.ready(snapshot_id), missing_ok=True)
    durable.fsync_dir(layout.snapshots)
    for snapshot_id in ids:
        _move_payload(layout, snapshot_id)
    durable.fsync_dir(layout.trash)  # the new name first: a payload without any name would be lost bytes
    durable.fsync_dir(layout.snapshots)


def _move_payload(layout: Layout, snapshot_id: str) -> None:
    """Move a payload to the trash; where that cannot be done, delete it where it is."""
    source, target = layout.payload(snapshot_id), os.path.join(layout.trash, snapshot_id)
    if not os.path.lexists(source):
        return
    if os.path.lexists(target):  # trash of the same name can only be of an earlier life of this very id
        target = f"{target}.{clock.random_hex(8)}"
    try:
        durable.rename(source, target)
        return
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
    # A read-only subvolume, or a directory whose mode is 0555, cannot get another parent (EROFS; EACCES, because its
    # '..' would change): its owner opens it up.
    _open_up(source)
    durable.rename(source, target)


def _open_up(path: str) -> None:
    from jvs.engine import btrfs

    if btrfs.is_subvolume(path):
        btrfs.set_flags(path, 0)
    elif os.path.isdir(path) and not os.path.islink(path):
        os.chmod(path, 0o700)


def _finish(store: Store, pending: dict[str, Any]) -> list[str]:
    """Delete the trash of one round, commit its tombstones, append the audit record, remove the intent.

    Errors: E_IO when trash cannot be deleted: its tombstone says `failed` and why, and the next run goes on.
    """
    layout = store.layout
    out = [i for i in pending["candidates"] if _is_out(layout, i)]
    failure: JvsError | None = None
    with observe.step("gc delete"):
        for snapshot_id in out:
            try:
                _delete_trash(store, snapshot_id)
            except JvsError as error:
                failure = failure or error
                _note_failure(store, snapshot_id, error)
            observe.advance("gc", 1, len(out), "snapshots")
    _settle_stones(store, pending["candidates"])
    _append(store, pending, out)
    intent.clear(layout, pending["operation_id"])
    if failure is not None:
        raise failure
    return out


def _note_failure(store: Store, snapshot_id: str, error: JvsError) -> None:
    stone = tombstone.load(store.layout, snapshot_id)
    stone.update(gc_state="failed", reason=f"{error.name}: {error.message}")
    write_stones(store, [stone])


def _is_out(layout: Layout, snapshot_id: str) -> bool:
    """Answer whether nothing of a snapshot is left but a tombstone, and perhaps trash."""
    names = (layout.descriptor(snapshot_id), layout.ready(snapshot_id), layout.payload(snapshot_id))
    return os.path.lexists(_stone_path(layout, snapshot_id)) and not any(os.path.lexists(name) for name in names)


def _delete_trash(store: Store, snapshot_id: str) -> None:
    """Delete what the trash holds of one snapshot. Errors: E_IO."""
    for name in os.listdir(store.layout.trash):
        if name.startswith(snapshot_id):
            remove(store, os.path.join(store.layout.trash, name))


def remove(store: Store, path: str) -> None:
    """Remove a payload or anything else in the fastest way. Errors: E_IO."""
    try:
        engine.remove_any(
            path,
            binary=store.settings.get("engine.juicefs.binary"),
            control=store.settings.get("engine.juicefs.control"),
            search_path=store.settings.search_path,
        )
    except OSError as error:
        raise from_oserror(error, f"removing '{path}'") from error


def _append(store: Store, pending: dict[str, Any], out: list[str]) -> None:
    """Append the event of a run, with what it really collected. Durable: yes."""
    details = {**pending["audit"]["details"], "collected": sorted(out)}
    store.log().append({**pending["audit"], "details": details}, after_seq=pending["audit_seq"])


def _settle_stones(store: Store, candidates: list[str]) -> None:
    """Commit the tombstones of what is out and clean; take away those of what is whole and stays."""
    layout = store.layout
    commit, stay = [], []
    trash = os.listdir(layout.trash)
    for snapshot_id in candidates:
        try:
            stone = tombstone.load(layout, snapshot_id)
        except FileNotFoundError:
            continue
        if os.path.lexists(layout.descriptor(snapshot_id)):
            stay.append(snapshot_id)
        elif stone["gc_state"] == "marked" or not any(name.startswith(snapshot_id) for name in trash):
            commit.append({**stone, "gc_state": "committed"})
    for snapshot_id in stay:
        durable.unlink(_stone_path(layout, snapshot_id), missing_ok=True)
    if commit:
        write_stones(store, [stone for stone in commit if _differs(layout, stone)])
    elif stay:
        durable.fsync_dir(layout.tombstones)


def _differs(layout: Layout, stone: dict[str, Any]) -> bool:
    return tombstone.load(layout, stone["snapshot_id"])["gc_state"] != stone["gc_state"]


def settle(store: Store, pending: dict[str, Any]) -> str:
    """Settle a run whose process died: what is half out goes, what is whole stays. Cheap, whatever the trash weighs.

    Returns what was done; nothing when the run lives, or somebody else is settling it.
    """
    try:
        lock = locks.acquire(store.layout.lock("gc"), wait=0, command="settle")
    except Busy:
        return ""
    with lock:
        if not os.path.lexists(store.layout.intent(pending["operation_id"])):
            return ""
        return _settle_locked(store, pending)


def _settle_locked(store: Store, pending: dict[str, Any]) -> str:
    layout = store.layout
    gc_plan.check_places(layout)
    candidates = [check_snapshot_id(i) for i in pending["candidates"]]
    sweep_stones(layout)
    # Nobody can be reading these: a marked snapshot without a descriptor has not been visible since the run died.
    half = [i for i in candidates if not os.path.lexists(layout.descriptor(i)) and _has_stone(layout, i)]
    take_out(layout, half)
    _settle_stones(store, candidates)
    if half:
        _append(store, pending, half)
    intent.clear(layout, pending["operation_id"])
    _delete_cheap_trash(store, half)
    whole = len(candidates) - len(half)
    return f"completed a collection that was interrupted: {len(half)} snapshots are gone, {whole} stay"


def _has_stone(layout: Layout, snapshot_id: str) -> bool:
    return os.path.lexists(_stone_path(layout, snapshot_id))


def _delete_cheap_trash(store: Store, ids: list[str]) -> None:
    """Delete trash as long as it is little; whatever happens, the rest is left to `gc run` and `doctor`."""
    left = CHEAP_ENTRIES
    for snapshot_id in ids:
        counts = tombstone.load(store.layout, snapshot_id)["descriptor"]["payload"]
        left -= sum(n for key, n in counts.items() if key != "bytes" and isinstance(n, int))
        if left < 0:
            return
        try:
            _delete_trash(store, snapshot_id)
        except JvsError:
            return


def _settle_own(store: Store) -> None:
    """Settle dead runs ourselves, because we hold the lock that their handler would ask for."""
    for pending in intent.load_all(store.layout):
        if pending["operation"] == "gc_run":
            observe.remark(_settle_locked(store, pending))


def sweep_stones(layout: Layout) -> None:
    """Remove tombstones that were not given their final names; the caller holds `gc.lock`."""
    for name in os.listdir(layout.tombstones):
        if name.endswith(".json.tmp") and is_snapshot_id(name[:-9]):
            durable.unlink(os.path.join(layout.tombstones, name), missing_ok=True)


def sweep(store: Store) -> list[str]:
    """Delete all trash and what dead runs left beside tombstones; the caller holds `gc.lock`. Returns what went.

    A snapshot whose trash could not be deleted before is committed now. Errors: E_IO.
    """
    layout = store.layout
    gc_plan.check_places(layout)
    sweep_stones(layout)
    removed = []
    for name in sorted(os.listdir(layout.trash)):
        remove(store, os.path.join(layout.trash, name))
        removed.append(os.path.join(layout.trash, name))
    failed = [i for i, stone in tombstone.load_all(layout).items() if stone["gc_state"] == "failed"]
    _settle_stones(store, failed)
    return removed


def leftovers(store: Store) -> list[str]:
    """Return the trash that no live run is about to delete."""
    listing = sorted(os.listdir(store.layout.trash))
    if not listing:
        return []
    try:
        locks.acquire(store.layout.lock("gc"), wait=0, command="doctor").close()
    except (Busy, IOFailure):
        return []
    return [os.path.join(store.layout.trash, name) for name in listing]


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


def prune(store: Store, snapshot_id: str, policy: Policy) -> dict[str, Any]:
    """Collect one snapshot that nothing protects. Errors: E_NOT_FOUND, E_GC_PLAN_MISMATCH naming what protects it."""
    layout, wait, command = store.layout, store.settings.wait, store.settings.command
    with locks.acquire(layout.lock("gc"), wait=wait, command=command):
        _settle_own(store)
        with locks.acquire_repository(layout.locks, exclusive=True, wait=wait, command=command):
            store.settle()
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
            pending = _begin(store, plan, plan.plan_id())
            _take_out_all(store, plan, pending)
        collected = _finish(store, pending)
    return {"snapshot_id": snapshot_id, "collected": collected}
