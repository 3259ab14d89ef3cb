"""Many mounts of one JuiceFS volume: an index for each, and what one knows is not read again through another."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from making import at, main_of, make_store, open_store, snapshot, violations, write

from jvs.gc import run as gc_run
from jvs.store import changing, index_place, node_store, worktree_scan
from jvs.store.store import Store
from jvs.tree import racy
from jvs.tree.index import Index
from jvs.worktrees import fork, move

FILES: dict[str, str | bytes] = {f"{d}/f{i}": f"{d} {i}" for d in ("a", "b/c") for i in range(5)}


@pytest.fixture(autouse=True)
def all_files_are_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let stamps of files be kept that were written an instant before."""
    monkeypatch.setattr(racy, "RACY_NS", 0)


def make(store: Store, target: str, name: str) -> Path:
    with changing.worktree(store, name):
        return Path(fork.fork(store, target, name)["path"])


def taken(store: Store, name: str) -> int:
    """Return how many files a look had to read, once it is sure that it gives what a look without the index gives."""
    found = worktree_scan.walk_now(store, name)
    without = worktree_scan.walk_now(open_store(store.root, use_index=False), name)
    assert found.root_hash == without.root_hash
    return found.taken


def read_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: object, **_: object) -> None:
        raise AssertionError(f"'{path}' was read")

    monkeypatch.setattr(node_store, "hash_payload", refuse)


def test_each_mount_has_an_index_of_its_own(two_hosts: tuple[Path, Path]) -> None:
    here = make_store(two_hosts[0] / "repo")
    there = open_store(two_hosts[1] / "repo")
    again = open_store(two_hosts[0] / "repo")
    assert here.layout.index.name == again.layout.index.name != there.layout.index.name
    here_open, there_open = here.index(), there.index()
    write(main_of(here), FILES)
    roots = []
    for i in range(4):  # both hold their index open while the other one writes
        store = (here, there)[i % 2]
        write(main_of(store), {"changed": f"{i}"})
        roots.append(snapshot(store)["payload_root_hash"])
    for index, own in ((here_open, roots[::2]), (there_open, roots[1::2])):
        assert index.keeps and all(index.root(root) for root in own)
    assert here.index() is here_open and there.index() is there_open
    assert violations(here.root) == []


def test_what_another_mount_hashed_is_not_read_again(
    two_hosts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = make_store(two_hosts[0] / "repo")
    write(main_of(here), FILES)
    made = snapshot(here)
    here.close()
    there = open_store(two_hosts[1] / "repo")
    read_nothing(monkeypatch)
    assert node_store.Trees(there).root(made) is not None
    assert there.index().root(made["payload_root_hash"]) is not None  # and from now on without the other
    make(there, made["snapshot_id"], "side")
    assert taken(there, "side") == 0
    assert snapshot(there, name="side")["payload_root_hash"] == made["payload_root_hash"]
    there.close()
    back = open_store(two_hosts[0] / "repo")
    assert taken(back, "side") == 0  # a worktree that this mount never looked at
    with changing.worktree(back, "side"):
        assert move.remove(back, "side", discard=True)["changes"] == 0


def test_a_fork_is_looked_at_without_reading_it(juicefs_dir: Path) -> None:
    store = make_store(juicefs_dir / "repo")
    write(main_of(store), FILES)
    os.link(main_of(store) / "a" / "f0", main_of(store) / "b" / "link")
    made = snapshot(store)
    for name, knows_rows in (("side", True), ("far", False)):
        if not knows_rows:  # then they are made of the fork, while nobody else can reach it
            store.index().forget("main")
            store.index().forget("side")
        place = make(store, made["snapshot_id"], name)
        assert taken(store, name) == (2 if knows_rows else 0)  # the names of one file were linked again in the clone
        assert snapshot(store, name=name)["payload_root_hash"] == made["payload_root_hash"]
        before = (place / "a" / "f1").stat()
        write(place, {"a/f1": "A 1"})
        os.utime(place / "a" / "f1", ns=(before.st_atime_ns, before.st_mtime_ns))
        assert snapshot(store, name=name)["payload_root_hash"] != made["payload_root_hash"]
        assert taken(store, name) <= 3
    assert violations(store.root) == []


def test_a_damaged_index_of_another_mount_is_left_alone(juicefs_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_store(juicefs_dir / "repo")
    write(main_of(store), FILES)
    made = snapshot(store)
    control = Path(store.root) / ".jvs"
    odd = control / f"{index_place.NAME}.{'0' * 16}"
    odd.write_bytes(b"no database")
    (control / f"{index_place.NAME}.{'1' * 16}").symlink_to("/etc/passwd")
    os.unlink(str(store.layout.index))
    store = open_store(store.root)
    assert node_store.Trees(store).root(made, rebuild=False) is None
    assert odd.read_bytes() == b"no database"
    assert node_store.Trees(store).root(made) is not None
    read_nothing(monkeypatch)
    assert node_store.Trees(open_store(store.root)).root(made) is not None


def test_elsewhere_there_is_one_index(tmp_path: Path) -> None:
    store = make_store(tmp_path / "repo")
    assert store.layout.index.name == index_place.NAME
    assert store.other_indexes() == []


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("index.sqlite", True),
        ("index.sqlite.0123456789abcdef", True),
        ("index.sqlite-journal", False),
        ("index.sqlite.0123456789abcdef-wal", False),
        ("index.sqlite.0123456789ABCDEF", False),
        ("index.sqlite.0123", False),
        ("x-index.sqlite.0123456789abcdef", False),
    ],
)
def test_names_of_indexes(name: str, is_one: bool) -> None:
    assert index_place.is_name(name) is is_one


def test_indexes_that_nobody_writes_any_more_go_when_a_mount_gets_its_first(tmp_path: Path) -> None:
    own, old, new = (tmp_path / f"index.sqlite.{digit * 16}" for digit in "abc")
    for path in (old, new, tmp_path / "index.sqlite-x"):
        path.write_bytes(b"x")
    for path in (old, tmp_path / "index.sqlite-x"):
        os.utime(path, ns=(1, 1))
    own.write_bytes(b"x")
    index_place.tidy(at(own))
    assert old.exists()  # it has one
    own.unlink()
    index_place.tidy(at(own))
    assert sorted(os.listdir(tmp_path)) == sorted([new.name, "index.sqlite-x"])


def test_a_collection_forgets_worktrees_that_another_mount_removed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "repo")
    snapshot(store)
    store.index().store("gone 1", rows=[(b"", b"\0" * 8, b"d")], base=("x", b"d"), replace=True)
    gc_run._tidy_index(store)
    index: Index = store.index()
    assert index.base_id("gone 1") == ""
    assert index.base_id(store.tree_key("main")) != ""
