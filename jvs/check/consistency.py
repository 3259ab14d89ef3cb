"""What does not fit together: tombstones and pins, worktrees and their heads, snapshots, the audit log.

Source: jvs-doctor(1), jvs-errors(7).
"""

from __future__ import annotations

import os

from jvs import names
from jvs.check import log_heads, verify
from jvs.check.findings import (
    ADVANCE_HEAD,
    AUDIT_REPAIR,
    CLEAN_INTENTS,
    CLEAN_TMP,
    ERROR,
    WARNING,
    Finding,
    guarded,
    pending,
)
from jvs.check.structure import kind_of, lock_is_free, may_use
from jvs.errors import IOFailure, JvsError, LineageBroken, NameInvalid, NotFound, PartialSnapshot
from jvs.fs import listing, paths
from jvs.gc import pins, retention, roots, tombstone
from jvs.gc import plan as gc_plan
from jvs.gc import remove as gc_remove
from jvs.store import annotation, descriptor, intent, layout, lineage, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.audit import AuditRecord
    from jvs.store.audit_check import ChainReport
    from jvs.store.store import Store
    from jvs.store.worktree import WorktreeConfig

_HEAD_MOVERS = ("snapshot", "restore", "undo", "worktree_create", "worktree_fork", "worktree_rename", "worktree_remove")


def find_in_collection(store: Store) -> list[Finding]:
    """Check tombstones, pins, undo records; and that a collection could be planned."""
    here, found = store.layout, []
    collecting = {
        i for record in intent.load_all(here) if record["operation"] == "gc_run" for i in record["candidates"]
    }
    try:
        tombstones = tombstone.load_all(here)
    except JvsError as error:
        tombstones = {}
        found.append(Finding(error))
    for snapshot_id, record in tombstones.items():
        path = here.tombstone(snapshot_id)
        if record["gc_state"] != "committed" and snapshot_id not in collecting and lock_is_free(store, "gc"):
            found.append(
                pending(f"the collection of '{snapshot_id}' was not finished", path, CLEAN_TMP, record["reason"])
            )
        if record["gc_state"] == "committed" and paths.exists(here.descriptor(snapshot_id)):
            problem = f"snapshot '{snapshot_id}' was collected, and is there again"
            found.append(
                Finding(LineageBroken(problem, hint="somebody put it back: remove it, or its tombstone"), path=path)
            )
    for name in listing.names(here.tombstones):
        if name.endswith(".json.tmp") and not collecting and lock_is_free(store, "gc"):
            path = here.tombstones / name
            found.append(pending(f"'gc/tombstones/{name}' was left by a crash", path, CLEAN_TMP))
    found += guarded(_find_in_pins, store)
    try:
        gc_plan.make(store, retention.Policy({}), estimate=False)
    except JvsError as error:
        found.append(Finding(error))
    return found


def _find_in_pins(store: Store) -> list[Finding]:
    found = []
    published = set(lineage.published_ids(store.layout))
    for pin in pins.list_all(store.layout):
        if pin["snapshot_id"] not in published:
            problem = f"snapshot '{pin['snapshot_id']}' is pinned, and is not there"
            error = NotFound(problem, hint=f"'jvs gc unpin {pin['snapshot_id']}' if it is not coming back")
            found.append(Finding(error, severity=WARNING, path=store.layout.pin(pin["snapshot_id"])))
    return found


def find_in_annotations(store: Store) -> list[Finding]:
    """Check what was said of snapshots later, and that no tag is a word for the latest snapshot."""
    here, found = store.layout, []
    for name in annotation.others(here):
        if not name.endswith(".json.tmp"):
            path = here.annotations / name
            error = PartialSnapshot(f"'annotations/{name}' is not an annotation", hint="move it out of the repository")
            found.append(Finding(error, severity=WARNING, path=path))
    known = set(lineage.published_ids(here)) | set(tombstone.load_all(here))
    for snapshot_id in annotation.ids(here):
        path = here.annotation(snapshot_id)
        try:
            annotation.load(here, snapshot_id)
        except FileNotFoundError:
            continue
        except JvsError as error:
            repair = CLEAN_INTENTS if error.name == "E_PARTIAL_SNAPSHOT" else None
            found.append(Finding(error, severity=ERROR, path=path, repair=repair))
        if snapshot_id not in known:
            problem = f"snapshot '{snapshot_id}' has tags or a note, and is not there"
            hint = "restore its descriptor from a copy of the repository, or move the file away"
            found.append(Finding(NotFound(problem, hint=hint), severity=WARNING, path=path))
    return found + _find_hidden_tags(store)


