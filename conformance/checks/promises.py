"""The promises of a versioned workspace, one check each."""

from __future__ import annotations

import errno
import os
import re
import shutil
from typing import Any

from lib import oracle
from lib.canonical import json_encode, json_object
from lib.harness import Env, copy_repository, worktree_dir, write
from lib.reader import ID, NAME, TIME, UUID, checksum, read_file
from supervisor import supervise

BAD_NAMES = ("", ".", "..", "-x", "a/b", "a b", "a\nb", "x" * 65, "ü", "a\x01", "../up", "/abs", "*", "a\\b", "C:")
PORTABLE = ("format_version", "repo_id", "config.toml", "worktrees", "snapshots", "descriptors", "audit", "gc", "undo")


def check_01_bad_names_are_refused(env: Env) -> None:
    """Names of worktrees and tags that break the rule are refused with E_NAME_INVALID before anything changes."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    before = env.frozen(root)
    for name in BAD_NAMES:
        for words in (
            ("worktree", "create", "--", name),
            ("worktree", "fork", "--", snapshot_id, name),
            ("snapshot", f"--tag={name}", "note"),
        ):
            said = env.jvs(*words, cwd=f"{root}/main", code=None)
            env.check(said.code in (10, 2), f"{name!r} was not refused: {said}")
            env.check(said.code == 10 or name.startswith("-"), f"{name!r} is not E_NAME_INVALID: {said}")
    env.jvs("snapshot", "--tag=HEAD", "note", cwd=root, code=10)
    env.unchanged(root, before, "a refused name")
    env.refused("E_NAME_INVALID", 10, "worktree", "create", "a b", cwd=root)
    for name in ("a b", "-x"):
        said = env.jvs("init", "--", name, code=None)
        env.check(said.code in (2, 10), f"init {name!r}: {said}")
        env.check(not os.path.exists(os.path.join(env.work, name)), f"init {name!r} left something")
    env.healthy(root)


def check_02_descriptor_tampering_is_seen(env: Env) -> None:
    """A changed descriptor or marker is found by verify and doctor, and restore and fork refuse it."""
    root = env.repository()
    first, *_ = env.history(root)
    path = f"{root}/.jvs/descriptors/{first}.json"
    original = read_file(path)
    for change in ({"note": "forged"}, {"parent_id": first}, {"created_at": "2001-01-01T00:00:00.000000Z"}, {"x": 1}):
        write(path, json_encode(json_object(original) | change))
        env.noticed(root, f"descriptor with {change}", codes={20, 22})
        said = env.jvs("verify", first, "--json", cwd=root, code=20)
        report = said.json()
        env.equal((report["checksum_valid"], report["tamper_detected"]), (False, True), "report")
        before = env.frozen(f"{root}/main")
        env.jvs("restore", first, cwd=f"{root}/main", code=20)
        env.unchanged(f"{root}/main", before, "a refused restore")
        env.jvs("worktree", "fork", first, "forged", cwd=root, code=20)
        env.check(not os.path.exists(f"{root}/worktrees/forged"), "a refused fork left a directory")
    write(path, original)
    env.healthy(root)
    marker = f"{root}/.jvs/snapshots/{first}.READY"
    ready = read_file(marker)
    write(marker, json_encode(json_object(ready) | {"payload_root_hash": "0" * 64}))
    env.noticed(root, "forged READY marker", codes={20, 23})
    write(marker, ready)
    env.healthy(root)
    forged = json_object(original) | {"note": "forged"}
    forged["descriptor_checksum"] = checksum(forged)
    write(path, json_encode(forged))
    write(marker, json_encode(json_object(ready) | {"descriptor_checksum": forged["descriptor_checksum"]}))
    env.noticed(root, "descriptor, checksum and marker rewritten together", codes={20, 24})


def check_03_payload_tampering_is_seen(env: Env) -> None:
    """Any change below `snapshots/ID` is found by verify with E_PAYLOAD_HASH_MISMATCH, and restore refuses it."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    write(f"{root}/main/a.txt", "later\n")
    env.snapshot(root, "two")
    payload = f"{root}/.jvs/snapshots/{snapshot_id}"
    kept = os.path.join(env.directory, "kept")
    copy_repository(payload, kept)

    def swap(new: str) -> None:
        shutil.rmtree(payload)
        copy_repository(new, payload)

    def damage(what: str) -> None:
        swap(kept)
        target = f"{payload}/a.txt"
        {
            "content": lambda: write(target, "ALPHA\n"),
            "mode": lambda: os.chmod(target, 0o777),
            "removed": lambda: os.unlink(target),
            "added": lambda: write(f"{payload}/extra", ""),
            "renamed": lambda: os.rename(target, f"{payload}/b.txt"),
            "link": lambda: (os.unlink(f"{payload}/link"), os.symlink("b.txt", f"{payload}/link")),
            "kind": lambda: (os.unlink(target), os.mkfifo(target)),
            "directory mode": lambda: os.chmod(
                f"{payload}/empty", 0o700 if _mode(f"{payload}/empty") != 0o700 else 0o755
            ),
            "root mode": lambda: os.chmod(payload, 0o711),
            "emptied": lambda: (shutil.rmtree(payload), os.mkdir(payload)),
        }[what]()

    whats = ("content", "mode", "removed", "added", "renamed", "link", "kind", "directory mode", "root mode", "emptied")
    for what in whats:
        damage(what)
        said = env.jvs("verify", snapshot_id, cwd=root, code=21)
        env.check("TAMPERED" in said.text and "E_PAYLOAD_HASH_MISMATCH" in said.text, f"{what}: {said}")
        env.check("Payload hash: false" in said.text, f"{what}: {said}")
        report = env.jvs("verify", snapshot_id, "--json", cwd=root, code=21).json()
        env.equal((report["payload_hash_valid"], report["tamper_detected"]), (False, True), what)
        env.step("verify-snapshot", snapshot_id, cwd=root, code=21)
    env.jvs("verify", "--all", cwd=root, code=21)
    env.jvs("doctor", "--strict", cwd=root, code=21)
    damage("content")
    for words in (("restore", snapshot_id), ("worktree", "fork", snapshot_id, "w")):
        said = env.jvs(*words, cwd=f"{root}/main", code=None)
        env.check(said.code == 21, f"tampered payload was used: {said}")
    swap(kept)
    env.healthy(root)


