"""The doctor: look at everything, say what is wrong and which repair fits, and repair on request.

Without a repair nothing is written. Repairs work under the repository lock, taken alone; they never touch the files of
a visible snapshot or of a worktree, and nothing outside `.jvs` goes.
Source: jvs-doctor(1).
"""

from __future__ import annotations

import contextlib
import functools

from jvs import clock, names
from jvs.check import consistency, debris, findings, foreign, structure, verify
from jvs.check.findings import Finding
from jvs.errors import AuditChainBroken, Busy, IOFailure, JvsError, NotFound, PartialSnapshot, UsageError, from_oserror
from jvs.fs import durable, listing, locks, paths
from jvs.gc import plan as gc_plan
from jvs.gc import remove as gc_remove
from jvs.gc import run as gc
from jvs.restore import journal, release
from jvs.store import (
    annotation,
    audit,
    audit_check,
    finding,
    held,
    intent,
    layout,
    mount_check,
    recovery,
    tries,
    worktree,
)
from jvs.store.store import Store
from jvs.tree import index_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypedDict

    from jvs.check.findings import FindingDocument
    from jvs.fs.rooted import Below
    from jvs.store.settings import Settings

    class DiagnosisDocument(TypedDict):
        """A diagnosis as `--json` prints it."""

        healthy: bool
        findings: list[FindingDocument]
        repaired: list[str]


ACTIONS: dict[str, str] = {
    findings.CLEAN_TMP: "remove what dead operations left, and make missing runtime directories again",
    findings.CLEAN_INTENTS: "recover dead operations, and quarantine operations and annotations that cannot be read",
    findings.ADVANCE_HEAD: "advance heads that the log says were moved to a snapshot that is there",
    findings.REBUILD_INDEX: "drop an index that cannot be used; it fills again by itself",
    findings.AUDIT_REPAIR: "set a torn last line of the audit log aside, and say so in the log",
}
RUNTIME = tuple(ACTIONS)
"""What `--repair-runtime` does, in an order in which no repair hides what another needs."""
_ORDER = (
    findings.CLEAN_INTENTS,
    findings.AUDIT_REPAIR,
    findings.CLEAN_TMP,
    findings.ADVANCE_HEAD,
    findings.REBUILD_INDEX,
)


