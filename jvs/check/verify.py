"""Verification: descriptor checksum, READY marker, every byte of the payload, lineage, and the audit chain.

Nothing here trusts the index; it is only asked, after a mismatch, for what the tree was, to name what differs.
Source: jvs-verify(1), jvs-protocol(7).
"""

from __future__ import annotations

import os

from jvs import names, progress
from jvs.check import differences, log_heads
from jvs.check.findings import DAMAGE
from jvs.errors import AuditChainBroken, JvsError, LineageBroken, NotFound, PartialSnapshot, PayloadHashMismatch
from jvs.fs import listing
from jvs.store import (
    anchor,
    annotation,
    audit,
    audit_check,
    descriptor,
    intent,
    lineage,
    node_store,
    records,
    verified,
    worktree,
)
from jvs.tree import node, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypedDict

    from jvs.check.differences import Difference
    from jvs.check.reading import Memory
    from jvs.errors import ErrorFacts
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.layout import Layout
    from jvs.store.shapes import Intent
    from jvs.store.store import Store
    from jvs.tree.exclusion import Exclusion

    class SnapshotReportDocument(TypedDict):
        """A report as `--json` prints it; null where a check was not made or could not be."""

        snapshot_id: str
        checksum_valid: bool | None
        payload_hash_valid: bool | None
        tamper_detected: bool
        severity: str
        error: ErrorFacts | None
        differences: list[Difference]


def remember(store: Store, reports: Iterable[SnapshotReport], *, only: bool = False) -> None:
    """Note outside of the repository which snapshots were read whole, and which of them were damaged.

    `only` says that these are all snapshots. What could not be read says nothing, and what was noted of it stays.
    """
    found = {r.snapshot_id: r.error.name if r.error is not None else None for r in reports if r.is_sure}
    verified.remember(store, found, only=only and bool(found))


class SnapshotReport:
    """What checking one snapshot found. Shape: None where a check was not made or could not be."""

    def __init__(self, snapshot_id: str) -> None:
        self.snapshot_id = snapshot_id
        self.checksum_valid: bool | None = None
        self.payload_hash_valid: bool | None = None
        self.error: JvsError | None = None
        self.differences: list[Difference] = []
        self.payload_bytes = self.read_bytes = 0
        """What the snapshot holds, and how much of it was read: the rest was read before, under other names."""

    @property
    def is_sure(self) -> bool:
        """Whether the answer is about all of the snapshot: it was read whole, or is damaged."""
        return self.tampered or bool(self.payload_hash_valid)

    @property
    def tampered(self) -> bool:
        """Whether anything is not as it was published; what could not be read says nothing about that."""
        return self.error is not None and self.error.name in DAMAGE

    def as_json(self) -> SnapshotReportDocument:
        """Return the report as `jvs verify --json` prints it."""
        return {
            "snapshot_id": self.snapshot_id,
            "checksum_valid": self.checksum_valid,
            "payload_hash_valid": self.payload_hash_valid,
            "tamper_detected": self.tampered,
            "severity": "critical" if self.tampered else "error" if self.error is not None else "ok",
            "error": self.error.as_json()["error"] if self.error else None,
            "differences": self.differences,
        }


def hash_directory(
    path: Below, *, jobs: int = 0, plain: bool = False, exclude: Exclusion | None = None
) -> scan.ScanResult:
    """Hash any directory, reading every byte. `jobs` threads for big files; 0 means one per core. Errors: E_IO.

    `plain`: as `sha256-tree-1` has it.
    """
    return node_store.hash_payload(path, jobs=jobs or os.cpu_count() or 1, plain=plain, exclude=exclude)


