"""Judges a repository of format 2 by its invariants, from the format's description alone.

`check_repository` returns the violations of I1 to I12 (at any instant) and, with `recovered=True`, of I14 to I16 as
well; I13 and I17 to I28 need the commands and are asked in `torture` and the checks. `state` sums a repository up
for comparisons. Run as a program it judges one repository: `conformance/oracle [--recovered] DIR`.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from lib.log_rules import check_annotations, check_audit, check_heads, check_journals
from lib.places import parked_places
from lib.reader import Repo, read_repository
from lib.snapshot_rules import check_acknowledged, check_lineage, check_visible
from lib.treehash import Tree, hash_tree
from lib.violations import Expect, Violation
from lib.worktree_rules import check_worktrees


def check_repository(path: str, *, expect: Expect | None = None, recovered: bool = False) -> list[Violation]:
    """Return every violation found; an empty list is a pass."""
    expect = expect or Expect()
    found: list[Violation] = []
    repo = read_repository(path)
    trees: dict[str, Tree] = {}
    _files(repo, found, recovered)
    check_visible(repo, found, trees)
    check_acknowledged(repo, expect, found)
    check_worktrees(repo, expect, found, recovered)
    check_lineage(repo, expect, found)
    check_audit(repo, found)
    if repo.audit_ok:
        check_heads(repo, found)
        check_annotations(repo, found)
        check_journals(repo, found)
    _kept_bytes(repo, expect, found, trees)
    if repo.root_extras:
        found.append(Violation("I10", ", ".join(repo.root_extras), "does not belong next to .jvs, main, worktrees"))
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
    "annotation": "I7",
    "boundary": "I6",
}


def _files(repo: Repo, found: list[Violation], recovered: bool) -> None:
    pending = repo.pending()
    for problem in repo.problems:
        snapshot_id = os.path.basename(problem.path)[:22]
        unpublished = snapshot_id in pending and snapshot_id not in repo.descriptors
        half_made = problem.kind in {"ready", "leaves"} and unpublished  # whole once the descriptor is there
        if recovered or not half_made:
            found.append(Violation(_FILE_INVARIANT.get(problem.kind, "I1"), problem.path, problem.what))
    if recovered and repo.torn_tail:
        found.append(Violation("I14", "audit/audit.jsonl", f"still ends in a torn line of {len(repo.torn_tail)} bytes"))


def _kept_bytes(repo: Repo, expect: Expect, found: list[Violation], trees: dict[str, Tree]) -> None:
    """Nothing a user wrote is lost: it is in a worktree, a snapshot or below `undo/`."""
    if not expect.contents:
        return
    missing = expect.contents - stored_contents(repo, trees)
    if missing:
        shown = ", ".join(sorted(digest.hex()[:12] for _, digest in missing)[:5])
        found.append(Violation("bytes", ".", f"{len(missing)} contents that a user wrote are nowhere: {shown}"))


def stored_contents(repo: Repo, trees: dict[str, Tree] | None = None) -> set[tuple[int, bytes]]:
    """Return the kinds and digests of everything in worktrees, visible snapshots and `undo/`."""
    stored: set[tuple[int, bytes]] = set()
    places = [repo.worktree_dir(name) for name in repo.configs]
    places += parked_places(repo.root)  # of worktrees that are being renamed or removed
    places += [repo.forks, os.path.join(repo.jvs, "undo"), os.path.join(repo.jvs, "tries")]
    if any(intent is not None and intent.get("operation") == "gc_run" for intent in repo.intents.values()):
        # what is taken out and needed by an undo is on its way to undo/held, and the recovery sees to that
        places += [os.path.join(repo.jvs, "snapshots"), os.path.join(repo.jvs, "gc", "trash")]
    for snapshot_id in repo.visible():
        if trees and snapshot_id in trees:
            stored |= trees[snapshot_id].contents()
        else:
            places.append(os.path.join(repo.jvs, "snapshots", snapshot_id))
    for place in places:
        if os.path.isdir(place):
            stored |= hash_tree(place, skip=b".jvs").contents()
    return stored


def _at_rest(repo: Repo, found: list[Violation]) -> None:
    found += [Violation("I14", f"intents/{i}.json", "is still pending") for i in sorted(repo.intents)]
    found += [Violation("I14", name, "is left over") for name in sorted(repo.debris)]
    marked = sorted(i for i, t in repo.tombstones.items() if t is not None and t.get("gc_state") == "marked")
    found += [Violation("I20", f"gc/tombstones/{i}.json", "is still marked") for i in marked]


def outside_of(path: str) -> dict[str, str]:
    """Return what is next to a repository, each name with a hash of its content."""
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
    """Return a summary that two runs can be compared by: no times, and nothing that reading changes."""
    repo = read_repository(path)
    visible = repo.visible()
    shown = ("parent_id", "worktree_name", "note", "tags", "payload_root_hash")
    said = ("revision", "tags", "note", "meta")
    heads, latests, worktrees = {}, {}, {}
    for name, config in sorted(repo.configs.items()):
        heads[name] = config and repo.effective(config["head_snapshot_id"])
        latests[name] = config and repo.effective(config["latest_snapshot_id"])
        if os.path.isdir(repo.worktree_dir(name)):
            worktrees[name] = repo.tree_of(name).root_hash
    return {
        "snapshots": {i: {key: d[key] for key in shown} for i, d in sorted(visible.items())},
        "annotations": {i: a and {key: a.get(key) for key in said} for i, a in sorted(repo.annotations.items())},
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
        print("usage: conformance/oracle [--recovered] [--state] DIR", file=sys.stderr)
        return 2
    if "--state" in argv:
        print(json.dumps(state(words[0]), indent=2))
        return 0
    found = check_repository(words[0], recovered="--recovered" in argv)
    for violation in found:
        print(violation)
    return 3 if found else 0
