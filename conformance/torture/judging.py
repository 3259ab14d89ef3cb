"""What an interrupted operation may leave: judged as it is on the disk, then after the next command has recovered."""

from __future__ import annotations

import os
from typing import Any

from lib import oracle
from lib.harness import Env, Failure
from lib.places import control_of, is_apart, is_repository, worktree_dir
from lib.violations import Expect

from torture import likeness
from torture.prepared import Prepared


def comparable(root: str) -> dict[str, Any]:
    """Return a repository's state with snapshots named by their notes, so that runs can be compared."""
    if not is_repository(root):
        return {"absent": True}
    state = oracle.state(root)
    notes = {i: s["note"] for i, s in state["snapshots"].items()}

    def named(snapshot_id: str | None) -> str | None:
        return notes.get(snapshot_id or "", snapshot_id)

    audit = [operation for operation, _ in state["audit"] if operation not in ("audit_repair", "doctor_repair")]
    return {
        "snapshots": sorted(
            [s["note"], named(s["parent_id"]), s["worktree_name"], s["payload_root_hash"], s["tags"]]
            for s in state["snapshots"].values()
        ),
        "heads": {n: named(i) for n, i in state["heads"].items()},
        "latests": {n: named(i) for n, i in state["latests"].items()},
        "worktrees": state["worktrees"],
        "undo": len(state["undo"]),
        # The oracle compares collections with their records: on a full disk one takes as many rounds as it
        # needs, or waits for space while other commands continue.
        "audit": [operation for operation in audit if operation != "gc_run"],
        "tombstones": sorted(state["tombstones"]),
    }


def next_command(prepared: Prepared, env: Env, *, repair: bool = False) -> dict[str, Any]:
    """Run the command that recovers, then check as a user would; return the summary. Errors: Failure."""
    root = os.path.join(env.work, "repo")
    if prepared.scenario.makes:
        env.jvs(*prepared.words, code=(0, 7))
    if repair:
        env.jvs(
            "doctor",
            "--repair-runtime",
            *_named(root),
            cwd=root,
            code=(0, 3, 5) if prepared.scenario.offline else (0, 3),
        )
    env.jvs("snapshot", "after", cwd=worktree_dir(root, "main"))
    fine = (0, 5) if prepared.scenario.offline else (0,)
    env.jvs("doctor", "--strict", *_named(root), cwd=root, code=fine)  # which verifies everything as well
    return comparable(root)


def _named(root: str) -> tuple[str, ...]:
    """Return the option that names a repository which nothing in its directory leads to."""
    return ("--repo", root) if is_apart(root) else ()


def judge(
    prepared: Prepared,
    env: Env,
    code: int,
    at: int,
    known: dict[tuple[str, bool], list[str]] | None = None,
) -> list[str]:
    """Return every violation, before recovery and after.

    What costs a program of its own is asked at some calls only: doctor repairs at every second one in place of the
    next command, and at every third one verify and doctor report on the debris first. With `known` the judgement
    after recovery is taken from there when an equivalent disk was judged before.
    """
    root, scenario = os.path.join(env.work, "repo"), prepared.scenario
    expect = Expect(
        snapshots={} if scenario.gone else prepared.snapshots,
        worktrees=prepared.trees,
        contents=set() if scenario.loses else prepared.contents,
        may_detach=set(prepared.trees),
        offline={scenario.offline} if scenario.offline else set(),
    )
    exists = is_repository(root)
    found = _as_it_is(prepared, root, code, expect) if exists else []
    # A collection that could not delete files waits to be run again; what it had taken out may stay in the trash.
    stopped = scenario.gone and (code == 4 or _has_trash(root))
    repair = exists and (at % 2 == 0 or scenario.repairs or stopped)
    key = ("", False) if known is None else (likeness.likeness(env.work, prepared.known), repair)
    if known is not None and key in known:
        return found + known[key]
    later = _after_recovery(prepared, env, expect, report=exists and at % 3 == 0, repair=repair)
    if known is not None:
        known[key] = later
    return found + later


def _has_trash(root: str) -> bool:
    try:
        return bool(os.listdir(f"{control_of(root)}/gc/trash"))
    except OSError:
        return False


def _as_it_is(prepared: Prepared, root: str, code: int, expect: Expect) -> list[str]:
    """Return the violations in what is on the disk; after exit 0 everything must be done."""
    found = [f"before recovery: {violation}" for violation in oracle.check_repository(root, expect=expect)]
    waits = prepared.scenario.gone and prepared.words[0] == "snapshot" and bool(oracle.state(root)["intents"])
    if code == 0 and not waits:
        found += differences("exit 0, but not done", comparable(root), [prepared.after_command])
    return found


def _after_recovery(prepared: Prepared, env: Env, expect: Expect, *, report: bool, repair: bool) -> list[str]:
    """Let the next command recover the repository, and return every violation that is left."""
    root, found = os.path.join(env.work, "repo"), []
    try:
        if report:
            found += _debris_is_reported(env, root)
        ending = next_command(prepared, env, repair=repair)
        if not (prepared.scenario.gone and is_part_of_a_collection(ending, prepared.endings)):
            found += differences("neither done nor undone", ending, prepared.endings)
    except Failure as failure:
        found.append(f"the next command: {failure}")
    if is_repository(root):
        expect.worktrees = {}
        found += [f"after recovery: {v}" for v in oracle.check_repository(root, expect=expect, recovered=True)]
    strangers = sorted(set(os.listdir(env.work)) - prepared.sibling)
    return found + [f"after recovery: '{name}' is next to the repository" for name in strangers]


def _debris_is_reported(env: Env, root: str) -> list[str]:
    """Crash debris is never called tampering, and never healthy (I9)."""
    state = oracle.state(root)
    verify = env.jvs("verify", "--all", *_named(root), cwd=root, code=None)
    found = [f"debris is reported as damage: {verify}"] if verify.code else []
    doctor = env.jvs("doctor", "--json", *_named(root), cwd=root, code=None)
    if (state["intents"] or state["torn_tail"]) and doctor.json().get("healthy") is not False:
        found.append(f"doctor reports pending recovery as healthy: {state['intents']}")
    return found


def differences(what: str, got: dict[str, Any], allowed: list[dict[str, Any]]) -> list[str]:
    """Return one line about how a summary differs from each allowed one, or nothing when it is one of them."""
    if got in allowed:
        return []
    lines = []
    for wanted in allowed:
        keys = [key for key in {**wanted, **got} if wanted.get(key) != got.get(key)]
        lines.append("; ".join(f"{key}: got {got.get(key)}, wanted {wanted.get(key)}" for key in keys))
    return [f"{what}: " + " OR ".join(lines)]


def is_part_of_a_collection(got: dict[str, Any], endings: list[dict[str, Any]]) -> bool:
    """Answer whether a collection ended between done and undone: each snapshot is there, or has a tombstone.

    Recovery completes what is half deleted and leaves what is complete (jvs-protocol(7), Collection).
    """
    done, undone = ({row[0] for row in ending.get("snapshots", ())} for ending in endings[:2])
    here = {row[0] for row in got.get("snapshots", ())}
    tombstones = [set(ending.get("tombstones", ())) for ending in endings[:2]]
    same = ("heads", "latests", "worktrees", "undo")
    return (
        done <= here <= undone
        and tombstones[1] <= set(got.get("tombstones", ())) <= tombstones[0]
        and len(undone - here) == len(set(got.get("tombstones", ())) - tombstones[1])
        and all(got.get(key) == endings[0].get(key) for key in same)
    )
