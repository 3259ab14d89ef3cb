"""Digests of large files: the vectors, threads, holes, files that change meanwhile; every shortcut gives the same."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import random
import threading
from pathlib import Path
from typing import Any

import making
import pytest

from jvs import system
from jvs.fs import extents
from jvs.tree import file_hash, hasher, leaves, node, scan
from jvs.tree.leaves import LEAF_BYTES

FILES = json.loads((Path(__file__).resolve().parent / "vectors" / "files.json").read_text(encoding="utf-8"))["files"]


def build(path: Path, content: list[tuple[str, int]]) -> None:
    """Write what a vector describes; zeros become holes."""
    with path.open("wb") as file:
        for text, times in content:
            if text == "\0":
                file.seek(times, os.SEEK_CUR)
                continue
            for start in range(0, times, 1 << 20):
                file.write(text.encode() * min(1 << 20, times - start))
        file.truncate()


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


def hashed(path: Path, threads: int = 3, **more: Any) -> tuple[bytes, int]:
    """Hash a file as `Hasher` does for a large one."""
    work = file_hash.FileHash(opened(path), path.stat().st_size, attributes=False, **more)
    running = [threading.Thread(target=work.work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    digest, size, _ = work.future.result(timeout=0)
    return digest, size


def plainly(path: Path, **more: Any) -> bytes:
    fd = opened(path)
    try:
        return leaves.hash_open_file(fd, **more)[0]
    finally:
        os.close(fd)


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"]) for case in FILES])
def test_files(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "file"
    build(path, case["content"])
    assert path.stat().st_size == case["size"]
    found: leaves.Lists = {}
    assert plainly(path, lists=found).hex() == case["digest"]
    assert {digest.hex(): listed[1].hex() for digest, listed in found.items()} == (
        {case["digest"]: "".join(case["leaves"])} if case["leaves"] else {}
    )
    assert plainly(path, plain=True).hex() == case["sha256"]
    theirs = making.oracle_module("treehash")
    for algorithm, wanted in ((theirs.TREE_2, case["digest"]), (theirs.TREE_1, case["sha256"])):
        with path.open("rb") as file:
            assert theirs.file_digest(file.fileno(), algorithm)[0].hex() == wanted
    if case["size"]:
        assert hashed(path)[0].hex() == case["digest"]


def test_the_leaf_of_zeros() -> None:
    assert hashlib.sha256(bytes(LEAF_BYTES)).digest() == leaves.ZERO_LEAF


@pytest.mark.parametrize("name", ["ext4", "xfs", "btrfs", "tmpfs"])
def test_holes_are_hashed_as_the_zeros_that_they_are(fs_at: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fs_at(name) / "file"
    chance = random.Random(name)
    with path.open("wb") as file:
        for _ in range(12):
            file.seek(chance.randrange(0, 6 * LEAF_BYTES))
            file.write(chance.randbytes(chance.choice((1, 5000, 70000))))
        file.truncate(6 * LEAF_BYTES + 1234567)
    fd = opened(path)
    assert extents.tells_holes(fd)
    os.close(fd)
    wanted = plainly(path)
    read: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, count, at: read.append(at) or real(fd, count, at))
    quick, few = hashed(path), len(read)
    monkeypatch.setattr(file_hash.FileHash, "skip_holes", False)
    assert hashed(path) == quick == (wanted, path.stat().st_size)
    assert few < len(read) - few


def test_a_hole_of_a_terabyte_takes_no_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extents, "tells_holes", lambda fd: True)
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 36)
    monkeypatch.setattr(os, "pread", lambda *_: pytest.fail("a hole was read"))
    digest, _ = hashed(path)
    assert digest == leaves.file_digest(1 << 36, leaves.ZERO_LEAF * (1 << 36 >> 22))


@pytest.mark.parametrize("threads", [1, 3])
def test_each_leaf_is_asked_for_once_before_it_is_read_and_none_that_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(7 * LEAF_BYTES + 5))
    known = {3: hashlib.sha256(path.read_bytes()[3 * LEAF_BYTES : 4 * LEAF_BYTES]).digest()}
    asked: list[int] = []
    real, real_ask = os.pread, system.read_ahead

    def ask(fd: int, start: int, length: int) -> None:
        asked.append(start // LEAF_BYTES)
        real_ask(fd, start, length)

    def read(fd: int, count: int, at: int) -> bytes:
        if threads == 1:
            assert at // LEAF_BYTES in asked
        return real(fd, count, at)

    monkeypatch.setattr(system, "read_ahead", ask)
    monkeypatch.setattr(os, "pread", read)
    quick = hashed(path, threads, known=known)
    assert sorted(asked) == [0, 1, 2, 4, 5, 6, 7]
    monkeypatch.setattr(file_hash.FileHash, "reads_ahead", False)
    asked[:] = range(8)
    assert hashed(path, threads, known=known) == quick == (plainly(path), path.stat().st_size)
    assert asked == [*range(8)]


def test_a_hole_is_not_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "read_ahead", lambda *_: pytest.fail("a hole was read ahead"))
    monkeypatch.setattr(extents, "tells_holes", lambda fd: True)
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(4 * LEAF_BYTES)
    hashed(path)


@pytest.mark.parametrize("change", [-LEAF_BYTES - 5, -5, 5, LEAF_BYTES + 5])
def test_a_file_that_changes_its_length_is_read_from_start_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: int
) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * LEAF_BYTES))
    real, calls = leaves.hash_range, iter(range(1000))

    def hash_and_change(*args: Any, **more: Any) -> Any:
        if next(calls) == 1:
            os.truncate(path, 3 * LEAF_BYTES + change)
        return real(*args, **more)

    monkeypatch.setattr(leaves, "hash_range", hash_and_change)
    assert hashed(path) == (plainly(path), 3 * LEAF_BYTES + change)


def test_a_file_that_becomes_small_has_its_plain_digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(2 * LEAF_BYTES))
    real = leaves.hash_range
    monkeypatch.setattr(leaves, "hash_range", lambda *a, **k: os.truncate(path, 7) or real(*a, **k))
    assert hashed(path) == (hashlib.sha256(path.read_bytes()).digest(), 7)


def test_an_error_closes_the_file_and_is_that_of_the_future(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * LEAF_BYTES))

    def fail(*_: Any, **__: Any) -> bytes:
        raise OSError(5, "broken")

    monkeypatch.setattr(leaves, "hash_range", fail)
    gc.collect()  # or what other tests left open is closed meanwhile
    before = len(making.descriptors())
    with pytest.raises(OSError, match="broken"):
        hashed(path)
    assert len(making.descriptors()) == before


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_a_tree_is_the_same_whoever_hashes_it(tmp_path: Path, jobs: int) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    for number, size in enumerate((0, 1, LEAF_BYTES, LEAF_BYTES + 1, 3 * LEAF_BYTES + 17)):
        (tree / "d" / f"f{number}").write_bytes(os.urandom(size))
    for plain, algorithm in ((False, node.ALGORITHM), (True, node.PLAIN)):
        found = scan.Scanner(scan.Hasher(jobs=jobs, plain=plain)).run(making.at(tree))
        theirs = making.oracle_module("treehash").hash_tree(str(tree), algorithm)
        assert found.root_hash == theirs.root_hash
        assert len(found.lists) == (0 if plain else 2)
        assert all(
            found.lists[d][0] == e[3] and leaves.is_list_of(d, *found.lists[d])
            for d, e in large_entries(found)
            if not plain
        )


def large_entries(found: scan.ScanResult) -> list[tuple[bytes, node.Entry]]:
    entries = [entry for data in found.nodes.values() for entry in node.decode_node(data)]
    return [(entry[4], entry) for entry in entries if entry[1] == 0 and entry[3] > LEAF_BYTES]


def test_a_walk_that_fails_leaves_no_file_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        (tmp_path / f"f{number}").write_bytes(bytes(LEAF_BYTES + 1))
    worker = scan.Hasher(jobs=2)
    real, calls = hasher.Hasher.hash_leaves, iter(range(100))

    def hash_or_fail(self: Any, work: Any) -> Any:
        if next(calls) == 7:
            self._open.add(work)
            raise OSError(5, "broken")
        return real(self, work)

    monkeypatch.setattr(hasher.Hasher, "hash_leaves", hash_or_fail)
    gc.collect()  # what earlier tests left is closed now, not in between
    before = len(making.descriptors())
    with pytest.raises(Exception, match="broken"):
        scan.Scanner(worker).run(making.at(tmp_path))
    assert len(making.descriptors()) <= before


def test_no_list_but_the_right_one_is_believed() -> None:
    size, listed = 2 * LEAF_BYTES + 1, os.urandom(96)
    digest = leaves.file_digest(size, listed)
    assert leaves.is_list_of(digest, size, listed)
    assert not leaves.is_list_of(digest, size - 1, listed)
    assert not leaves.is_list_of(digest, size, listed[32:] + listed[:32])
    assert not leaves.is_list_of(digest, size, listed[:-1])
    assert not leaves.is_list_of(hashlib.sha256(b"").digest(), 0, b"")
