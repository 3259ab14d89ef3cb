"""Descriptors that are recognised as a whole: what is recognised is what the ordinary way reads, and nothing else."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from making import main_of, make_store, snapshot, write

from jvs import canon
from jvs.errors import JvsError
from jvs.store import descriptor, descriptor_text, lineage
from jvs.store.store import Store

OTHERS: dict[str, list[Any]] = {
    "format": [1, 3, "2", 2.0, True],
    "snapshot_id": ["1700000000000-0a1b2c3d", "", None],
    "parent_id": [None, "1700000000000-0a1b2c3d", "1700000000000-0A1B2C3D", "main"],
    "worktree_name": ["a", ".", "..", "...", "-a", ".a", "a b", "", "a" * 64, "a" * 65, "\u00e9", 1],
    "created_at": ["2026-02-28T00:00:00.000000Z", "2026-02-29T00:00:00.000000Z", "0999-01-01T00:00:00.000000Z", ""],
    "note": ["", 'a "b"', "a\\b", "\u00e9\u2028\U0001f600\x7f", "two\nlines", "\ud800", None, 'x","note":"y'],
    "tags": [[], ["a", "b"], ["\u00e9"], ['"'], [1], "a", None],
    "engine": ["copy", "", None],
    "hash_algorithm": ["sha256-tree-1", "sha256-tree-2", "sha256-tree-3"],
    "payload_root_hash": ["0" * 64, "A" * 64, "0" * 63],
    "payload": [{"files": 0}, dict.fromkeys(("files", "dirs", "symlinks", "others", "bytes"), 1 << 62), None, []],
    "degraded": [[], [{"path": "a", "what": "x", "why": "y"}], None],
    "partial_paths": [None, [], ["a"], [1]],
    "actor": ["a@b", ""],
    "audit_head": ["0" * 64, "0" * 65],
    "integrity_state": ["verified", "other", 1],
    "changes": [None, {}, {"added": 1, "bytes": 2, "modified": 3, "removed": 4}, {"added": -1}, [], 1.5],
    "meta": [{}, {"a": "1", "b": "{}"}, {"b": "1", "a": "2"}, {"-a": "1"}, {"a": 1}, {"a": 'x","b":"y'}, []],
    "merged": [[], ["1700000000000-0a1b2c3d"], ["x"]],
    "excluded": [None, {"rules": [], "caches": False, "top": [], "entries": 0}, {}],
    "other": [1, None, "x", {"a": [1, 2]}],
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = make_store(tmp_path / "repo")
    write(main_of(store), {"a": "1"})
    snapshot(store, "one", tags=["t"], meta={"loss": "1"})
    return store


def ordinary(store: Store, snapshot_id: str, data: bytes, patch: pytest.MonkeyPatch, *, quick: bool) -> Any:
    """Return what reading a descriptor gives, by the one way or the other."""
    patch.setattr(descriptor, "MANY", -1 if quick else 1 << 60)
    Path(str(store.layout.descriptor(snapshot_id))).write_bytes(data)
    try:
        return descriptor.load(store.layout, snapshot_id)
    except JvsError as error:
        return error.name, error.message


def encoded(record: dict[str, Any], *, sort: bool = True) -> bytes:
    """Return a descriptor with its right checksum, whatever is in it."""
    import json

    covered = {key: value for key, value in record.items() if key not in ("descriptor_checksum", "integrity_state")}
    text = json.dumps(covered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    record["descriptor_checksum"] = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    text = json.dumps(record, sort_keys=sort, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogatepass") + b"\n"


def test_both_ways_read_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    (snapshot_id,) = lineage.visible_ids(store.layout)
    before = Path(str(store.layout.descriptor(snapshot_id))).read_bytes()
    right = canon.decode_object(before)
    made = [before, before[:-1], before + b"\n", b" " + before, before.replace(b",", b", ", 1), b"", b"\xff"]
    for key, values in OTHERS.items():
        without = {other: value for other, value in right.items() if other != key}
        made.append(encoded(without))
        for value in values:
            made += (encoded({**right, key: value}), encoded({**without, key: value}, sort=False))
    made.append(encoded(right).replace(b'"meta":{"loss":"1"}', b'"meta":{"loss":"1","loss":"1"}'))
    chance = random.Random(1)
    for _ in range(150):
        at = chance.randrange(len(before))
        made.append(before[:at] + chance.choice([b"", b"0", b'"', b",", bytes([before[at] ^ 1])]) + before[at + 1 :])
    recognised = 0
    for data in made:
        quick = ordinary(store, snapshot_id, data, monkeypatch, quick=True)
        assert quick == ordinary(store, snapshot_id, data, monkeypatch, quick=False), data
        recognised += descriptor_text.read(data, snapshot_id) is not None
    assert recognised > 15


def test_what_jvs_writes_is_recognised(store: Store) -> None:
    write(main_of(store), {"a": "2", "b/c": "3"})
    snapshot(store, "zwei \u00fc", tags=["a", "b"], meta={"x": "1", "a": "\u00e4"})
    snapshot(store, "")
    for snapshot_id in lineage.visible_ids(store.layout):
        data = Path(str(store.layout.descriptor(snapshot_id))).read_bytes()
        assert descriptor_text.read(data, snapshot_id) == descriptor.load(store.layout, snapshot_id)
        assert descriptor_text.read(data, "1700000000000-0a1b2c3d") is None
