"""Garbage collection: plans, failures, and what is left afterwards."""

from __future__ import annotations

import errno
import os
import shutil

from lib import oracle
from lib.harness import Env, copy_repository, write
from lib.reader import payload_hash
from lib.violations import Expect
from supervisor import supervise


def _collectable(env: Env) -> tuple[str, list[str], str, list[str]]:
    """Return a repository, snapshots that must stay, a plan, and the candidates of the plan."""
    root = env.repository()
    kept = env.history(root)
    for name in ("old", "older"):
        env.jvs("worktree", "fork", kept[0], name, cwd=root)
        write(f"{root}/worktrees/{name}/file", f"{name}\n" * 1000)
        env.snapshot(root, f"on {name}", worktree=name)
        env.jvs("worktree", "remove", name, "--discard", cwd=root)
    plan = env.jvs("gc", "plan", "--json", cwd=root).json()
    if plan["candidate_count"] == 0:
        plan = env.jvs("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json", cwd=root).json()
    env.check(plan["candidate_count"] > 0, f"nothing to collect in {plan}")
    candidates = [c["snapshot_id"] if isinstance(c, dict) else c for c in plan["candidates"]]
    env.equal(plan["candidate_count"], len(candidates), "candidate_count")
    return root, [i for i in kept if i not in candidates], plan["plan_id"], candidates


def check_06_a_stale_gc_plan_is_refused(env: Env) -> None:
    """`gc run` with a plan that the repository has moved away from is E_GC_PLAN_MISMATCH, and changes nothing."""
    root, _, plan_id, _ = _collectable(env)
    again = env.jvs("gc", "plan", "--json", cwd=root).json()
    env.equal(again["plan_id"], plan_id, "the same repository gives the same plan; its id")
    write(f"{root}/main/a.txt", "the world moved\n")
    env.snapshot(root, "moved")
    before = env.frozen(root)
    env.refused("E_GC_PLAN_MISMATCH", 30, "gc", "run", "--plan-id", plan_id, cwd=root)
    env.unchanged(root, before, "a refused gc run")
    for forged in ("../../../etc/passwd", "0" * 64, "x", ""):
        said = env.jvs("gc", "run", f"--plan-id={forged}", cwd=root, code=None)
        env.check(said.code in (2, 5, 10, 11, 30), f"a forged plan id: {said}")
    env.unchanged(root, before, "a forged plan id")
    env.healthy(root)


def check_07_gc_failures_keep_the_repository_consistent(env: Env) -> None:
    """A gc that fails or dies half-way leaves each snapshot whole or gone, and running it again finishes."""
    root, kept, plan_id, candidates = _collectable(env)
    hashes = {i: payload_hash(root, i) for i in kept}
    spare = os.path.join(env.directory, "spare")
    copy_repository(root, spare)
    argv = [os.path.join(env.bin, "jvs"), "gc", "run", "--plan-id", plan_id]
    counted = supervise.run(argv, root=root, cwd=root, env=env.variables)
    env.equal(counted.returncode, 0, f"gc run: {counted.stderr.decode()}")
    total = len(counted.events)
    points = sorted({1, total} | {1 + total * n // 12 for n in range(12)})
    for at in points:
        for action in (supervise.Action("errno", at, errno.EIO), supervise.Action("kill", at)):
            shutil.rmtree(root)
            copy_repository(spare, root)
            done = supervise.run(argv, root=root, cwd=root, env=env.variables, action=action)
            what = f"{action.kind} at call {at} ({done.fired})"
            env.check(
                done.returncode in (0, 4) or action.kind == "kill", f"{what}: exit {done.returncode}: {done.stderr!r}"
            )
            expect = Expect(snapshots=hashes)
            found = oracle.check_repository(root, expect=expect)
            env.check(not found, f"{what}: {[str(v) for v in found]}")
            again = env.jvs("gc", "run", "--plan-id", plan_id, cwd=root, code=None)
            env.check(again.code in (0, 5, 30), f"{what}: running again: {again}")
            if again.code:
                plan = env.jvs("gc", "plan", "--json", cwd=root).json()
                if plan["candidate_count"]:
                    env.jvs("gc", "run", "--plan-id", plan["plan_id"], cwd=root)
            env.sound(root, expect=expect)
            env.check(not set(candidates) & set(env.repo(root).visible()), f"{what}: candidates are still there")
            env.jvs("doctor", "--strict", cwd=root)


def check_44_gc_frees_what_nothing_protects(env: Env) -> None:
    """Collected snapshots are gone whole, pins and lines stay, and history and verify agree afterwards."""
    root = env.repository()
    ids = env.history(root, 5)
    env.jvs("gc", "pin", ids[1], "--reason", "keep", cwd=root)
    before = env.frozen(f"{root}/.jvs/snapshots")
    plan = env.jvs("gc", "plan", "--keep-last", "2", "--drop-tagged", "--json", cwd=root).json()
    env.unchanged(f"{root}/.jvs/snapshots", before, "gc plan")
    candidates = [c["snapshot_id"] if isinstance(c, dict) else c for c in plan["candidates"]]
    env.equal(sorted(candidates), sorted([ids[0], ids[2]]), "candidates")
    env.jvs("gc", "run", "--plan-id", plan["plan_id"], cwd=root)
    visible = set(env.repo(root).visible())
    env.equal(visible, {ids[1], ids[3], ids[4]}, "what is left")
    for collected in candidates:
        env.check(
            not os.path.exists(f"{root}/.jvs/snapshots/{collected}"), f"the payload of {collected} is still there"
        )
        env.jvs("restore", collected, cwd=f"{root}/main", code=5)
    env.check("(collected)" in env.jvs("history", cwd=root).text, "history does not show what was collected")
    env.healthy(root)
    write(f"{root}/main/new", "x")
    env.snapshot(root, "after")
    env.healthy(root)
