"""What is wrong with a repository: each check looks at one part of it and returns findings, and raises nothing.

The checks do what the next commands would do first (read every control file, take every lock, plan a collection), so
that nothing is called healthy on which they would fail. Nothing here writes.
Source: jvs-doctor(1), jvs-errors(7).
"""

from __future__ import annotations

import os
import stat

from jvs import (
    canon,
    descriptor,
    gc,
    gc_plan,
    intent,
    journal,
    layout,
    lineage,
    locks,
    marks,
    names,
    pins,
    retention,
    safepath,
    tombstone,
    verify,
    worktree,
)
from jvs.errors import Busy, IOFailure, JvsError, LineageBroken, NotFound, PartialSnapshot, PathEscape, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from jvs.audit import ChainReport
    from jvs.store import Store

CRITICAL, ERROR, WARNING = "critical", "error", "warning"
SEVERITIES = (CRITICAL, ERROR, WARNING)
CLEAN_TMP, CLEAN_INTENTS, ADVANCE_HEAD = "clean_tmp", "clean_intents", "advance_head"
REBUILD_INDEX, AUDIT_REPAIR = "rebuild_index", "audit_repair"
_DAMAGE = frozenset(
    {
        "E_DESCRIPTOR_CORRUPT",
        "E_PAYLOAD_HASH_MISMATCH",
        "E_LINEAGE_BROKEN",
        "E_AUDIT_CHAIN_BROKEN",
        "E_PARTIAL_SNAPSHOT",
    }
)
RUNTIME_DIRECTORIES = ("locks", "intents", "gc/plans", "gc/trash")
"""Those that hold nothing that counts when nobody is at work, so that they can be made again."""
_HEAD_MOVERS = ("snapshot", "restore", "undo", "worktree_create", "worktree_fork", "worktree_rename", "worktree_remove")


class Finding:
    """One thing that is wrong.

    Shape: `error` carries class, message and hint; `path` is absolute or None; `repair` one of the five actions or
    None. A warning is unfinished business that the next command, or the repair, settles.
    """

    def __init__(
        self, error: JvsError, *, severity: str | None = None, path: str | None = None, repair: str | None = None
    ) -> None:
        self.error = error
        self.severity = severity or (CRITICAL if error.name in _DAMAGE else ERROR)
        told = error.facts.get("path")
        self.path = path or (told if isinstance(told, str) else None)
        self.repair = repair

    @property
    def key(self) -> tuple[str, str]:
        """What makes two findings the same."""
        return self.error.name, self.error.message

    def as_json(self) -> dict[str, Any]:
        """Return the finding as `jvs doctor --json` prints it."""
        return {
            "class": self.error.name,
            "severity": self.severity,
            "path": None if self.path is None else os.fsencode(self.path).decode("utf-8", "backslashreplace"),
            "message": self.error.message,
            "hint": self.error.hint,
            "repair": self.repair,
        }


def pending(message: str, path: str, repair: str, hint: str = "") -> Finding:
    """Return a finding for what a crash left and somebody will settle: never damage, never healthy."""
    hint = hint or f"the next command that changes something settles it, or 'jvs doctor --repair {repair}'"
    return Finding(PartialSnapshot(message, hint=hint), severity=WARNING, path=path, repair=repair)


def guarded(check: Callable[..., list[Finding]], *args: Any) -> list[Finding]:
    """Run a check; what it cannot look at is a finding itself."""
    try:
        return check(*args)
    except JvsError as error:
        return [Finding(error)]
    except OSError as error:
        return [Finding(from_oserror(error, "looking at the repository"))]


