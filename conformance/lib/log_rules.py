"""The rules about the audit log: what it records is there, and what is there is recorded (I7, I8, I11, I15)."""

from __future__ import annotations

from typing import Any

from lib.reader import Repo
from lib.records import annotation_hash, genesis_hash
from lib.violations import Violation


def check_audit(repo: Repo, found: list[Violation]) -> None:
    """Each visible snapshot has one record with its checksum; records name what is there; descriptors anchor it."""
    if not repo.audit_ok:
        return  # reported already; what follows would only repeat it
    visible, pending, collected = repo.visible(), repo.pending(), repo.collected()
    records: dict[str, list[dict[str, Any]]] = {}
    hashes = {genesis_hash(repo.repo_id): -1} | {r["record_hash"]: r["seq"] for r in repo.audit}
    for record in repo.audit:
        if record["operation"] == "snapshot":
            records.setdefault(str(record["target"]), []).append(record)
        for snapshot_id, item in received(record).items():
            records.setdefault(snapshot_id, []).append({**record, "details": item})
    events = [record["event_id"] for record in repo.audit]
    twice = sorted({event for event in events if events.count(event) > 1})
    found += [Violation("I7", "audit", f"event {event} is there twice") for event in twice]
    for snapshot_id, descriptor in visible.items():
        mine = records.get(snapshot_id, [])
        if len(mine) != 1:
            found.append(Violation("I7", f"snapshots/{snapshot_id}", f"has {len(mine)} audit records"))
            continue
        recorded = mine[0]["details"].get("descriptor_checksum")
        if recorded != descriptor["descriptor_checksum"]:
            found.append(Violation("I7", f"snapshots/{snapshot_id}", "audit record and descriptor differ"))
        if mine[0]["operation"] == "receive":
            continue  # taken elsewhere: it names a record of the log there
        anchor = hashes.get(descriptor["audit_head"])
        if anchor is None:
            found.append(Violation("I8", f"descriptors/{snapshot_id}.json", "audit_head is no record: the log was cut"))
        elif anchor >= mine[0]["seq"]:
            found.append(Violation("I8", f"descriptors/{snapshot_id}.json", "audit_head is later than its own record"))
    collecting = any(intent is None or intent.get("operation") == "gc_run" for intent in repo.intents.values())
    for snapshot_id, tombstone in repo.tombstones.items():
        done = tombstone is not None and tombstone.get("gc_state") == "committed"
        if done and not collecting and snapshot_id not in collected:
            found.append(
                Violation("I7", f"gc/tombstones/{snapshot_id}.json", "was collected, and no record of it is in the log")
            )
    for snapshot_id in records:
        if snapshot_id not in {*visible, *pending, *collected, *repo.tombstones}:
            found.append(Violation("I7", "audit", f"names snapshot '{snapshot_id}', which is not there"))


def received(record: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what the record of a receipt says, by snapshot."""
    listed = record["details"].get("snapshots") if record["operation"] == "receive" else None
    return {str(item["snapshot_id"]): item for item in listed or [] if isinstance(item, dict) and "snapshot_id" in item}


def check_annotations(repo: Repo, found: list[Violation]) -> None:
    """Each annotation is the one that the log recorded last of its snapshot, which is there or was collected."""
    pending = {(i or {}).get("snapshot_id") for i in repo.intents.values() if (i or {}).get("operation") == "annotate"}
    pending |= set(repo.pending())
    said: dict[str, Any] = {}
    for record in repo.audit:
        if record["operation"] == "annotate":
            said[record["target"]] = record["details"].get("annotation_sha256")
        said |= {i: item["annotation_sha256"] for i, item in received(record).items() if "annotation_sha256" in item}
    for snapshot_id in sorted({*repo.annotations, *said} - pending):
        annotation = repo.annotations.get(snapshot_id)
        has = None if annotation is None else annotation_hash(annotation)
        if has != said.get(snapshot_id):
            where = f"annotations/{snapshot_id}.json"
            found.append(Violation("I7", where, f"has the hash {has}; the log recorded {said.get(snapshot_id)}"))
        if snapshot_id not in {*repo.descriptors, *repo.tombstones}:
            found.append(Violation("I7", f"annotations/{snapshot_id}.json", "is of a snapshot that is not there"))


def check_heads(repo: Repo, found: list[Violation]) -> None:
    """Each worktree names the event that last moved its head: it is in the log, with the same head."""
    records = {record["event_id"]: record for record in repo.audit}
    pending = {str((i or {}).get("audit", {}).get("event_id")) for i in repo.intents.values()}
    for name, config in repo.configs.items():
        if config is None or config["event_id"] in pending:
            continue
        where = f"worktrees/{name}/config.json"
        record = records.get(config["event_id"])
        if record is None:
            found.append(Violation("I8", where, f"event_id {config['event_id']} is no record: the log was cut"))
            continue
        said = record["details"].get("after")
        if record["operation"] == "snapshot":
            said = {"head": record["target"], "latest": record["target"]}
        has = {key: config[f"{key}_snapshot_id"] for key in ("head", "latest")}
        if said is not None and said != has:
            found.append(Violation("I11", where, f"is at {has}; the event that moved it has {said}"))


def check_journals(repo: Repo, found: list[Violation]) -> None:
    """Each operation that is done and can be undone has its record, after the one that it began after."""
    for operation_id, journal in repo.journals.items():
        if journal is None or operation_id in repo.intents or journal["undone_by"] == operation_id:
            continue  # in flight, or aborted, with what was written meanwhile kept
        where = f"undo/{operation_id}/op.json"
        mine = [record for record in repo.audit if record["seq"] > journal["seq"] and _is_of(record, journal)]
        if len(mine) != 1 and not (mine and journal["kind"] != "restore"):
            found.append(Violation("I7", where, f"has {len(mine)} audit records"))
            continue
        said = {key: mine[0]["details"][key] for key in ("before", "after") if key in mine[0]["details"]}
        differs = [key for key, value in said.items() if journal["kind"] == "restore" and journal[key] != value]
        if differs:
            found.append(Violation("I7", where, f"and its audit record disagree about {differs}"))
        of = repo.journals.get(journal["of"] or "")
        if of is not None and of["undone_by"] != operation_id:
            found.append(Violation("I15", where, f"is an undo of '{journal['of']}', which names {of['undone_by']}"))


def _is_of(record: dict[str, Any], journal: dict[str, Any]) -> bool:
    """Answer whether an audit record is that of an operation below `undo/`."""
    details = record["details"]
    if journal["kind"] == "restore":
        return bool(details.get("operation_id") == journal["operation_id"])
    if journal["of"] is not None:
        return bool(record["operation"] == "undo" and details.get("undoes") == journal["of"])
    names = (journal["worktree"], journal["details"].get("new_name"))
    return bool(record["operation"] == journal["kind"] and record["worktree"] in names)
