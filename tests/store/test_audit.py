"""The audit log: one chain, appended at its end, torn lines set aside, damage never repaired in silence."""

from __future__ import annotations

import hashlib
import json
import os

import making
import pytest

from jvs import canon, clock
from jvs.errors import AuditChainBroken, JvsError
from jvs.store import audit, audit_check

ZERO = "0" * 64


@pytest.fixture
def log(tmp_path):
    (tmp_path / "audit.jsonl").touch()
    return audit.Log(making.at(tmp_path / "audit.jsonl"), first_hash=ZERO, lock=making.at(tmp_path / "lock"))


def add(log, operation="config", **more):
    return log.append(audit.event(operation, "me@here", **more))


def lines(log):
    with open(str(log.path), "rb") as file:
        return file.read().split(b"\n")[:-1]


def rewrite(log, changed):
    with open(str(log.path), "wb") as file:
        file.write(b"".join(line + b"\n" for line in changed))


def test_records_follow_each_other(log):
    first, second = add(log), add(log)
    assert (first["seq"], second["seq"]) == (1, 2)
    assert first["prev_hash"] == ZERO
    assert second["prev_hash"] == first["record_hash"]
    assert log.tail() == (2, second["record_hash"])
    report = audit_check.check(log.path, ZERO)
    assert (report.count, report.problems, report.head, report.torn) == (2, [], second["record_hash"], 0)


def test_a_record_is_one_canonical_line_with_every_field(log):
    add(log, target="T", worktree="main", reason="why", details={"a": [1]})
    (line,) = lines(log)
    record = json.loads(line)
    assert canon.encode(record) == line
    assert set(record) == set(audit._KEYS)
    body = {key: value for key, value in record.items() if key != "record_hash"}
    assert record["record_hash"] == hashlib.sha256(canon.encode(body)).hexdigest()


def test_the_first_record_follows_the_repository_id():
    assert audit.genesis("x") == hashlib.sha256(b"x").hexdigest()


def test_an_empty_log_has_no_last_record(log):
    assert log.tail() == (0, ZERO)
    assert audit_check.check(log.path, ZERO).count == 0


def test_appending_the_same_event_again_changes_nothing(log):
    add(log)
    event = audit.event("snapshot", "me")
    first = log.append(event, after_seq=1)
    add(log)
    assert log.append(event, after_seq=1) == first
    assert len(lines(log)) == 3


def test_an_event_from_before_the_mark_is_not_looked_for(log):
    event = audit.event("snapshot", "me")
    log.append(event)
    add(log)
    assert log.append(event, after_seq=2)["seq"] == 3


def test_an_append_reads_only_the_end(log, monkeypatch):
    for _ in range(3):
        add(log, details={"x": "y" * 100_000})
    read = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: read.append(n) or real(fd, n, at))
    add(log)
    before = sum(read)
    read.clear()
    for _ in range(30):
        log.append(audit.event("config", "me"), after_seq=log.tail()[0])
    assert sum(read) < 90 * before


@pytest.mark.parametrize("torn", [b"{", b'{"seq":3', b"\0" * 4096, b"x" * 200_000])
def test_a_torn_last_line_is_set_aside_and_said(log, torn):
    add(log)
    add(log)
    whole = lines(log)
    with open(str(log.path), "ab") as file:
        file.write(torn)
    assert log.tail()[0] == 2
    assert audit_check.check(log.path, ZERO).torn == len(torn)
    assert audit_check.check(log.path, ZERO).problems == []
    record = add(log)
    assert record["seq"] == 4
    assert lines(log)[:2] == whole
    repair = json.loads(lines(log)[2])
    assert repair["operation"] == "audit_repair"
    assert repair["details"]["bytes"] == len(torn)
    assert repair["details"]["sha256"] == hashlib.sha256(torn).hexdigest()
    with open(os.path.join(os.path.dirname(str(log.path)), repair["details"]["kept_as"]), "rb") as file:
        assert file.read() == torn
    assert audit_check.check(log.path, ZERO).problems == []


def test_a_log_that_is_only_a_torn_line_starts_again_behind_it(log):
    with open(str(log.path), "wb") as file:
        file.write(b'{"seq":1')
    assert log.tail() == (0, ZERO)
    assert add(log)["seq"] == 2
    assert audit_check.check(log.path, ZERO).problems == []


def damages():
    return {
        "edited": lambda ls: [ls[0], ls[1].replace(b"me@here", b"ME@here"), *ls[2:]],
        "dropped": lambda ls: [ls[0], *ls[2:]],
        "first dropped": lambda ls: ls[1:],
        "swapped": lambda ls: [ls[0], ls[2], ls[1], ls[3]],
        "doubled": lambda ls: [ls[0], ls[1], ls[1], *ls[2:]],
        "blank line": lambda ls: [ls[0], b"", *ls[1:]],
        "not canonical": lambda ls: [ls[0], ls[1].replace(b'{"actor"', b'{ "actor"'), *ls[2:]],
        "not JSON": lambda ls: [ls[0], b"x", *ls[2:]],
        "an array": lambda ls: [ls[0], b"[]", *ls[2:]],
        "a field less": lambda ls: [ls[0], ls[1].replace(b'"reason":null,', b""), *ls[2:]],
        "rehashed": lambda ls: [ls[0], rehashed(ls[1]), *ls[2:]],
        "deep": lambda ls: [ls[0], b"[" * 100_000, *ls[2:]],
    }


