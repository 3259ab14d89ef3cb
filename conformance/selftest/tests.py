"""Proves that the proof tools can fail: known hashes, damaged repositories, and a supervisor that sees every call.

Run it as a program; it prints one line per test and ends with a count. It needs no jvs.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

from lib import canonical, oracle, reader
from lib.treehash import hash_tree
from mutants import judge
from mutants.wrong_programs import MUTANTS, Drop, Swap
from supervisor import seccomp, standby, supervise
from torture import likeness
from torture.journal import Journal
from torture.points import Point
from torture.verdict import Verdict

IDS = ("1700000000001-0a0a0a0a", "1700000000002-0b0b0b0b")
TIME = "2024-01-02T03:04:05.000006Z"
REPO_ID = "3f0c2f6e-1111-4222-8333-944445555666"


def write(path: str, data: bytes | str) -> None:
    """Write a file, making its directory."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(data.encode() if isinstance(data, str) else data)


def write_json(path: str, value: Any) -> None:
    """Write canonical JSON and a newline."""
    write(path, canonical.json_encode(value) + b"\n")


def build(root: str) -> None:
    """Write a small repository with two snapshots by hand."""
    jvs = os.path.join(root, ".jvs")
    for name in ("worktrees", "intents", "gc/plans", "gc/pins", "gc/tombstones", "gc/trash", "undo", "locks"):
        os.makedirs(os.path.join(jvs, name))
    os.chmod(jvs, 0o700)
    os.makedirs(os.path.join(root, "worktrees"))
    write(f"{jvs}/format_version", "2\n")
    write(f"{jvs}/repo_id", REPO_ID + "\n")
    chain = [audit_record(None, "init", None, {})]
    for number, snapshot_id in enumerate(IDS):
        write(f"{root}/main/sub/file{number}", f"content {number}\n")
        shutil.copytree(f"{root}/main", f"{jvs}/snapshots/{snapshot_id}")
        descriptor = describe(root, snapshot_id, IDS[number - 1] if number else None, chain[-1]["record_hash"])
        save_descriptor(root, descriptor)
        details = {"descriptor_checksum": descriptor["descriptor_checksum"]}
        chain.append(audit_record(chain[-1], "snapshot", snapshot_id, details))
    save_audit(root, chain)
    save_config(root, head_snapshot_id=IDS[1], latest_snapshot_id=IDS[1])


def event_of(seq: int) -> str:
    """Return the event id of the record with a number."""
    return f"00000000-0000-4000-8000-{seq:012d}"


def audit_record(before: dict[str, Any] | None, operation: str, target: Any, details: dict[str, Any]) -> dict[str, Any]:
    """Return the record that comes after another."""
    seq = 1 if before is None else before["seq"] + 1
    record = {
        "seq": seq,
        "event_id": event_of(seq),
        "timestamp": TIME,
        "operation": operation,
        "actor": "a@b",
        "target": target,
        "worktree": "main",
        "reason": None,
        "details": details,
        "prev_hash": reader.genesis_hash(REPO_ID) if before is None else before["record_hash"],
    }
    record["record_hash"] = reader.record_hash(record)
    return record


def describe(root: str, snapshot_id: str, parent: str | None, audit_head: str) -> dict[str, Any]:
    """Return a descriptor of what lies below `snapshots/ID`."""
    tree = hash_tree(f"{root}/.jvs/snapshots/{snapshot_id}")
    return {
        "format": 2,
        "snapshot_id": snapshot_id,
        "parent_id": parent,
        "worktree_name": "main",
        "created_at": TIME,
        "note": "nöte",
        "tags": ["v1"],
        "engine": "copy",
        "hash_algorithm": "sha256-tree-1",
        "payload_root_hash": tree.root_hash,
        "payload": tree.counts(),
        "degraded": [],
        "partial_paths": None,
        "actor": "a@b",
        "audit_head": audit_head,
        "integrity_state": "verified",
    }


def save_descriptor(root: str, descriptor: dict[str, Any]) -> None:
    """Write a descriptor with a right checksum, and its READY marker."""
    descriptor["descriptor_checksum"] = reader.checksum(descriptor)
    snapshot_id = descriptor["snapshot_id"]
    write_json(f"{root}/.jvs/descriptors/{snapshot_id}.json", descriptor)
    ready = {key: descriptor[key] for key in reader.READY_KEYS}
    write_json(f"{root}/.jvs/snapshots/{snapshot_id}.READY", ready)


