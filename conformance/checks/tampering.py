"""A change of a record, a payload or the audit log is noticed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from lib.canonical import json_encode, json_object
from lib.harness import Env, copy_repository, mode_of, write
from lib.reader import read_file
from lib.records import TIME, checksum


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


def _damages(payload: str) -> dict[str, Callable[[], None]]:
    """Return ways to change a payload, by name: each changes something that the hash covers."""
    target, link, empty = f"{payload}/a.txt", f"{payload}/link", f"{payload}/empty"

    def relink() -> None:
        os.unlink(link)
        os.symlink("b.txt", link)

    def change_kind() -> None:
        os.unlink(target)
        os.mkfifo(target)

    def make_empty() -> None:
        shutil.rmtree(payload)
        os.mkdir(payload)

    return {
        "content": lambda: write(target, "ALPHA\n"),
        "mode": lambda: os.chmod(target, 0o777),
        "removed": lambda: os.unlink(target),
        "added": lambda: write(f"{payload}/extra", ""),
        "renamed": lambda: os.rename(target, f"{payload}/b.txt"),
        "link": relink,
        "kind": change_kind,
        "directory mode": lambda: os.chmod(empty, 0o700 if mode_of(empty) != 0o700 else 0o755),
        "root mode": lambda: os.chmod(payload, 0o711),
        "emptied": make_empty,
    }


def check_03_payload_tampering_is_seen(env: Env) -> None:
    """Any change below `snapshots/ID` is found by verify with E_PAYLOAD_HASH_MISMATCH, and restore refuses it."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    write(f"{root}/main/a.txt", "later\n")
    env.snapshot(root, "two")
    payload = f"{root}/.jvs/snapshots/{snapshot_id}"
    kept = os.path.join(env.directory, "kept")
    copy_repository(payload, kept)

    def restored() -> None:
        shutil.rmtree(payload)
        copy_repository(kept, payload)

    ways = _damages(payload)
    for what, damage in ways.items():
        restored()
        damage()
        said = env.jvs("verify", snapshot_id, cwd=root, code=21)
        env.check("TAMPERED" in said.text and "E_PAYLOAD_HASH_MISMATCH" in said.text, f"{what}: {said}")
        env.check("Payload hash: false" in said.text, f"{what}: {said}")
        report = env.jvs("verify", snapshot_id, "--json", cwd=root, code=21).json()
        env.equal((report["payload_hash_valid"], report["tamper_detected"]), (False, True), what)
        env.step("verify-snapshot", snapshot_id, cwd=root, code=21)
    env.jvs("verify", "--all", cwd=root, code=21)
    env.jvs("doctor", "--strict", cwd=root, code=21)
    restored()
    ways["content"]()
    for words in (("restore", snapshot_id), ("worktree", "fork", snapshot_id, "w")):
        said = env.jvs(*words, cwd=f"{root}/main", code=None)
        env.check(said.code == 21, f"tampered payload was used: {said}")
    restored()
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
    env.equal([read_file(f"{root}/.jvs/audit/{n}") for n in kept], [b'{"seq":99,"op'], "torn bytes kept")
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
    said = env.jvs("verify", snapshot_id, cwd=root, code=20)  # the checksum does not cover it: it has one value only
    env.check("TAMPERED" in said.text, f"an edited integrity_state: {said}")
    write(path, original)
    env.healthy(root)
