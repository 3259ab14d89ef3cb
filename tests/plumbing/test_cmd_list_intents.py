"""`jvs-list-intents`: who is at work, and who died."""

from __future__ import annotations

import making
import pytest

from jvs.fs import locks
from jvs.store import audit, intent


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "repo")
    monkeypatch.chdir(making.main_of(made))
    return made


def pending(store, operation_id, **owner):
    event = audit.event("snapshot", "a@b")
    who = {**intent.owner(locked=owner.pop("locked", False)), **owner}
    record = intent.new(
        "snapshot",
        "main",
        operation_id=operation_id,
        owner=who,
        audit=event,
        audit_seq=1,
        snapshot_id=operation_id,
        parent_id=None,
    )
    intent.write(store.layout, record)


def test_alive_and_dead(store):
    assert making.plumb("list-intents").out == b""
    pending(store, "1700000000000-aaaaaaaa")
    pending(store, "1700000000001-aaaaaaaa", started="1")
    pending(store, "1700000000002-aaaaaaaa", locked=True)
    rows = [line.split("\t") for line in making.plumb("list-intents").text.splitlines()]
    assert [row[3] for row in rows] == ["alive", "dead", "dead"]
    assert rows[0][:3] == ["1700000000000-aaaaaaaa", "snapshot", "main"]
    with locks.acquire(store.layout.lock("worktree-main")):
        value = making.plumb("list-intents", "--json").json
    assert [item["alive"] for item in value] == [True, False, True]
    assert value[0]["owner"]["pid"] > 0


def test_a_damaged_intent_is_an_error(store):
    with open(str(store.layout.intent("1700000000000-aaaaaaaa")), "w") as file:
        file.write("{}")
    assert making.plumb("list-intents").exit == 23