def find_in_structure(here: layout.Layout) -> list[Finding]:
    """Check owner, modes and kind of the control directory and of every directory and file that is always there."""
    found: list[Finding] = []
    info = os.lstat(here.jvs)
    if os.geteuid() not in (0, info.st_uid):
        problem = f"'{here.jvs}' belongs to another user (uid {info.st_uid})"
        found.append(Finding(PathEscape(problem, hint="work as that user, or copy the files"), path=here.jvs))
    if stat.S_IMODE(info.st_mode) & 0o077:
        problem = f"'{here.jvs}' can be entered by others (mode {stat.S_IMODE(info.st_mode):04o})"
        hint = f"chmod 700 '{here.jvs}': snapshots may hold secrets"
        found.append(Finding(PathEscape(problem, hint=hint), severity=WARNING, path=here.jvs))
    for name in ("", *layout.DIRECTORIES):
        found += _check_directory(here, name)
    try:
        layout.check_format(here)
    except JvsError as error:
        found.append(Finding(error, path=here.format_version))
    forks = _kind_of(here.forks)
    if forks != "directory":
        problem = f"'{here.forks}' is {forks or 'missing'}"
        hint = "put the directory of the worktrees back; an empty one will do when there are none"
        found.append(Finding(PathEscape(problem, hint=hint), path=here.forks, repair=None if forks else CLEAN_TMP))
    return found


def _kind_of(path: str) -> str:
    """Return what a path is, in words; an empty text when it is missing."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return ""
    if stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISREG(mode):
        return "file"
    return "a symbolic link" if stat.S_ISLNK(mode) else "neither a file nor a directory"


def _check_directory(here: layout.Layout, name: str) -> list[Finding]:
    path = os.path.join(here.jvs, name) if name else here.jvs
    kind = _kind_of(path)
    if not kind and name in RUNTIME_DIRECTORIES:
        return [pending(f"'.jvs/{name}' is missing", path, CLEAN_TMP, "'jvs doctor --repair-runtime' makes it again")]
    if not kind:
        hint = "restore it from a copy of the repository; if it held nothing, make an empty one with mkdir"
        return [Finding(PartialSnapshot(f"'.jvs/{name}' is missing", hint=hint), path=path)]
    if kind != "directory":
        hint = "put the directory back; jvs follows no links in '.jvs'"
        return [Finding(PathEscape(f"'{path}' is {kind}, not a directory", hint=hint), path=path)]
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        hint = "check its permissions, its owner, and whether the filesystem is mounted read-only"
        return [Finding(IOFailure(f"'{path}' cannot be read and written", hint=hint), path=path)]
    return []


def find_in_settings(store: Store) -> list[Finding]:
    """Check the repository's id and settings, and that the engine they ask for works."""
    found = []
    for look in (
        lambda: store.repo_id,
        lambda: store.settings.with_repository(store.layout.config),
        lambda: store.engine(layout.MAIN),
    ):
        try:
            look()
        except JvsError as error:
            found.append(Finding(error))
        except OSError as error:
            found.append(Finding(from_oserror(error, "reading the settings")))
    return found


def find_in_locks(here: layout.Layout) -> list[Finding]:
    """Check that every lock is a file that we can open."""
    found = []
    for name in sorted(os.listdir(here.locks)):
        path = os.path.join(here.locks, name)
        if _kind_of(path) != "file":
            problem = f"the lock '{name}' is not a file"
            found.append(
                Finding(
                    PathEscape(problem, hint="'jvs doctor --repair clean_tmp' removes it"), path=path, repair=CLEAN_TMP
                )
            )
        elif not os.access(path, os.R_OK | os.W_OK):
            hint = "check its permissions: everybody who works here must be able to lock"
            found.append(Finding(IOFailure(f"the lock '{name}' cannot be opened", hint=hint), path=path))
    return found


def is_live(store: Store, record: dict[str, Any]) -> bool:
    """Answer whether somebody is at work on an intent: its lock is held, or its process is there."""
    if not record["owner"].get("locked"):
        return intent.is_alive(record, lock_held=False)
    lock = {"gc_run": "gc", "pin": "pins", "unpin": "pins", "config": "config"}.get(record["operation"])
    lock = lock or f"worktree-{names.check_worktree_name(str(record['worktree']))}"
    try:
        # Shared, so that whoever is only about to begin is not kept out.
        locks.acquire(store.layout.lock(lock), exclusive=False, wait=0).close()
    except Busy:
        return True
    return False


