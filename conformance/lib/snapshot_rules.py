"""The rules about snapshots: what a visible one implies (I1, I5), that none is lost, and their lineage (I6)."""

from __future__ import annotations

import os
from typing import Any

from lib.reader import Repo
from lib.records import READY_KEYS, ids_in
from lib.treehash import Tree, digest_of_leaves, hash_tree
from lib.violations import Expect, Violation


def check_visible(repo: Repo, found: list[Violation], trees: dict[str, Tree]) -> None:
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
        payload = os.path.join(repo.jvs, where)
        tree = trees[snapshot_id] = hash_tree(payload)  # what is in it is compared with worktrees of any age
        if descriptor["hash_algorithm"] != tree.algorithm:
            tree = hash_tree(payload, descriptor["hash_algorithm"])
        if tree.root_hash != descriptor["payload_root_hash"]:
            what = f"payload hashes to {tree.root_hash}, the descriptor has {descriptor['payload_root_hash']}"
            found.append(Violation("I1", where, what))
        elif tree.counts() != {key: descriptor["payload"][key] for key in tree.counts()}:
            found.append(Violation("I5", where, f"counts are {tree.counts()}, not {descriptor['payload']}"))
    for snapshot_id in sorted(repo.payloads | set(repo.ready)):
        if snapshot_id not in repo.descriptors and snapshot_id not in pending and snapshot_id not in collecting:
            found.append(Violation("I5", f"snapshots/{snapshot_id}", "no descriptor, and no intent names it"))
    _check_leaves(repo, trees, found)
    for name in repo.debris:
        snapshot_id = name.split("/")[-1].split(".")[0]
        in_flight = name.startswith(("snapshots/", "descriptors/"))
        if in_flight and snapshot_id not in pending and snapshot_id not in collecting:
            found.append(Violation("I14", name, "half-made, and no intent names it"))


def _check_leaves(repo: Repo, trees: dict[str, Tree], found: list[Violation]) -> None:
    """A list of leaves belongs to a snapshot, and each is that of a file with its digest (format, Leaf lists)."""
    pending, collecting = repo.pending(), _collecting(repo)
    for snapshot_id, lists in repo.leaves.items():
        where = f"snapshots/{snapshot_id}.leaves"
        if snapshot_id not in repo.descriptors:
            if snapshot_id not in pending and snapshot_id not in collecting:
                found.append(Violation("I14", where, "no descriptor, and no intent names it"))
            continue
        for digest, item in (lists or {}).items():
            proved = isinstance(item, list) and len(item) == 2 and digest_of_leaves(*item) == digest
            if not proved:
                found.append(Violation("I1", where, f"the leaves of {digest.hex()} are those of another file"))
        held = {entry.digest for entry in trees[snapshot_id].entries.values()} if snapshot_id in trees else None
        if held is not None and lists and not set(lists) <= held:
            found.append(Violation("I1", where, "has leaves of a file that the snapshot has not"))


def _collecting(repo: Repo) -> set[str]:
    """Return the snapshots that gc has marked: they may be half deleted."""
    named = {i for i, t in repo.tombstones.items() if t is None or t.get("gc_state") != "committed"}
    for intent in repo.intents.values():
        if intent is not None and str(intent.get("operation", "")).startswith("gc"):
            named |= set(ids_in(intent))
    return named


def check_acknowledged(repo: Repo, expect: Expect, found: list[Violation]) -> None:
    visible = repo.visible()
    for snapshot_id, root_hash in expect.snapshots.items():
        if snapshot_id in expect.gone:
            continue
        if snapshot_id not in visible:
            found.append(Violation("I1", f"snapshots/{snapshot_id}", "was acknowledged and is not visible"))
        elif visible[snapshot_id]["payload_root_hash"] != root_hash:
            found.append(Violation("I1", f"snapshots/{snapshot_id}", "is not the tree that was acknowledged"))


def check_lineage(repo: Repo, expect: Expect, found: list[Violation]) -> None:
    visible, pending = repo.visible(), repo.pending()
    known = set(visible) | set(repo.tombstones) | set(repo.boundaries) | repo.collected()
    for snapshot_id, descriptor in visible.items():
        parent, seen = descriptor["parent_id"], {snapshot_id}
        if parent is not None and parent not in known:
            state = "pending" if parent in pending else "missing"
            found.append(Violation("I6", f"descriptors/{snapshot_id}.json", f"parent '{parent}' is {state}"))
        odd = [other for other in descriptor.get("merged", []) if other not in known]
        found += [Violation("I6", f"descriptors/{snapshot_id}.json", f"merged '{other}' is missing") for other in odd]
        while parent in visible:
            if parent in seen:
                found.append(Violation("I6", f"descriptors/{snapshot_id}.json", "its ancestors form a cycle"))
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
        line.append(snapshot_id)
        snapshot_id = visible[snapshot_id]["parent_id"]
    return line
