"""Second snapshots of large files on filesystems that share storage: quick, and never with another hash.

`JVS_TEST_ROUNDS` makes the differential test longer.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import making
import pytest

from jvs import clock, errors
from jvs.fs import copyfile, extents
from jvs.restore import run as restore_run
from jvs.store import leaf_lists, worktree_scan
from jvs.store.store import Store
from jvs.tree import file_hash, leaves, scan
from jvs.tree.leaves import LEAF_BYTES

LEAVES = 5
SIZE = LEAVES * LEAF_BYTES
ROUNDS = int(os.environ.get("JVS_TEST_ROUNDS", "1"))
ENGINES = [("xfs", "reflink-copy"), ("btrfs", "btrfs-snapshot"), ("btrfs", "reflink-copy")]


@pytest.fixture(params=ENGINES, ids=["xfs", "btrfs", "btrfs-reflink"])
def store(request: pytest.FixtureRequest, fs_at: Any) -> Iterator[Store]:
    name, engine = request.param
    made = making.make_store(fs_at(name) / "lab", engine=engine)
    making.write(making.main_of(made), {"large": os.urandom(SIZE), "small": "small"})
    yield made
    made.close()


class Read:
    """Counts the leaves that are read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = leaves.hash_range

        def count(*args: Any, **more: Any) -> Any:
            self.count += 1
            return real(*args, **more)

        monkeypatch.setattr(leaves, "hash_range", count)

    def take(self) -> int:
        count, self.count = self.count, 0
        return count


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Read:
    return Read(monkeypatch)


def truth(store: Store, record: dict[str, Any]) -> str:
    """Hash the payload of a snapshot, every byte of it."""
    return scan.Scanner(scan.Hasher()).run(store.layout.payload(record["snapshot_id"])).root_hash


def look(store: Store, record: dict[str, Any]) -> str:
    """Hash the worktree as a look at it does, against a snapshot."""
    return worktree_scan.walk_now(store, "main", compare=record).root_hash


def live(store: Store) -> str:
    """Hash the worktree, every byte of it."""
    return scan.Scanner(scan.Hasher()).run(store.layout.worktree_dir("main")).root_hash


def restore(store: Store, record: dict[str, Any]) -> None:
    restore_run.restore(store, "main", record["snapshot_id"])


def listed(store: Store, record: dict[str, Any]) -> Path:
    return Path(str(store.layout.leaves(record["snapshot_id"])))


def test_only_the_leaves_that_changed_are_read(store: Store, read: Read) -> None:
    main = making.main_of(store)
    first = making.snapshot(store)
    assert read.take() == LEAVES
    with (main / "large").open("r+b") as file:
        file.seek(2 * LEAF_BYTES + 5)
        file.write(b"changed")
    second = making.snapshot(store)
    assert read.take() == 1
    assert second["payload_root_hash"] == truth(store, second) != first["payload_root_hash"]
    for record in (first, second):
        lists = leaf_lists.load(store.layout, record["snapshot_id"])
        assert len(lists) == 1 and all(leaves.is_list_of(digest, *item) for digest, item in lists.items())
    assert making.violations(store.root) == []


def test_a_look_and_a_restore_read_only_the_leaves_that_changed(store: Store, read: Read) -> None:
    main = making.main_of(store)
    first = making.snapshot(store)
    with (main / "large").open("r+b") as file:
        file.seek(2 * LEAF_BYTES + 5)
        file.write(b"changed")
    read.take()
    changed = look(store, first)
    assert read.take() == 1
    assert changed == live(store) != first["payload_root_hash"]
    second = making.snapshot(store)
    read.take()
    restore(store, first)  # looks, and proves the one leaf that comes
    assert read.take() <= 2
    assert live(store) == first["payload_root_hash"]
    read.take()
    assert look(store, first) == first["payload_root_hash"]
    assert read.take() == 0
    assert look(store, second) == first["payload_root_hash"]
    assert read.take() == 1
    assert making.violations(store.root) == []


def test_a_restore_reads_what_it_brings(store: Store, read: Read) -> None:
    """A leaf of the payload that somebody wrote to is not that of the worktree any more."""
    main = making.main_of(store)
    first = making.snapshot(store)
    if first["engine"] == "btrfs-snapshot":
        pytest.skip("read-only")
    payload = Path(str(store.layout.payload(first["snapshot_id"])))
    st = os.stat(payload / "large")
    for path, at in ((payload / "large", LEAF_BYTES), (main / "large", 3 * LEAF_BYTES)):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"changed")
    os.utime(payload / "large", ns=(st.st_atime_ns, st.st_mtime_ns))
    before = (main / "large").read_bytes()
    with pytest.raises(errors.PayloadHashMismatch):
        restore(store, first)
    assert (main / "large").read_bytes() == before


