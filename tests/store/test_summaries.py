"""Choosing among many snapshots by what the index knows of them: the answer is that of a walk without it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import making
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jvs import canon
from jvs.compare import history
from jvs.errors import JvsError
from jvs.store import annotation, descriptor, lineage, refs, summaries
from jvs.store.store import Store
from jvs.tree import index_access, racy

COUNT = 10
CHOICES: list[dict[str, Any]] = [
    {"tags": ["even"]},
    {"tags": ["even", "t4"]},
    {"pattern": "note (3|5|9)"},
    {"pattern": "later|^t7$|forged", "limit": 2},
    {"meta": {"loss": None}},
    {"meta": {"loss": "0.5"}, "limit": 1},
    {"sort": "-loss", "limit": 4},
    {"pattern": "no such note"},
]
TARGETS = ["even", "t4", "note 5", "later", "forged", "no such note"]


@pytest.fixture
def store(ext4_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a repository with a few snapshots, each of which counts as many."""
    monkeypatch.setattr(summaries, "FEW", 1)
    monkeypatch.setattr(racy, "RACY_NS", -(1 << 62))  # as if everything had been made long ago
    store = making.make_store(ext4_dir / "repo")
    making.write(making.main_of(store), {"f": "content"})
    lengthen(store, making.snapshot(store, "note 0", tags=["t0", "even"]))
    for number in (1, 4, 6, 7):
        annotation.set_note(store, nth(store, number), f"later {number}")
    return store


def lengthen(store: Store, record: dict[str, Any]) -> None:
    """Publish more snapshots of the same files, each the child of the one before, and move the worktree to the last."""
    control, first = Path(store.root) / ".jvs", record["snapshot_id"]
    for number in range(1, COUNT):
        parent = record["snapshot_id"]
        snapshot_id = f"{int(first[:13]) + number:013}-{number:08x}"
        tags = [f"t{number}", *(["even"] if number % 2 == 0 else [])]
        record = {**record, "snapshot_id": snapshot_id, "parent_id": parent, "note": f"note {number}", "tags": tags}
        record["meta"] = {"loss": f"0.{number}"} if number % 3 else {}
        record["descriptor_checksum"] = descriptor.checksum(record)
        shutil.copytree(control / "snapshots" / first, control / "snapshots" / snapshot_id)
        ready: Any = record
        (control / f"snapshots/{snapshot_id}.READY").write_bytes(canon.encode(descriptor.ready_of(ready)) + b"\n")
        (control / f"descriptors/{snapshot_id}.json").write_bytes(canon.encode(record) + b"\n")
    config = control / "worktrees/main/config.json"
    value = json.loads(config.read_text())
    value |= {"head_snapshot_id": record["snapshot_id"], "latest_snapshot_id": record["snapshot_id"]}
    config.write_bytes(canon.encode(value) + b"\n")


def nth(store: Store, number: int) -> str:
    return lineage.published_ids(store.layout)[number]


def result(act: Callable[[], object]) -> object:
    try:
        return act()
    except JvsError as error:
        return (error.name, error.message)


def answers(store: Store) -> list[object]:
    """Return what is listed and found by tags, notes and facts, or which error that is."""
    start = store.head_of("main")[1]
    found: list[object] = []
    for how in CHOICES:
        for act in (
            lambda c: list(history.along_line(store, start, c)),
            lambda c: list(history.of_all(store, c)),
        ):
            found.append(result(lambda act=act, how=how: act(history.Choice(**how))))
    return [*found, *(result(lambda target=target: refs.resolve(store, target)) for target in TARGETS)]


def both(store: Store) -> list[object]:
    """Hold the answers of a new process against those without an index; return them."""
    with_index = answers(making.open_store(store.root))
    assert with_index == answers(making.open_store(store.root, use_index=False))
    return with_index