def _find_hidden_tags(store: Store) -> list[Finding]:
    """Report tags that no TARGET reaches: older versions let a snapshot be called LATEST or HEAD."""
    overlay, found = annotation.Overlay(store.layout), []
    for snapshot_id, record in lineage.all_records(store.layout, tolerant=True).items():
        for tag in set(overlay.over(record)["tags"]) & set(names.LATEST):
            problem = f"snapshot '{snapshot_id}' has the tag '{tag}', which names the latest snapshot"
            error = NameInvalid(problem, hint=f"'jvs tag {snapshot_id} {tag} --delete' takes it away")
            found.append(Finding(error, severity=WARNING, path=store.layout.descriptor(snapshot_id)))
    return found


def find_in_worktrees(store: Store) -> list[Finding]:
    """Check every worktree: configuration, directory, head and latest; and directories that belong to none."""
    here, found = store.layout, []
    in_flight = {text for record in intent.load_all(here) for text in roots.texts_in(record)}
    registered = listing.names(here.worktrees)
    for name in registered:
        if name not in in_flight:
            found += guarded(_check_worktree, store, name)
    if layout.MAIN not in registered:
        found += guarded(_check_worktree, store, layout.MAIN)
    for name in listing.names(here.forks) if kind_of(here.forks) == "directory" else ():
        if name not in registered and name not in in_flight and not _belongs_to_operation(name, in_flight):
            path = here.forks / name
            hint = "move it away, or take its files over with 'jvs worktree create' and cp"
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            error = LineageBroken(f"'worktrees/{shown}' is not a worktree of this repository", hint=hint)
            found.append(Finding(error, severity=WARNING, path=path))
    return found


def _belongs_to_operation(name: str, in_flight: set[str]) -> bool:
    return name.startswith(".jvs-tmp-") and any(operation in name for operation in in_flight if len(operation) == 22)


def _check_worktree(store: Store, name: str) -> list[Finding]:
    path = store.layout.worktrees / name
    try:
        names.check_worktree_name(name)
        config = worktree.load(store.layout, name)
    except JvsError as error:
        if isinstance(error, NotFound) or error.name == "E_NAME_INVALID":
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            hint = "move it out of the repository if nothing needs it"
            return [Finding(LineageBroken(f"'.jvs/worktrees/{shown}' is not a worktree", hint=hint), path=path)]
        return [Finding(error, path=path / "config.json")]
    found = []
    try:
        directory = store.require_worktree(name)
        if not paths.may(directory, os.R_OK | os.X_OK):
            raise IOFailure(f"worktree '{name}' cannot be read", hint=f"check the permissions of '{directory}'")
    except JvsError as error:
        found.append(Finding(error, path=store.layout.place_of(name)))
    if not may_use(path, os.R_OK | os.W_OK | os.X_OK):
        denied = IOFailure(f"'{path}' cannot be read and written", hint="check its permissions")
        found.append(Finding(denied, path=path))
    pending_now = intent.pending_snapshots(store.layout)
    for field in ("head_snapshot_id", "latest_snapshot_id"):
        snapshot_id = config[field]
        if snapshot_id is None or snapshot_id in pending_now:
            continue
        try:
            descriptor.check_agreement(store.layout, descriptor.load(store.layout, snapshot_id))
        except NotFound as missing:
            problem = f"the {field.split('_')[0]} of '{name}' is '{snapshot_id}', which is not there"
            hint = "restore descriptor and payload from a copy of the repository"
            found.append(Finding(LineageBroken(problem, hint=hint), path=path / "config.json"))
            del missing
        except JvsError as error:
            found.append(Finding(error))
    return found