def _mode(path: str) -> int:
    return os.stat(path).st_mode & 0o7777


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
    target = _migrate(env, root)
    env.jvs("doctor", "--strict", "--repair-runtime", cwd=target, code=None)
    env.healthy(target)
    old, new = oracle.state(root), oracle.state(target)
    for key in ("snapshots", "heads", "latests", "worktrees", "undo"):
        env.equal(new[key], old[key], key)
    history = [d["snapshot_id"] for d in env.jvs("history", "--json", cwd=target).json()]
    env.equal(history, ids[::-1], "history")
    env.jvs("restore", ids[1], cwd=f"{target}/main")
    write(f"{target}/main/new", "after the move\n")
    env.snapshot(target, "after the move")
    env.healthy(target)


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
        plan = env.jvs("gc", "plan", "--keep-last", "1", "--json", cwd=root).json()
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
    hashes = {i: read_hash(root, i) for i in kept}
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
            expect = oracle.Expect(snapshots=hashes)
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


def read_hash(root: str, snapshot_id: str) -> str:
    """Return the root hash in a descriptor."""
    return json_object(read_file(f"{root}/.jvs/descriptors/{snapshot_id}.json"))["payload_root_hash"]


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


def check_09_the_audit_chain_holds_from_end_to_end(env: Env) -> None:
    """An edited, dropped, swapped or cut record is E_AUDIT_CHAIN_BROKEN; a torn tail is set aside and said."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("worktree", "fork", ids[0], "w", cwd=root)
    log = f"{root}/.jvs/audit/audit.jsonl"
    original = read_file(log)
    lines = original.splitlines(keepends=True)
    env.step("chain-check", cwd=root)
    env.check(len(lines) >= 5, "too few records")
    damages = {
        "edited": original.replace(b'"operation":"snapshot"', b'"operation":"restore"', 1),
        "dropped first": b"".join(lines[1:]),
        "dropped middle": b"".join(lines[:2] + lines[3:]),
        "swapped": b"".join([lines[0], lines[2], lines[1], *lines[3:]]),
        "twice": b"".join([*lines[:2], *lines[1:]]),
        "cut tail": b"".join(lines[:-1]),
        "cut to the first": lines[0],
        "empty": b"",
        "torn in the middle": lines[0] + lines[1][:30] + b"\n" + b"".join(lines[2:]),
        "garbage": b"\x00" * 500 + b"\n" + original,
    }
    for what, data in damages.items():
        write(log, data)
        env.noticed(root, f"audit log {what}", codes={24})
    os.unlink(log)
    env.noticed(root, "missing audit log", codes={24})
    write(log, original)
    os.chmod(log, 0o600)
    env.healthy(root)
    write(log, original + b'{"seq":99,"op')
    env.jvs("verify", "--all", cwd=root)
    env.check(env.jvs("doctor", cwd=root, code=None).code != 0, "doctor calls a torn tail healthy")
    write(f"{root}/main/a.txt", "after the tear\n")
    env.snapshot(root, "after the tear")
    operations = [r["operation"] for r in env.repo(root).audit]
    env.equal(operations[-2:], ["audit_repair", "snapshot"], "records after a torn tail")
    kept = [n for n in os.listdir(f"{root}/.jvs/audit") if n.startswith("torn-")]
    env.equal([read_file(f"{root}/.jvs/audit/{n}") for n in kept], [b'{"seq":99,"op'], "torn bytes set aside")
    env.healthy(root)


def check_10_unknown_formats_are_refused(env: Env) -> None:
    """A repository of another format is E_FORMAT_UNSUPPORTED for every command, and stays as it is."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    for version in ("1\n", "3\n", "", "two\n", "2", "22\n", "2\n2\n", "\x00", " 2\n"):
        write(f"{root}/.jvs/format_version", version)
        before = env.frozen(root)
        for words in (
            ("snapshot", "x"),
            ("restore", snapshot_id),
            ("history",),
            ("gc", "plan"),
            ("worktree", "create", "w"),
        ):
            said = env.jvs(*words, cwd=f"{root}/main", code=None)
            env.check(said.code == 12, f"format {version!r}: {said}")
        env.unchanged(root, before, f"commands on format {version!r}")
        said = env.jvs("doctor", cwd=root, code=None)
        env.check(said.code != 0, f"doctor calls format {version!r} healthy: {said}")
    write(f"{root}/.jvs/format_version", "1\n")
    env.refused("E_FORMAT_UNSUPPORTED", 12, "snapshot", "x", cwd=root)
    write(f"{root}/.jvs/format_version", "2\n")
    env.healthy(root)


