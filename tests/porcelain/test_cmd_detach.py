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


def test_history_goes_next_to_the_workspace_and_comes_back(fs_dir: Path):
    root, history = project(fs_dir / "p"), fs_dir / "p.history"
    assert making.run("-C", str(root), "fork", "side").exit == 0
    inode = os.stat(root / "a").st_ino
    said = making.run("-C", str(root), "detach", "--json")
    assert said.exit == 0, said.err
    assert said.json == {"repo_root": str(root), "history": str(history), "snapshots": 1}
    assert (sorted(os.listdir(root)), os.stat(root / "a").st_ino) == (["a", "d"], inode)
    assert making.run("-C", str(root), "status").exit == 5
    assert making.run("--repo", str(history), "cat", "HEAD:d/b").out == b"2"
    assert making.run("-C", str(history / "forks/side"), "status", "--json").json["clean"]
    assert making.run("--repo", str(history), "verify", "--all").exit == 0
    (root / "a").write_text("changed meanwhile")
    said = making.run("--repo", str(history), "worktree", "attach", str(root), "main")
    assert said.exit == 0, said.err
    assert making.run("-C", str(root), "status", "--json").json["counts"]["modified"] == 1
    assert making.run("-C", str(root), "restore", "HEAD").exit == 0
    assert making.run("-C", str(root), "doctor", "--strict").exit == 0
    assert making.violations(history) == []
    assert making.run("-C", str(root), "detach").exit == 0
    assert sorted(os.listdir(root)) == ["a", "d"] and history.is_dir()


def test_what_cannot_be_detached_says_why(tmp_path: Path):
    root = project(tmp_path / "p")
    (tmp_path / "p.history").mkdir()
    assert making.run("-C", str(root), "detach").exit == 7
    (tmp_path / "p.history").rmdir()
    assert making.run("-C", str(root), "fork", "x", "--path", str(tmp_path / "x")).exit == 0
    assert "elsewhere" in making.run("-C", str(root), "detach").err
    assert making.run("init", str(tmp_path / "lab")).exit == 0
    assert making.run("-C", str(tmp_path / "lab"), "detach").exit == 2
    assert making.run("-C", str(root), "doctor", "--strict").exit == 0


def test_a_crash_leaves_history_where_it_was_or_where_it_goes(tmp_path: Path):
    root, history, stop = project(tmp_path / "p"), tmp_path / "p.history", 0
    calls = ("create_file", "rename", "publish", "fsync_dir", "append")
    while dies_before(stop, calls, lambda: detach.keep_history(making.open_store(root))):
        stop += 1
        assert (root / ".jvs").exists() != history.exists()
        if history.exists():
            assert making.run("--repo", str(history), "verify", "--all").exit == 0
            said = making.run("--repo", str(history), "worktree", "attach", str(root), "main")
            assert said.exit == 0, said.err
            break
        assert making.run("-C", str(root), "snapshot", f"after {stop}").exit == 0
        assert making.run("-C", str(root), "doctor", "--strict").exit == 0
        assert making.violations(root) == []
    assert stop > 4
    assert making.run("-C", str(root), "status").exit == 0


def test_the_history_is_to_be_named(tmp_path: Path):
    root = project(tmp_path / "p")
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