def test_the_setting_turns_it_off_for_looks_and_restores(store: Store, read: Read) -> None:
    first = making.snapshot(store)
    other = making.open_store(store.root, "engine.shared_extents=false", engine=store.settings.get("default_engine"))
    with (making.main_of(store) / "large").open("r+b") as file:
        file.write(b"changed")
    read.take()
    quick, slow = look(store, first), look(other, first)
    assert quick == slow and read.take() == 1 + LEAVES
    restore(other, first)
    assert read.take() == 2 * LEAVES
    assert live(other) == first["payload_root_hash"]
    other.close()


def test_diff_and_show_say_how_many_bytes_of_a_large_file_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = making.main_of(store)
    making.snapshot(store)
    with (main / "large").open("r+b") as file:
        file.seek(LEAF_BYTES - 1)
        file.write(b"xx")
    monkeypatch.chdir(store.root)
    for words in (["diff", "HEAD"], ["status"]):
        found = making.run(*words, "--json").json
        assert [item["changed_bytes"] for item in found["modified"]] == [2 * LEAF_BYTES], words
    second = making.snapshot(store)
    assert (second["changes"]["bytes"], second["changes"]["new_bytes"]) == (SIZE, 2 * LEAF_BYTES)
    assert "8.0 MiB of 20.0 MiB changed" in making.run("diff").text
    assert "8.0 MiB of new content" in making.run("show").text
    with (main / "large").open("ab") as file:
        file.write(b"x")
    third = making.snapshot(store)
    assert third["changes"]["new_bytes"] == 1
    (main / "large").write_bytes(b"small now")
    fourth = making.snapshot(store)
    assert fourth["changes"].get("new_bytes", fourth["changes"]["bytes"]) == 9


def test_the_setting_turns_it_off(store: Store, read: Read) -> None:
    making.snapshot(store)
    read.take()
    root, engine = store.root, store.settings.get("default_engine")
    other = making.open_store(root, "engine.shared_extents=false", engine=engine)
    (making.main_of(store) / "large").touch()
    with (making.main_of(store) / "large").open("r+b") as file:
        file.write(b"changed")
    second = making.snapshot(other)
    assert read.take() == LEAVES
    assert second["payload_root_hash"] == truth(store, second)
    other.close()