def check_11_snapshot_ids_have_their_shape(env: Env) -> None:
    """Ids are 13 digits, '-', 8 lowercase hex, all different, and resolve by unique prefix of either part."""
    root = env.repository()
    ids = env.history(root, 6)
    env.equal(len(set(ids)), 6, "different ids")
    printed = env.jvs("snapshot", "text", cwd=root).text
    env.check(re.search(r"^Created snapshot \d{13}-[0-9a-f]{8}$", printed, re.MULTILINE), f"printed {printed!r}")
    for snapshot_id in ids:
        for target in (snapshot_id, snapshot_id[14:], snapshot_id[:-1]):
            env.equal(env.step("resolve", target, cwd=root).text.strip(), snapshot_id, f"resolve {target}")
    prefix = ids[0][:6]  # of a clock in milliseconds: the same for years
    env.refused("E_AMBIGUOUS", 5, "show", prefix, cwd=root)
    env.refused("E_NOT_FOUND", 5, "show", "no-such-thing", cwd=root)


def check_12_equal_payloads_have_equal_hashes(env: Env) -> None:
    """The root hash depends on content, names, modes and links alone: not on time, inode, place or repository."""
    root, other = env.repository("one"), env.repository("two")
    first = env.snapshot(root, "one")
    os.utime(f"{root}/main/a.txt", (1, 1))
    second = env.snapshot(root, "two")
    third = env.snapshot(other, "three")
    hashes = [read_hash(root, first), read_hash(root, second), read_hash(other, third), env.tree(f"{root}/main")]
    env.equal(len(set(hashes)), 1, f"different hashes of equal trees {hashes}; their number")
    for options in ((), ("--no-index",)):
        env.equal(env.step("hash-tree", *options, f"{root}/main").text.split()[0], hashes[0], "jvs-hash-tree")
    os.chmod(f"{root}/main/a.txt", 0o640)
    env.check(read_hash(root, env.snapshot(root, "mode")) != hashes[0], "a mode does not count")