class Diagnosis:
    """What the doctor found, and what was repaired."""

    def __init__(self, found: list[Finding], repaired: list[str]) -> None:
        unique: dict[tuple[str, str], Finding] = {}
        for one in found:
            unique.setdefault(one.key, one)
        self.findings = sorted(unique.values(), key=lambda finding: findings.SEVERITIES.index(finding.severity))
        self.repaired = repaired

    @property
    def healthy(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def exit(self) -> int:
        """The exit code: that of the worst finding."""
        return self.findings[0].error.exit if self.findings else 0

    def as_json(self) -> DiagnosisDocument:
        """Return the diagnosis as `jvs doctor --json` prints it."""
        return {
            "healthy": self.healthy,
            "findings": [finding.as_json() for finding in self.findings],
            "repaired": self.repaired,
        }


def open_anyway(start: str, settings: Settings) -> Store:
    """Open a repository without the checks that refuse a damaged one. Errors: E_NOT_A_REPOSITORY, E_PATH_ESCAPE."""
    return Store(finding.choose(start, settings).root, settings)


def examine(store: Store, *, strict: bool = False, actions: list[str] | None = None, jobs: int = 0) -> Diagnosis:
    """Repair what the actions name, then look at everything; `strict` also reads every byte of every snapshot, and
    looks for what does not belong into `.jvs`.

    Errors: E_USAGE for an unknown action, E_BUSY when the repository is locked for longer than we wait.
    """
    for action in actions or []:
        if action not in ACTIONS:
            raise UsageError(f"there is no repair '{action}'", hint=f"one of: {', '.join(ACTIONS)}")
    foreign = layout.other_format(store.layout)
    if foreign is not None:  # another version's rules hold there: what looks like damage by ours may be none
        return Diagnosis([Finding(foreign, path=store.layout.format_version)], [])
    repaired: list[str] = []
    failed: list[Finding] = []
    if actions:
        repaired, failed = repair(store, [action for action in _ORDER if action in actions])
    return Diagnosis(failed + _look(store, strict, jobs), repaired)


def _look(store: Store, strict: bool, jobs: int) -> list[Finding]:
    """Look once; when something seems wrong and somebody was at work meanwhile, look again with nobody at work."""
    before = debris.fingerprint(store.layout)
    with _shared(store):
        found = _look_once(store)
        if found and debris.fingerprint(store.layout) == before:
            before = ""
    if found and before:
        with contextlib.suppress(Busy, IOFailure), _alone(store):
            found = _look_once(store)
    if strict:
        with _shared(store):
            found += findings.guarded(foreign.find_foreign, store)
            found += findings.guarded(_read_payloads, store, jobs)
    return found


def _read_payloads(store: Store, jobs: int) -> list[Finding]:
    return consistency.find_in_snapshots(store, payload=True, jobs=jobs)


def _look_once(store: Store) -> list[Finding]:
    here = store.layout
    found = findings.guarded(structure.find_in_structure, here)
    for check, subject in (
        (structure.find_in_settings, store),
        (structure.find_in_locks, here),
        (debris.find_in_intents, store),
        (debris.find_temporaries, store),
        (consistency.find_in_worktrees, store),
        (debris.find_in_undo, store),
        (debris.find_in_tries, store),
        (_check_snapshots, store),
        (_check_log, store),
        (consistency.find_in_annotations, store),
        (consistency.find_in_collection, store),
        (structure.find_in_index, store),
    ):
        found += [f for f in findings.guarded(check, subject) if not _is_reported(f, found)]
    return found


def _is_reported(finding: Finding, found: list[Finding]) -> bool:
    """Whether a directory that is missing, or not ours to read, has been reported for this path already."""
    return finding.error.name == "E_IO" and any(
        other.path is not None and other.path == finding.path and other.severity != findings.WARNING for other in found
    )


def _check_snapshots(store: Store) -> list[Finding]:
    return consistency.find_in_snapshots(store, payload=False)


def _check_log(store: Store) -> list[Finding]:
    return consistency.find_in_log(store)[0]


@contextlib.contextmanager
def _shared(store: Store) -> Iterator[None]:
    """Share the repository lock; a repository whose locks are damaged is looked at without."""
    try:
        lock = locks.acquire_repository(store.layout.locks, exclusive=False, wait=store.settings.wait)
    except IOFailure:
        yield
        return
    with lock:
        yield


def _alone(store: Store) -> locks.Lock:
    return locks.acquire_repository(
        store.layout.locks, exclusive=True, wait=store.settings.wait, command=store.settings.command
    )


def repair(store: Store, actions: list[str]) -> tuple[list[str], list[Finding]]:
    """Carry out repairs in order; returns what was done, and what a repair failed on.

    Durable: yes; a crash in the middle is repaired by running again. Errors: E_BUSY; E_PATH_ESCAPE for mounts.
    """
    mount_check.refuse(store)
    done: list[str] = []
    failed: list[Finding] = []
    if findings.CLEAN_TMP in actions:
        _attempt(lambda: _make_directories(store), done, failed)
    with _alone(store):
        for action in actions:
            _attempt(functools.partial(_REPAIRS[action], store), done, failed)
    if findings.CLEAN_TMP in actions:
        _attempt(lambda: _empty_trash(store), done, failed)
    if done:
        _attempt(lambda: _record(store, actions, done), done, failed)
    return done, failed


def _record(store: Store, actions: list[str], done: list[str]) -> list[str]:
    """Write down what was repaired. A log that is broken is a finding already; one that refuses the record is one."""
    with contextlib.suppress(AuditChainBroken):
        store.record("doctor_repair", reason="repair", actions=actions, done=done)
    return []


def _attempt(work: Callable[[], list[str]], done: list[str], failed: list[Finding]) -> None:
    try:
        done += work()
    except JvsError as error:
        failed.append(Finding(error))
    except OSError as error:
        failed.append(Finding(from_oserror(error, "repairing")))


def _make_directories(store: Store) -> list[str]:
    """Make the runtime directories again that are missing, the one for locks before anything is locked."""
    made = []
    for name in structure.RUNTIME_DIRECTORIES:
        path = paths.below(store.layout.jvs, name.encode())
        if not paths.exists(path) and paths.is_dir(path.parent):
            durable.make_dir(path)
            durable.fsync_dir(path.parent)  # a crash before this leaves it missing, as it was
            made.append(f"made '.jvs/{name}' again")
    if not paths.exists(store.layout.forks):
        durable.make_dir(store.layout.forks, mode=0o777)
        durable.fsync_dir(store.layout.forks.parent)
        made.append("made 'worktrees' again")
    return made


def _clean_intents(store: Store) -> list[str]:
    """Quarantine what cannot be read, then recover what is dead."""
    here, done = store.layout, []
    for operation_id in intent.list_ids(here):
        try:
            intent.load(here, operation_id)
        except FileNotFoundError:
            continue
        except JvsError:
            done.append(_set_aside(store, here.intent(operation_id)))
    for operation_id in journal.ids(here):
        try:
            held.load(here, operation_id)
        except PartialSnapshot:
            done.append(_set_aside(store, journal.directory(here, operation_id) / held.NAME))
    for try_id in tries.ids(here):
        try:
            tries.load(here, try_id)
        except PartialSnapshot:
            done.append(_set_aside(store, here.try_dir(try_id)))  # with all that its command wrote
        except NotFound:
            continue
    intent.sweep(here)
    mount_check.refuse_pending(store)
    done += recovery.recover_all(store, None)
    return done + _set_annotations_aside(store)


def _set_annotations_aside(store: Store) -> list[str]:
    """Quarantine annotations that cannot be read: the words of the descriptors count again, and the log says so."""
    done = []
    for snapshot_id in annotation.ids(store.layout):
        try:
            annotation.load(store.layout, snapshot_id)
        except FileNotFoundError:
            continue
        except JvsError as error:
            if error.name == "E_IO":
                raise
            # the record first: one that is damaged is set aside again, one that is gone would be missed
            store.record(annotation.OPERATION, target=snapshot_id, reason="repair", annotation_sha256=None)
            done.append(_set_aside(store, store.layout.annotation(snapshot_id)))
    return done


def _set_aside(store: Store, path: Below) -> str:
    """Keep a damaged record next to the log, as torn lines of the log are kept; it may be of any kind."""
    name = f"torn-{clock.now_ms()}-{clock.random_hex(4)}.bin"
    durable.rename(path, store.layout.audit / name)
    durable.fsync_dir(store.layout.audit)
    durable.fsync_dir(path.parent)
    return f"set '{path.relative_to(store.layout.jvs)}' aside as 'audit/{name}'"


def _clean_tmp(store: Store) -> list[str]:
    """Remove temporary names that no intent owns; nobody is at work now."""
    here, done = store.layout, []
    in_flight = intent.snapshots_of(intent.load_all(here))
    doomed = [path for path, snapshot_id in debris.temporaries(here) if not snapshot_id or snapshot_id not in in_flight]
    doomed += [path for path in _odd(here.locks, lambda name: True) if not paths.is_dir(path)]
    doomed += _odd(here.plans, lambda name: gc_plan.is_plan_id(name.removesuffix(".json")))
    for path in dict.fromkeys(doomed):
        gc_remove.remove(store, path)
        durable.fsync_dir(path.parent)
        done.append(f"removed '{path.relative_to(here.jvs)}'")
    for operation_id in set(journal.ids(here)) - set(intent.list_ids(here)):
        if not paths.exists(journal.directory(here, operation_id) / "op.json"):
            release.sweep(store, operation_id)
            if not paths.exists(journal.directory(here, operation_id)):
                done.append(f"removed 'undo/{operation_id}'")
    done += [f"removed 'tries/{try_id}'" for try_id in tries.sweep(store)]
    for path in _odd(here.locks, lambda name: True):
        durable.rmdir(path)  # a directory in place of a lock: nobody can hold it
        done.append(f"removed '{path.relative_to(here.jvs)}'")
    return done


def _odd(directory: Below, ours: Callable[[str], bool]) -> list[Below]:
    """Return what bears a name of ours in a directory of files, and is no file."""
    places = [directory / name for name in listing.names(directory) if ours(name)]
    return [place for place in places if structure.kind_of(place) not in ("file", "")]


def _empty_trash(store: Store) -> list[str]:
    """Delete what collections have taken out, while others work; a live collection does that itself."""
    try:
        lock = locks.acquire(store.layout.lock("gc"), wait=0, command=store.settings.command)
    except Busy:
        return []
    with lock:
        return [f"removed '{path.relative_to(store.layout.jvs)}'" for path in gc.sweep(store)]


def _advance_heads(store: Store) -> list[str]:
    here, done = store.layout, []
    chain, problems = verify.check_chain(store)
    if problems:
        raise problems[0]  # what the log says is only worth something when it is complete
    for name, record in consistency.orphans(store, chain).items():
        config = worktree.load(here, name)
        worktree.move_head(
            here,
            name,
            names.check_snapshot_id(record["target"]),
            expected=config["head_snapshot_id"],
            latest=record["target"],
            event_id=record["event_id"],
            wait=store.settings.wait,
        )
        done.append(f"advanced the head of '{name}' to {record['target']}")
    return done


def _rebuild_index(store: Store) -> list[str]:
    if not structure.find_in_index(store):
        return []
    store.close()
    index_file.drop(store.layout.index)
    return ["dropped the index, which fills again by itself"]


def _audit_repair(store: Store) -> list[str]:
    """Let the log set its torn tail aside, as every appender does, by appending that this was asked for."""
    chain = audit_check.check(store.layout.audit_log, audit.genesis(store.repo_id))
    if not chain.torn:
        return []
    audit_check.raise_problems(chain)
    store.record("doctor_repair", reason="repair", actions=[findings.AUDIT_REPAIR])
    return [f"set a torn last line of {chain.torn} bytes of the log aside"]


_REPAIRS: dict[str, Callable[[Store], list[str]]] = {
    findings.CLEAN_TMP: _clean_tmp,
    findings.CLEAN_INTENTS: _clean_intents,
    findings.ADVANCE_HEAD: _advance_heads,
    findings.REBUILD_INDEX: _rebuild_index,
    findings.AUDIT_REPAIR: _audit_repair,
}