@pytest.mark.parametrize("damage", ["missing", "flipped", "cut", "another's", "not a file"])
def test_a_damaged_list_changes_no_hash(store: Store, read: Read, damage: str) -> None:
    first = making.snapshot(store)
    read.take()
    path = listed(store, first)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[-40] ^= 1
    path.unlink()
    if damage == "not a file":
        path.mkdir()
    elif damage == "another's":
        lists = leaf_lists.decode(bytes(data))
        path.write_bytes(leaf_lists.encode({digest: (SIZE, os.urandom(32 * LEAVES)) for digest in lists}))
    elif damage != "missing":
        path.write_bytes(data if damage == "flipped" else data[: len(data) // 2])
    with (making.main_of(store) / "large").open("r+b") as file:
        file.write(b"changed")
    second = making.snapshot(store)
    assert read.take() == LEAVES
    assert second["payload_root_hash"] == truth(store, second)
    assert list(leaf_lists.load(store.layout, second["snapshot_id"]))


def test_a_payload_that_was_written_to_is_no_proof(store: Store, read: Read) -> None:
    """Storage is copied before it is written, so that a changed leaf of the payload before lies elsewhere."""
    first = making.snapshot(store)
    if first["engine"] == "btrfs-snapshot":
        pytest.skip("read-only")
    read.take()
    payload = Path(str(store.layout.payload(first["snapshot_id"])))
    for path, at in ((payload / "large", LEAF_BYTES), (making.main_of(store) / "large", 3 * LEAF_BYTES)):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(b"changed")
    os.utime(payload / "large", (1, 1))  # a file with the time of its original is compared with it first
    second = making.snapshot(store)
    assert read.take() == 2
    assert second["payload_root_hash"] == truth(store, second)


def test_a_payload_that_was_changed_in_place_and_cloned_back_is_read(store: Store, read: Read) -> None:
    """What nobody else shares is overwritten where it is; a clone of that is in the place of the old content."""
    path = making.main_of(store) / "large"
    first = making.snapshot(store)
    if first["engine"] == "btrfs-snapshot":
        pytest.skip("read-only")
    path.write_bytes(os.urandom(SIZE))
    os.sync()
    payload = Path(str(store.layout.payload(first["snapshot_id"])))
    clock.sleep(0.03)
    with (payload / "large").open("r+b") as file:
        file.seek(LEAF_BYTES)
        file.write(b"changed")
        file.flush()
        os.fsync(file.fileno())
        with path.open("r+b") as target:
            assert copyfile.reflink(file.fileno(), target.fileno())
    read.take()
    second = making.snapshot(store)
    assert read.take() >= LEAVES
    assert second["payload_root_hash"] == truth(store, second)


def test_lists_stay_for_files_that_did_not_change_and_go_with_those_that_went(store: Store) -> None:
    main = making.main_of(store)
    making.write(main, {"d/other": os.urandom(LEAF_BYTES + 1)})
    first = making.snapshot(store)
    assert len(leaf_lists.load(store.layout, first["snapshot_id"])) == 2
    making.write(main, {"small": "other"})
    second = making.snapshot(store)
    assert listed(store, second).read_bytes() == listed(store, first).read_bytes()
    (main / "d/other").unlink()
    third = making.snapshot(store)
    assert len(leaf_lists.load(store.layout, third["snapshot_id"])) == 1
    (main / "large").unlink()
    fourth = making.snapshot(store)
    assert not listed(store, fourth).exists()
    assert making.violations(store.root) == []


def test_the_commands_one_by_one_write_the_same_lists(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    first = making.snapshot(store)
    with (making.main_of(store) / "large").open("r+b") as file:
        file.write(b"changed")
    monkeypatch.chdir(making.main_of(store))
    engine = str(store.settings.get("default_engine"))
    data = b""
    for name in STEPS:
        words = ["--record"] + (["--engine", engine] if name == "clone-tree" else [])
        said = making.plumb(name, *words, *(["main"] if name == "check-worktree" else []), stdin=data)
        assert said.exit == 0, said.err
        data = said.out
    ids = {item for item in os.listdir(Path(store.root) / ".jvs/snapshots") if item.endswith(".leaves")}
    assert len(ids) == 2 and first["snapshot_id"] + ".leaves" in ids
    assert making.violations(store.root) == []


STEPS = (
    *("check-worktree", "write-intent", "clone-tree", "hash-tree", "sync-tree", "write-descriptor", "write-ready"),
    *("rename-ready", "update-head", "chain-append", "clear-intent"),
)

# The differential test: whatever was done to a file, the hash is that of all its bytes.

LIBC = ctypes.CDLL(None, use_errno=True)
BLOCK = 4096


def fallocate(fd: int, mode: int, at: int, length: int) -> None:
    call = LIBC.fallocate
    call.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    if call(fd, mode, at, length) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def place(chance: random.Random, fd: int) -> tuple[int, int]:
    """Return a part of a file that begins and ends at blocks."""
    blocks = max(os.fstat(fd).st_size // BLOCK, 4)
    start = chance.randrange(blocks - 2)
    return start * BLOCK, chance.randrange(1, min(blocks - start, 700)) * BLOCK


def overwrite(fd: int, chance: random.Random) -> None:
    at, length = place(chance, fd)
    os.pwrite(fd, chance.randbytes(min(length, 9000)), at + chance.randrange(BLOCK))


def rewrite_the_same(fd: int, chance: random.Random) -> None:
    at, length = place(chance, fd)
    os.pwrite(fd, os.pread(fd, length, at), at)


def direct(fd: int, chance: random.Random) -> None:
    at, _ = place(chance, fd)
    with mmap.mmap(-1, BLOCK) as page:
        page[:] = chance.randbytes(BLOCK)
        other = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_DIRECT)
        try:
            os.lseek(other, at, os.SEEK_SET)
            os.write(other, page)
        finally:
            os.close(other)


def mapped(fd: int, chance: random.Random) -> None:
    size = os.fstat(fd).st_size
    with mmap.mmap(fd, size) as view:
        view[chance.randrange(size)] = chance.randrange(256)


def punch(fd: int, chance: random.Random) -> None:
    fallocate(fd, 0x02 | 0x01, *place(chance, fd))


def zero(fd: int, chance: random.Random) -> None:
    fallocate(fd, 0x10 | 0x01, *place(chance, fd))


def collapse(fd: int, chance: random.Random) -> None:
    at, length = place(chance, fd)
    fallocate(fd, 0x08, at, min(length, 64 * BLOCK))


def insert(fd: int, chance: random.Random) -> None:
    at, length = place(chance, fd)
    fallocate(fd, 0x20, at, min(length, 64 * BLOCK))


def preallocate(fd: int, chance: random.Random) -> None:
    os.posix_fallocate(fd, os.fstat(fd).st_size, chance.randrange(1, 100) * BLOCK)


def shorten(fd: int, chance: random.Random) -> None:
    os.ftruncate(fd, os.fstat(fd).st_size - chance.randrange(1, LEAF_BYTES // 2))


def lengthen(fd: int, chance: random.Random) -> None:
    os.ftruncate(fd, os.fstat(fd).st_size + chance.randrange(1, LEAF_BYTES))


def append(fd: int, chance: random.Random) -> None:
    os.pwrite(fd, chance.randbytes(chance.randrange(1, 300_000)), os.fstat(fd).st_size)


def clone_within(fd: int, chance: random.Random) -> None:
    at, length = place(chance, fd)
    target, _ = place(chance, fd)
    if abs(target - at) >= length and target + length <= os.fstat(fd).st_size // BLOCK * BLOCK:
        fcntl.ioctl(fd, 0x4020940D, struct.pack("=qQQQ", fd, at, length, target))  # FICLONERANGE


def dedupe(fd: int, chance: random.Random) -> None:
    """Give one part the content of another, then let the filesystem share them."""
    at, length = place(chance, fd)
    target, _ = place(chance, fd)
    if abs(target - at) < length or target + length > os.fstat(fd).st_size // BLOCK * BLOCK:
        return
    os.pwrite(fd, os.pread(fd, length, at), target)
    head = struct.pack("=QQHHL", at, length, 1, 0, 0)
    buffer = bytearray(head + struct.pack("=qQQiL", fd, target, 0, 0, 0))
    fcntl.ioctl(fd, 0xC0189436, buffer, True)  # FIDEDUPERANGE


def defragment(fd: int, chance: random.Random) -> None:
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(
            ["btrfs", "filesystem", "defragment", f"/proc/self/fd/{fd}"],
            pass_fds=[fd],
            capture_output=True,
            check=False,
        )


def swap_extents(fd: int, chance: random.Random) -> None:
    """Exchange all storage with another file of the same length, as xfs_fsr does."""
    path = os.readlink(f"/proc/self/fd/{fd}")
    other = Path(path).with_name("donor")
    try:
        size = os.fstat(fd).st_size
        other.write_bytes(chance.randbytes(min(size, 2 * LEAF_BYTES)))
        os.truncate(other, size)
        subprocess.run(["xfs_io", "-c", f"swapext {other}", path], capture_output=True, check=False)
    finally:
        other.unlink()


CHANGES: tuple[Callable[[int, random.Random], None], ...] = (
    *(overwrite, rewrite_the_same, direct, mapped, punch, zero, collapse, insert, preallocate, shorten, lengthen),
    *(append, clone_within, dedupe, defragment, swap_extents),
)


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_hash_is_that_of_all_bytes_whatever_was_done(store: Store, read: Read, number: int) -> None:
    chance = random.Random(f"{store.settings.get('default_engine')} {number}")
    main, total = making.main_of(store), 0
    record = first = making.snapshot(store)
    for change in chance.sample(CHANGES, len(CHANGES)):
        fd = os.open(main / "large", os.O_RDWR)
        try:
            with contextlib.suppress(OSError):  # one that this filesystem does not know, or not at this place
                change(fd, chance)
            if os.fstat(fd).st_size < 3 * LEAF_BYTES:
                os.ftruncate(fd, SIZE)
        finally:
            os.close(fd)
        if chance.random() < 0.3:
            clock.sleep(0.03)
        read.take()
        looked = look(store, record)
        record = making.snapshot(store)
        total += read.take()
        assert looked == record["payload_root_hash"] == truth(store, record), change.__name__
        if chance.random() < 0.3:
            restore(store, first)
            assert live(store) == first["payload_root_hash"], change.__name__
            restore(store, record)
            assert live(store) == look(store, record) == record["payload_root_hash"], change.__name__
    assert total < 2 * len(CHANGES) * LEAVES


@pytest.mark.parametrize("switch", ["extents", "holes"])
def test_no_switch_changes_a_hash(store: Store, monkeypatch: pytest.MonkeyPatch, switch: str) -> None:
    making.snapshot(store)
    fd = os.open(making.main_of(store) / "large", os.O_RDWR)
    punch(fd, random.Random(1))
    overwrite(fd, random.Random(2))
    os.close(fd)
    if switch == "extents":
        monkeypatch.setattr(extents, "unchanged_parts", lambda *_: set())
    else:
        monkeypatch.setattr(file_hash.FileHash, "skip_holes", False)
    record = making.snapshot(store)
    assert record["payload_root_hash"] == truth(store, record)
