"""jvs detach: the history goes, the files stay where they are."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest
from crashing import dies_before

from jvs.store import detach


def project(root: Path) -> Path:
    making.write(root, {"a": "1", "d/b": "2"})
    assert making.run("init", "--here", str(root)).exit == 0
    assert making.run("-C", str(root), "snapshot", "first").exit == 0
    return root


def test_the_files_stay_and_nothing_of_jvs_is_left(fs_dir: Path):
    root = project(fs_dir / "p")
    assert making.run("-C", str(root), "fork", "side").exit == 0
    said = making.run("-C", str(root), "detach", "--delete-history")
    assert (said.exit, "side" in said.err) == (7, True)
    assert making.run("-C", str(root), "worktree", "remove", "side").exit == 0
    inode = os.stat(root / "a").st_ino
    said = making.run("-C", str(root), "detach", "--delete-history", "--json")
    assert said.exit == 0, said.err
    assert said.json == {"repo_root": str(root), "paths": [str(root)], "snapshots": 1}
    assert sorted(os.listdir(root)) == ["a", "d"]
    assert os.stat(root / "a").st_ino == inode
    assert making.run("-C", str(root), "status").exit == 5
    assert making.run("init", "--here", str(root)).exit == 0


def test_a_classic_repository_keeps_all_its_worktrees(btrfs_dir: Path):
    store = making.make_store(btrfs_dir / "lab")
    making.write(btrfs_dir / "lab/main", {"a": "1"})
    making.snapshot(store, "first")
    store.close()
    assert making.run("-C", str(btrfs_dir / "lab"), "fork", "side").exit == 0
    said = making.run("-C", str(btrfs_dir / "lab"), "detach", "--delete-history")
    assert said.exit == 0, said.err
    assert sorted(os.listdir(btrfs_dir / "lab")) == ["main", "worktrees"]
    assert (btrfs_dir / "lab/worktrees/side/a").read_text() == "1"


def test_the_history_is_to_be_named(tmp_path: Path):
    root = project(tmp_path / "p")
    assert making.run("-C", str(root), "detach").exit == 2
    assert making.run("-C", str(tmp_path), "detach", "--delete-history").exit == 5
    assert making.run("-C", str(root), "verify", "--all").exit == 0


@pytest.mark.parametrize("stop", range(8))
def test_a_crash_leaves_all_or_what_the_same_command_removes(tmp_path: Path, stop: int):
    root = project(tmp_path / "p")
    calls = ("publish", "fsync_dir", "unlink", "rmdir")
    dies_before(stop, calls, lambda: detach.delete_history(making.open_store(root)))
    if (root / ".jvs").exists():
        assert making.run("-C", str(root), "doctor", "--strict").exit == 0
        assert making.run("-C", str(root), "verify", "--all").exit == 0
    elif len(os.listdir(root)) > 2:
        assert making.run("-C", str(root), "detach", "--delete-history").exit == 0
    if not (root / ".jvs").exists():
        assert sorted(os.listdir(root)) == ["a", "d"]