def find_in_intents(store: Store) -> list[Finding]:
    """Report dead operations, which the next command settles, and records of operations that cannot be read."""
    here, found = store.layout, []
    for name in sorted(os.listdir(here.intents)):
        path = os.path.join(here.intents, name)
        if name.endswith(".json.tmp") and names.is_operation_id(name[:-9]):
            if _is_left(path, lambda: _lock_is_free(store, "intents")):
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


def _is_left(path: str, nobody_is_at_work: Callable[[], bool]) -> bool:
    """Answer whether a temporary name has no owner: nobody is at work, and it is still there after asking that."""
    return nobody_is_at_work() and os.path.lexists(path)


def _lock_is_free(store: Store, name: str) -> bool:
    try:
        locks.acquire(store.layout.lock(name), wait=0, command="doctor").close()
    except (Busy, IOFailure):
        return False
    return True


def temporaries(here: layout.Layout) -> Iterator[tuple[str, str]]:
    """Yield (path, id or empty) for every temporary name of ours that only a live operation may own."""
    for directory, suffix in ((here.snapshots, ".tmp"), (here.descriptors, ".json.tmp")):
        for name in sorted(os.listdir(directory)):
            if name.endswith(suffix) and names.is_snapshot_id(name.removesuffix(suffix)):
                yield os.path.join(directory, name), name.removesuffix(suffix)
    for directory in (here.pins, here.plans):
        for name in sorted(os.listdir(directory)):
            if name.endswith(".json.tmp"):
                yield os.path.join(directory, name), ""
    for name in sorted(os.listdir(here.worktrees)):
        path = os.path.join(here.worktrees, name, "config.json.tmp")
        if os.path.lexists(path):
            yield path, ""


def find_temporaries(store: Store) -> list[Finding]:
    """Report what no operation in flight owns: half-made snapshots, temporary files, trash."""
    here, found = store.layout, []
    # Names first, then the intents, then the names again: an operation that is alive at any of these moments has its
    # intent there at the second one, or has taken its temporary names away by the third.
    seen = list(temporaries(here))
    in_flight = {record.get("snapshot_id") for record in intent.load_all(here)}
    quiet = not in_flight
    for path, snapshot_id in seen:
        if not os.path.lexists(path) or snapshot_id in in_flight or (not snapshot_id and not quiet):
            continue
        found.append(pending(f"'{os.path.relpath(path, here.jvs)}' was left by a crash", path, CLEAN_TMP))
    for path in gc.leftovers(store):
        found.append(pending(f"'{os.path.relpath(path, here.jvs)}' was not deleted yet", path, CLEAN_TMP))
    for name in sorted(os.listdir(here.plans)):
        if _kind_of(os.path.join(here.plans, name)) not in ("file", ""):
            path = os.path.join(here.plans, name)
            found.append(pending(f"'gc/plans/{name}' is not a file", path, CLEAN_TMP))
    return found


def find_in_collection(store: Store) -> list[Finding]:
    """Check tombstones, pins, undo records; and that a collection could be planned."""
    here, found = store.layout, []
    collecting = {
        i for record in intent.load_all(here) if record["operation"] == "gc_run" for i in record.get("candidates", [])
    }
    try:
        stones = tombstone.load_all(here)
    except JvsError as error:
        stones = {}
        found.append(Finding(error))
    for snapshot_id, stone in stones.items():
        path = os.path.join(here.tombstones, snapshot_id + ".json")
        if stone["gc_state"] != "committed" and snapshot_id not in collecting and _lock_is_free(store, "gc"):
            found.append(
                pending(f"the collection of '{snapshot_id}' was not finished", path, CLEAN_TMP, stone["reason"])
            )
        if stone["gc_state"] == "committed" and os.path.lexists(here.descriptor(snapshot_id)):
            problem = f"snapshot '{snapshot_id}' was collected, and is there again"
            found.append(
                Finding(LineageBroken(problem, hint="somebody put it back: remove it, or its tombstone"), path=path)
            )
    for name in sorted(os.listdir(here.tombstones)):
        if name.endswith(".json.tmp") and not collecting and _lock_is_free(store, "gc"):
            path = os.path.join(here.tombstones, name)
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
            found.append(Finding(error, severity=WARNING, path=pins.path_of(store.layout, pin["snapshot_id"])))
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
            if os.path.lexists(path) and not os.path.lexists(here.intent(operation_id)):
                found.append(pending(f"'undo/{operation_id}' was left by a crash", path, CLEAN_TMP))
        except JvsError as error:
            found.append(Finding(error, path=path))
    return found


