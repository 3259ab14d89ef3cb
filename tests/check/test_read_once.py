"""Verifying all snapshots reads each stored byte once, and finds all that reading everything finds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import making
import pytest

from jvs.check import consistency, reading, verify
from jvs.fs import extents
from jvs.store.store import Store
from jvs.tree.leaves import LEAF_BYTES

LARGE = 3 * LEAF_BYTES + 100
SMALL = 20
ROUNDS = 4


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def store(request: pytest.FixtureRequest, fs_at: Any) -> Iterator[Store]:
    """Return a repository with some snapshots of a large and some small files, each with a small change."""
    made = making.make_store(fs_at(request.param) / "lab")
    main = making.main_of(made)
    making.write(main, {"large": os.urandom(LARGE), **{f"d/f{i}": os.urandom(6000) for i in range(SMALL)}})
    made.taken = [making.snapshot(made)]  # type: ignore[attr-defined]
    for number in range(ROUNDS):
        making.write(main, {"d/f0": os.urandom(6000)})
        with (main / "large").open("r+b") as file:
            file.seek(LEAF_BYTES + number)
            file.write(os.urandom(10))
        made.taken.append(making.snapshot(made))  # type: ignore[attr-defined]
    yield made
    made.close()


def payload(store: Store, number: int) -> Path:
    return Path(str(store.layout.payload(store.taken[number]["snapshot_id"])))  # type: ignore[attr-defined]


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))


def damaged(reports: list[verify.SnapshotReport]) -> list[int]:
    return [number for number, report in enumerate(reports) if report.tampered]


def test_what_snapshots_share_is_read_once(store: Store) -> None:
    reports, problems, _ = verify.check_all(store)
    assert damaged(reports) == [] and problems == []
    held = sum(report.payload_bytes for report in reports)
    assert held == (ROUNDS + 1) * (LARGE + SMALL * 6000)
    large = ROUNDS * (LARGE if store.taken[0]["engine"] == "copy" else LEAF_BYTES)  # type: ignore[attr-defined]
    assert sum(report.read_bytes for report in reports) == LARGE + SMALL * 6000 + large + ROUNDS * 6000
    reports, _, _ = verify.check_all(store, independent=True)
    assert sum(report.read_bytes for report in reports) == held
    assert consistency.find_in_snapshots(store, payload=True) == []


def test_the_command_says_how_much_it_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.root)
    value = making.run("verify", "--all", "--json").json
    assert value["healthy"] and 0 < value["read_bytes"] < value["payload_bytes"]
    assert "read for 5 snapshots of" in making.run("verify", "--all").text
    assert making.run("verify", "--all", "--independent", "--json").json["read_bytes"] == value["payload_bytes"]
    assert making.run("verify", "--independent").exit == 2


def test_damage_is_found_in_all_that_share_it_and_in_no_other(store: Store) -> None:
    kind = store.taken[0]["engine"]  # type: ignore[attr-defined]
    if kind == "btrfs-snapshot":
        pytest.skip("read-only")
    flip(payload(store, 2) / "d/f5", 77)
    wanted = list(range(ROUNDS + 1))  # hard links are one file
    for independent in (False, True):
        reports, _, _ = verify.check_all(store, independent=independent)
        assert damaged(reports) == wanted
        assert [item["path"] for item in reports[2].differences] == ["d/f5"]
    assert len(consistency.find_in_snapshots(store, payload=True)) == len(wanted)


def test_the_damaged_part_of_a_large_file_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    if store.taken[0]["engine"] == "btrfs-snapshot":  # type: ignore[attr-defined]
        pytest.skip("read-only")
    for at in (5, 2 * LEAF_BYTES + 9, 3 * LEAF_BYTES):
        flip(payload(store, 1) / "large", at)
    report = verify.check_snapshot(store, store.taken[1]["snapshot_id"])  # type: ignore[attr-defined]
    assert report.differences == [
        {"path": "large", "what": "content", "ranges": [[0, LEAF_BYTES], [2 * LEAF_BYTES, LARGE]]}
    ]
    monkeypatch.chdir(store.root)
    said = making.run("verify", "--all").text
    assert f"content (bytes 0-{LEAF_BYTES - 1}, {2 * LEAF_BYTES}-{LARGE - 1}): large" in said


def test_places_that_prove_nothing_convict_nobody(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something moves extents all the time, so that different bytes were found in one place."""
    monkeypatch.setattr(extents, "device_of", lambda fd: ("xfs", 1, 1))
    monkeypatch.setattr(extents, "places", lambda fd: [(0, 1 << 30, os.fstat(fd).st_size)])
    reports, problems, _ = verify.check_all(store)
    assert damaged(reports) == [] and problems == []


def test_memory_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MOST", 3)
    memory = verify.start_memory(store, [record["snapshot_id"] for record in store.taken])  # type: ignore[attr-defined]
    for record in store.taken:  # type: ignore[attr-defined]
        assert not verify.check_snapshot(store, record["snapshot_id"], memory=memory).tampered
    assert len(memory.inodes) <= 3 and len(memory.places) < 8


def test_what_was_not_verified_for_longest_comes_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(store.root)
    ids = [record["snapshot_id"] for record in store.taken]  # type: ignore[attr-defined]
    seen: list[str] = []
    for count in (1, 2, 3, 4, 5):
        value = making.run("verify", "--sample", "20", "--json").json
        assert value["healthy"] and value["not_checked"] == len(ids) - 1
        seen += [report["snapshot_id"] for report in value["snapshots"]]
        assert len(set(seen)) == count
    assert sorted(seen) == sorted(ids)
    assert making.run("verify", "--sample", "20", "--json").json["snapshots"][0]["snapshot_id"] == seen[0]
    assert making.run("verify", "--older-than", "1d", "--json").json["snapshots"] == []
    said = making.run("verify", "--older-than", "0s").text
    assert "5 of 5 snapshots OK" in said and "not read" not in said
    assert "the files of 4 other snapshots were not read" in making.run("verify", "--sample", "1").text
    for words in (["--sample", "0"], ["--sample", "101"], ["--older-than", "soon"], ["--sample", "5", "HEAD"]):
        assert making.run("verify", *words).exit == 2


def test_a_sample_says_what_is_wrong_with_the_records_of_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(store.root)
    for record in store.taken[:2]:  # type: ignore[attr-defined]
        assert making.run("verify", record["snapshot_id"]).exit == 0
    marker = Path(str(store.layout.ready(store.taken[0]["snapshot_id"])))  # type: ignore[attr-defined]
    marker.unlink()
    value = making.run("verify", "--sample", "20", "--json").json
    assert [report["snapshot_id"] for report in value["snapshots"] if report["error"]] == [marker.stem]
