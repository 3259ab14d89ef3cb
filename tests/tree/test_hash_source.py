"""A clone that is hashed by its original: the same hash, and the clone's own when the original changed meanwhile."""

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
from pathlib import Path

import making
import pytest

from jvs import clock
from jvs.publish import run as publishing
from jvs.store import changing
from jvs.store.store import Store
from jvs.tree import hash_source, hasher, leaves, racy, scan

OLD_NS = 1_600_000_000_000_000_000


def opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    original, clone = tmp_path / "original", tmp_path / "clone"
    original.write_bytes(b"content" * 1000)
    shutil.copyfile(original, clone)
    return original, clone


def test_an_original_that_held_still_is_read_instead_of_its_clone(pair: tuple[Path, Path]) -> None:
    original, clone = pair
    before = original.stat()
    clone.write_bytes(b"never read")
    digest, size, _ = hash_source.hash_either(opened(original), opened(clone), before)
    assert (digest, size) == (hashlib.sha256(b"content" * 1000).digest(), 7000)


@pytest.mark.parametrize("change", [b"longer" * 5000, b"CONTENT" * 1000])
def test_the_clone_is_read_when_the_original_changed(pair: tuple[Path, Path], change: bytes) -> None:
    original, clone = pair
    before = original.stat()
    clock.sleep(0.05)
    original.write_bytes(change)
    os.utime(original, ns=(before.st_atime_ns, before.st_mtime_ns))
    digest, size, _ = hash_source.hash_either(opened(original), opened(clone), before)
    assert (digest, size) == (hashlib.sha256(b"content" * 1000).digest(), 7000)


def test_a_change_while_it_is_hashed_is_noticed(pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    original, clone = pair
    before = original.stat()
    clock.sleep(0.05)
    real = leaves.hash_open_file
    calls: list[int] = []

    def hash_and_disturb(fd: int) -> tuple[bytes, int]:
        found = real(fd)
        calls.append(fd)
        if len(calls) == 1:
            original.write_bytes(b"later")
        return found

    monkeypatch.setattr(leaves, "hash_open_file", hash_and_disturb)
    original.write_bytes(b"already")
    digest, _, _ = hash_source.hash_either(opened(original), opened(clone), before)
    assert digest == hashlib.sha256(b"content" * 1000).digest()
    assert len(calls) == 2


def test_descriptors_are_closed_also_after_an_error(pair: tuple[Path, Path]) -> None:
    original, clone = pair
    one, other = os.open(original, os.O_WRONLY), opened(clone)
    with pytest.raises(OSError):
        hash_source.hash_either(one, other, original.stat())
    for fd in (one, other):
        with pytest.raises(OSError):
            os.fstat(fd)


def test_a_young_stamp_is_not_recovered(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    st = path.stat()
    assert not racy.is_conclusive(st, st.st_ctime_ns + racy.RACY_NS)
    assert racy.is_conclusive(st, st.st_ctime_ns + racy.RACY_NS + 1)


@pytest.fixture(params=["btrfs_dir", "xfs_dir"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr(hasher, "BIG_BYTES", 1 << 16)
    monkeypatch.setattr(hash_source, "BIG_BYTES", 1 << 16)
    monkeypatch.setattr(hasher, "WATCHED_BYTES", 1 << 16)  # or a batch gets what is big here
    return making.make_store(request.getfixturevalue(request.param))


def fresh(store: Store, record: dict) -> str:  # type: ignore[type-arg]
    return scan.Scanner(scan.Hasher()).run(store.layout.payload(record["snapshot_id"])).root_hash


def take(store: Store) -> dict:  # type: ignore[type-arg]
    with changing.worktree(store, "main"):
        return publishing.publish(store, "main")


def test_snapshots_of_big_files_are_what_their_hash_says(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    main = Path(making.main_of(store))
    (main / "dir").mkdir()
    for number in range(4):
        (main / "dir" / f"big{number}").write_bytes(os.urandom(1 << 17))
    clock.sleep(0.1)
    used: list[bool] = []
    real = hasher.Hasher.hash_original
    monkeypatch.setattr(hasher.Hasher, "hash_original", lambda *a, **k: used.append(True) or real(*a, **k))
    first = take(store)
    assert len(used) == 4
    assert fresh(store, first) == first["payload_root_hash"]
    monkeypatch.setattr(racy, "is_conclusive", lambda *_: False)
    store.index().forget("main")
    assert take(store)["payload_root_hash"] == first["payload_root_hash"]
    assert len(used) == 4


def test_a_store_into_a_mapped_file_is_either_in_the_snapshot_or_not(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page was dirty before, so that only the write-back of the clone makes the later store move the ctime."""
    path = Path(making.main_of(store)) / "mapped"
    path.write_bytes(bytes(1 << 17))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as view:
        view[0] = 1
        clock.sleep(0.1)
        view[1] = 1
        real = hasher.Hasher.hash_original

        def store_and_hash(*args: object, **more: object) -> object:
            view[2] = 1
            return real(*args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(hasher.Hasher, "hash_original", store_and_hash)
        record = take(store)
    assert fresh(store, record) == record["payload_root_hash"]
