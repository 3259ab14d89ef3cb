"""Leaf lists come and go with their snapshots, whatever dies in between."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import making
import pytest

from jvs.store import leaf_lists
from jvs.store.store import Store
from jvs.tree.leaves import LEAF_BYTES


@pytest.fixture
def store(tmp_path: Path) -> Any:
    made = making.make_store(tmp_path / "lab")
    making.write(making.main_of(made), {"large": bytes(LEAF_BYTES) + b"end"})
    yield made
    made.close()


def lists_in(store: Store) -> set[str]:
    return {name for name in os.listdir(Path(store.root) / ".jvs/snapshots") if name.endswith(".leaves")}


def test_recovery_removes_the_list_of_a_snapshot_that_did_not_come(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(making.main_of(store))
    data = b""
    for name in ("check-worktree", "write-intent", "clone-tree", "hash-tree"):
        said = making.plumb(name, "--record", *(["main"] if name == "check-worktree" else []), stdin=data)
        assert said.exit == 0, said.err
        data = said.out
    dead = lists_in(store)
    assert len(dead) == 1
    intent = next(iter((Path(store.root) / ".jvs/intents").iterdir()))
    intent.write_bytes(intent.read_bytes().replace(b'"pid":', b'"pid":1'))
    taken = making.snapshot(store)
    assert lists_in(store) == {taken["snapshot_id"] + ".leaves"}
    assert making.violations(store.root) == []


def test_an_error_leaves_no_list(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    from jvs.publish import steps

    def fail(*_: Any, **__: Any) -> None:
        raise OSError(28, "full")

    monkeypatch.setattr(steps, "write_descriptor", fail)
    with pytest.raises(OSError, match="full"):
        making.snapshot(store)
    assert lists_in(store) == set()
    assert making.violations(store.root) == []


def test_a_collection_removes_the_list_with_its_snapshot(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    main = making.main_of(store)
    taken = []
    for number in range(3):
        making.write(main, {"large": bytes(LEAF_BYTES) + b"%d" % number})
        taken.append(making.snapshot(store))
    monkeypatch.chdir(store.root)
    assert making.run("gc", "plan", "--keep-last", "1").exit == 0
    plan = making.run("gc", "plan", "--keep-last", "1", "--json").json
    assert making.run("gc", "run", "--plan-id", plan["plan_id"]).exit == 0
    visible = {record["snapshot_id"] + ".leaves" for record in taken if record["snapshot_id"] not in plan["candidates"]}
    assert plan["candidates"] and lists_in(store) == visible
    assert making.violations(store.root) == []


def test_doctor_knows_a_list_that_belongs_to_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    making.snapshot(store)
    orphan = Path(store.root) / ".jvs/snapshots/1700000000000-0a1b2c3d.leaves"
    orphan.write_bytes(leaf_lists.encode({}))
    monkeypatch.chdir(store.root)
    assert "1700000000000-0a1b2c3d.leaves" in making.run("doctor", "--strict").text
    assert making.run("doctor", "--repair", "clean_tmp").exit == 0
    assert not orphan.exists()
    assert making.run("doctor", "--strict").exit == 0
    assert making.violations(store.root) == []


@pytest.mark.parametrize(
    "data", [b"", b"x", leaf_lists.PREFIX, leaf_lists.PREFIX + b"\x80", leaf_lists.PREFIX + b"\xa1"]
)
def test_what_is_no_list_counts_as_none(store: Store, data: bytes) -> None:
    with pytest.raises(ValueError):
        leaf_lists.decode(data)
    path = Path(store.root) / ".jvs/snapshots/1700000000000-0a1b2c3d.leaves"
    path.write_bytes(data)
    assert leaf_lists.load(store.layout, "1700000000000-0a1b2c3d") == {}
    path.unlink()
    assert leaf_lists.load(store.layout, "1700000000000-0a1b2c3d") == {}


def test_a_list_goes_both_ways() -> None:
    lists = {os.urandom(32): (LEAF_BYTES + 1, os.urandom(64)), os.urandom(32): (1 << 40, os.urandom(32))}
    assert leaf_lists.decode(leaf_lists.encode(lists)) == lists
    assert leaf_lists.encode(dict(reversed(lists.items()))) == leaf_lists.encode(lists)
