"""The write-ahead sequence: its order, and what each kind of error leaves, for every kind of operation."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import making
import pytest

from jvs.fs import durable
from jvs.store import audit, audit_check, intent, recovery, write_ahead

LIBRARY = Path(write_ahead.__file__).resolve().parents[1]


class Refused(Exception):
    """What goes wrong in the middle of an operation."""


@pytest.fixture
def store(tmp_path):
    return making.make_store(tmp_path / "r")


@pytest.fixture
def done(store, monkeypatch):
    """What an operation does to the disk, in its order; the test adds what it does itself."""
    found = []
    for module, name, word in (
        (intent, "write", "intent"),
        (audit.Log, "append", "audit"),
        (intent, "clear", "clear"),
        (audit.Log, "tail", "tail"),
    ):
        real = getattr(module, name)

        def watch(*args, _real=real, _word=word, **more):
            found.append(_word)
            return _real(*args, **more)

        monkeypatch.setattr(module, name, watch)
    return found


def begun(store, roll_back, **more):
    event = audit.event("config", "me", target="x")
    return write_ahead.operation(store, "config", None, event, roll_back=roll_back, text="", **more)


def recorded(store) -> list[str]:
    return [r["operation"] for r in audit_check.check(store.layout.audit_log, None, keep=True).records]


def never(_):
    raise AssertionError("nothing failed, so nothing is to be rolled back")


def test_the_order_of_an_operation(store, done):
    with begun(store, never, after_audit=lambda _: done.append("after")) as pending:
        done.append("act")
        assert intent.load(store.layout, pending["operation_id"]) == pending
        assert pending["audit_seq"] == store.log().tail()[0]
        done.pop()  # our own question
    assert done == ["tail", "intent", "act", "audit", "after", "clear"]
    assert intent.list_ids(store.layout) == []
    assert recorded(store) == ["init", "config"]


@pytest.mark.parametrize("error", [Refused, OSError, KeyboardInterrupt, SystemExit])
def test_an_error_before_it_took_effect_leaves_nothing(store, done, error):
    with pytest.raises(error), begun(store, lambda _: not done.append("back")):
        raise error
    assert done == ["tail", "intent", "back", "clear"]
    assert intent.list_ids(store.layout) == []
    assert recorded(store) == ["init"]


def test_an_error_after_it_took_effect_leaves_the_intent_to_the_next_command(store, done):
    with pytest.raises(Refused), begun(store, lambda _: False) as pending:
        raise Refused
    assert done == ["tail", "intent"]
    assert intent.list_ids(store.layout) == [pending["operation_id"]]


def test_or_it_is_completed_at_once_where_that_is_asked_for(store, done):
    with pytest.raises(Refused), begun(store, lambda _: False, applied=write_ahead.COMPLETE):
        raise Refused
    assert done == ["tail", "intent", "audit", "clear"]
    assert recorded(store) == ["init", "config"]


def test_a_roll_back_that_fails_leaves_the_intent(store, done):
    def fail(_):
        raise OSError(5, "the disk is broken")

    with pytest.raises(OSError, match="broken"), begun(store, fail):
        raise Refused
    assert done == ["tail", "intent"]
    assert len(intent.list_ids(store.layout)) == 1


def test_an_intent_that_cannot_be_written_is_rolled_back_too(store, done, monkeypatch):
    """Its name may be there though making it durable failed."""
    real = durable.replace_file

    def half(path, *args, **more):
        real(path, *args, **more)
        raise OSError(5, "fsync failed")

    monkeypatch.setattr(durable, "replace_file", half)
    with pytest.raises(OSError, match="fsync"), begun(store, lambda _: True):
        raise AssertionError("the body must not run")
    assert done == ["tail", "intent", "clear"]
    assert intent.list_ids(store.layout) == []


def test_nothing_done_leaves_no_record(store, done):
    with begun(store, never):
        raise write_ahead.NothingDone
    assert done == ["tail", "intent", "clear"]
    assert recorded(store) == ["init"]


@pytest.mark.parametrize("step", ["append", "after", "clear"])
def test_an_error_while_completing_leaves_the_intent_and_completing_again_is_enough(store, monkeypatch, step):
    def fail(*_args, **_more):
        raise OSError(28, "full")

    with monkeypatch.context() as patch:
        if step != "after":
            patch.setattr(*{"append": (audit.Log, "append"), "clear": (intent, "clear")}[step], fail)
        with pytest.raises(OSError, match="full"), begun(store, never, after_audit=fail if step == "after" else None):
            pass
    (pending,) = intent.load_all(store.layout)
    write_ahead.complete(store, pending)
    write_ahead.complete(store, pending)
    assert recorded(store) == ["init", "config"]
    assert intent.list_ids(store.layout) == []


def test_the_record_may_say_what_only_the_body_learned(store):
    with begun(store, never) as pending:
        pending["audit"]["details"]["count"] = 3
    found = audit_check.check(store.layout.audit_log, None, keep=True).records
    assert found[-1]["details"] == {"count": 3}


@pytest.mark.parametrize("kind", sorted(recovery.HANDLERS))
def test_every_kind_of_operation_knows_how_to_recover(kind):
    module = importlib.import_module(recovery.HANDLERS[kind])
    assert callable(module.recover)


def test_nobody_else_writes_intents_or_appends_their_events():
    """The sequence is in one place: a module that repeats it would get its order or its errors wrong some day."""
    wrong = []
    for path in sorted(LIBRARY.rglob("*.py")):
        name = path.relative_to(LIBRARY).with_suffix("").as_posix()
        if name in ("store/write_ahead", "store/intent"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in ("intent.new", "intent.write"):
                wrong.append(f"{name}:{node.lineno}: {ast.unparse(node)}")
            if isinstance(node, ast.keyword) and node.arg == "after_seq":
                wrong.append(f"{name}:{node.value.lineno}: after_seq")
    assert wrong == []
