"""jvs-chain-check and jvs-verify-snapshot."""

from __future__ import annotations

import os

import making
import pytest


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1", "sub/b": "2"})
    monkeypatch.chdir(made.root)
    return made


def test_chain_check_says_where_a_log_was_changed(tmp_path):
    log = tmp_path / "d.jsonl"
    for _ in range(3):
        making.plumb("chain-append", "--log", str(log), "deploy")
    log.write_text(log.read_text().replace('"seq":2', '"seq":7'))
    said = making.plumb("chain-check", str(log))
    assert said.exit == 24
    assert "broken\td.jsonl:2" in said.text
    assert "E_AUDIT_CHAIN_BROKEN" in said.err
    assert making.plumb("chain-check", "--json", str(log)).json["problems"]
    assert making.plumb("chain-check", str(tmp_path / "none")).exit == 24


def test_chain_check_reports_a_torn_line_as_no_damage(tmp_path):
    log = tmp_path / "d.jsonl"
    making.plumb("chain-append", "--log", str(log), "deploy")
    with open(log, "ab") as file:
        file.write(b'{"torn')
    said = making.plumb("chain-check", str(log))
    assert said.exit == 0
    assert "torn\t6 bytes" in said.text


def test_chain_check_of_a_repository_holds_the_log_against_everything(store):
    making.snapshot(store)
    said = making.plumb("chain-check", "--json")
    assert said.exit == 0
    assert said.json["records"] == 2
    assert said.json["problems"] == []


def test_chain_check_can_require_where_a_log_begins(tmp_path):
    log = str(tmp_path / "d.jsonl")
    making.plumb("chain-append", "--log", log, "deploy", "--first-hash", "a" * 64)
    assert making.plumb("chain-check", log, "--first-hash", "a" * 64).exit == 0
    assert making.plumb("chain-check", log, "--first-hash", "b" * 64).exit == 24


# verify-snapshot


def test_verify_snapshot_prints_id_and_ok(store):
    made = making.snapshot(store)["snapshot_id"]
    for target in (made, "HEAD", made[14:]):
        assert making.plumb("verify-snapshot", target).text == f"{made}\tOK\n"


def test_verify_snapshot_names_what_differs(store):
    made = making.snapshot(store)["snapshot_id"]
    payload = str(store.layout.payload(made))
    with open(os.path.join(payload, "sub/b"), "w") as file:
        file.write("3")
    os.unlink(os.path.join(payload, "a"))
    said = making.plumb("verify-snapshot", made)
    assert said.exit == 21
    first, *rest = said.text.splitlines()
    assert first.startswith(f"{made}\tE_PAYLOAD_HASH_MISMATCH\t")
    assert rest == ["removed\ta", "content\tsub/b"]
    assert making.plumb("verify-snapshot", "--no-payload", made).exit == 0


@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda at, i: os.unlink(str(at.ready(i))), 23),
        (lambda at, i: os.rename(str(at.payload(i)), str(at.payload(i)) + ".away"), 23),
        (lambda at, i: os.truncate(str(at.ready(i)), 5), 20),
        (lambda at, i: os.truncate(str(at.descriptor(i)), 5), 20),
        (lambda at, i: os.truncate(str(at.descriptor(i)), 0), 20),
    ],
)
def test_verify_snapshot_tells_damage_by_its_class(store, harm, code):
    made = making.snapshot(store)["snapshot_id"]
    harm(store.layout, made)
    said = making.plumb("verify-snapshot", "--json", made)
    assert said.exit == code
    assert said.json["tamper_detected"] is True
    assert said.json["error"]["exit"] == code


def test_verify_snapshot_of_what_is_not_there(store):
    assert making.plumb("verify-snapshot", "1700000000000-0a1b2c3d").exit == 5
    assert making.plumb("verify-snapshot").exit == 2