def save_audit(root: str, chain: list[dict[str, Any]]) -> None:
    """Write the whole log."""
    write(f"{root}/.jvs/audit/audit.jsonl", b"".join(canonical.json_encode(r) + b"\n" for r in chain))


def save_config(root: str, **changes: Any) -> None:
    """Write the configuration of main."""
    config = {"name": "main", "created_at": TIME, "base_snapshot_id": None, "event_id": event_of(3)} | changes
    write_json(f"{root}/.jvs/worktrees/main/config.json", config)


@contextlib.contextmanager
def repository() -> Any:
    """A fresh hand-written repository in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="jvs-selftest-") as directory:
        root = os.path.join(os.path.realpath(directory), "repo")
        build(root)
        yield root


def expect_violation(invariant: str, damage: Callable[[str], object], **options: Any) -> None:
    """Build, check that it is clean, damage it, and require that the oracle names the invariant."""
    with repository() as root:
        clean = oracle.check_repository(root, recovered=True)
        assert clean == [], clean
        damage(root)
        found = oracle.check_repository(root, **options)
        assert invariant in {v.invariant for v in found}, f"wanted {invariant}, found {[str(v) for v in found]}"


def edit(root: str, path: str, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file in place, without mending any checksum."""
    full = os.path.join(root, ".jvs", path)
    value = canonical.json_object(reader.read_file(full))
    change(value)
    write_json(full, value)


# --- encodings and hashes ---


def test_known_tree_hash() -> None:
    """Compare with a hash worked out by hand from the format's text."""
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        assert hash_tree(directory).root_hash == _root(0o755, hashlib.sha256(b"jvs-tree-1\0\x80").digest())
        write(f"{directory}/a", b"x")
        os.chmod(f"{directory}/a", 0o644)
        digest = hashlib.sha256(b"x").digest()
        node = b"\x81\x86\x41a\x00\x19\x01\xa4\x01\x58\x20" + digest + b"\xf6"
        assert hash_tree(directory).root_hash == _root(0o755, hashlib.sha256(b"jvs-tree-1\0" + node).digest())


def _root(mode: int, digest: bytes) -> str:
    encoded = b"\x83\x19" + mode.to_bytes(2, "big") + b"\xf6\x58\x20" + digest
    return hashlib.sha256(b"jvs-root-1\0" + encoded).hexdigest()


def test_hash_sees_every_kind_of_change() -> None:
    """Names, modes, kinds, targets, contents and attributes all count; times and inodes do not."""
    with tempfile.TemporaryDirectory() as directory:
        write(f"{directory}/d/f", b"1")
        seen = {hash_tree(directory).root_hash}

        def differs(what: str) -> None:
            now = hash_tree(directory).root_hash
            assert now not in seen, what
            seen.add(now)

        write(f"{directory}/d/f", b"2")
        differs("content")
        os.chmod(f"{directory}/d/f", 0o600)
        differs("mode")
        os.rename(f"{directory}/d/f", f"{directory}/d/g")
        differs("name")
        os.symlink("g", f"{directory}/d/l")
        differs("symlink")
        os.unlink(f"{directory}/d/l")
        os.symlink("h", f"{directory}/d/l")
        differs("target")
        os.mkfifo(f"{directory}/d/p")
        differs("fifo")
        os.unlink(f"{directory}/d/p")
        server = socket.socket(socket.AF_UNIX)
        server.bind(f"{directory}/d/p")
        server.close()
        differs("socket in place of a fifo")
        write(os.fsencode(directory).decode() + "/\udcff\n", b"")
        differs("odd name")
        os.chmod(directory, 0o750)
        differs("root mode")
        with contextlib.suppress(OSError):
            os.setxattr(f"{directory}/d/g", "user.x", b"1")
            differs("xattr")
        os.utime(f"{directory}/d/g", (1, 1))
        assert hash_tree(directory).root_hash in seen