def find_in_snapshots(store: Store, *, payload: bool, jobs: int = 0) -> list[Finding]:
    """Check every snapshot as verification does, with or without its files; then follow every line."""
    here, found = store.layout, []
    reports = []
    ids = verify.candidates(here)
    memory = verify.start_memory(store, ids) if payload else None
    for snapshot_id in ids:
        report = verify.check_snapshot(store, snapshot_id, payload=payload, jobs=jobs, memory=memory)
        reports.append(report)
        error = report.error
        if isinstance(error, NotFound):
            if not any(paths.exists(path) for path in (here.payload(snapshot_id), here.ready(snapshot_id))):
                continue  # collected, or rolled back, since we listed
            if gc_remove.is_stuck(here, snapshot_id):
                continue  # its tombstone says so
            problem = f"snapshot '{snapshot_id}' has files or a marker, and no descriptor"
            hint = "restore 'descriptors/' from a copy of the repository; nothing is deleted that may be a snapshot"
            error = PartialSnapshot(problem, hint=hint)
        elif error is None and not paths.may(here.payload(snapshot_id), os.R_OK | os.X_OK):
            problem = f"the files of snapshot '{snapshot_id}' cannot be read"
            error = IOFailure(problem, hint=f"check the permissions of '{here.payload(snapshot_id)}'")
        if error is not None:
            found.append(Finding(error, path=here.descriptor(snapshot_id)))
    if payload:
        verify.remember(store, reports, only=True)
    return found + [Finding(error) for error in verify.check_lines(store)]


def find_in_log(store: Store) -> tuple[list[Finding], ChainReport]:
    """Check the audit chain against everything, and that another record can be appended."""
    path = store.layout.audit_log
    chain, problems = verify.check_chain(store)
    found = [Finding(problem, path=path) for problem in problems]
    if chain.torn:
        found.append(pending(f"the log ends in a torn line of {chain.torn} bytes, left by a crash", path, AUDIT_REPAIR))
    if paths.exists(path) and not may_use(path, os.W_OK):
        error = IOFailure(f"'{path}' cannot be written", hint="check its permissions: every change is recorded in it")
        found.append(Finding(error, path=path))
    if not problems:
        found += find_orphans(store, chain)
        left_behind = orphans(store, chain)
        for name, sentence in log_heads.find_moved(store, chain.records).items():
            if name not in left_behind:
                found.append(Finding(verify.moved_head(sentence), path=store.layout.worktree_config(name)))
    return found, chain


def find_orphans(store: Store, chain: ChainReport) -> list[Finding]:
    """Report worktrees whose configuration is older than the log: a snapshot of theirs is not yet their head."""
    found = []
    for name, orphan in orphans(store, chain).items():
        problem = f"snapshot '{orphan['target']}' is the newest of '{name}', whose head was not advanced to it"
        hint = "'jvs doctor --repair advance_head' advances it; the files in the worktree are not touched"
        path = store.layout.worktree_config(name)
        found.append(Finding(LineageBroken(problem, hint=hint), severity=ERROR, path=path, repair=ADVANCE_HEAD))
    return found


def orphans(store: Store, chain: ChainReport) -> dict[str, AuditRecord]:
    """Return for each worktree whose head was not advanced the log record of the snapshot that it should be at.

    Only when nothing later in the log moved that head (a worktree that was restored to an older snapshot is detached
    legally), and when the snapshot descends from where the worktree is.
    """
    visible = set(lineage.visible_ids(store.layout))
    found = {}
    for name in worktree.names(store.layout):
        try:
            config = worktree.load(store.layout, name)
            orphan = _orphan_of(store.layout, name, config, chain.records, visible)
        except JvsError:  # reported as itself
            continue
        if orphan is not None:
            found[name] = orphan
    return found


def _orphan_of(
    here: layout.Layout, name: str, config: WorktreeConfig, log: list[AuditRecord], visible: set[str]
) -> AuditRecord | None:
    moves = [record for record in log if record["worktree"] == name and record["operation"] in _HEAD_MOVERS]
    if not moves or moves[-1]["operation"] != "snapshot":
        return None
    last = moves[-1]
    target = last["target"]
    if target is None or target not in visible:
        return None
    head, latest = config["head_snapshot_id"], config["latest_snapshot_id"]
    if target == head or intent.pending_snapshots(here).get(target, "") != "":
        return None
    event_id = config.get("event_id")
    by_event = {record["event_id"]: record["seq"] for record in log}
    if event_id is None and target == latest:
        return None  # perhaps detached, in a configuration that does not say by what
    if event_id is not None and by_event.get(event_id, last["seq"] + 1) > last["seq"]:
        return None
    line = [record["snapshot_id"] for record in lineage.line(here, target)]
    return last if latest in line or head in line or (head is None and latest is None) else None