def check_13_tags_are_stored_and_validated(env: Env) -> None:
    """Tags are kept in order without doubles, found by history and as targets; bad ones are refused."""
    root = env.repository()
    first = env.snapshot(root, "one", "--tag", "v1", "--tag", "stable", "--tag", "v1")
    descriptor = json_object(read_file(f"{root}/.jvs/descriptors/{first}.json"))
    env.equal(descriptor["tags"], ["v1", "stable"], "tags")
    second = env.snapshot(root, "two", "--tag", "v2")
    found = [d["snapshot_id"] for d in env.jvs("history", "--tag", "v1", "--json", cwd=root).json()]
    env.equal(found, [first], "history --tag v1")
    env.equal(env.step("resolve", "stable", cwd=root).text.strip(), first, "resolve by tag")
    third = env.snapshot(root, "three", "--tag", "v2")
    env.equal(env.step("resolve", "v2", cwd=root).text.strip(), third, "the newest that has the tag")
    env.refused("E_NAME_INVALID", 10, "snapshot", "--tag", "a b", cwd=root)
    env.equal(len(env.repo(root).visible()), 3, "snapshots")
    env.check(second != third, "ids")
    env.jvs("config", "set", "default_tags", '["auto"]', cwd=root)
    fourth = env.snapshot(root, "four", "--tag", "mine")
    tags = json_object(read_file(f"{root}/.jvs/descriptors/{fourth}.json"))["tags"]
    env.equal(sorted(tags), ["auto", "mine"], "default tags are added")
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


