"""The operations that are interrupted: for each, the state of the repository before, and the command that is run."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass

from supervisor import supervise

from lib import elsewhere, in_place, large, odd_files, small_changes, travelling
from lib.before import base, edit
from lib.harness import Env, write
from lib.pipeline import PIPELINE

Words = tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """One operation. `build` makes `work/repo` and returns the command's words; `cwd` is relative to `work`.

    `loses`: the operation deletes bytes on purpose; `gone`: it deletes snapshots; `repairs`: what a crash leaves of
    it is harmless and stays until a repair (it takes no lock under which others could clean up). `halfway`: it is two
    operations, and may end between them, where the first one's intent is gone. `makes`: it makes the repository, and is
    begun again after a crash. `offline`: a worktree that is away before it, as doctor says.
    """

    name: str
    build: Callable[[Env], Words]
    cwd: str = "repo/main"
    loses: bool = False
    gone: bool = False
    program: str = "jvs"
    watched: str = "repo"
    repairs: bool = False
    halfway: bool = False
    makes: bool = False
    offline: str = ""


def _init(_env: Env) -> Words:
    return ("init", "repo")


def _init_from(env: Env) -> Words:
    for number in range(4):
        write(f"{env.work}/source/d{number}/file", f"{number}\n")
    return ("init", "repo", "--from", "source")


def _first_snapshot(env: Env) -> Words:
    env.repository()
    return ("snapshot", "N")


def _snapshot(env: Env) -> Words:
    base(env)
    return ("snapshot", "N", "--tag", "new")


def _snapshot_detached(env: Env) -> Words:
    root, ids = base(env)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    edit(root)
    return ("snapshot", "N")


def _snapshot_recovers(env: Env) -> Words:
    """A snapshot that finds one that died just before its intent was removed."""
    root, _ = base(env)
    script = " | ".join(PIPELINE[:9]).replace("--note N", "--note died") + " > /dev/null"
    env.run("sh", "-c", script, cwd=root)
    return ("snapshot", "N")


def _snapshot_rolls_back(env: Env) -> Words:
    """A snapshot that finds one that died before its descriptor had its name."""
    root, _ = base(env)
    env.run("sh", "-c", " | ".join(PIPELINE[:7]) + " > /dev/null", cwd=root)
    return ("snapshot", "N")


def _partial_snapshot(env: Env) -> Words:
    base(env)
    return ("snapshot", "N", "--", "dir", "a.txt")


def _restore(env: Env) -> Words:
    _, ids = base(env)
    return ("restore", ids[0])


def _restore_head(env: Env) -> Words:
    root, ids = base(env)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    edit(root)
    return ("restore", "HEAD")


def _restore_paths(env: Env) -> Words:
    _, ids = base(env)
    return ("restore", ids[1], "--", "dir", "a.txt")


def _restore_discard(env: Env) -> Words:
    _, ids = base(env)
    return ("restore", ids[0], "--discard")


def _restore_directory(env: Env) -> Words:
    """A restore that makes a directory where a file is now, below another directory."""
    root, ids = base(env)
    os.rmdir(f"{root}/main/dir/deep")
    write(f"{root}/main/dir/deep", "a file in place of a directory, further down\n")
    return ("restore", ids[0], "--", "dir/deep/c.bin")


def _restore_recovers(env: Env) -> Words:
    """A restore that finds another one that died in the middle."""
    root, ids = base(env)
    _die_halfway(env, root, "restore", ids[1])
    return ("restore", ids[0])


def _die_halfway(env: Env, root: str, *words: str) -> None:
    """Run a command and kill it at the middle one of its calls."""
    argv = [f"{env.bin}/jvs", *words]
    action = supervise.Action("kill", _calls(env, argv, root) // 2)
    supervise.run(argv, root=root, cwd=f"{root}/main", env=env.variables, action=action)


def _calls(env: Env, argv: list[str], root: str) -> int:
    """Return how many calls a command makes, by running it on a copy."""
    twin = os.path.join(env.directory, "twin")
    env.run("cp", "-a", root, twin)
    count = len(supervise.run(argv, root=twin, cwd=f"{twin}/main", env=env.variables).events)
    env.run("rm", "-rf", twin)
    return count


def _undo(env: Env) -> Words:
    root, ids = base(env)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    write(f"{root}/main/later", "after the restore\n")
    return ("undo",)


def _redo(env: Env) -> Words:
    _undo(env)
    env.jvs("undo", cwd=f"{env.work}/repo/main")
    return ("undo", "--redo")


def _undo_removal(env: Env) -> Words:
    root, _ = base(env)
    env.jvs("worktree", "remove", "side", cwd=root)
    return ("undo",)


def _redo_removal(env: Env) -> Words:
    _undo_removal(env)
    env.jvs("undo", cwd=f"{env.work}/repo/main")
    return ("undo", "--redo")


def _undo_rename(env: Env) -> Words:
    root, _ = base(env)
    env.jvs("worktree", "rename", "side", "renamed", cwd=root)
    return ("undo",)


def _fork(env: Env) -> Words:
    _, ids = base(env)
    return ("worktree", "fork", ids[0], "forked")


def _create(env: Env) -> Words:
    base(env)
    return ("worktree", "create", "fresh")


def _rename(env: Env) -> Words:
    base(env)
    return ("worktree", "rename", "side", "renamed")


def _remove(env: Env) -> Words:
    base(env)
    return ("worktree", "remove", "side")


def _discard(env: Env) -> Words:
    root, _ = base(env)
    odd_files.fix(f"{root}/worktrees/side/dir/fixed", fixed=False)  # it would stay, and doctor would say so
    return ("worktree", "remove", "side", "--discard")


def _gc(env: Env) -> Words:
    root, _ = base(env)
    plan = env.jvs("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json", cwd=root).json()
    env.check(plan["candidate_count"] > 0, f"nothing to collect: {plan}")
    return ("gc", "run", "--plan-id", plan["plan_id"])


def _gc_recovers(env: Env) -> Words:
    """A snapshot that finds a collection that died in the middle."""
    words = _gc(env)
    _die_halfway(env, f"{env.work}/repo", *words)
    return ("snapshot", "N")


def _gc_plan(env: Env) -> Words:
    base(env)
    return ("gc", "plan", "--keep-last", "1", "--drop-tagged")


def _prune(env: Env) -> Words:
    _, ids = base(env)
    return (ids[0], "--keep-last", "1", "--drop-tagged")


def _update_head(env: Env) -> Words:
    _, ids = base(env)
    return ("main", ids[1], ids[2])


def _gc_after_gc(env: Env) -> Words:
    """A collection that finds another one that died in the middle, and had begun with what its plan names as well."""
    root = env.repository()
    env.history(root, 5)
    first, second = (
        env.jvs("gc", "plan", "--keep-last", keep, "--drop-tagged", "--json", cwd=root).json()["plan_id"]
        for keep in ("3", "1")
    )
    _die_halfway(env, root, "gc", "run", "--plan-id", first)
    return ("gc", "run", "--plan-id", second, "--allow-newer")


def _merge(env: Env) -> Words:
    """A merge into files that no snapshot holds, with every kind of change on the other side."""
    root, _ = base(env)
    side = f"{root}/worktrees/side"
    write(f"{side}/brought/deep/file", "theirs\n")
    write(f"{side}/dir/theirs", "theirs\n")
    os.symlink("nowhere", f"{side}/dir/points")
    os.unlink(f"{side}/link")
    env.jvs("snapshot", "theirs", "-w", "side", cwd=root)
    return ("merge", "side", "--both")


def _merge_recovers(env: Env) -> Words:
    """A snapshot that finds a merge that died in the middle."""
    words = _merge(env)
    _die_halfway(env, f"{env.work}/repo", *words)
    return ("snapshot", "N")


def _try_apply(env: Env) -> Words:
    """What a command left, with every kind of change, into files that no snapshot holds."""
    root, _ = base(env)
    main = f"{root}/main"
    if os.stat(main).st_ino == 256:  # what leaves a subvolume is copied, and of what nobody may remove it is refused
        odd_files.fix(f"{main}/dir/fixed", fixed=False)
    script = "mv dir moved; rm empty; echo x > new; ln a.txt again; chmod 644 moved/b.txt; mkdir empty; touch empty/y"
    env.jvs("try", "--", "sh", "-c", script, cwd=main)
    write(f"{main}/mine", "in no snapshot\n")
    (number,) = os.listdir(f"{root}/.jvs/tries")
    return ("try", "--apply", number)


def _repair(env: Env) -> Words:
    """A repair that finds a snapshot to complete, one to roll back, and a torn log."""
    root, _ = base(env)
    env.run("sh", "-c", " | ".join(PIPELINE[:7]) + " > /dev/null", cwd=root)
    script = " | ".join(PIPELINE[:9]).replace("--note N", "--note died") + " > /dev/null"
    env.run("sh", "-c", script, cwd=root)
    with open(f"{root}/.jvs/audit/audit.jsonl", "ab") as log:
        log.write(b'{"seq":')
    return ("doctor", "--repair-runtime")


def _pipeline(env: Env) -> Words:
    base(env)
    return ("-c", " | ".join(PIPELINE))


SCENARIOS = (
    Scenario("init", _init, cwd=".", watched=".", makes=True),
    Scenario("init-from", _init_from, cwd=".", watched=".", makes=True),
    Scenario("init-here", in_place.init_here, cwd=".", watched=".", makes=True),
    *(Scenario(name, build, cwd=".", watched=".", makes=True) for name, build in elsewhere.NEW.items()),
    *(Scenario(name, build, watched=".") for name, build in elsewhere.INSIDE.items()),
    Scenario("attach", elsewhere.attach, watched=".", offline="side"),
    *(Scenario(name, build, cwd="files", watched=".") for name, build in elsewhere.APART.items()),
    *(Scenario(name, build, cwd="repo") for name, build in in_place.BUILDS.items()),
    Scenario("first-snapshot", _first_snapshot),
    Scenario("snapshot", _snapshot),
    Scenario("snapshot-detached", _snapshot_detached),
    Scenario("snapshot-recovers", _snapshot_recovers),
    Scenario("snapshot-rolls-back", _snapshot_rolls_back),
    Scenario("partial-snapshot", _partial_snapshot),
    Scenario("pipeline", _pipeline, program="sh"),
    Scenario("restore", _restore),
    Scenario("restore-head", _restore_head),
    Scenario("restore-paths", _restore_paths),
    Scenario("restore-discard", _restore_discard, loses=True),
    Scenario("restore-directory", _restore_directory),
    Scenario("restore-recovers", _restore_recovers),
    *(Scenario(name, build) for name, build in large.BUILDS.items()),
    Scenario("undo", _undo),
    Scenario("redo", _redo),
    Scenario("undo-removal", _undo_removal),
    Scenario("redo-removal", _redo_removal),
    Scenario("undo-rename", _undo_rename),
    Scenario("fork", _fork),
    Scenario("create", _create),
    Scenario("rename", _rename),
    Scenario("remove", _remove),
    Scenario("discard", _discard, loses=True),
    Scenario("gc", _gc, gone=True, loses=True),
    Scenario("gc-recovers", _gc_recovers, gone=True, loses=True),
    Scenario("gc-plan", _gc_plan, repairs=True),
    Scenario("prune-snapshot", _prune, gone=True, loses=True, program="jvs-prune-snapshot"),
    Scenario("update-head", _update_head, program="jvs-update-head"),
    Scenario("gc-after-gc", _gc_after_gc, gone=True, loses=True),
    Scenario("merge", _merge, halfway=True),
    Scenario("merge-recovers", _merge_recovers),
    Scenario("try-apply", _try_apply),
    *(Scenario(name, build) for name, build in small_changes.BUILDS.items()),
    *(Scenario(name, build) for name, build in travelling.BUILDS.items()),
    Scenario("repair", _repair),
)


def chosen_from(parser: argparse.ArgumentParser, only: str) -> list[Scenario]:
    """Return the scenarios that `--only` names, all when it names none; ends with 2 when one is unknown."""
    names = {name for name in only.split(",") if name}
    if unknown := names - {scenario.name for scenario in SCENARIOS}:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return [scenario for scenario in SCENARIOS if not names or scenario.name in names]