def find_in_worktrees(store: Store) -> list[Finding]:
    """Check every worktree: configuration, directory, head and latest; and directories that belong to none."""
    here, found = store.layout, []
    in_flight = {text for record in intent.load_all(here) for text in marks.texts_in(record)}
    registered = sorted(os.listdir(here.worktrees))
    for name in registered:
        if name not in in_flight:
            found += guarded(_check_worktree, store, name)
    if layout.MAIN not in registered:
        found += guarded(_check_worktree, store, layout.MAIN)
    for name in sorted(os.listdir(here.forks)) if _kind_of(here.forks) == "directory" else ():
        if name not in registered and name not in in_flight and not _belongs_to_operation(name, in_flight):
            path = os.path.join(here.forks, name)
            hint = "move it away, or take its files over with 'jvs worktree create' and cp"
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            error = LineageBroken(f"'worktrees/{shown}' is not a worktree of this repository", hint=hint)
            found.append(Finding(error, severity=WARNING, path=path))
    return found


def _belongs_to_operation(name: str, in_flight: set[str]) -> bool:
    return name.startswith(".jvs-tmp-") and any(operation in name for operation in in_flight if len(operation) == 22)


def _check_worktree(store: Store, name: str) -> list[Finding]:
    path = os.path.join(store.layout.worktrees, name)
    try:
        names.check_worktree_name(name)
        config = worktree.load(store.layout, name)
    except JvsError as error:
        if isinstance(error, NotFound) or error.name == "E_NAME_INVALID":
            shown = os.fsencode(name).decode("utf-8", "backslashreplace")
            hint = "move it out of the repository if nothing needs it"
            return [Finding(LineageBroken(f"'.jvs/worktrees/{shown}' is not a worktree", hint=hint), path=path)]
        return [Finding(error, path=os.path.join(path, "config.json"))]
    found = []
    try:
        directory = store.require_worktree(name)
        if not os.access(directory, os.R_OK | os.X_OK):
            raise IOFailure(f"worktree '{name}' cannot be read", hint=f"check the permissions of '{directory}'")
    except JvsError as error:
        found.append(Finding(error, path=store.layout.worktree_dir(name)))
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        error = IOFailure(f"'{path}' cannot be read and written", hint="check its permissions")
        found.append(Finding(error, path=path))
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
            found.append(Finding(LineageBroken(problem, hint=hint), path=os.path.join(path, "config.json")))
            del missing
        except JvsError as error:
            found.append(Finding(error))
    return found


def find_in_snapshots(store: Store, *, payload: bool, jobs: int = 0) -> list[Finding]:
    """Check every snapshot as verification does, with or without its files; then follow every line."""
    here, found = store.layout, []
    for snapshot_id in verify.candidates(here):
        report = verify.check_snapshot(store, snapshot_id, payload=payload, jobs=jobs)
        error = report.error
        if isinstance(error, NotFound):
            if not any(os.path.lexists(path) for path in (here.payload(snapshot_id), here.ready(snapshot_id))):
                continue  # collected, or rolled back, since we listed
            problem = f"snapshot '{snapshot_id}' has files or a marker, and no descriptor"
            hint = "restore 'descriptors/' from a copy of the repository; nothing is deleted that may be a snapshot"
            error = PartialSnapshot(problem, hint=hint)
        elif error is None and not os.access(here.payload(snapshot_id), os.R_OK | os.X_OK):
            problem = f"the files of snapshot '{snapshot_id}' cannot be read"
            error = IOFailure(problem, hint=f"check the permissions of '{here.payload(snapshot_id)}'")
        if error is not None:
            found.append(Finding(error, path=here.descriptor(snapshot_id)))
    return found + [Finding(error) for error in verify.check_lines(store)]


