"""Copying a large file and hashing it in one read: the same copy, the same digest, holes kept, nothing torn unsaid."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import making
import pytest

from jvs.engine import content
from jvs.fs import copyfile, extents
from jvs.publish import run as publishing
from jvs.store import changing
from jvs.store.store import Store
from jvs.tree import leaves, scan
from jvs.tree.leaves import LEAF_BYTES


@pytest.fixture
def store(ext4_dir: Path) -> Any:
    made = making.make_store(ext4_dir / "lab")
    yield made
    made.close()


def take(store: Store) -> dict[str, Any]:
    with changing.worktree(store, "main"):
        return publishing.publish(store, "main")


def fresh(store: Store, record: dict[str, Any]) -> str:
    return scan.Scanner(scan.Hasher()).run(store.layout.payload(record["snapshot_id"])).root_hash


@pytest.mark.parametrize("at_once", [True, False])
def test_the_copy_and_its_hash_are_right(store: Store, monkeypatch: pytest.MonkeyPatch, at_once: bool) -> None:
    monkeypatch.setattr(content.Contents, "at_once", at_once)
    main, chance = making.main_of(store), random.Random(7)
    (main / "dense").write_bytes(chance.randbytes(2 * LEAF_BYTES + 77))
    with (main / "sparse").open("wb") as file:
        for at in (3, LEAF_BYTES - 100, 4 * LEAF_BYTES, 6 * LEAF_BYTES - 4096):
            file.seek(at)
            file.write(chance.randbytes(5000))
        file.truncate(8 * LEAF_BYTES + 5)
    record = take(store)
    assert record["engine"] == "copy" and record["degraded"] == []
    assert fresh(store, record) == record["payload_root_hash"]
    payload = Path(str(store.layout.payload(record["snapshot_id"])))
    for name in ("dense", "sparse"):
        assert (payload / name).read_bytes() == (main / name).read_bytes()
        assert (payload / name).stat().st_mtime_ns == (main / name).stat().st_mtime_ns
    assert (payload / "sparse").stat().st_blocks <= (main / "sparse").stat().st_blocks + 64


def test_the_source_is_read_once_and_the_copy_not_at_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    size = 3 * LEAF_BYTES
    (making.main_of(store) / "large").write_bytes(os.urandom(size))
    read: list[int] = []
    real = os.pread

    def note(fd: int, count: int, at: int) -> bytes:
        data = real(fd, count, at)
        read.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", note)
    monkeypatch.setattr(os, "copy_file_range", lambda *_: pytest.fail("copied twice"))
    take(store)
    assert size <= sum(read) < size + 4096


@pytest.mark.parametrize("change", ["shorter", "longer", "small", "other"])
def test_a_file_that_changes_meanwhile_is_copied_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    path = making.main_of(store) / "large"
    path.write_bytes(os.urandom(3 * LEAF_BYTES))
    real, calls = os.pwrite, iter(range(10**6))

    def write(fd: int, data: bytes, at: int) -> int:
        if next(calls) == 5:
            with path.open("r+b") as file:
                sizes = {"shorter": LEAF_BYTES + 9, "longer": 4 * LEAF_BYTES, "small": 12, "other": 3 * LEAF_BYTES}
                file.truncate(sizes[change])
                file.seek(1)
                file.write(b"changed")
        return real(fd, data, at)

    monkeypatch.setattr(os, "pwrite", write)
    record = take(store)
    monkeypatch.undo()
    payload = Path(str(store.layout.payload(record["snapshot_id"])))
    assert (payload / "large").read_bytes() == path.read_bytes()
    assert fresh(store, record) == record["payload_root_hash"] and record["degraded"] == []


def test_a_file_that_never_holds_still_is_called_torn(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    path = making.main_of(store) / "large"
    path.write_bytes(os.urandom(2 * LEAF_BYTES))
    monkeypatch.setattr(copyfile, "unchanged", lambda *_: False)
    record = take(store)
    monkeypatch.undo()
    assert [(item["path"], item["what"]) for item in record["degraded"]] == [("large", "torn")]
    assert fresh(store, record) == record["payload_root_hash"]


def test_a_filesystem_that_copies_by_itself_does_so(xfs_dir: Path, tmp_path: Path) -> None:
    for place, answer in ((xfs_dir, False), (tmp_path, None)):
        path = place / "file"
        path.write_bytes(b"x")
        fd = os.open(path, os.O_RDONLY)
        if answer is not None:
            assert extents.copies_bytes(fd) is answer
        os.close(fd)


def test_data_and_holes_of_a_part(ext4_dir: Path) -> None:
    path = ext4_dir / "file"
    with path.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"x" * 8192)
        file.truncate(4 << 20)
    fd = os.open(path, os.O_RDONLY)
    assert leaves.data_from(fd, 0, 1 << 19) == (1 << 19, 1 << 19)
    assert leaves.data_from(fd, 0, 4 << 20) == (1 << 20, (1 << 20) + 8192)
    assert leaves.data_from(fd, (1 << 20) + 10, (1 << 20) + 20) == ((1 << 20) + 10, (1 << 20) + 20)
    assert leaves.data_from(fd, 2 << 20, 3 << 20) == (3 << 20, 3 << 20)
    os.close(fd)