def test_strict_json() -> None:
    """What two readers could read differently is refused."""
    for data in (
        b'{"a":1,"a":2}',
        b"NaN",
        b"1.5",
        b"1e3",
        b'"\\ud800"',
        b"\xff",
        b"[" * 100 + b"]" * 100,
        b"{} {}",
        b"",
    ):
        try:
            canonical.json_decode(data)
        except canonical.Malformed:
            continue
        raise AssertionError(data)
    assert canonical.json_encode({"b": 1, "a": "ü"}) == '{"a":"ü","b":1}'.encode()


def test_cbor_round_trip() -> None:
    """Deterministic CBOR goes both ways; other encodings of the same value are refused."""
    value = [0, 23, 24, 255, 256, 65536, 1 << 40, -1, b"x" * 300, {b"b": b"", b"aa": b"1"}, None, True, "t"]
    assert canonical.cbor_decode(canonical.cbor_encode(value)) == value
    for data in (b"\x18\x01", b"\x82\x01", b"\x01\x01", b"\x9f\x01\xff", b"\xa2\x41b\x00\x41a\x00"):
        try:
            canonical.cbor_decode(data)
        except canonical.Malformed:
            continue
        raise AssertionError(data)


# --- the oracle complains ---


def test_payload_damage() -> None:
    expect_violation("I1", lambda r: write(f"{r}/.jvs/snapshots/{IDS[0]}/sub/file0", "changed"))
    expect_violation("I1", lambda r: os.chmod(f"{r}/.jvs/snapshots/{IDS[0]}/sub/file0", 0o777))
    expect_violation("I1", lambda r: os.unlink(f"{r}/.jvs/snapshots/{IDS[0]}/sub/file0"))
    expect_violation("I1", lambda r: write(f"{r}/.jvs/snapshots/{IDS[0]}/.READY", ""))
    expect_violation("I5", lambda r: shutil.rmtree(f"{r}/.jvs/snapshots/{IDS[1]}"))


def test_descriptor_and_marker_damage() -> None:
    descriptor, marker = f"descriptors/{IDS[0]}.json", f"snapshots/{IDS[0]}.READY"
    expect_violation("I5", lambda r: edit(r, descriptor, lambda d: d.update(note="other")))
    expect_violation("I5", lambda r: edit(r, descriptor, lambda d: d.update(extra=1)))
    expect_violation("I5", lambda r: edit(r, descriptor, lambda d: d.pop("tags")))
    expect_violation("I5", lambda r: edit(r, marker, lambda d: d.update(engine="btrfs-snapshot")))
    expect_violation("I5", lambda r: os.unlink(f"{r}/.jvs/{marker}"))
    expect_violation("I5", lambda r: os.unlink(f"{r}/.jvs/descriptors/{IDS[1]}.json"))
    expect_violation("I5", lambda r: write(f"{r}/.jvs/{descriptor}", ""))

    def recomputed(root: str) -> None:
        value = canonical.json_object(reader.read_file(f"{root}/.jvs/{descriptor}"))
        value["note"] = "a rewrite with a right checksum"
        save_descriptor(root, value)

    expect_violation("I7", recomputed)


def test_config_damage() -> None:
    gone = "1700000000009-0c0c0c0c"
    expect_violation("I11", lambda r: save_config(r, head_snapshot_id=gone, latest_snapshot_id=gone))
    expect_violation("I11", lambda r: write(f"{r}/.jvs/worktrees/main/config.json", ""))
    expect_violation("I3", lambda r: shutil.rmtree(f"{r}/main"))
    linear = oracle.Expect(linear=True)
    head = {"head_snapshot_id": IDS[0], "latest_snapshot_id": IDS[0]}
    expect_violation("I6", lambda r: save_config(r, **head), expect=linear)


def test_event_damage() -> None:
    """A head and the event that moved it agree, and the event stands in the log."""
    latest = {"head_snapshot_id": IDS[1], "latest_snapshot_id": IDS[1]}
    expect_violation("I8", lambda r: save_config(r, **latest, event_id=event_of(9)))
    expect_violation("I11", lambda r: save_config(r, **latest, event_id=event_of(2)))
    expect_violation("I11", lambda r: save_config(r, **latest, event_id=None))
    expect_violation("I11", lambda r: save_config(r, head_snapshot_id=IDS[0], latest_snapshot_id=IDS[1]))


OPERATION = "1700000000005-0d0d0d0d"