def rehashed(line):
    record = json.loads(line)
    record["actor"] = "somebody else"
    record["record_hash"] = audit.record_hash(record)
    return canon.encode(record)


@pytest.mark.parametrize("what", damages())
def test_damage_before_the_end_is_found(log, what):
    for _ in range(4):
        add(log)
    rewrite(log, damages()[what](lines(log)))
    report = audit_check.check(log.path, ZERO)
    assert report.problems
    with pytest.raises(AuditChainBroken):
        audit_check.raise_problems(report)


@pytest.mark.parametrize("last", [b"x", b"{}", b"", b"[]", b"\xff", b'{"seq":1}'])
def test_damage_of_the_last_whole_line_stops_writers(log, last):
    add(log)
    rewrite(log, [*lines(log), last])
    size = os.path.getsize(str(log.path))
    with pytest.raises(AuditChainBroken):
        add(log)
    assert os.path.getsize(str(log.path)) == size


def test_a_missing_log_is_never_begun_anew(log):
    add(log)
    os.unlink(str(log.path))
    for act in (lambda: add(log), log.tail, lambda: audit_check.check(log.path, ZERO)):
        with pytest.raises(AuditChainBroken, match="missing") as caught:
            act()
        assert caught.value.hint
    assert not os.path.exists(str(log.path))


def test_a_link_in_the_place_of_the_log_is_not_followed(log, tmp_path):
    add(log)
    os.rename(str(log.path), tmp_path / "real")
    os.symlink(tmp_path / "real", str(log.path))
    before = (tmp_path / "real").read_bytes()
    for act in (lambda: add(log), log.tail, lambda: audit_check.check(log.path, ZERO)):
        with pytest.raises(JvsError):
            act()
    assert (tmp_path / "real").read_bytes() == before


def test_a_full_disk_leaves_the_log_as_it_was(log, monkeypatch):
    add(log)
    before = lines(log)
    real = os.write

    def short(fd, data):
        if len(data) > 100:
            return real(fd, bytes(data)[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", short)
        with pytest.raises(OSError, match="No space"):
            add(log)
    assert lines(log) == before
    assert add(log)["seq"] == 2


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(audit, "ROTATE_BYTES", 1500)


def test_the_chain_goes_on_across_rotated_files(log, small):
    events = [audit.event("config", "me") for _ in range(20)]
    for event in events:
        log.append(event)
    assert len(audit.segments(log.path)) > 3
    report = audit_check.check(log.path, ZERO, keep=True)
    assert report.problems == []
    assert [record["event_id"] for record in report.records] == [event["event_id"] for event in events]
    assert log.append(events[2], after_seq=1)["seq"] == 3
    assert log.tail()[0] == 20


def test_rotated_files_keep_their_order_when_the_clock_is_set_back(log, small, monkeypatch):
    now = iter(range(10**12, 0, -1000))
    monkeypatch.setattr(clock, "now_ms", lambda: next(now))
    for _ in range(20):
        add(log)
    assert audit_check.check(log.path, ZERO).problems == []


def test_a_crash_in_the_middle_of_a_rotation_is_mended_by_the_next_append(log, small):
    while os.path.getsize(str(log.path)) < audit.ROTATE_BYTES:
        add(log)
    last = log.tail()
    os.rename(str(log.path), str(log.path).replace(".jsonl", "-1700000000000.jsonl"))
    assert log.tail() == last
    report = audit_check.check(log.path, ZERO)
    assert (report.problems, report.count) == ([], last[0])
    assert add(log)["seq"] == last[0] + 1
    assert audit_check.check(log.path, ZERO).problems == []


def test_a_removed_log_next_to_rotated_ones_is_not_taken_for_a_rotation(log, small):
    for _ in range(4):
        add(log)
    (log_dir, name) = os.path.split(str(log.path))
    small_one = os.path.join(log_dir, name.replace(".jsonl", "-1700000000000.jsonl"))
    os.rename(str(log.path), small_one)
    with open(small_one, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(AuditChainBroken):
        log.tail()


def test_other_logs_next_to_are_no_rotated_files(tmp_path):
    for name in ("app.jsonl", "app-prod.jsonl", "app-2024.jsonl", "app-1700000000000x.jsonl"):
        path = tmp_path / name
        path.touch()
        add(audit.Log(making.at(path), first_hash=ZERO, lock=making.at(str(path) + ".lock")))
    assert audit.segments(making.at(tmp_path / "app.jsonl")) == [making.at(tmp_path / "app.jsonl")]
    assert audit_check.check(making.at(tmp_path / "app.jsonl"), ZERO).count == 1


def test_cutting_the_tail_of_a_repositorys_log_shows(tmp_path):
    store = making.make_store(tmp_path / "r")
    making.snapshot(store, "one")
    making.snapshot(store, "two")
    path = str(store.layout.audit_log)
    with open(path, "rb") as file:
        kept = file.read().split(b"\n")
    for lines_kept in (1, 2):
        with open(path, "wb") as file:
            file.write(b"".join(line + b"\n" for line in kept[:lines_kept]))
        os.chdir(store.root)
        said = making.run("verify", "--all", "--json")
        assert said.exit == 24
        assert {problem["class"] for problem in said.json["problems"]} == {"E_AUDIT_CHAIN_BROKEN"}
