"""Judges a repository of format 2 by its invariants, from the format's description alone.

`check_repository` returns the violations of I1 to I12 (at any instant) and, with `recovered=True`, of I14 to I16 as
well; I13 and I17 to I28 need the commands and are asked in `torture` and the checks. `state` sums a repository up
for comparisons. Run as a program it judges one repository: `oracle.py [--recovered] DIR`.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from lib.reader import ID, READY_KEYS, Repo, genesis_hash, read_repository
from lib.treehash import DIR, Entry, Tree, hash_tree


class Violation(NamedTuple):
    """One broken promise: which invariant, where, and what was found."""

    invariant: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.path}: {self.what}"


@dataclass
class Expect:
    """What the caller knows that the disk alone does not say.

    `snapshots`: root hashes of acknowledged snapshots, by id. `gone`: those that were collected on purpose.
    `worktrees`: allowed trees of each worktree (a mixture of them passes only while an intent is pending).
    `contents`: kinds and digests of everything the user had written (invariant 5); `outside`: what lay beside the
    repository. `linear`: every visible snapshot of a worktree must be an ancestor of its latest.
    """

    snapshots: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    worktrees: dict[str, list[Tree]] = field(default_factory=dict)
    contents: set[tuple[int, bytes]] = field(default_factory=set)
    may_detach: set[str] = field(default_factory=set)
    outside: dict[str, str] | None = None
    linear: bool = False


def check_repository(
    path: str, *, expect: Expect | None = None, recovered: bool = False, payloads: bool = True
) -> list[Violation]:
    """Return every violation found; an empty list is a pass. `payloads=False` skips hashing them."""
    expect = expect or Expect()
    found: list[Violation] = []
    repo = read_repository(path)
    trees: dict[str, Tree] = {}
    _files(repo, found, recovered)
    _visible(repo, found, trees, payloads)
    _acknowledged(repo, expect, found)
    _worktrees(repo, expect, found, recovered)
    _lineage(repo, expect, found)
    _audit(repo, found)
    if repo.audit_ok:
        _heads_and_log(repo, found)
        _journals_and_log(repo, found)
    _kept_bytes(repo, expect, found, trees)
    if repo.root_extras:
        found.append(Violation("I10", ", ".join(repo.root_extras), "does not belong beside .jvs, main, worktrees"))
    if expect.outside is not None:
        now = outside_of(path)
        changed = sorted(n for n in {*now, *expect.outside} if now.get(n) != expect.outside.get(n))
        if not recovered:
            changed = [name for name in changed if not name.startswith(".jvs.init-")]
        found += [Violation("I12", name, "changed outside the repository") for name in changed]
    if recovered:
        _at_rest(repo, found)
    return found


_FILE_INVARIANT = {
    "descriptor": "I5",
    "ready": "I5",
    "config": "I11",
    "intent": "I9",
    "audit": "I8",
    "tombstone": "I20",
    "journal": "I4",
}


def _files(repo: Repo, found: list[Violation], recovered: bool) -> None:
    pending = repo.pending()
    for problem in repo.problems:
        half_made = problem.kind == "ready" and os.path.basename(problem.path)[:22] in pending
        if recovered or not half_made:
            found.append(Violation(_FILE_INVARIANT.get(problem.kind, "I1"), problem.path, problem.what))
    if recovered and repo.torn_tail:
        found.append(Violation("I14", "audit/audit.jsonl", f"still ends in a torn line of {len(repo.torn_tail)} bytes"))


def _visible(repo: Repo, found: list[Violation], trees: dict[str, Tree], payloads: bool) -> None:
    """A descriptor under its final name implies marker and payload that agree with it (I5), and its hash (I1)."""
    pending, collecting = repo.pending(), _collecting(repo)
    for snapshot_id, descriptor in repo.descriptors.items():
        if descriptor is None or snapshot_id in collecting:
            continue
        where = f"snapshots/{snapshot_id}"
        ready = repo.ready.get(snapshot_id)
        if snapshot_id not in repo.payloads:
            found.append(Violation("I5", where, "descriptor without payload"))
            continue
        if snapshot_id not in repo.ready:
            found.append(Violation("I5", where, "descriptor without READY marker"))
        elif ready is not None:
            wrong = [key for key in READY_KEYS if ready.get(key) != descriptor[key]]
            if wrong:
                found.append(Violation("I5", where, f"READY and descriptor disagree in {wrong}"))
        if payloads:
            tree = trees[snapshot_id] = hash_tree(os.path.join(repo.jvs, where))
            if tree.root_hash != descriptor["payload_root_hash"]:
                what = f"payload hashes to {tree.root_hash}, descriptor says {descriptor['payload_root_hash']}"
                found.append(Violation("I1", where, what))
            elif tree.counts() != {key: descriptor["payload"][key] for key in tree.counts()}:
                found.append(Violation("I5", where, f"counts are {tree.counts()}, not {descriptor['payload']}"))
    for snapshot_id in sorted(repo.payloads | set(repo.ready)):
        if snapshot_id not in repo.descriptors and snapshot_id not in pending and snapshot_id not in collecting:
            found.append(Violation("I5", f"snapshots/{snapshot_id}", "no descriptor, and no intent names it"))
    for name in repo.debris:
        snapshot_id = name.split("/")[-1].split(".")[0]
        in_flight = name.startswith(("snapshots/", "descriptors/"))
        if in_flight and snapshot_id not in pending and snapshot_id not in collecting:
            found.append(Violation("I14", name, "half-made, and no intent names it"))


def _collecting(repo: Repo) -> set[str]:
    """Return the snapshots that gc has marked: they may be half gone."""
    named = {i for i, t in repo.tombstones.items() if t is None or t.get("gc_state") != "committed"}
    for intent in repo.intents.values():
        if intent is not None and str(intent.get("operation", "")).startswith("gc"):
            named |= set(_ids_in(intent))
    return named


def _ids_in(value: Any) -> list[str]:
    """Return every snapshot id that stands anywhere in a JSON value."""
    if isinstance(value, str):
        return [value] if ID.match(value) else []
    if isinstance(value, dict):
        return [i for key, item in value.items() for i in (*_ids_in(key), *_ids_in(item))]
    if isinstance(value, list):
        return [i for item in value for i in _ids_in(item)]
    return []


def _acknowledged(repo: Repo, expect: Expect, found: list[Violation]) -> None:
    visible = repo.visible()
    for snapshot_id, root_hash in expect.snapshots.items():
        if snapshot_id in expect.gone:
            continue
        if snapshot_id not in visible:
            found.append(Violation("I1", f"snapshots/{snapshot_id}", "was acknowledged and is not visible"))
        elif visible[snapshot_id]["payload_root_hash"] != root_hash:
            found.append(Violation("I1", f"snapshots/{snapshot_id}", "is not the tree that was acknowledged"))


def _worktrees(repo: Repo, expect: Expect, found: list[Violation], recovered: bool) -> None:
    visible = repo.visible()
    busy = _busy(repo)
    for name, config in repo.configs.items():
        directory = repo.worktree_dir(name)
        if not os.path.isdir(directory) or os.path.islink(directory):
            found.append(Violation("I3", f"worktrees/{name}", "is registered, and its directory is missing"))
            continue
        if config is None:
            continue
        head, latest = repo.effective(config["head_snapshot_id"]), repo.effective(config["latest_snapshot_id"])
        for which, snapshot_id in (("head", head), ("latest", latest)):
            if snapshot_id is not None and snapshot_id not in visible:
                found.append(Violation("I11", f"worktrees/{name}", f"{which} names '{snapshot_id}', not visible"))
        if head != latest and name not in expect.may_detach and name not in busy and expect.worktrees:
            found.append(Violation("I11", f"worktrees/{name}", f"is detached at {head}; latest is {latest}"))
        if name in expect.worktrees:
            _worktree_content(repo, name, expect.worktrees[name], found, mixed=name in busy and not recovered)
    for name in expect.worktrees:
        if name not in repo.configs and name not in busy:
            found.append(Violation("I4", f"worktrees/{name}", "is no longer registered"))
    forks = os.path.join(repo.root, "worktrees")
    for name in os.listdir(forks) if os.path.isdir(forks) else ():
        if name not in repo.configs and not name.startswith(".jvs-tmp-") and name not in busy:
            found.append(Violation("I14", f"../worktrees/{name}", "is not a registered worktree"))


def _busy(repo: Repo) -> set[str]:
    """Return the worktrees that pending operations work on, under the old name and the new one."""
    names: set[str] = set()
    for intent in repo.intents.values():
        if intent is not None:
            names |= {value for value in intent.values() if isinstance(value, str)}
    return names


def _worktree_content(repo: Repo, name: str, allowed: list[Tree], found: list[Violation], *, mixed: bool) -> None:
    tree = hash_tree(repo.worktree_dir(name))
    if tree.root_hash in {other.root_hash for other in allowed}:
        return
    names = {path for other in allowed for path in other.entries}
    for path in sorted(set(tree.entries) | names):
        entry = tree.entries.get(path)
        known = [other.entries.get(path) for other in allowed]
        if mixed and (b".jvs-tmp-" in path or entry is None):
            continue
        if entry not in known and not _same_directory(entry, known):
            shown = path.decode("utf-8", "backslashreplace")
            found.append(Violation("I4", f"worktree {name}/{shown}", f"is {entry}, expected one of {known}"))
            return
    if not mixed:
        found.append(Violation("I4", f"worktree {name}", "is a mixture of its states, and no operation is pending"))


def _same_directory(entry: Entry | None, known: list[Entry | None]) -> bool:
    """Answer whether an entry is a directory in some known state as well: what is inside is compared by itself."""
    return entry is not None and entry.kind == DIR and any(other and other.kind == DIR for other in known)


def _lineage(repo: Repo, expect: Expect, found: list[Violation]) -> None:
    visible, pending = repo.visible(), repo.pending()
    known = set(visible) | set(repo.tombstones) | _recorded_gone(repo)
    for snapshot_id, descriptor in visible.items():
        parent, seen = descriptor["parent_id"], {snapshot_id}
        if parent is not None and parent not in known:
            state = "pending" if parent in pending else "missing"
            found.append(Violation("I6", f"descriptors/{snapshot_id}.json", f"parent '{parent}' is {state}"))
        while parent in visible:
            if parent in seen:
                found.append(Violation("I6", f"descriptors/{snapshot_id}.json", "its ancestors form a circle"))
                break
            seen.add(parent)
            parent = visible[parent]["parent_id"]
    if expect.linear:
        for name, config in repo.configs.items():
            if config is None:
                continue
            line = set(ancestors(visible, repo.effective(config["latest_snapshot_id"])))
            lost = {i for i, d in visible.items() if d["worktree_name"] == name} - line
            found += [Violation("I6", f"snapshots/{i}", f"is not in the history of '{name}'") for i in sorted(lost)]


def ancestors(visible: dict[str, dict[str, Any]], snapshot_id: str | None) -> list[str]:
    """Return a snapshot and its visible ancestors, newest first."""
    line: list[str] = []
    while snapshot_id in visible and snapshot_id not in line:
        line.append(snapshot_id)  # type: ignore[arg-type]
        snapshot_id = visible[snapshot_id]["parent_id"]  # type: ignore[index]
    return line


def _recorded_gone(repo: Repo) -> set[str]:
    """Return the snapshots that the audit log says were collected."""
    return {i for record in repo.audit if record["operation"] == "gc_run" for i in _ids_in(record["details"])}


def _audit(repo: Repo, found: list[Violation]) -> None:
    """Each visible snapshot has one record with its checksum; records name what is there; descriptors anchor it."""
    if not repo.audit_ok:
        return  # said already; what follows would only repeat it
    visible, pending, gone = repo.visible(), repo.pending(), _recorded_gone(repo)
    records: dict[str, list[dict[str, Any]]] = {}
    hashes = {genesis_hash(repo.repo_id): -1} | {r["record_hash"]: r["seq"] for r in repo.audit}
    for record in repo.audit:
        if record["operation"] == "snapshot":
            records.setdefault(str(record["target"]), []).append(record)
    events = [record["event_id"] for record in repo.audit]
    twice = sorted({event for event in events if events.count(event) > 1})
    found += [Violation("I7", "audit", f"event {event} stands twice") for event in twice]
    for snapshot_id, descriptor in visible.items():
        mine = records.get(snapshot_id, [])
        if len(mine) != 1:
            found.append(Violation("I7", f"snapshots/{snapshot_id}", f"has {len(mine)} audit records"))
            continue
        recorded = mine[0]["details"].get("descriptor_checksum")
        if recorded != descriptor["descriptor_checksum"]:
            found.append(Violation("I7", f"snapshots/{snapshot_id}", "audit record and descriptor disagree"))
        anchor = hashes.get(descriptor["audit_head"])
        if anchor is None:
            found.append(Violation("I8", f"descriptors/{snapshot_id}.json", "audit_head is no record: the log was cut"))
        elif anchor >= mine[0]["seq"]:
            found.append(Violation("I8", f"descriptors/{snapshot_id}.json", "audit_head is later than its own record"))
    collecting = any(intent is None or intent.get("operation") == "gc_run" for intent in repo.intents.values())
    for snapshot_id, stone in repo.tombstones.items():
        done = stone is not None and stone.get("gc_state") == "committed"
        if done and not collecting and snapshot_id not in gone:
            found.append(Violation("I7", f"gc/tombstones/{snapshot_id}.json", "was collected, and no record says so"))
    for snapshot_id in records:
        if snapshot_id not in {*visible, *pending, *gone, *repo.tombstones}:
            found.append(Violation("I7", "audit", f"names snapshot '{snapshot_id}', which is not there"))


def _heads_and_log(repo: Repo, found: list[Violation]) -> None:
    """Each worktree names the event that last moved its head: it stands in the log, and says the same head."""
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
            found.append(Violation("I11", where, f"is at {has}; the event that moved it says {said}"))


def _journals_and_log(repo: Repo, found: list[Violation]) -> None:
    """Each operation that is done and can be undone has its record, behind the one that it began after."""
    for operation_id, journal in repo.journals.items():
        if journal is None or operation_id in repo.intents or journal["undone_by"] == operation_id:
            continue  # in flight, or given up with what somebody wrote meanwhile kept aside
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
            found.append(Violation("I15", where, f"took '{journal['of']}' back, which says {of['undone_by']}"))


def _is_of(record: dict[str, Any], journal: dict[str, Any]) -> bool:
    """Answer whether an audit record is that of an operation below `undo/`."""
    details = record["details"]
    if journal["kind"] == "restore":
        return bool(details.get("operation_id") == journal["operation_id"])
    if journal["of"] is not None:
        return bool(record["operation"] == "undo" and details.get("undoes") == journal["of"])
    names = (journal["worktree"], journal["details"].get("new_name"))
    return bool(record["operation"] == journal["kind"] and record["worktree"] in names)


def _kept_bytes(repo: Repo, expect: Expect, found: list[Violation], trees: dict[str, Tree]) -> None:
    """Nothing a user wrote is lost: it is in a worktree, a snapshot or below `undo/`."""
    if not expect.contents:
        return
    missing = expect.contents - stored_contents(repo, trees)
    if missing:
        shown = ", ".join(sorted(digest.hex()[:12] for _, digest in missing)[:5])
        found.append(Violation("bytes", ".", f"{len(missing)} contents a user wrote are nowhere: {shown}"))


def stored_contents(repo: Repo, trees: dict[str, Tree] | None = None) -> set[tuple[int, bytes]]:
    """Return the kinds and digests of everything in worktrees, visible snapshots and `undo/`."""
    stored: set[tuple[int, bytes]] = set()
    places = [repo.worktree_dir(name) for name in repo.configs]
    places += [os.path.join(repo.root, "worktrees"), os.path.join(repo.jvs, "undo")]
    for snapshot_id in repo.visible():
        if trees and snapshot_id in trees:
            stored |= trees[snapshot_id].contents()
        else:
            places.append(os.path.join(repo.jvs, "snapshots", snapshot_id))
    for place in places:
        if os.path.isdir(place):
            stored |= hash_tree(place).contents()
    return stored


def _at_rest(repo: Repo, found: list[Violation]) -> None:
    found += [Violation("I14", f"intents/{i}.json", "is still pending") for i in sorted(repo.intents)]
    found += [Violation("I14", name, "is left over") for name in sorted(repo.debris)]
    marked = sorted(i for i, t in repo.tombstones.items() if t is not None and t.get("gc_state") == "marked")
    found += [Violation("I20", f"gc/tombstones/{i}.json", "is still marked") for i in marked]


def outside_of(path: str) -> dict[str, str]:
    """Return what lies beside a repository, each name with a hash of its content."""
    path = os.path.realpath(path)
    parent, own = os.path.split(path)
    result = {}
    for name in sorted(os.listdir(parent)):
        full = os.path.join(parent, name)
        if name == own:
            continue
        if os.path.isdir(full) and not os.path.islink(full):
            result[name] = hash_tree(full).root_hash
        else:
            st = os.lstat(full)
            result[name] = f"{st.st_mode:o} {st.st_size} {st.st_mtime_ns}"
    return result


def state(path: str) -> dict[str, Any]:
    """Return a summary that two runs can be compared by: no times, and nothing that changes by looking."""
    repo = read_repository(path)
    visible = repo.visible()
    shown = ("parent_id", "worktree_name", "note", "tags", "payload_root_hash")
    heads, latests, worktrees = {}, {}, {}
    for name, config in sorted(repo.configs.items()):
        heads[name] = config and repo.effective(config["head_snapshot_id"])
        latests[name] = config and repo.effective(config["latest_snapshot_id"])
        if os.path.isdir(repo.worktree_dir(name)):
            worktrees[name] = hash_tree(repo.worktree_dir(name)).root_hash
    return {
        "snapshots": {i: {key: d[key] for key in shown} for i, d in sorted(visible.items())},
        "heads": heads,
        "latests": latests,
        "worktrees": worktrees,
        "undo": repo.undo,
        "intents": sorted(repo.intents),
        "audit": [(r["operation"], r["target"]) for r in repo.audit],
        "tombstones": {i: t and t.get("gc_state") for i, t in sorted(repo.tombstones.items())},
        "debris": sorted(repo.debris),
        "torn_tail": len(repo.torn_tail),
    }


def main(argv: list[str]) -> int:
    """Judge one repository from the command line."""
    words = [word for word in argv if not word.startswith("--")]
    if len(words) != 1:
        print("usage: oracle.py [--recovered] [--state] DIR", file=sys.stderr)
        return 2
    if "--state" in argv:
        print(json.dumps(state(words[0]), indent=2))
        return 0
    found = check_repository(words[0], recovered="--recovered" in argv)
    for violation in found:
        print(violation)
    return 3 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