def operate(root: str, *, log: bool = True, **changes: Any) -> None:
    """Let a restore of the first snapshot have been done, with its journal in `undo/` and its record."""
    journal = {
        "version": 1,
        "operation_id": OPERATION,
        "kind": "restore",
        "worktree": "main",
        "created_at": TIME,
        "seq": 3,
        "of": None,
        "root": OPERATION,
        "forward": True,
        "undone_by": None,
        "target": IDS[0],
        "before": {"head": IDS[1], "latest": IDS[1]},
        "after": {"head": IDS[0], "latest": IDS[1]},
        "bytes": 0,
        "details": {"delta_sha256": hashlib.sha256(b"\x80").hexdigest()},
    }
    details = {"operation_id": OPERATION, "before": journal["before"], "after": journal["after"]}
    write(f"{root}/.jvs/undo/{OPERATION}/delta.cbor", b"\x80")
    write_json(f"{root}/.jvs/undo/{OPERATION}/op.json", journal | changes)
    chain = [canonical.json_object(line) for line in reader.read_file(f"{root}/.jvs/audit/audit.jsonl").splitlines()]
    if log:
        save_audit(root, [*chain, audit_record(chain[-1], "restore", IDS[0], details)])
        save_config(root, head_snapshot_id=IDS[0], latest_snapshot_id=IDS[1], event_id=event_of(4))


def test_journal_damage() -> None:
    """What an operation says of itself below `undo/` and its record agree."""
    with repository() as root:
        operate(root)
        assert oracle.check_repository(root, recovered=True) == []
    expect_violation("I7", lambda r: operate(r, log=False))
    expect_violation("I7", lambda r: operate(r, before={"head": None, "latest": IDS[1]}))
    expect_violation("I7", lambda r: operate(r, seq=4))
    expect_violation("I4", lambda r: operate(r, operation_id="1700000000006-0d0d0d0d"))
    expect_violation("I4", lambda r: operate(r, details={"delta_sha256": "0" * 64}))
    expect_violation("I14", lambda r: os.mkdir(f"{r}/.jvs/undo/{OPERATION}"), recovered=True)

    def taken_back(root: str) -> None:
        operate(root)
        write(f"{root}/.jvs/undo/{OPERATION[:-1]}e/delta.cbor", b"\x80")
        journal = canonical.json_object(reader.read_file(f"{root}/.jvs/undo/{OPERATION}/op.json"))
        write_json(
            f"{root}/.jvs/undo/{OPERATION[:-1]}e/op.json",
            journal | {"operation_id": OPERATION[:-1] + "e", "of": OPERATION, "seq": 4},
        )
        chain = reader.read_file(f"{root}/.jvs/audit/audit.jsonl").splitlines()
        details = {"operation_id": OPERATION[:-1] + "e"}
        last = canonical.json_object(chain[-1])
        save_audit(root, [*map(canonical.json_object, chain), audit_record(last, "undo", IDS[0], details)])

    expect_violation("I15", taken_back)


def test_lineage_damage() -> None:
    def reparent(root: str) -> None:
        value = canonical.json_object(reader.read_file(f"{root}/.jvs/descriptors/{IDS[0]}.json"))
        value["parent_id"] = IDS[1]
        save_descriptor(root, value)

    expect_violation("I6", reparent)


def test_audit_damage() -> None:
    def log(root: str) -> list[bytes]:
        return reader.read_file(f"{root}/.jvs/audit/audit.jsonl").splitlines(keepends=True)

    def keep(root: str, lines: list[bytes]) -> None:
        write(f"{root}/.jvs/audit/audit.jsonl", b"".join(lines))

    expect_violation("I7", lambda r: keep(r, log(r)[:-1]))
    expect_violation("I8", lambda r: keep(r, log(r)[1:]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0], log(r)[2]]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0], log(r)[2], log(r)[1]]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0].replace(b"a@b", b"x@y"), *log(r)[1:]]))
    expect_violation("I8", lambda r: keep(r, [log(r)[0][:20] + b"\n", *log(r)[1:]]))
    expect_violation("I8", lambda r: os.unlink(f"{r}/.jvs/audit/audit.jsonl"))
    expect_violation("I14", lambda r: keep(r, [*log(r), b'{"torn']), recovered=True)
    with repository() as root:
        keep(root, [*log(root), b'{"torn'])
        assert oracle.check_repository(root) == [], "a torn tail before settling is no violation"
        keep(root, [*log(root)[:-2], b"\n"])
        assert oracle.check_repository(root) != []