def check_15_the_descriptor_checksum_covers_what_it_says(env: Env) -> None:
    """It is the SHA-256 of the canonical JSON of all fields, unknown ones too, but itself and `integrity_state`."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "ünïcode \u2028 note", "--tag", "v1")
    path = f"{root}/.jvs/descriptors/{snapshot_id}.json"
    original = read_file(path)
    descriptor = json_object(original)
    env.equal(descriptor["descriptor_checksum"], checksum(descriptor), "descriptor_checksum")
    env.check(TIME.match(descriptor["created_at"]), f"created_at {descriptor['created_at']!r}")
    shown = env.step("cat-descriptor", snapshot_id, cwd=root)
    env.equal(json_object(shown.out), descriptor, "jvs-cat-descriptor")
    for key in sorted(descriptor):
        if key in ("descriptor_checksum", "integrity_state"):
            continue
        value = descriptor[key]
        changed = {str: f"{value}x", int: 7, list: [*value, "x"] if isinstance(value, list) else None}.get(
            type(value), "x"
        )
        write(path, json_encode(descriptor | {key: changed}))
        said = env.jvs("verify", snapshot_id, cwd=root, code=None)
        env.check(said.code in (12, 20), f"'{key}' is not covered: {said}")
    write(path, json_encode(descriptor | {"from_the_future": [1, {"a": None}]}))
    env.jvs("verify", snapshot_id, cwd=root, code=20)
    write(path, json_encode(descriptor | {"integrity_state": "unknown"}))
    env.check(
        "Checksum: true" in env.jvs("verify", snapshot_id, cwd=root, code=None).text, "integrity_state is covered"
    )
    write(path, original)
    env.healthy(root)


def check_16_the_worktree_is_found_from_nested_directories(env: Env) -> None:
    """Commands below a worktree work on that worktree; elsewhere in the repository on main; outside they say so."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    env.jvs("worktree", "fork", snapshot_id, "w", cwd=root)
    deep = f"{root}/worktrees/w/dir/deep"
    write(f"{root}/worktrees/w/new", "x")
    made = env.jvs("snapshot", "from below", "--json", cwd=deep).json()
    env.equal(made["worktree_name"], "w", "worktree of a snapshot taken below it")
    env.equal(env.config(root, "w")["head_snapshot_id"], made["snapshot_id"], "head of w")
    env.equal(env.config(root)["head_snapshot_id"], snapshot_id, "head of main")
    for cwd in (root, f"{root}/main/dir/deep", f"{root}/.jvs", f"{root}/worktrees"):
        status = env.jvs("status", "--json", cwd=cwd).json()
        env.equal(status.get("worktree", status.get("worktree_name")), "main", f"worktree seen from {cwd}")
    env.refused("E_NOT_A_REPOSITORY", 5, "status")
    path = env.jvs("worktree", "path", "w", cwd=root).text.strip()
    env.equal(path, f"{root}/worktrees/w", "worktree path w")
    env.equal(env.jvs("worktree", "path", cwd=deep).text.strip(), f"{root}/worktrees/w", "worktree path")
    env.equal(env.jvs("-C", deep, "status", "--json").json(), env.jvs("status", "--json", cwd=deep).json(), "-C")


def check_17_payloads_hold_no_control_files(env: Env) -> None:
    """A snapshot and a fork hold exactly the user's files, also such that look like ours; worktrees gain nothing."""
    root = env.repository()
    odd = (".READY", ".jvs-tmp-x", ".git/config", "intents/x.json", "config.json", ".jvs/format_version")
    for name in odd:
        write(f"{root}/main/sub/{name}", name)
    write(f"{root}/main/.READY", "mine")
    write(f"{root}/main/.jvs-tmp-1", "mine too")
    before = env.tree(f"{root}/main")
    first = env.snapshot(root, "one")
    env.equal(env.tree(f"{root}/.jvs/snapshots/{first}"), before, "the payload's hash")
    env.equal(sorted(os.listdir(f"{root}/.jvs/snapshots/{first}")), sorted(os.listdir(f"{root}/main")), "names")
    env.jvs("worktree", "fork", first, "w", cwd=root)
    env.equal(env.tree(f"{root}/worktrees/w"), before, "the fork's hash")
    write(f"{root}/main/a.txt", "changed")
    shutil.rmtree(f"{root}/main/sub")
    env.snapshot(root, "two")
    env.jvs("restore", first, cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), before, "the restored worktree's hash")
    env.equal(sorted(os.listdir(root)), [".jvs", "main", "worktrees"], "names in the repository's root")
    env.healthy(root)


