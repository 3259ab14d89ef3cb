"""What dead operations left: intents, temporary names, trash, journals that belong to nothing.

Source: jvs-doctor(1), jvs-protocol(7), Recovery.
"""

from __future__ import annotations

from jvs import canon, names
from jvs.check.findings import CLEAN_INTENTS, CLEAN_TMP, ERROR, WARNING, Finding, pending
from jvs.check.structure import kind_of, lock_is_free
from jvs.errors import Busy, JvsError, NotFound, PartialSnapshot
from jvs.fs import listing, locks, paths
from jvs.gc import run as gc
from jvs.restore import journal
from jvs.store import annotation, boundary, held, intent, layout, lineage, tries, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.store.shapes import Intent
    from jvs.store.store import Store


_LOCKS = {
    "gc_run": "gc",
    "pin": "pins",
    "unpin": "pins",
    "config": "config",
    "annotate": annotation.LOCK,
    "receive": "receive",
}
"""The locks of operations on the repository; others hold that of their worktree."""


def is_live(store: Store, record: Intent) -> bool:
    """Answer whether somebody is at work on an intent: its lock is held, or its process is there."""
    if not record["owner"].get("locked"):
        return intent.is_alive(record, lock_held=False)
    lock = _LOCKS.get(record["operation"])
    lock = lock or f"worktree-{names.check_worktree_name(str(record['worktree']))}"
    try:
        # Shared, so that whoever is only about to begin is not kept out.
        locks.acquire(store.layout.lock(lock), exclusive=False, wait=0).close()
    except Busy:
        return True
    return False


def find_in_intents(store: Store) -> list[Finding]:
    """Report dead operations, which the next command recovers, and records of operations that cannot be read."""
    here, found = store.layout, []
    for name in listing.names(here.intents):
        path = here.intents / name
        if name.endswith(".json.tmp") and names.is_operation_id(name[:-9]):
            if _is_left(path, lambda: lock_is_free(store, "intents")):
                found.append(pending(f"'intents/{name}' was left by a crash", path, CLEAN_INTENTS))
            continue
        if not (name.endswith(".json") and names.is_operation_id(name[:-5])):
            problem = f"'intents/{name}' is not the record of an operation"
            found.append(
                Finding(PartialSnapshot(problem, hint="move it out of the repository"), severity=WARNING, path=path)
            )
            continue
        try:
            record = intent.load(here, name[:-5])
            if not is_live(store, record):
                what = f"{record['operation']} {record['operation_id']}"
                found.append(pending(f"the operation '{what}' was interrupted", path, CLEAN_INTENTS))
        except FileNotFoundError:
            continue
        except JvsError as error:
            found.append(Finding(error, severity=ERROR, path=path, repair=CLEAN_INTENTS))
    return found


def _is_left(path: Below, nobody_is_at_work: Callable[[], bool]) -> bool:
    """Answer whether a temporary name has no owner: nobody is at work, and it is still there after asking that."""
    return nobody_is_at_work() and paths.exists(path)


def temporaries(here: layout.Layout) -> Iterator[tuple[Below, str]]:
    """Yield (path, id or empty) for every temporary name of ours that only a live operation may own."""
    for directory, suffix in ((here.snapshots, ".tmp"), (here.descriptors, ".json.tmp")):
        for name in listing.names(directory):
            if name.endswith(suffix) and names.is_snapshot_id(name.removesuffix(suffix)):
                yield directory / name, name.removesuffix(suffix)
    for name in listing.names(here.snapshots):
        snapshot_id = name.removesuffix(".leaves")
        if name != snapshot_id and names.is_snapshot_id(snapshot_id) and not _has_snapshot(here, snapshot_id):
            yield here.snapshots / name, ""
    for directory in (here.pins, here.plans):
        for name in listing.names(directory):
            if name.endswith(".json.tmp"):
                yield directory / name, ""
    for name in annotation.others(here):
        if name.endswith(".json.tmp"):
            yield here.annotations / name, ""
    for name in boundary.all_names(here):
        if name.endswith(".json.tmp"):
            yield here.boundaries / name, ""
    for name in listing.names(here.worktrees):
        path = here.worktrees / name / "config.json.tmp"
        if paths.exists(path):
            yield path, ""


def _has_snapshot(here: layout.Layout, snapshot_id: str) -> bool:
    """Answer whether anything of a snapshot is there besides the leaves of its files."""
    return any(paths.exists(place(snapshot_id)) for place in (here.payload, here.payload_tmp, here.descriptor))