def test_debris() -> None:
    other = "1700000000009-0c0c0c0c"
    expect_violation("I14", lambda r: os.mkdir(f"{r}/.jvs/snapshots/{other}.tmp"))
    expect_violation("I14", lambda r: write(f"{r}/.jvs/descriptors/{other}.json.tmp", "{}"))
    expect_violation("I5", lambda r: os.mkdir(f"{r}/.jvs/snapshots/{other}"))
    expect_violation("I10", lambda r: write(f"{r}/stray", ""))
    expect_violation("I14", lambda r: write(f"{r}/.jvs/stray", ""), recovered=True)
    expect_violation("I14", lambda r: write(f"{r}/worktrees/w/f", ""), recovered=True)

    def pending(root: str) -> None:
        os.mkdir(f"{root}/.jvs/snapshots/{other}.tmp")
        intent: dict[str, Any] = {
            "operation": "snapshot",
            "operation_id": other,
            "snapshot_id": other,
            "parent_id": IDS[1],
        }
        intent["audit"] = {"event_id": event_of(4)}
        write_json(f"{root}/.jvs/intents/{other}.json", intent)

    expect_violation("I14", pending, recovered=True)
    with repository() as root:
        pending(root)
        save_config(root, head_snapshot_id=other, latest_snapshot_id=other, event_id=event_of(4))
        assert oracle.check_repository(root) == [], "debris that an intent names is no violation before settling"
        assert oracle.state(root)["heads"] == {"main": IDS[1]}


def test_expectations() -> None:
    """What the caller knows is held against the disk."""
    with repository() as root:
        main = hash_tree(f"{root}/main")
        hashes = {i: s["payload_root_hash"] for i, s in oracle.state(root)["snapshots"].items()}
        expect = oracle.Expect(
            snapshots=hashes, worktrees={"main": [main]}, contents=main.contents(), outside=oracle.outside_of(root)
        )
        assert oracle.check_repository(root, expect=expect, recovered=True) == []
        write(f"{root}/main/new", "a byte that no snapshot holds")
        assert "I4" in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        expect.worktrees = {"main": [hash_tree(f"{root}/main")]}
        expect.contents = hash_tree(f"{root}/main").contents()
        os.rename(f"{root}/main/new", f"{root}/.jvs/undo/new")
        assert "bytes" not in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        os.unlink(f"{root}/.jvs/undo/new")
        assert "bytes" in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        write(f"{root}/../beside", "")
        assert "I12" in {v.invariant for v in oracle.check_repository(root, expect=expect)}
        expect.snapshots = {"1700000000009-0c0c0c0c": "0" * 64}
        assert "I1" in {v.invariant for v in oracle.check_repository(root, expect=expect)}


# --- runs from a process on standby, journals, likeness, mutants ---

_PROGRAM = """
import os, signal, sys, threading
def main():
    words = sys.argv[1:]
    if words[0] == "say":
        print(*words[1:], os.getcwd(), os.environ["WHERE"], sys.stdin.read())
        print("aside", file=sys.stderr)
    elif words[0] == "write":
        with open("f", "w") as file:
            file.write("1234")
        os.rename("f", "g")
    elif words[0] == "raise":
        raise ValueError("oops")
    elif words[0] == "leave":
        sys.exit("a reason")
    elif words[0] == "interrupt":
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    elif words[0] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return len(words)
"""


