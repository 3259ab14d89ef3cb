"""A fork of a snapshot that somebody touched is refused, although forks read nothing."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest

from jvs.engine import base as engine
from jvs.engine import copy_tree
from jvs.engine.btrfs import ioctl
from jvs.errors import PayloadHashMismatch
from jvs.store import changing, node_store, tamper_check
from jvs.store.store import Store
from jvs.worktrees import fork


@pytest.fixture
def store(fs_dir: Path) -> Store:
    made = making.make_store(fs_dir / "lab")
    main = Path(made.root) / "main"
    making.write(main, {"a": "content", "d/b": "more"})
    for path in (main / "a", main / "d" / "b", main / "d"):  # not in the tick of the marker, on clocks that are coarse
        os.utime(path, ns=(10**18, 10**18))
    return made


def flip(payload: Path) -> None:
    with open(payload / "d" / "b", "r+b") as file:
        file.write(b"X")


def chmod(payload: Path) -> None:
    (payload / "a").chmod(0o777)


def add(payload: Path) -> None:
    (payload / "d" / "extra").write_text("extra")


def remove(payload: Path) -> None:
    (payload / "a").unlink()


@pytest.mark.parametrize("damage", [flip, chmod, add, remove], ids=lambda damage: damage.__name__)
def test_a_touched_snapshot_is_not_forked(store: Store, damage) -> None:
    record = making.snapshot(store)
    payload = str(store.layout.payload(record["snapshot_id"]))
    assert tamper_check.is_untouched(store, record)
    if record["engine"] == engine.BTRFS:
        ioctl.set_flags(making.at(payload), 0)
    damage(Path(payload))
    assert not tamper_check.is_untouched(store, record)
    with changing.worktree(store, "try"), pytest.raises(PayloadHashMismatch):
        fork.fork(store, record["snapshot_id"], "try")
    assert not os.path.lexists(str(store.layout.worktree_dir("try")))


def name_of(damage) -> str:
    return getattr(damage, "__name__", str(damage))


def touch(payload: Path) -> None:
    (payload / "d" / "b").touch()


def add_directory(payload: Path) -> None:
    (payload / "d" / "new").mkdir()


def remove_directory(payload: Path) -> None:
    (payload / "d" / "b").unlink()
    (payload / "d").rmdir()


def chmod_root(payload: Path) -> None:
    payload.chmod(0o700)


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize(
    "damage", [None, touch, flip, chmod, add, remove, add_directory, remove_directory, chmod_root], ids=name_of
)
def test_a_copy_by_shared_blocks_looks_on_the_way_as_others_look_before(fs_at, monkeypatch, damage, on) -> None:
    monkeypatch.setattr(tamper_check.Watch, "on", on)
    store = making.make_store(fs_at("xfs") / "lab", "default_engine=reflink-copy")
    main = making.main_of(store)
    making.write(main, {"a": "content", "d/b": "more", "e/f/g": "deep"})
    for path in main.rglob("*"):
        os.utime(path, ns=(10**18, 10**18))
    record = making.snapshot(store)
    if damage is not None:
        damage(Path(str(store.layout.payload(record["snapshot_id"]))))
    walks, reads = [], []
    real, rebuild = copy_tree.run, node_store.Trees.rebuild
    monkeypatch.setattr(copy_tree, "run", lambda *words, **more: walks.append(1) or real(*words, **more))
    monkeypatch.setattr(node_store.Trees, "rebuild", lambda *words: reads.append(1) or rebuild(*words))
    with changing.worktree(store, "try"):
        if damage in (None, touch):
            made = fork.fork(store, record["snapshot_id"], "try")
            assert (Path(made["path"]) / "d/b").read_text() == "more" and made["degraded"] == []
        else:
            with pytest.raises(PayloadHashMismatch):
                fork.fork(store, record["snapshot_id"], "try")
            assert not os.path.lexists(str(store.layout.usual_dir("try")))
    assert len(reads) == (damage is not None)
    assert len(walks) == (1 if damage is None else (damage is touch) + on)
    assert making.violations(store.root) == [] or damage is not None


@pytest.mark.parametrize("damage", [None, flip])
def test_a_copy_that_was_not_hashed_after_all_proves_nothing(fs_at, monkeypatch, damage) -> None:
    """As when a file of the payload moves while it is copied: then the payload itself is read."""
    store = making.make_store(fs_at("ext4") / "lab", "default_engine=copy")
    making.write(making.main_of(store), {"a": "content", "d/b": "more"})
    record = making.snapshot(store)
    if damage is not None:
        damage(Path(str(store.layout.payload(record["snapshot_id"]))))
    real = copy_tree.run

    def stale(request, **more):
        made = real(request, **more)
        made.tree = None
        return made

    monkeypatch.setattr(copy_tree, "run", stale)
    with changing.worktree(store, "try"):
        if damage is None:
            assert fork.fork(store, record["snapshot_id"], "try")["degraded"] == []
        else:
            with pytest.raises(PayloadHashMismatch):
                fork.fork(store, record["snapshot_id"], "try")
    assert os.path.lexists(str(store.layout.usual_dir("try"))) == (damage is None)


def test_an_untouched_snapshot_stays_so_while_others_are_made_and_forked(store: Store) -> None:
    first = making.snapshot(store)
    making.write(Path(store.root) / "main", {"a": "changed"})
    making.snapshot(store)  # links what did not change, which moves ctimes in the first
    with changing.worktree(store, "try"):
        fork.fork(store, first["snapshot_id"], "try")
    assert tamper_check.is_untouched(store, first)


def test_without_the_index_only_btrfs_can_tell_and_elsewhere_everything_is_read(store: Store) -> None:
    record = making.snapshot(store)
    store.close()
    os.unlink(str(store.layout.index))
    assert tamper_check.is_untouched(store, record) == (record["engine"] == engine.BTRFS)
    with changing.worktree(store, "try"):
        fork.fork(store, record["snapshot_id"], "try")