def find_in_log(store: Store) -> tuple[list[Finding], ChainReport]:
    """Check the audit chain against everything, and that another record can be appended."""
    path = store.layout.audit_log
    chain, problems = verify.check_chain(store)
    found = [Finding(problem, path=path) for problem in problems]
    if chain.torn:
        found.append(pending(f"the log ends in a torn line of {chain.torn} bytes, left by a crash", path, AUDIT_REPAIR))
    if os.path.lexists(path) and not os.access(path, os.W_OK):
        error = IOFailure(f"'{path}' cannot be written", hint="check its permissions: every change is recorded in it")
        found.append(Finding(error, path=path))
    if not problems:
        found += find_orphans(store, chain)
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


def orphans(store: Store, chain: ChainReport) -> dict[str, dict[str, Any]]:
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
    here: layout.Layout, name: str, config: dict[str, Any], log: list[dict[str, Any]], visible: set[str]
) -> dict[str, Any] | None:
    moves = [record for record in log if record["worktree"] == name and record["operation"] in _HEAD_MOVERS]
    if not moves or moves[-1]["operation"] != "snapshot" or moves[-1]["target"] not in visible:
        return None
    last = moves[-1]
    head, latest = config["head_snapshot_id"], config["latest_snapshot_id"]
    if last["target"] == head or intent.pending_snapshots(here).get(last["target"], "") != "":
        return None
    event_id = config.get("event_id")
    by_event = {record["event_id"]: record["seq"] for record in log}
    if event_id is None and last["target"] == latest:
        return None  # perhaps detached, in a configuration that does not say by what
    if event_id is not None and by_event.get(event_id, last["seq"] + 1) > last["seq"]:
        return None
    line = [record["snapshot_id"] for record in lineage.line(here, last["target"])]
    return last if latest in line or head in line or (head is None and latest is None) else None


def find_in_index(store: Store) -> list[Finding]:
    """Report an index that cannot be used. Everything works without it, only slower.

    Source: the header of an SQLite file, https://sqlite.org/fileformat2.html: magic, page size, number of pages.
    """
    path = store.layout.index
    kind = _kind_of(path)
    if not kind or (kind == "file" and _is_database(path)):
        return []
    error = IOFailure("the index cannot be used", hint="'jvs doctor --repair rebuild_index' drops it; it fills again")
    return [Finding(error, severity=WARNING, path=path, repair=REBUILD_INDEX)]


def _is_database(path: str) -> bool:
    fd = safepath.open_file(path)
    try:
        header, size = os.pread(fd, 100, 0), os.fstat(fd).st_size
    finally:
        os.close(fd)
    if not header:
        return True
    page_bytes = int.from_bytes(header[16:18], "big")
    page_bytes = 65536 if page_bytes == 1 else page_bytes
    pages = int.from_bytes(header[28:32], "big")
    return len(header) == 100 and header.startswith(b"SQLite format 3\0") and size >= pages * page_bytes


def fingerprint(here: layout.Layout) -> str:
    """Return a value that changes whenever an operation begins, ends, or moves something."""
    parts: list[Any] = []
    try:
        parts.append(sorted(os.listdir(here.intents)))
        parts.append(os.path.getsize(here.audit_log))
        parts.append([os.lstat(here.worktree_config(name)).st_mtime_ns for name in worktree.names(here)])
    except (OSError, JvsError) as error:
        parts.append(str(error))
    return canon.encode(parts).decode()


def read_bytes(path: str) -> bytes:
    """Return what a damaged control file holds, to be kept aside. Errors: OSError."""
    return safepath.read_file(path)