@contextlib.contextmanager
def program() -> Any:
    """A console script as pip makes them, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="jvs-selftest-") as directory:
        directory = os.path.realpath(directory)
        write(f"{directory}/lib/prog/__init__.py", "")
        write(f"{directory}/lib/prog/cli.py", _PROGRAM)
        script = (
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {directory + '/lib'!r})\nfrom prog.cli import main\n"
        )
        write(f"{directory}/bin/prog", script + "if __name__ == '__main__':\n    sys.exit(main())\n")
        os.chmod(f"{directory}/bin/prog", 0o755)
        os.mkdir(f"{directory}/work")
        yield directory


def test_standby_runs_as_a_new_process_does() -> None:
    """The same words, streams, environment and ends; nothing of one run is left for the next."""
    with program() as directory:
        server = standby.Standby(f"{directory}/bin/prog")
        try:
            for words in (["say", "a", "b c"], ["raise"], ["leave"], ["interrupt"], ["kill"], ["say", "again"]):
                argv = [server.program, *words]
                env = {"WHERE": words[0], "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
                cold = subprocess.run(
                    argv, input=b"in", capture_output=True, cwd=f"{directory}/work", env=env, check=False
                )
                warm = server.run(argv, cwd=f"{directory}/work", env=env, stdin=b"in")
                assert (warm.returncode, warm.stdout) == (cold.returncode, cold.stdout), (words, cold, warm)
                assert warm.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:], (words, cold, warm)
        finally:
            server.close()


def test_standby_is_supervised_like_a_new_process() -> None:
    """The filter is in place, and the same calls stop at their entry."""
    with program() as directory:
        server = standby.Standby(f"{directory}/bin/prog")
        try:
            options = {"root": f"{directory}/work", "cwd": f"{directory}/work"}
            argv = [server.program, "write"]
            cold = supervise.run(argv, **options)
            warm = supervise.run(argv, **options, standby=server)
            assert [(e.name, e.paths, e.detail) for e in warm.events] == [
                (e.name, e.paths, e.detail) for e in cold.events
            ]
            assert len(warm.events) == 3 and warm.returncode == cold.returncode == 1, warm
            os.unlink(f"{directory}/work/g")
            killed = supervise.run(argv, **options, standby=server, action=supervise.Action("kill", 3))
            assert killed.returncode == -signal.SIGKILL and os.listdir(f"{directory}/work") == ["f"]
        finally:
            server.close()


def test_likeness_sees_what_differs() -> None:
    """New ids and times are alike; another state, content, mode or number of files is not."""

    def sum_up(change: Callable[[str], object]) -> str:
        with repository() as root:
            known = likeness.tokens(root)
            change(root)
            return likeness.likeness(root, known)

    def intent(number: int) -> Callable[[str], object]:
        other = f"170000000001{number}-0c0c0c0{number}"
        return lambda r: write_json(f"{r}/.jvs/intents/{other}.json", {"operation_id": other, "audit_seq": 2})

    same = sum_up(lambda r: None)
    assert same == sum_up(lambda r: None)
    assert sum_up(intent(1)) == sum_up(intent(2)) != same
    for change in (
        lambda r: write(f"{r}/main/sub/file0", "content 7\n"),
        lambda r: os.chmod(f"{r}/main/sub/file0", 0o600),
        lambda r: os.unlink(f"{r}/main/sub/file0"),
        lambda r: os.mkdir(f"{r}/.jvs/snapshots/1700000000009-0c0c0c0c.tmp"),
        lambda r: save_config(r, head_snapshot_id=IDS[0], latest_snapshot_id=IDS[1]),
        lambda r: write(f"{r}/.jvs/audit/audit.jsonl", ""),
        lambda r: write(f"{r}/.jvs/index.sqlite", "x"),
    ):
        assert sum_up(change) != same


def test_journal_leaves_out_what_was_judged() -> None:
    """A verdict counts for the calls it was made for; what a crash tore off the file does not."""
    with tempfile.TemporaryDirectory() as directory:
        path, point = f"{directory}/journal", Point("snapshot", "kill", 3)
        verdict = Verdict(point, "#3 write", -9, ["I1"], 0.5, "/kept")
        Journal(path).add(verdict, "calls")
        with open(path, "a") as file:
            file.write('{"scenario": "snap')
        journal = Journal(path)
        assert journal.find(point, "calls") == verdict
        assert journal.find(point, "other calls") is None
        assert journal.find(Point("snapshot", "kill", 4), "calls") is None


def test_patches_must_fit() -> None:
    """A mutant whose patch does not fit any more is stale, and not silently the right program."""
    text = "def f():\n    one()\n    two()  # why\n    one()\n"
    assert judge.dropped(text, Drop("x", "# why")) == "def f():\n    one()\n    pass\n    one()\n"
    assert judge.swapped(text, Swap("x", "two()", "three()")) == text.replace("two", "three")
    for edit in (Drop("x", "one()"), Drop("x", "four()"), Swap("x", "one()", ""), Swap("x", "four()", "")):
        try:
            judge.dropped(text, edit) if isinstance(edit, Drop) else judge.swapped(text, edit)
        except judge.Stale:
            continue
        raise AssertionError(edit)
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names) and all(mutant.edits and mutant.judges for mutant in MUTANTS)


# --- the supervisor ---

_SCRIPT = """
import os, threading
fd = os.open("f", os.O_CREAT | os.O_WRONLY)
os.write(fd, b"12345678"); os.pwrite(fd, b"1", 0); os.writev(fd, [b"2"]); os.fsync(fd); os.fdatasync(fd)
os.fchmod(fd, 0o600); os.fchown(fd, os.getuid(), os.getgid()); os.ftruncate(fd, 3); os.utime(fd)
os.close(fd)
os.truncate("f", 2); os.chmod("f", 0o644); os.utime("f"); os.chown("f", os.getuid(), os.getgid())
os.link("f", "g"); os.symlink("f", "s"); os.rename("g", "h"); os.mkfifo("p"); os.mkdir("d"); os.rmdir("d")
here = os.open(".", os.O_RDONLY)
os.mkdir("e", dir_fd=here); os.rename("h", "e/h", src_dir_fd=here, dst_dir_fd=here); os.unlink("e/h", dir_fd=here)
a = os.open("f", os.O_RDONLY); b = os.open("k", os.O_CREAT | os.O_RDWR)
os.copy_file_range(a, b, 1)
t = threading.Thread(target=os.mkdir, args=("t",)); t.start(); t.join()
if os.fork() == 0:
    os.mkdir("child"); os._exit(0)
