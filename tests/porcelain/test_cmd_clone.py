"""jvs clone: all of a repository's history in a new one, which shares what it can, all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import making
import pytest
import zoo
from crashing import dies_before

from jvs import Repository
from jvs.operations import looking

CHANGES = ("create_file", "make_dir", "rename", "publish", "append", "replace_file", "rmdir")


def run(*words: str, exit: int = 0) -> making.Said:
    with contextlib.chdir("."):
        said = making.run(*words)
    assert said.exit == exit, said.err
    return said


def clean(root: Path) -> None:
    store = making.open_store(root)
    reports, lines, chain = looking.verify_all(store)
    assert [str(r.error) for r in reports if r.error] == [] and lines == [] and chain.problems == []
    assert [str(f.error) for f in looking.doctor(store, strict=True).findings] == []
    assert making.violations(root) == []
    store.close()


def trees(root: Path) -> dict[str, object]:
    """Return what each payload of a repository holds."""
    store = root / ".jvs/snapshots"
    return {name: zoo.describe_tree(os.fsencode(store / name)) for name in os.listdir(store) if (store / name).is_dir()}


def all_of(root: Path) -> dict[bytes, object]:
    """Return what a control directory holds but the index, which is a cache."""
    found = zoo.describe_tree(os.fsencode(root / ".jvs"))
    return {name: entry for name, entry in found.items() if name and not name.startswith(b"index.")}


def reported(root: Path) -> dict[str, bytes]:
    """Return what a repository says of its snapshots, and which of them its lines hold."""
    said = {f"{path.parent.name}/{path.name}": path.read_bytes() for path in root.glob(".jvs/[da][en]*/*.json")}
    line = run("-C", str(root), "history", "--all", "--json").json
    return {**said, "line": repr(sorted((r["snapshot_id"], r.get("collected", False)) for r in line)).encode()}


def storied(root: Path, *, here: bool) -> Path:
    """Make a repository with changes, a fork whose work was merged, words given later, and a collected parent."""
    if here:
        root.mkdir()
        run("init", "--here", str(root))
    else:
        run("init", str(root))
    main = root if here else root / "main"
    making.write(main, {"a": "1", "dir/deep/b": "2", "run": "#!/bin/sh"})
    run("-C", str(main), "snapshot", "first")
    os.link(main / "a", main / "dir/same")
    os.symlink("a", main / "link")
    os.chmod(main / "run", 0o755)
    os.utime(main / "run", (1, 1))
    (main / "large").write_bytes(os.urandom(5 << 20))
    run("-C", str(main), "snapshot", "large", "--tag", "kept")
    fork = Path(run("-C", str(root), "fork", "side", "--json").json["path"])
    (fork / "theirs").write_text("theirs")
    run("-C", str(root), "snapshot", "-w", "side", "theirs")
    (main / "mine").write_text("mine")
    run("-C", str(main), "merge", "side")
    run("-C", str(main), "note", "LATEST", "merged")
    run("-C", str(main), "gc", "drop", "LATEST~2")
    (main / "never-kept").write_text("in no snapshot")
    return root


def is_all_of(source: Path, copy: Path) -> None:
    before, whole = trees(source), all_of(source)
    said = run("clone", str(source), str(copy), "--json").json
    assert said["snapshots"] == len(before) and said["way"] != "stream" and said["degraded"] == []
    assert (copy / ".jvs/repo_id").read_text() != (source / ".jvs/repo_id").read_text()
    differing = {name: zoo.diff_trees(tree, before[name]) for name, tree in trees(copy).items()}
    assert differing.keys() == before.keys() and not any(differing.values()), differing
    assert reported(copy) == reported(source)
    assert zoo.diff_trees(whole, all_of(source), ignore=("data",)) == []
    main = copy if (copy / ".jvs/forks").exists() else copy / "main"
    assert not (main / "never-kept").exists() and (main / "theirs").read_text() == "theirs"
    assert run("-C", str(main), "status", "--json").json["clean"]
    (main / "own").write_text("own")
    run("-C", str(main), "snapshot", "of the clone")
    run("-C", str(main), "restore", "kept")
    clean(copy)
    assert sorted(os.listdir(copy.parent)) == ["copy", "source"]


def test_a_clone_has_all_of_the_history_and_an_id_of_its_own(fs_dir: Path):
    is_all_of(storied(fs_dir / "source", here=False), fs_dir / "copy")


def test_so_has_that_of_a_repository_in_place(btrfs_dir: Path):
    is_all_of(storied(btrfs_dir / "source", here=True), btrfs_dir / "copy")


def test_on_another_filesystem_what_snapshots_share_stays_shared(btrfs_dir: Path, ext4_dir: Path):
    source, copy = storied(btrfs_dir / "source", here=False), ext4_dir / "copy"
    assert run("clone", str(source), str(copy), "--json").json["way"] == "stream"
    assert reported(copy) == reported(source)
    assert {n: zoo.diff_trees(t, trees(source)[n], ignore=("data",)) for n, t in trees(copy).items()} == {
        name: [] for name in trees(source)
    }
    clean(copy)
    assert sum(f.stat().st_blocks * 512 // f.stat().st_nlink for f in copy.glob(".jvs/snapshots/*/large")) < 24 << 20


def test_settings_come_and_forks_and_pins_stay(tmp_path: Path):
    store = making.make_store(tmp_path / "lab")
    making.write(making.main_of(store), {"a": "1"})
    making.snapshot(store, "one")
    run("-C", str(tmp_path / "lab"), "config", "set", "default_tags", "x")
    run("-C", str(tmp_path / "lab"), "fork", "side")
    run("-C", str(tmp_path / "lab"), "gc", "pin", "HEAD")
    with Repository.clone(tmp_path / "lab", tmp_path / "two") as copy:
        assert copy.worktrees() == ["main"] and copy.snapshot("two")["tags"] == ["x"]
    assert os.listdir(tmp_path / "two/.jvs/gc/pins") == []
    run("-C", str(tmp_path / "two"), "fork", "--at", "HEAD~1", "side")
    clean(tmp_path / "two")


def test_a_repository_without_snapshots_and_one_whose_latest_is_partial(tmp_path: Path):
    run("init", "lab")
    assert run("clone", "lab", "empty", "--json").json["head"] is None
    clean(Path("empty"))
    making.write("lab/main", {"a": "1", "b": "1"})
    whole = run("-C", "lab/main", "snapshot", "--json").json["snapshot_id"]
    making.write("lab/main", {"a": "2", "b": "2"})
    run("-C", "lab/main", "snapshot", "half", "--", "a")
    said = run("clone", "lab", "two")
    assert f"main is at '{whole}'" in said.err and Path("two/main/a").read_text() == "1"
    clean(Path("two"))
    assert run("-C", "two", "status", "--json").json["clean"]
    run("-C", "two/main", "restore", "LATEST")
    assert Path("two/main/a").read_text() == "2"


def test_the_control_directory_may_be_apart_and_a_workspace_leads_to_it(tmp_path: Path):
    making.write("work", {"a": "1"})
    run("init", "--here", "work", "--control", "history")
    run("-C", "work", "snapshot", "one")
    run("clone", "work", "two")
    assert sorted(os.listdir("two")) == [".jvs", "a"] and os.path.isdir("two/.jvs")
    clean(Path("two"))


def test_refusals_leave_nothing(tmp_path: Path):
    run("init", "lab")
    Path("there").mkdir()
    for target, name in (("there", "E_EXISTS"), ("lab/main/x", "E_EXISTS"), ("no/x", "E_IO"), ("-x", None)):
        said = making.run("clone", "--json", "--", "lab", target)
        assert said.exit != 0 and said.error["class"] == (name or "E_NAME_INVALID"), said.err
    assert making.run("clone", "there", "new").exit != 0
    assert sorted(os.listdir(".")) == ["lab", "there"] and os.listdir("lab/main") == []


def test_a_damaged_snapshot_is_not_what_main_begins_with(tmp_path: Path):
    run("init", "lab")
    making.write("lab/main", {"a": "1"})
    made = run("-C", "lab/main", "snapshot", "--json").json["snapshot_id"]
    Path(f"lab/.jvs/snapshots/{made}/a").write_text("2")
    assert making.run("clone", "lab", "two", "--json").error["class"] == "E_PAYLOAD_HASH_MISMATCH"
    assert os.listdir(".") == ["lab"]


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch):
    from jvs.stream import cloning

    run("init", "lab")
    making.write("lab/main", {"a": "x" * 8192})
    run("-C", "lab/main", "snapshot", "one")
    monkeypatch.setattr(cloning._Cloning, "_is_here", lambda _: False)
    real = os.fstatvfs
    monkeypatch.setattr(cloning.os, "fstatvfs", lambda fd: os.statvfs_result((*real(fd)[:4], 1, *real(fd)[5:])))
    said = making.run("clone", "lab", "two", "--json")
    assert said.error["class"] == "E_NO_SPACE" and os.listdir(".") == ["lab"]


@pytest.mark.parametrize("streamed", [False, True])
def test_killed_anywhere_it_leaves_nothing_visible_and_is_done_again(tmp_path: Path, monkeypatch, streamed: bool):
    from jvs.stream import cloning

    if streamed:
        monkeypatch.setattr(cloning._Cloning, "_is_here", lambda _: False)
    run("init", "lab")
    making.write("lab/main", {"a": "1", "d/b": "2"})
    run("-C", "lab/main", "snapshot", "one", "--meta", "k=v")
    making.write("lab/main", {"a": "2"})
    run("-C", "lab/main", "snapshot", "two")
    run("-C", "lab/main", "tag", "LATEST", "later")
    number = 0
    while dies_before(number, CHANGES, lambda: making.run("clone", "lab", "two")):
        there = os.path.exists("two")
        run("clone", "lab", "two", exit=7 if there else 0)
        assert sorted(os.listdir(".")) == ["lab", "two"]
        shutil.rmtree("two")
        number += 1 if there else 5
    assert number > 20
    clean(Path("two"))
    assert sorted(os.listdir(".")) == ["lab", "two"]
