"""Pins: made, changed, listed, taken away; recorded, and recovered after a crash."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import main_of, make_store, open_store, run, snapshot, violations, write

from jvs import clock
from jvs.errors import NotFound, PartialSnapshot, UsageError
from jvs.gc import pins
from jvs.store import audit, audit_check, intent


@pytest.fixture
def store(tmp_path):
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "a"})
    snapshot(store, "first")
    return store


def only_id(store) -> str:
    return next(name[:-5] for name in os.listdir(str(store.layout.descriptors)))


def log_of(store) -> list[tuple[str, str | None]]:
    chain = audit_check.check(store.layout.audit_log, audit.genesis(store.repo_id), keep=True)
    assert chain.problems == []
    return [(record["operation"], record["target"]) for record in chain.records]


def test_pin_is_stored_listed_and_recorded(store):
    one = only_id(store)
    pin = pins.add(store, one, reason="paper", expires_at="2030-01-01T00:00:00.000000Z")
    assert pins.list_all(store.layout) == [pin]
    assert (pin["reason"], pin["expires_at"]) == ("paper", "2030-01-01T00:00:00.000000Z")
    assert log_of(store)[-1] == ("pin", one)
    assert os.listdir(str(store.layout.intents)) == []
    assert violations(store.root) == []


def test_pinning_again_changes_the_pin(store):
    one = only_id(store)
    pins.add(store, one, reason="first")
    pins.add(store, one, reason="second")
    assert [pin["reason"] for pin in pins.list_all(store.layout)] == ["second"]


def test_unpin_takes_it_away_and_records_that(store):
    one = only_id(store)
    pins.add(store, one)
    pins.remove(store, one)
    assert pins.list_all(store.layout) == []
    assert log_of(store)[-1] == ("unpin", one)
    with pytest.raises(NotFound):
        pins.remove(store, one)


def test_only_visible_snapshots_are_pinned(store):
    with pytest.raises(NotFound):
        pins.add(store, "1700000000000-0a1b2c3d")
    assert os.listdir(str(store.layout.pins)) == []
    assert log_of(store)[-1][0] == "snapshot"


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b'{"snapshot_id":"x"}'])
def test_damaged_pin_is_an_error_and_can_be_taken_away(store, data):
    one = only_id(store)
    Path(str(store.layout.pin(one))).write_bytes(data)
    with pytest.raises(PartialSnapshot):
        pins.list_all(store.layout)
    pins.remove(store, one)
    assert pins.list_all(store.layout) == []


def test_pin_of_another_snapshot_under_this_name_is_damage(store):
    one = only_id(store)
    pins.add(store, one)
    os.rename(str(store.layout.pin(one)), str(store.layout.pin("1700000000000-0a1b2c3d")))
    with pytest.raises(PartialSnapshot, match="is that of"):
        pins.list_all(store.layout)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2030-01-31", "2030-01-31T00:00:00.000000Z"),
        ("2030-01-31T12:30:00Z", "2030-01-31T12:30:00.000000Z"),
        ("2030-01-31 12:30:00", "2030-01-31T12:30:00.000000Z"),
        ("2030-01-31T12:30:00.250000Z", "2030-01-31T12:30:00.250000Z"),
        ("30d", "2026-01-31T00:00:00.000000Z"),
        ("12h", "2026-01-01T12:00:00.000000Z"),
    ],
)
def test_expiry_is_a_time_of_utc_or_a_duration(monkeypatch, text, expected):
    start = clock.parse_rfc3339("2026-01-01T00:00:00.000000Z")
    monkeypatch.setattr(clock, "now_ns", lambda: start)
    assert pins.parse_expiry(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "2030-13-01", "2030-01-31T25:00:00", "-3d", "2030", "999999999y"])
def test_bad_expiry_is_a_usage_error(text):
    with pytest.raises(UsageError, match="--expires"):
        pins.parse_expiry(text)


def test_expired_is_reported_from_the_moment_on():
    pin = {"expires_at": "2026-01-01T00:00:00.000000Z"}
    moment = clock.parse_rfc3339(pin["expires_at"])
    assert pins.has_expired(pin, moment)
    assert not pins.has_expired(pin, moment - 1)
    assert not pins.has_expired({"expires_at": None}, moment)


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("operation", ["pin", "unpin"])
def test_crash_in_the_middle_is_completed_by_the_next_command(store, monkeypatch, operation, applied):
    one = only_id(store)
    if operation == "unpin":
        pins.add(store, one, reason="old")
    before = len(log_of(store))

    class DeadError(BaseException):
        pass

    def die(*args, **more):
        raise DeadError

    with monkeypatch.context() as patch:
        patch.setattr(audit.Log, "append", die)
        patch.setattr(intent, "clear", lambda *args: None)
        if not applied:
            patch.setattr(pins, "_apply", die)
        with pytest.raises(DeadError):
            pins.add(store, one, reason="new") if operation == "pin" else pins.remove(store, one)
    assert len(os.listdir(str(store.layout.intents))) == 1
    assert violations(store.root, recovered=False) == []
    snapshot(open_store(store.root), "recovers")
    assert log_of(store)[before:][0] == (operation, one)
    assert [pin["reason"] for pin in pins.list_all(store.layout)] == (["new"] if operation == "pin" else [])
    assert violations(store.root) == []


def test_commands_pin_list_and_unpin(store):
    root, one = store.root, only_id(store)
    said = run("-C", root, "gc", "pin", "HEAD", "--reason", "why\x1b[2J", "--expires", "2030-01-01")
    assert (said.exit, said.text) == (0, f"Pinned {one} until 2030-01-01T00:00:00.000000Z\n")
    listed = run("-C", root, "pin", "list")
    assert listed.text.startswith(f"{one}  until 2030-01-01T00:00:00.000000Z  ")
    assert "\x1b" not in listed.text
    assert run("-C", root, "gc", "pins", "--json").json["pins"][0]["expired"] is False
    assert run("-C", root, "gc", "unpin", one).text == f"Unpinned {one}\n"
    assert run("-C", root, "gc", "unpin", one).exit == 5
    assert run("-C", root, "pin", "add", "nothing like it").exit == 5