os.wait()
os.system("mkdir shell")
open("/dev/null", "w").write("not counted")
open("f").read()
"""
_SEEN = [
    *("open", "write", "pwrite64", "writev", "fsync", "fdatasync", "fchmod", "fchown", "ftruncate", "utimensat"),
    *("truncate", "chmod", "utimensat", "chown", "link", "symlink", "rename", "mknod", "mkdir", "rmdir"),
    *("mkdir", "rename", "unlink", "open", "copy_file_range", "mkdir", "mkdir", "mkdir"),
]


def _plain(name: str) -> str:
    """Return a call's name without the suffixes by which C libraries and machines differ."""
    return name.removesuffix("2").removesuffix("at")


def run_script(script: str, **options: Any) -> tuple[supervise.Outcome, str, contextlib.AbstractContextManager[str]]:
    """Run a Python script below a fresh directory."""
    holder = tempfile.TemporaryDirectory(prefix="jvs-selftest-")
    root = os.path.realpath(holder.name)
    argv = [sys.executable, "-I", "-S", "-c", script]
    return supervise.run(argv, root=root, cwd=root, timeout=20, **options), root, holder


def test_supervisor_sees_every_call() -> None:
    outcome, _, holder = run_script(_SCRIPT)
    with holder:
        assert outcome.returncode == 0, outcome.stderr.decode()
        seen = [_plain(event.name) for event in outcome.events]
        wanted = [_plain(name) for name in _SEEN]
        assert seen == wanted, f"{seen}\n{wanted}"
        assert [e.number for e in outcome.events] == list(range(1, len(_SEEN) + 1))
        assert len({e.pid for e in outcome.events}) == 4, "threads and children count"


def test_supervisor_kills_before_each_call() -> None:
    """Killed at call N, exactly the calls before N have happened; children die as well."""
    script = "import os\nfor i in range(5): os.mkdir(str(i))\nos.system('mkdir 5; mkdir 6')"
    for at in range(1, 8):
        outcome, root, holder = run_script(script, action=supervise.Action("kill", at))
        with holder:
            assert sorted(os.listdir(root)) == [str(i) for i in range(at - 1)], at
            assert outcome.returncode == -signal.SIGKILL and outcome.fired is not None
            assert outcome.fired.number == at
    outcome, root, holder = run_script(script, action=supervise.Action("kill", 8))
    with holder:
        assert outcome.fired is None and outcome.returncode == 0