def find_temporaries(store: Store) -> list[Finding]:
    """Report what no operation in flight owns: half-made snapshots, temporary files, trash."""
    here, found = store.layout, []
    # Names first, then the intents, then the names again: an operation that is alive at any of these moments has its
    # intent there at the second one, or has taken its temporary names away by the third.
    seen = list(temporaries(here))
    pending_now = intent.load_all(here)
    in_flight, quiet = intent.snapshots_of(pending_now), not pending_now
    for path, snapshot_id in seen:
        if not paths.exists(path) or snapshot_id in in_flight or (not snapshot_id and not quiet):
            continue
        hint = "'jvs doctor --repair clean_tmp' removes it" if path.parent == here.plans else ""
        found.append(pending(f"'{path.relative_to(here.jvs)}' was left by a crash", path, CLEAN_TMP, hint))
    for path in gc.leftovers(store):
        hint = "the next 'jvs gc run' deletes it, or 'jvs doctor --repair clean_tmp'"
        found.append(pending(f"'{path.relative_to(here.jvs)}' was not deleted yet", path, CLEAN_TMP, hint))
    for name in listing.names(here.plans):
        path = here.plans / name
        if kind_of(path) not in ("file", ""):
            found.append(pending(f"'gc/plans/{name}' is not a file", path, CLEAN_TMP))
    return found


def find_in_undo(store: Store) -> list[Finding]:
    """Check the journals of operations that can be undone, and report directories that belong to none."""
    here, found = store.layout, []
    in_flight = set(intent.list_ids(here))
    for operation_id in journal.ids(here):
        path = journal.directory(here, operation_id)
        if operation_id in in_flight:
            continue
        try:
            record = journal.load(here, operation_id)
            if "delta_sha256" in record["details"] and record["undone_by"] is None:
                journal.load_steps(here, record)
        except (FileNotFoundError, NotADirectoryError):
            if paths.exists(path) and not paths.exists(here.intent(operation_id)):
                hint = "'jvs doctor --repair clean_tmp' removes it, or names what cannot be removed and why"
                found.append(pending(f"'undo/{operation_id}' was not removed completely", path, CLEAN_TMP, hint))
        except JvsError as error:
            found.append(Finding(error, path=path))
        try:
            elsewhere = held.load(here, operation_id)
            lost = held.lost(here, elsewhere) if elsewhere is not None else None
        except JvsError as error:
            found.append(Finding(error, path=path / held.NAME, repair=CLEAN_INTENTS))
            continue
        if lost is not None:
            shown = lost.path.decode("utf-8", "backslashreplace")
            problem = f"'{shown}' of operation '{operation_id}' is not in snapshot '{lost.snapshot_id}' any more"
            hint = "restore that snapshot from a copy of the repository, or 'jvs undo --forget' the operation"
            found.append(Finding(PartialSnapshot(problem, hint=hint), path=path))
    return found


def find_in_tries(store: Store) -> list[Finding]:
    """Check the records of tries, and report those that died while they ran, and directories that belong to none."""
    here, found = store.layout, []
    for try_id in tries.ids(here):
        path = here.try_dir(try_id)
        try:
            record = tries.load(here, try_id)
        except NotFound:
            if paths.exists(path) and not tries.is_running(here, try_id):
                found.append(pending(f"'tries/{try_id}' was left by a crash", path, CLEAN_TMP))
            continue
        except JvsError as error:
            found.append(Finding(error, path=path, repair=CLEAN_INTENTS))
            continue
        try:
            if record["state"] == tries.PENDING:
                lineage.load_visible(store, record["snapshot_id"])
                if record["kind"] == tries.OVERLAY:
                    tries.load_delta(here, record)
            elif not tries.is_running(here, try_id):
                found.append(pending(f"the try '{try_id}' was interrupted", path, CLEAN_TMP))
        except JvsError as error:
            found.append(Finding(error, path=path))
    return found


def fingerprint(here: layout.Layout) -> str:
    """Return a value that changes whenever an operation begins, ends, or moves something."""
    parts: list[Any] = []
    try:
        parts.append(listing.names(here.intents))
        parts.append(paths.lstat(here.audit_log).st_size)
        parts.append([paths.lstat(here.worktree_config(name)).st_mtime_ns for name in worktree.names(here)])
    except (OSError, JvsError) as error:
        parts.append(str(error))
    return canon.encode(parts).decode()