def check_snapshot(
    store: Store, snapshot_id: str, *, payload: bool = True, jobs: int = 0, memory: Memory | None = None
) -> SnapshotReport:
    """Check one snapshot; damage is reported, not raised. `memory` holds what was read before in this run."""
    report = SnapshotReport(snapshot_id)
    try:
        report.checksum_valid = False
        record = descriptor.load(store.layout, snapshot_id)
        descriptor.check_agreement(store.layout, record)
        descriptor.check_state(record)
        report.checksum_valid = True
        if payload:
            _check_payload(store, record, report, jobs, memory)
    except NotFound:  # marker or payload are there, or nobody would ask
        report.error = PartialSnapshot(
            f"snapshot '{snapshot_id}' has no descriptor",
            hint="restore '.jvs/descriptors' from a copy of the repository",
            snapshot_id=snapshot_id,
        )
    except JvsError as error:
        report.error = error
    if not report.tampered:  # what could not be read was not found to be wrong
        report.checksum_valid = report.checksum_valid or None
        report.payload_hash_valid = report.payload_hash_valid or None
    return report


def _check_payload(store: Store, record: Descriptor, report: SnapshotReport, jobs: int, memory: Memory | None) -> None:
    report.payload_hash_valid = False
    plain = node.is_plain(record["hash_algorithm"])
    place, report.payload_bytes = store.layout.payload(record["snapshot_id"]), record["payload"]["bytes"]
    if memory is not None:
        from jvs.check import reading

        before = memory.read_bytes
        found = reading.hash_payload(place, memory, jobs=jobs or store.settings.jobs(), plain=plain)
        report.read_bytes = memory.read_bytes - before
    if memory is None or not _is_as_published(found, record):  # what was remembered convicts nobody
        found = hash_directory(place, jobs=jobs or store.settings.jobs(), plain=plain)
        report.read_bytes += found.bytes
    if _is_as_published(found, record):
        report.payload_hash_valid = True
        return
    report.differences = differences.find(store, record, found)
    named = report.differences[0]["path"] if report.differences else None
    where = f", first at '{named}'" if named is not None else ""
    raise PayloadHashMismatch(
        f"the files of snapshot '{record['snapshot_id']}' are not what was published{where}",
        hint="do not restore it; other snapshots, or a copy of the repository, may hold the files as they were",
        snapshot_id=record["snapshot_id"],
        differences=len(report.differences),
    )


def _is_as_published(found: scan.ScanResult, record: Descriptor) -> bool:
    return found.root_hash == record["payload_root_hash"] and found.payload() == record["payload"]


def check_all(
    store: Store,
    *,
    payload: bool = True,
    jobs: int = 0,
    independent: bool = False,
    only: list[str] | None = None,
) -> tuple[list[SnapshotReport], list[JvsError], audit_check.ChainReport]:
    """Check every snapshot, the lines, and the audit log against all of them; damage is reported, not raised.

    Each stored byte is read once in all; `independent`: under each of its names, and on each way to it. Of all but
    `only` no files are read, and what is said is only what is wrong.
    """
    ids = candidates(store.layout)
    chosen = ids if only is None else [i for i in only if i in ids]
    memory = None if independent or not payload else start_memory(store, chosen)
    reports = []
    for snapshot_id in chosen:
        with progress.step(f"verify {snapshot_id}"):
            reports.append(check_snapshot(store, snapshot_id, payload=payload, jobs=jobs, memory=memory))
        if memory is None:
            progress.advance("verify", 1, len(chosen), "snapshots")
    rest = [check_snapshot(store, i, payload=False) for i in sorted(set(ids) - set(chosen))]
    reports += [report for report in rest if report.error is not None]
    problems = check_lines(store)
    chain, chain_problems = check_chain(store)
    if not chain_problems:
        chain_problems += [moved_head(sentence) for sentence in log_heads.find_moved(store, chain.records).values()]
    return reports, problems + chain_problems, chain


def moved_head(sentence: str) -> AuditChainBroken:
    """Return the error for a worktree that is elsewhere than the log says."""
    hint = "its configuration was changed by hand or put back: restore it from a copy of the repository"
    return AuditChainBroken(sentence, hint=hint)


def start_memory(store: Store, ids: list[str]) -> Memory:
    """Return an empty memory for checking some snapshots in one run."""
    from jvs.check import reading

    total = 0
    for snapshot_id in ids:
        try:
            total += descriptor.load(store.layout, snapshot_id)["payload"]["bytes"]
        except JvsError:
            continue  # reported as itself
    return reading.Memory(total, many=len(ids) > 1)