def check_18_init_makes_a_valid_repository(env: Env) -> None:
    """init leaves the documented files, a valid configuration of main, mode 0700, and refuses what it must."""
    said = env.jvs("init", "repo")
    root = os.path.join(env.work, "repo")
    env.check(f"Initialized JVS repository in {root}" in said.text, f"{said}")
    env.equal(sorted(os.listdir(root)), [".jvs", "main", "worktrees"], "names")
    env.equal(_mode(f"{root}/.jvs"), 0o700, "mode of .jvs")
    env.equal(read_file(f"{root}/.jvs/format_version"), b"2\n", "format_version")
    env.check(UUID.match(read_file(f"{root}/.jvs/repo_id").decode().rstrip("\n")), "repo_id is not a UUID")
    config = env.config(root)
    env.equal([config[f"{k}_snapshot_id"] for k in ("base", "head", "latest")], [None] * 3, "base, head, latest")
    env.check(NAME.match(config["name"]) and TIME.match(config["created_at"]), f"{config}")
    env.healthy(root)
    shown = env.jvs("init", "second", "--json").json()
    env.check(set(shown) >= {"repo_root", "format_version", "repo_id", "engine"}, f"{shown}")
    env.equal(shown["format_version"], 2, "format_version in JSON")
    before = env.frozen(env.work)
    env.refused("E_EXISTS", 7, "init", "repo")
    for inside in ("repo/main/x", "repo/x", "repo/.jvs/x"):
        said = env.jvs("init", inside, code=None)
        env.check(said.code in (7, 11), f"init inside a repository: {said}")
    for place in ("/", env.home):
        said = env.jvs("init", place, code=None)
        env.check(said.code in (2, 7, 10), f"init {place}: {said}")
    env.unchanged(env.work, before, "a refused init")
    env.equal(os.listdir(env.home), [n for n in os.listdir(env.home) if n != ".jvs"], "home")
    write(f"{env.work}/source/f", "x")
    os.symlink("f", f"{env.work}/source/l")
    env.jvs("init", "third", "--from", "source")
    env.equal(env.tree(f"{env.work}/third/main"), env.tree(f"{env.work}/source"), "main after --from")
    env.healthy(f"{env.work}/third")


def check_19_removing_a_worktree_removes_both_halves(env: Env) -> None:
    """`worktree remove` takes configuration and directory, keeps unsaved files in undo, and undo brings them back."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    env.jvs("worktree", "fork", snapshot_id, "w", cwd=root)
    write(f"{root}/worktrees/w/unsaved", "no snapshot holds this\n")
    before = env.tree(f"{root}/worktrees/w")
    said = env.jvs("worktree", "remove", "w", cwd=root)
    env.check("Removed worktree 'w'" in said.text, f"{said}")
    env.check(not os.path.lexists(f"{root}/worktrees/w"), "the directory is still there")
    env.check(not os.path.lexists(f"{root}/.jvs/worktrees/w"), "the configuration is still there")
    env.healthy(root)
    env.jvs("undo", cwd=root)
    env.equal(env.tree(f"{root}/worktrees/w"), before, "the worktree after undo")
    env.healthy(root)
    env.jvs("worktree", "remove", "w", "--discard", cwd=root)
    env.check(not os.path.lexists(f"{root}/worktrees/w"), "the directory is still there")
    env.refused("E_NOT_FOUND", 5, "worktree", "remove", "w", cwd=root)
    for words in (("remove", "main"), ("rename", "main", "x")):
        said = env.jvs("worktree", *words, cwd=root, code=None)
        env.check(said.code in (2, 7, 10), f"{said}")
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


def check_21_restoring_an_old_snapshot_detaches(env: Env) -> None:
    """The files are those of the snapshot, head names it, latest stays, and the text says so with the ways on."""
    root = env.repository()
    ids = env.history(root)
    said = env.jvs("restore", ids[0], cwd=f"{root}/main")
    env.check("Restored" in said.text and "Worktree is now in DETACHED state." in said.text, f"{said}")
    env.check("jvs restore HEAD" in said.text and "fork" in said.text, f"the ways on are not named: {said}")
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[0], ids[2]), "head and latest")
    env.equal(env.tree(f"{root}/main"), read_hash(root, ids[0]), "the worktree's hash")
    env.check("detached" in env.jvs("status", cwd=f"{root}/main").text.lower(), "status does not say detached")
    env.healthy(root)
    env.jvs("undo", cwd=f"{root}/main")
    config = env.config(root)
    env.equal(
        (config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[2], ids[2]), "head and latest after undo"
    )
    env.equal(env.tree(f"{root}/main"), read_hash(root, ids[2]), "the worktree's hash after undo")


def check_22_restore_head_attaches_again(env: Env) -> None:
    """`restore HEAD` returns to latest, and what was changed meanwhile is kept for undo."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    write(f"{root}/main/work", "work that no snapshot holds\n")
    inode = os.stat(f"{root}/main/dir").st_ino
    said = env.jvs("restore", "HEAD", cwd=f"{root}/main")
    env.check("Worktree is at HEAD state." in said.text, f"{said}")
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[2], ids[2]), "head and latest")
    env.equal(env.tree(f"{root}/main"), read_hash(root, ids[2]), "the worktree's hash")
    env.equal(os.stat(f"{root}/main/dir").st_ino, inode, "the inode of a directory that both have")
    env.jvs("undo", cwd=f"{root}/main")
    env.equal(read_file(f"{root}/main/work"), b"work that no snapshot holds\n", "the kept file")
    env.jvs("undo", "--redo", cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), read_hash(root, ids[2]), "the worktree's hash after taking the undo back")
    env.healthy(root)


