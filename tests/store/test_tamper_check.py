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
from jvs.store import changing, tamper_check
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