def candidates(layout: Layout) -> list[str]:
    """Return every id that claims to be a snapshot: with a descriptor, a marker or a payload, and not in flight."""
    intents = intent.load_all(layout)
    pending = intent.snapshots_of([record for record in intents if record["operation"] in ("snapshot", "receive")])
    ids = set(lineage.published_ids(layout))
    pending |= _being_collected(intents) - ids
    for entry in listing.names(layout.snapshots):
        base = entry.removesuffix(".READY")
        if names.is_snapshot_id(base):
            ids.add(base)
    return sorted(i for i in ids if i not in pending)


def _being_collected(intents: list[Intent]) -> set[str]:
    """Return what a collection in flight names; where the descriptor was deleted the rest follows or is recovered."""
    return {i for record in intents if record["operation"] == "gc_run" for i in record["candidates"]}


def check_lines(store: Store) -> list[JvsError]:
    """Follow every line: heads and latests name visible snapshots, parents are there or collected, no cycles."""
    problems: list[JvsError] = []
    pending = intent.pending_snapshots(store.layout)
    starts: dict[str, str] = {}
    for name in worktree.names(store.layout):
        try:
            config = worktree.load(store.layout, name)
        except JvsError as error:
            problems.append(error)
            continue
        for named in (config["head_snapshot_id"], config["latest_snapshot_id"], config["base_snapshot_id"]):
            if named is not None and named not in pending:
                starts.setdefault(named, name)
    for snapshot_id in lineage.published_ids(store.layout):
        if snapshot_id not in pending:  # of a stream, whose ends get their names after its descriptors
            starts.setdefault(snapshot_id, "")
    whole: set[str] = set()
    for start, name in starts.items():
        problem = _follow(store.layout, start, name, whole)
        if problem is not None and not any(str(problem) == str(other) for other in problems):
            problems.append(problem)
    return problems


def _follow(layout: Layout, start: str, name: str, whole: set[str]) -> JvsError | None:
    try:
        walked = []
        for record in lineage.line(layout, start):
            if record["snapshot_id"] in whole:
                break
            walked.append(record["snapshot_id"])
            for other in record.get("merged", []):
                lineage.load_any(layout, other)
        whole.update(walked)
    except LineageBroken as error:
        if name:
            return LineageBroken(f"worktree '{name}': {error.message}", hint=error.hint, **error.facts)
        return error
    except JvsError:
        return None  # a damaged descriptor is reported as itself
    return None


def check_chain(store: Store) -> tuple[audit_check.ChainReport, list[JvsError]]:
    """Check the audit chain and hold it against descriptors, worktrees and what this user saw before.

    Others may work meanwhile: what must be in the log is listed before the log is read, and what the log says
    must be there is looked for afterwards.
    """
    seen = Seen(store)
    try:
        chain = audit_check.check(store.layout.audit_log, audit.genesis(store.repo_id), keep=True)
    except JvsError as error:
        return audit_check.ChainReport(), [error]
    sentences = chain.problems + hold_against(store, chain, seen) + anchor.check(store, chain)
    if not chain.records:
        sentences.append("the log is empty, though every repository begins with a record")
    hint = "somebody or something changed the log: compare it with a copy of the repository"
    return chain, [AuditChainBroken(sentence, hint=hint) for sentence in sentences]


class Seen:
    """What is in the repository before its log is read: worktrees, then visible snapshots, then pending intents."""

    def __init__(self, store: Store) -> None:
        self.events: dict[str, str] = {}
        for name in worktree.names(store.layout):
            try:
                event_id = worktree.load(store.layout, name).get("event_id")
            except JvsError:
                continue  # reported as itself
            if isinstance(event_id, str):
                self.events[name] = event_id
        self.visible = lineage.visible_ids(store.layout)
        self.annotations = annotation.checksums(store.layout)
        self.pending = intent.load_all(store.layout)


