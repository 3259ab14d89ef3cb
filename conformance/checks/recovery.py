"""What a crash or a move leaves is repaired, and every change is recorded."""

from __future__ import annotations

import os
from typing import Any

from lib import oracle
from lib.canonical import json_encode, json_object
from lib.harness import Env, copy_repository, write
from lib.reader import read_file
from lib.records import ID

PORTABLE = (
    *("format_version", "repo_id", "config.toml", "worktrees", "snapshots", "descriptors", "audit", "gc", "undo"),
    "annotations",
)


def check_04_crash_leftovers_are_invisible_and_repairable(env: Env) -> None:
    """Half-made snapshots show in no list, doctor reports them, and repair takes them away; twice changes nothing."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    ghost = "1500000000000-deadbeef"
    jvs = f"{root}/.jvs"
    write(f"{jvs}/snapshots/{ghost}.tmp/file", "half")
    write(f"{jvs}/descriptors/{ghost}.json.tmp", "{")
    listed = [d["snapshot_id"] for d in env.jvs("history", "--all", "--json", cwd=root).json()]
    env.equal(listed, [snapshot_id], "history --all")
    env.equal(env.step("list-snapshots", cwd=root).text.count(ghost), 0, "list-snapshots")
    env.jvs("show", ghost, cwd=root, code=5)
    env.jvs("restore", ghost, cwd=root, code=5)
    env.jvs("verify", "--all", cwd=root)
    findings = env.jvs("doctor", "--json", cwd=root, code=None)
    env.check(findings.code != 0 and findings.json()["healthy"] is False, f"doctor calls debris healthy: {findings}")
    env.jvs("doctor", "--repair-runtime", cwd=root, code=None)
    env.healthy(root)
    before = env.frozen(root)
    env.jvs("doctor", "--repair-runtime", cwd=root)
    env.unchanged(root, before, "a second repair")
    write(f"{jvs}/snapshots/{ghost}.tmp/file", "half")
    write(f"{jvs}/descriptors/{ghost}.json.tmp", "{")
    env.jvs("doctor", "--repair", "clean_tmp", cwd=root, code=None)
    env.healthy(root)


def _migrate(env: Env, root: str) -> str:
    """Copy the portable parts to another place, as a person would, and return the new root."""
    target = os.path.join(env.work, "elsewhere")
    os.makedirs(f"{target}/.jvs", mode=0o700)
    for name in ("main", "worktrees"):
        copy_repository(f"{root}/{name}", f"{target}/{name}")
    for name in PORTABLE:
        if os.path.exists(f"{root}/.jvs/{name}"):
            copy_repository(f"{root}/.jvs/{name}", f"{target}/.jvs/{name}")
    return target


def check_05_migration_of_the_portable_parts(env: Env) -> None:
    """A copy of the portable parts alone works after `doctor --repair-runtime`: same history, all verified."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    env.jvs("restore", "HEAD", cwd=f"{root}/main")
    env.jvs("tag", ids[0], "later", cwd=root)
    target = _migrate(env, root)
    env.jvs("doctor", "--strict", "--repair-runtime", cwd=target, code=None)
    env.healthy(target)
    old, new = oracle.state(root), oracle.state(target)
    for key in ("snapshots", "annotations", "heads", "latests", "worktrees", "undo"):
        env.equal(new[key], old[key], key)
    history = [d["snapshot_id"] for d in env.jvs("history", "--json", cwd=target).json()]
    env.equal(history, ids[::-1], "history")
    env.jvs("restore", ids[1], cwd=f"{target}/main")
    write(f"{target}/main/new", "after the move\n")
    env.snapshot(target, "after the move")
    env.healthy(target)


def check_08_every_mutating_command_is_recorded(env: Env) -> None:
    """Each command that changes something adds one audit record of its kind; lookups add none."""
    root = env.repository()
    ids: list[str] = []

    def record(operation: str | None, *words: str) -> dict[str, Any]:
        before = len(env.repo(root).audit)
        env.jvs(*words, cwd=f"{root}/main", code=None if words[0] == "doctor" else 0)
        added = env.repo(root).audit[before:]
        wanted = [] if operation is None else [operation]
        env.equal([r["operation"] for r in added], wanted, f"records after `jvs {' '.join(words)}`")
        return added[0] if added else {}

    env.equal([r["operation"] for r in env.repo(root).audit], ["init"], "records after init")
    for number in range(2):
        write(f"{root}/main/a.txt", f"{number}\n")
        ids.append(record("snapshot", "snapshot", f"n{number}")["target"])
    env.check(all(ID.match(i) for i in ids), f"targets of snapshot records: {ids}")
    record("restore", "restore", ids[0])
    record("undo", "undo")
    record("worktree_create", "worktree", "create", "w1")
    record("worktree_fork", "worktree", "fork", ids[0], "w2")
    record("worktree_rename", "worktree", "rename", "w2", "w3")
    record("worktree_remove", "worktree", "remove", "w3")
    record("pin", "gc", "pin", ids[0], "--reason", "why")
    record("unpin", "gc", "unpin", ids[0])
    record("config", "config", "set", "snapshot.when_detached", "refuse")
    write(f"{root}/.jvs/snapshots/1500000000000-deadbeef.tmp/x", "")
    record("doctor_repair", "doctor", "--repair-runtime")
    for words in (
        ("history",),
        ("status",),
        ("diff",),
        ("show", ids[0]),
        ("verify", "--all"),
        ("info",),
        ("worktree", "list"),
        ("doctor",),
        ("gc", "plan"),
        ("gc", "pins"),
        ("undo", "--list"),
        ("config", "list"),
        ("restore", "--dry-run", ids[0]),
    ):
        record(None, *words)
    env.healthy(root)


def check_14_an_orphaned_head_is_found_and_advanced(env: Env) -> None:
    """A head that lags behind a published snapshot is found by doctor and advanced; a detached one is left alone."""
    root = env.repository()
    ids = env.history(root, 3)
    path = f"{root}/.jvs/worktrees/main/config.json"
    config = json_object(read_file(path))
    lagging = config | {"head_snapshot_id": ids[1], "latest_snapshot_id": ids[1]}
    write(path, json_encode(lagging) + b"\n")
    said = env.jvs("doctor", "--json", cwd=root, code=None)
    env.check(said.code != 0 and said.json()["healthy"] is False, f"doctor does not see it: {said}")
    env.jvs("doctor", "--repair", "advance_head", cwd=root, code=None)
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[2], ids[2]), "head and latest")
    env.healthy(root)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    env.jvs("doctor", "--repair", "advance_head", cwd=root, code=None)
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[0], ids[2]), "a detached head")
    env.healthy(root)


def check_20_migration_keeps_worktree_metadata(env: Env) -> None:
    """Heads, latests, bases, names and the detached state of every worktree survive a move."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("worktree", "fork", ids[1], "w", cwd=root)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    configs = {name: env.config(root, name) for name in ("main", "w")}
    listed = env.jvs("worktree", "list", "--json", cwd=root).json()
    target = _migrate(env, root)
    env.jvs("doctor", "--repair-runtime", cwd=target, code=None)
    env.equal({name: env.config(target, name) for name in ("main", "w")}, configs, "configurations")
    moved = env.jvs("worktree", "list", "--json", cwd=target).json()
    env.equal(str(moved).replace(target, root), str(listed), "worktree list")
    env.check("(detached)" in env.jvs("history", "--all", cwd=f"{target}/main").text, "history does not say detached")
    env.healthy(target)
