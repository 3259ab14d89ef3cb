"""The steps of a snapshot as separate programs: the pipeline, a crash after every step, and each program alone."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from typing import Any

from lib.canonical import json_encode, json_object
from lib.harness import Env, copy_repository, write
from lib.pipeline import PIPELINE, PUBLISHED
from lib.reader import read_file
from lib.records import record_hash

VARYING = ("snapshot_id", "created_at", "audit_head", "descriptor_checksum")


def _shell(env: Env, script: str, cwd: str, **options: Any) -> Any:
    return env.run("sh", "-c", script, cwd=cwd, **options)


def check_25_the_pipeline_makes_the_same_snapshot(env: Env) -> None:
    """The pipeline as documented leaves what `jvs snapshot` leaves, but for id, times and audit hashes."""
    origin = env.repository("origin")
    env.snapshot(origin, "before")
    write(f"{origin}/main/new", "new\n")
    root, twin = os.path.join(env.work, "piped"), os.path.join(env.work, "twin")
    for place in (root, twin):  # two copies, because a copy of a subvolume is none, and takes another engine
        copy_repository(origin, place)
    _shell(env, " | ".join(PIPELINE), root)
    env.jvs("snapshot", "N", cwd=twin)
    seen = []
    for place in (root, twin):
        env.healthy(place)
        repo = env.repo(place)
        head = env.config(place)["head_snapshot_id"]
        descriptor = {k: v for k, v in repo.descriptors[head].items() if k not in VARYING}  # type: ignore[union-attr]
        record = {k: v for k, v in repo.audit[-1].items() if not k.endswith(("_hash", "_id", "stamp"))}
        record["target"] = record["target"] == head
        record["details"] = sorted(record["details"])
        files = {p.replace(head.encode(), b"ID") for p in env.frozen(place)}
        seen.append({"descriptor": descriptor, "record": record, "files": files, "intents": repo.intents})
    for key in seen[0]:
        env.equal(seen[0][key], seen[1][key], f"pipeline and snapshot differ in {key}")


def check_26_a_crash_after_each_step_is_recovered_by_the_next_snapshot(env: Env) -> None:
    """The first k commands and then nothing: invisible, not called tampering, and recovered by the next snapshot."""
    origin = env.repository("origin")
    env.snapshot(origin, "before")
    write(f"{origin}/main/new", "new\n")
    for k in range(len(PIPELINE) + 1):
        root = _crashed(env, origin, k)
        _shown_pending(env, root, k)
        write(f"{root}/main/after", "after\n")
        made = env.snapshot(root, "after")
        _recovered_well(env, root, k, extra=1)
        env.equal(env.config(root)["head_snapshot_id"], made, f"head after a crash after step {k}")
        shutil.rmtree(root)


def check_27_a_crash_after_each_step_is_repaired_by_doctor(env: Env) -> None:
    """The same with `doctor --repair-runtime` in place of the next snapshot; a second repair finds nothing."""
    origin = env.repository("origin")
    env.snapshot(origin, "before")
    write(f"{origin}/main/new", "new\n")
    for k in range(len(PIPELINE) + 1):
        root = _crashed(env, origin, k)
        env.jvs("doctor", "--repair-runtime", cwd=root, code=None)
        _recovered_well(env, root, k, extra=0)
        before = env.frozen(root)
        env.jvs("doctor", "--repair-runtime", cwd=root)
        env.unchanged(root, before, f"a second repair after step {k}")
        shutil.rmtree(root)


def _crashed(env: Env, origin: str, k: int) -> str:
    root = os.path.join(env.work, "repo")
    copy_repository(origin, root)
    if k:
        _shell(env, " | ".join(PIPELINE[:k]) + " > /dev/null", root)
    return root


def _shown_pending(env: Env, root: str, k: int) -> None:
    env.sound(root, recovered=False)
    complete = k == len(PIPELINE)
    listed = env.jvs("history", "--all", "--json", cwd=root).json()
    env.equal(len(listed), 2 if complete else 1, f"snapshots in history after step {k}")
    env.jvs("verify", "--all", cwd=root)
    pending = 2 <= k < len(PIPELINE)
    said = env.jvs("doctor", "--json", cwd=root, code=None)
    env.equal(said.json()["healthy"], not pending, f"doctor after step {k}")
    env.equal(bool(env.step("list-intents", cwd=root).text.strip()), pending, f"jvs-list-intents after step {k}")
    status = env.jvs("status", "--json", cwd=f"{root}/main").json()
    env.check("error" not in status, f"status after step {k}: {status}")


def _recovered_well(env: Env, root: str, k: int, *, extra: int) -> None:
    env.healthy(root)
    visible = env.repo(root).visible()
    notes = sorted(d["note"] for d in visible.values())
    wanted = ["after"] * extra + ["before"] + (["N"] if k >= PUBLISHED else [])
    env.equal(notes, sorted(wanted), f"snapshots after a crash after step {k}")
    line = env.jvs("history", "--json", cwd=root).json()
    env.equal(len(line), len(visible), f"snapshots in one line after a crash after step {k}")


def check_28_steps_out_of_order_are_refused(env: Env) -> None:
    """A record without its earlier steps, empty or damaged stdin: a non-zero exit, and nothing changes."""
    root = env.repository()
    env.snapshot(root, "one")
    record = env.step("check-worktree", "--record", "main", cwd=root).out
    before = env.frozen(root)
    for line in PIPELINE[2:]:
        words = line.removeprefix("jvs-").split(" ")
        for stdin in (record, b"", b"{}", b"[1]", b"not json", b'{"version":1,"done":[],"done":[]}', b"\x00\xff"):
            said = env.step(*words, cwd=root, stdin=stdin, code=None)
            env.check(said.code not in (0, 1, 70), f"not refused with {stdin[:30]!r}: {said}")
            env.check(said.out == b"", f"a record came out: {said}")
    env.unchanged(root, before, "a refused step")
    forged = json_object(record) | {"snapshot_id": "../../evil"}
    said = env.step("write-intent", "--record", cwd=root, stdin=json_encode(forged), code=None)
    env.check(said.code not in (0, 1, 70), f"a forged id: {said}")
    env.unchanged(root, before, "a forged record")
    done = _shell(env, "false | " + " | ".join(PIPELINE[1:]), root, code=None)
    env.check(done.code != 0, "a pipeline without its first command succeeded")
    env.healthy(root)


def check_29_steps_can_be_repeated(env: Env) -> None:
    """What is done already is success, and done once: renames, head, audit record, intent."""
    root = env.repository()
    env.snapshot(root, "one")
    write(f"{root}/main/new", "new\n")
    record = b""
    for line in PIPELINE:
        name, *words = line.removeprefix("jvs-").split(" ")
        owner = ("--owner-pid", str(os.getpid())) if name == "write-intent" else ()
        record = env.step(name, *words, *owner, cwd=root, stdin=record).out
        if name in ("rename-ready", "update-head", "chain-append", "clear-intent"):
            again = env.step(name, *words, cwd=root, stdin=record)
            if name != "clear-intent":
                env.equal(json_object(again.out)["done"], json_object(record)["done"], f"steps after {name} twice")
    env.healthy(root)
    env.equal([r["operation"] for r in env.repo(root).audit], ["init", "snapshot", "snapshot"], "audit records")


def check_30_update_head_compares_and_swaps(env: Env) -> None:
    """`jvs-update-head NAME NEW OLD` moves the head only from OLD, and only to what is visible."""
    root = env.repository()
    ids = env.history(root)
    before = env.frozen(root)
    said = env.step("update-head", "main", ids[0], ids[1], cwd=root, code=7)
    env.check("E_STALE_HEAD" in said.errors, f"{said}")
    ghost = "1500000000000-deadbeef"
    said = env.step("update-head", "main", ghost, ids[2], cwd=root, code=None)
    env.check(said.code in (5, 22), f"a head to nowhere: {said}")
    said = env.step("update-head", "main", "../x", ids[2], cwd=root, code=None)
    env.check(said.code in (2, 5, 10), f"a head to a path: {said}")
    env.unchanged(root, before, "a refused update-head")
    env.step("update-head", "main", ids[2], ids[2], cwd=root)
    env.healthy(root)


def check_31_a_held_lock_keeps_others_waiting(env: Env) -> None:
    """Under `jvs-with-lock` a snapshot waits, or with --wait 0 fails at once with E_BUSY naming the holder."""
    root = env.repository()
    env.snapshot(root, "one")
    holder = subprocess.Popen(
        [f"{env.bin}/jvs-with-lock", "main", "--", "sh", "-c", "touch ../held; exec sleep 3"],
        cwd=f"{root}/main",
        env=env.variables,
        start_new_session=True,
    )
    try:
        _until(env, lambda: os.path.exists(f"{root}/held"), "the lock to be held")
        os.unlink(f"{root}/held")
        began = time.monotonic()
        error = env.refused("E_BUSY", 6, "snapshot", "--wait", "0", "two", cwd=root)
        env.check(time.monotonic() - began < 2, "--wait 0 waited")
        env.check(str(holder.pid) in error["message"] + str(error["facts"]), f"the holder is not named: {error}")
        env.jvs("history", cwd=root)
        env.jvs("status", cwd=f"{root}/main")
        env.jvs("snapshot", "three", cwd=root)
        env.check(time.monotonic() - began > 1.5, "the snapshot did not wait for the lock")
    finally:
        if holder.poll() is None:
            os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()
    said = env.step("with-lock", "main", "--", "sh", "-c", "exit 9", cwd=root, code=9)
    env.equal(said.code, 9, "exit code through with-lock")
    env.step("with-lock", "main", "--", "sh", "-c", " | ".join(PIPELINE), cwd=root)
    env.healthy(root)


def _until(env: Env, holds: Any, what: str) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        env.check(time.monotonic() < deadline, f"timed out waiting for {what}")
        time.sleep(0.02)


def check_32_a_live_pipeline_is_not_disturbed(env: Env) -> None:
    """While its shell lives, nobody recovers a pipeline; a snapshot that overtakes it makes it stale, not lost."""
    origin = env.repository("origin")
    env.snapshot(origin, "before")
    write(f"{origin}/main/new", "new\n")
    for k in range(2, len(PIPELINE)):
        root = os.path.join(env.work, "repo")
        copy_repository(origin, root)
        first, rest = " | ".join(PIPELINE[:k]), " | ".join(PIPELINE[k:])
        script = f"{first} > ../../record || exit 99; touch ../../half; while [ ! -e ../../go ]; do sleep 0.05; done;"
        script += f" cat ../../record | {rest} > /dev/null"
        live = subprocess.Popen(
            ["sh", "-c", script],
            cwd=f"{root}/main",
            env=env.variables,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _until(env, lambda: os.path.exists(f"{env.work}/half"), f"{k} steps")
            env.equal(len(env.repo(root).intents), 1, f"intents after {k} steps")
            env.jvs("verify", "--all", cwd=root)
            env.snapshot(root, "overtakes")
            env.equal(len(env.repo(root).intents), 1, f"intents of the live pipeline after {k} steps")
            write(f"{env.work}/go", "")
            live.wait(60)
        finally:
            if live.poll() is None:
                os.killpg(live.pid, signal.SIGKILL)
                live.wait()
        write(f"{root}/main/after", "after\n")
        env.snapshot(root, "after")
        env.healthy(root)
        notes = {d["note"] for d in env.repo(root).visible().values()}
        env.check({"before", "overtakes", "after"} <= notes, f"after {k} steps: {notes}")
        for name in ("half", "go", "record"):
            os.unlink(f"{env.work}/{name}")
        shutil.rmtree(root)


def check_33_plumbing_works_outside_a_repository(env: Env) -> None:
    """clone-tree, hash-tree, ls-tree, diff-tree, sync-tree and the chain commands take any directory or file."""
    source = f"{env.work}/source"
    write(f"{source}/a", "alpha\n")
    write(f"{source}/d/b", "beta\n")
    os.symlink("a", f"{source}/l")
    env.step("clone-tree", "source", "target")
    env.equal(env.tree(f"{env.work}/target"), env.tree(source), "the clone's hash")
    env.equal(env.step("hash-tree", "target").text.split()[0], env.tree(source), "jvs-hash-tree")
    env.step("sync-tree", "target")
    env.equal(env.step("diff-tree", "source", "target").text, "", "jvs-diff-tree of equal trees")
    write(f"{env.work}/target/d/b", "changed\n")
    env.check("d/b" in env.step("diff-tree", "source", "target", code=None).text, "jvs-diff-tree does not name d/b")
    sums = env.step("ls-tree", "-r", "--sha256sum", "source").out
    done = env.run("sha256sum", "-c", cwd=source, stdin=sums)
    env.equal(done.text, "a: OK\nd/b: OK\n", "sha256sum -c of ls-tree --sha256sum")
    for _ in range(2):
        env.step("clone-tree", "source", "target", code=(4, 7))
    env.step("hash-tree", "nowhere", code=(4, 5))
    log = f"{env.work}/log.jsonl"
    for number in range(3):
        details = json_encode({"number": number}).decode()
        env.step("chain-append", "--log", log, "deploy", "--details", details)
    lines = read_file(log).splitlines() if os.path.exists(log) else []
    env.equal(len(lines), 3, "records in a log of one's own")
    records = [json_object(line) for line in lines]
    env.equal([record_hash(r) for r in records], [r["record_hash"] for r in records], "record hashes")
    env.equal([r["prev_hash"] for r in records[1:]], [r["record_hash"] for r in records[:-1]], "the chain")
    env.step("chain-check", log)
    write(log, read_file(log).replace(b'"number":1', b'"number":7'))
    env.step("chain-check", log, code=24)