def _hold_annotations(chain: audit_check.ChainReport, seen: Seen, in_flight: set[str]) -> list[str]:
    """Check that each annotation is the last one that the log recorded."""
    logged: dict[str, object] = {}
    for record in chain.records:
        if record["operation"] == annotation.OPERATION:
            logged[str(record["target"])] = record["details"].get("annotation_sha256")
        for item in audit.received_of(record):
            if "annotation_sha256" in item:
                logged[item["snapshot_id"]] = item["annotation_sha256"]
    problems = []
    for snapshot_id in sorted(logged.keys() | seen.annotations):
        has, said = seen.annotations.get(snapshot_id), logged.get(snapshot_id)
        if snapshot_id in in_flight or has in (said, ""):
            continue
        problems.append(
            f"the tags, note and facts of '{snapshot_id}' are not those that the log recorded last"
            if has is not None
            else f"the tags, note and facts that the log recorded of '{snapshot_id}' are missing"
        )
    return problems


def hold_against(store: Store, chain: audit_check.ChainReport, seen: Seen | None = None) -> list[str]:
    """Cross-check the log with the repository; returns sentences.

    Each visible snapshot has exactly one record with its checksum; each record's snapshot is there or was
    collected; every anchor (`audit_head` of a descriptor, `event_id` of a worktree) is in the log.
    """
    seen = seen or Seen(store)
    hashes = {record["record_hash"] for record in chain.records} | {audit.genesis(store.repo_id)}
    events = {record["event_id"] for record in chain.records}
    pending = seen.pending
    events |= {record["audit"].get("event_id") for record in pending}
    logged: dict[str, list[object]] = {}
    elsewhere: set[str] = set()
    for record in chain.records:
        if record["operation"] == "snapshot":
            logged.setdefault(str(record["target"]), []).append(record["details"].get("descriptor_checksum"))
        for item in audit.received_of(record):
            logged.setdefault(item["snapshot_id"], []).append(item["descriptor_checksum"])
            elsewhere.add(item["snapshot_id"])
    problems = []
    for snapshot_id in seen.visible:
        anchors = None if snapshot_id in elsewhere else hashes
        problems += _hold_snapshot(store, snapshot_id, logged.get(snapshot_id, []), anchors)
    published = set(lineage.published_ids(store.layout))
    pending = pending + intent.load_all(store.layout)
    in_flight = intent.snapshots_of(pending) | _being_collected(pending)
    runs = [record["details"].get("collected", []) for record in chain.records if record["operation"] == "gc_run"]
    collected = {i for ids in runs if records.are_ids(ids) for i in ids}
    problems += [
        f"the log knows snapshot '{i}', which is missing and was not collected"
        for i in sorted(logged.keys() - published - in_flight - collected)
    ]
    problems += [f"snapshot '{i}' was collected, and is there again" for i in sorted(collected & published)]
    annotated = intent.snapshots_of([r for r in pending if r["operation"] in ("annotate", "receive")])
    problems += _hold_annotations(chain, seen, annotated)
    problems += [
        f"worktree '{name}' was moved by an event that the log does not know: its tail was cut"
        for name, event_id in seen.events.items()
        if event_id not in events
    ]
    return problems


def _hold_snapshot(store: Store, snapshot_id: str, logged: list[object], hashes: set[str] | None) -> list[str]:
    """Check one snapshot; without `hashes` it was taken elsewhere, and names a record of the log there."""
    try:
        record = descriptor.load(store.layout, snapshot_id)
    except JvsError:
        return []  # reported as itself
    problems = []
    if len(logged) != 1:
        problems.append(f"snapshot '{snapshot_id}' has {len(logged)} records in the log, not one")
    elif logged[0] != record["descriptor_checksum"]:
        problems.append(f"snapshot '{snapshot_id}' has another descriptor than the log recorded")
    if hashes is not None and record["audit_head"] not in hashes:
        problems.append(f"snapshot '{snapshot_id}' names a log record that is not there: the log was cut or rewritten")
    return problems