def rewrite(path: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a descriptor in its place, so that its checksum is right."""
    record = json.loads(Path(path).read_text())
    change(record)
    record["descriptor_checksum"] = descriptor.checksum(record)
    Path(path).write_bytes(canon.encode(record) + b"\n")


def path_of(store: Store, number: int) -> str:
    return str(store.layout.descriptor(nth(store, number)))


def forge_separators(record: dict[str, Any]) -> None:
    record.update(note="note 3\x1eforged\x1d", tags=["even", "t4\x1ft9", ""])


def exchange(store: Store) -> None:
    first, second = path_of(store, 3), path_of(store, 5)
    os.rename(first, f"{first}.x")
    os.rename(second, first)
    os.rename(f"{first}.x", second)


def link(store: Store) -> None:
    path = path_of(store, 3)
    os.rename(path, f"{store.root}/elsewhere")
    os.symlink(f"{store.root}/elsewhere", path)


def add(store: Store) -> None:
    making.write(making.main_of(store), {"f": "more"})
    making.snapshot(store, "note 5 again", tags=["even", "new"])


CHANGES: list[Callable[[Store], object]] = [
    add,
    lambda store: annotation.delete_tags(store, nth(store, 4), ["even"]),
    lambda store: annotation.add_tags(store, nth(store, 5), ["even", "t4"]),
    lambda store: annotation.set_note(store, nth(store, 4), "later note 5"),
    lambda store: annotation.set_meta(store, nth(store, 4), {"loss": "9"}, []),
    lambda store: os.unlink(str(store.layout.annotation(nth(store, 4)))),
    lambda store: Path(str(store.layout.annotation(nth(store, 5)))).write_text("{}"),
    lambda store: os.unlink(str(store.layout.ready(nth(store, 4)))),
    lambda store: rewrite(path_of(store, 3), lambda record: record.update(note="forged")),
    lambda store: rewrite(path_of(store, 3), forge_separators),
]
DAMAGES: list[Callable[[Store], object]] = [
    exchange,
    link,
    lambda store: os.truncate(path_of(store, 3), 100),
    lambda store: os.unlink(path_of(store, 3)),
    lambda store: rewrite(path_of(store, 3), lambda record: record.update(parent_id=record["snapshot_id"])),
]


def said(store: Store) -> dict[str, tuple[bytes, bytes]]:
    with making.open_store(store.root).index() as index:
        return {kind: found for kind in ("descriptors", "annotations") if (found := index.said(kind)) is not None}


def test_the_second_listing_reads_only_what_it_shows(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    both(store)
    assert said(store).keys() == {"descriptors", "annotations"}
    read: list[str] = []
    real = descriptor.load
    monkeypatch.setattr(descriptor, "load", lambda layout, i: read.append(i) or real(layout, i))
    other = making.open_store(store.root)
    found = list(history.along_line(other, nth(store, -1), history.Choice(tags=["t1"])))
    assert [record["snapshot_id"] for record in found] == [nth(store, 1)]
    assert read == [nth(store, -1), nth(store, 1)]  # the first few are read before the index is asked


def test_the_answer_is_that_without_the_index(store: Store) -> None:
    before = both(store)
    for change in CHANGES:
        assert said(store)
        change(store)
        after = both(store)
        assert after != before
        assert both(store) == after  # which may rest on what was kept just now
        before = after


def test_damage_shows_as_without_the_index(store: Store) -> None:
    before = both(store)
    kept = {number: Path(path_of(store, number)).read_bytes() for number in (3, 5)}
    paths = {number: path_of(store, number) for number in kept}
    for damage in DAMAGES:
        assert said(store)
        damage(store)
        assert both(store) != before
        for number, data in kept.items():
            Path(paths[number]).unlink(missing_ok=True)
            Path(paths[number]).write_bytes(data)
        assert both(store) == before


FORGERIES: list[Callable[[bytes, bytes], tuple[bytes, bytes]]] = [
    lambda stamps, texts: (stamps, texts.replace(b"-", b"/")),
    lambda stamps, texts: (stamps, texts + b"\x1e"),
    lambda stamps, texts: (stamps, texts + b"\x1d"),
    lambda stamps, texts: (stamps, b"\xff" + texts),
    lambda stamps, texts: (stamps[:-1], texts),
    lambda stamps, texts: (stamps[:-24], texts),
    lambda stamps, texts: (b"", b""),
    lambda stamps, texts: (bytes(len(stamps)), texts),
    lambda stamps, texts: (stamps, texts.replace(b"Z\x1e", b"+\x1e")),
    lambda stamps, texts: (stamps, texts.replace(b'{"', b'[{"')),
    lambda stamps, texts: (stamps, texts.replace(b"}", b"," * 9)),
]


def forge(store: Store, kind: str, stamps: bytes, texts: bytes) -> None:
    """Put something into the index whose check is right."""
    check = index_access._check_of(kind, stamps, texts)
    with sqlite3.connect(f"{store.root}/.jvs/index.sqlite") as db:
        db.execute("UPDATE said SET stamps=?, texts=?, chk=? WHERE kind=?", (stamps, texts, check, kind))
    db.close()


def test_a_forged_index_changes_no_answer(store: Store) -> None:
    before = both(store)
    kept = said(store)
    for forgery in FORGERIES:
        for kind, found in kept.items():
            forge(store, kind, *forgery(*found))
        assert both(store) == before
    for kind, (_, texts) in kept.items():  # without the check, as after a crash
        with sqlite3.connect(f"{store.root}/.jvs/index.sqlite") as db:
            db.execute("UPDATE said SET texts=? WHERE kind=?", (texts.replace(b"note", b"nope"), kind))
        db.close()
    assert both(store) == before


def test_what_is_shown_is_what_the_descriptor_says(store: Store) -> None:
    both(store)
    stamps, texts = said(store)["descriptors"]
    forge(store, "descriptors", stamps, texts.replace(b"note 3", b"note \x1b"))
    other = making.open_store(store.root)
    assert list(history.along_line(other, nth(store, -1), history.Choice(pattern="\x1b"))) == []


@settings(max_examples=25)
@given(st.lists(st.tuples(st.text(max_size=5), st.lists(st.text(max_size=3), max_size=3)), min_size=1, max_size=5))
def test_what_is_kept_comes_back(snapshots: list[tuple[str, list[str]]]) -> None:
    kept, wanted = {}, {}
    for number, (note, tags) in enumerate(snapshots):
        record: Any = {"snapshot_id": f"{number:013}-{number:08x}", "parent_id": None, "created_at": "", "note": note}
        record["tags"] = tags
        texts = summaries._texts_of(record)
        if len(texts) == 5 and not any(separator in text for text in texts for separator in "\x1d\x1e"):
            kept[record["snapshot_id"]] = ((number, 1, -number), texts)
            wanted[record["snapshot_id"]] = record
    if not kept:
        return
    unused: Any = None
    texts_of = summaries.Texts(unused, unused, "descriptors", 5, unused, summaries._is_right)
    found = texts_of._decode(*summaries._encode(kept))
    assert found == kept
    assert {i: summaries._summary(i, texts) for i, (_, texts) in found.items()} == wanted