def check_23_the_detached_policy(env: Env) -> None:
    """Detached, `branch` makes a new line and keeps the old tip in view; `refuse` is E_DETACHED and changes nothing."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    write(f"{root}/main/new", "x")
    before = env.frozen(root)
    words = ("-c", "snapshot.when_detached=refuse", "snapshot", "no")
    env.refused("E_DETACHED", 7, *words, cwd=f"{root}/main")
    env.unchanged(root, before, "a refused snapshot")
    made = env.snapshot(root, "branch")
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (made, made), "head and latest")
    env.equal(env.repo(root).visible()[made]["parent_id"], ids[0], "the parent of the new line")
    listed = {d["snapshot_id"] for d in env.jvs("history", "--all", "--json", cwd=root).json()}
    env.equal(listed, {*ids, made}, "history --all")
    line = [d["snapshot_id"] for d in env.jvs("history", "--json", cwd=root).json()]
    env.equal(line, [made, ids[0]], "history")
    plan = env.jvs("gc", "plan", "--json", cwd=root).json()
    env.check(set(ids) <= set(plan["protected_set"]), f"the former tip is not protected: {plan}")
    env.healthy(root)


def check_24_a_fork_starts_from_a_snapshot(env: Env) -> None:
    """A fork has the snapshot's files and its head, base and latest; work there does not touch the origin."""
    root = env.repository()
    ids = env.history(root)
    said = env.jvs("worktree", "fork", ids[1], "w", cwd=root)
    env.check("Created worktree 'w' from snapshot" in said.text, f"{said}")
    env.equal(env.tree(f"{root}/worktrees/w"), read_hash(root, ids[1]), "the fork's hash")
    config = env.config(root, "w")
    for key in ("base", "head", "latest"):
        env.equal(config[f"{key}_snapshot_id"], ids[1], key)
    main = env.tree(f"{root}/main")
    write(f"{root}/worktrees/w/a.txt", "forked\n")
    made = env.snapshot(root, "in the fork", worktree="w")
    env.equal(env.repo(root).visible()[made]["parent_id"], ids[1], "parent of the first snapshot in the fork")
    env.equal(env.tree(f"{root}/main"), main, "main")
    env.equal(env.config(root)["head_snapshot_id"], ids[2], "head of main")
    env.jvs("worktree", "fork", "new-name", cwd=f"{root}/main")
    env.equal(env.config(root, "new-name")["base_snapshot_id"], ids[2], "base of a fork of the head")
    env.jvs("fork", "t0", "by-tag", cwd=root)
    env.equal(env.tree(worktree_dir(root, "by-tag")), read_hash(root, ids[0]), "hash of a fork by tag")
    env.refused("E_EXISTS", 7, "worktree", "fork", ids[0], "w", cwd=root)
    env.refused("E_NOT_FOUND", 5, "worktree", "fork", "nothing", "x", cwd=root)
    env.jvs("worktree", "create", "plain", cwd=root)
    env.equal(os.listdir(f"{root}/worktrees/plain"), [], "a worktree made empty")
    env.healthy(root)