def test_supervisor_injects_errors() -> None:
    """Once and from then on; a full disk refuses what takes space and lets removals through."""
    script = """
import os
for i in range(4):
    try:
        os.mkdir(str(i)); os.rmdir(str(i)); print("ok", end=" ")
    except OSError as error:
        print(error.errno, end=" ")
"""
    for number, sticky, wanted in (
        (errno.EIO, False, "ok 5 ok ok"),
        (errno.EROFS, True, "ok 30 30 30"),
        (errno.ENOSPC, True, "ok 28 28 28"),
    ):
        outcome, _, holder = run_script(script, action=supervise.Action("errno", 3, number, sticky=sticky))
        with holder:
            assert outcome.stdout.decode().split() == wanted.split(), outcome.stdout
    outcome, _, holder = run_script(script, action=supervise.Action("errno", 2, errno.ENOSPC))
    with holder:
        assert outcome.hits == 0 and outcome.stdout.decode().split() == ["ok"] * 4, "rmdir needs no space"


def test_supervisor_sends_signals() -> None:
    script = """
import os, signal
signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
for i in range(4): os.mkdir(str(i))
print(len(os.listdir(".")))
"""
    outcome, _, holder = run_script(script, action=supervise.Action("signal", 2, signal.SIGTERM))
    with holder:
        assert outcome.stdout.split() == [b"handled", b"4"], outcome.stdout
        assert len(outcome.events) == 4, "a signal restarts no call"
    outcome, _, holder = run_script(script, action=supervise.Action("signal", 2, signal.SIGINT))
    with holder:
        assert outcome.returncode in (-signal.SIGINT, 130), outcome.returncode


def test_supervisor_shortens_writes() -> None:
    script = (
        'import os\nfd = os.open("f", os.O_CREAT | os.O_WRONLY)\nprint(os.write(fd, b"12345678"), os.write(fd, b"9"))'
    )
    outcome, root, holder = run_script(script, action=supervise.Action("short", 2))
    with holder:
        assert outcome.stdout.split() == [b"4", b"1"], outcome.stdout
        assert reader.read_file(f"{root}/f") == b"12349"


def test_supervisor_calls_back_while_the_call_waits() -> None:
    listing: list[list[str]] = []
    holder = tempfile.TemporaryDirectory()
    with holder as root:
        action = supervise.Action("call", 2, callback=lambda _event: listing.append(os.listdir(root)))
        argv = ["sh", "-c", "mkdir a; mkdir b"]
        assert supervise.run(argv, root=root, cwd=root, action=action).returncode == 0
        assert listing == [["a"]] and sorted(os.listdir(root)) == ["a", "b"]


def test_supervisor_ends_hanging_runs() -> None:
    with tempfile.TemporaryDirectory() as root:
        outcome = supervise.run(["sh", "-c", "mkdir a; sleep 60"], root=root, cwd=root, timeout=0.5)
        assert outcome.timed_out and outcome.seconds < 5


def test_supervisor_agrees_with_strace() -> None:
    """Where strace is there, both count the same calls of a shell script."""
    if shutil.which("strace") is None:
        raise Skipped("strace is not installed")
    script = "echo a > f; mv f g; cp g h; rm g; mkdir d; ln -s x d/l; rm -r d; touch t"
    with tempfile.TemporaryDirectory() as root:
        watched = supervise.run(["sh", "-c", script], root=root, cwd=root)
    calls = ",".join(name for name, row in seccomp.CALLS.items() if row[0] < 430 and name not in ("ioctl", "write"))
    with tempfile.TemporaryDirectory() as root:
        argv = ["strace", "-f", "-qq", "-e", f"trace={calls}", "-e", "signal=none", "sh", "-c", script]
        done = subprocess.run(argv, cwd=root, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if "(" in line and "/dev/" not in line]
    lines = [line for line in lines if "open" not in line or "O_WRONLY" in line or "O_RDWR" in line]
    seen = [event.name for event in watched.events if event.name not in ("write", "ioctl")]
    assert len(seen) == len(lines), f"{seen}\n" + "\n".join(lines)


class Skipped(Exception):
    """A test that cannot run here, with the reason."""


def main() -> int:
    """Run every test of this file."""
    tests = [(n, t) for n, t in globals().items() if n.startswith("test_")]
    failed = skipped = 0
    for name, test in tests:
        try:
            test()
            print(f"ok      {name}")
        except (Skipped, seccomp.Unsupported) as reason:
            skipped += 1
            print(f"skipped {name}: {reason}")
        except Exception:
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}")
    print(f"{len(tests) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.dont_write_bytecode = True
    raise SystemExit(main())
