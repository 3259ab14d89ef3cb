"""The first snapshot after a restore costs no space: what was brought back is linked from where it came from."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest
from treefacts import describe_tree, diff_trees

from jvs.check import verify
from jvs.tree import racy

WHERE = [("copy", "ext4"), ("reflink-copy", "xfs")]


@pytest.fixture(autouse=True)
def young_stamps(monkeypatch):
    monkeypatch.setattr(racy, "RACY_NS", 0)


def lab(root: Path, *words: str):
    store = making.make_store(root, *words)
    main = making.main_of(store)
    making.write(main, {"same": "s", "d/a": "first", "d/gone": "g", "deep/er/x": "old"})
    first = making.snapshot(store, "first")["snapshot_id"]
    making.write(main, {"d/a": "second", "d/b": "b", "deep/er/x": "new, longer"})
    (main / "d/gone").unlink()
    making.snapshot(store, "second")
    os.chdir(main)
    said = making.run("restore", first)
    assert said.exit == 0, said.err
    return making.open_store(root, *words), main, first


def inode(store, snapshot_id: str, name: str) -> int:
    return os.lstat(Path(str(store.layout.payload(snapshot_id))) / name).st_ino


@pytest.mark.parametrize(("engine", "fs"), WHERE)
def test_what_came_back_is_linked(fs_at, engine, fs):
    words = f"default_engine={engine}"
    store, main, first = lab(fs_at(fs) / "r", words)
    making.write(main, {"d/c": "new"})
    third = making.snapshot(store, "third")
    for name in ("same", "d/a", "d/gone", "deep/er/x"):
        assert inode(store, third["snapshot_id"], name) == inode(store, first, name), name
    assert diff_trees(describe_tree(main), describe_tree(str(store.layout.payload(third["snapshot_id"])))) == []
    assert verify.check_snapshot(store, third["snapshot_id"]).payload_hash_valid
    assert making.violations(store.root) == []
    off, _, before = lab(fs_at(fs) / "off", words, "engine.link_restored=false")
    making.write(making.main_of(off), {"d/c": "new"})
    other = making.snapshot(off, "third")
    assert other["payload_root_hash"] == third["payload_root_hash"]
    assert inode(off, other["snapshot_id"], "d/gone") != inode(off, before, "d/gone")


@pytest.mark.parametrize(("engine", "fs"), WHERE)
@pytest.mark.parametrize("change", ["content", "mode", "attribute", "payload"])
def test_what_is_not_as_it_came_back_is_copied(fs_at, engine, fs, change):
    store, main, first = lab(fs_at(fs) / "r", f"default_engine={engine}")
    path = main / "d/a"
    there = os.stat(path)
    if change == "content":
        path.write_text("FIRST")
        os.utime(path, ns=(there.st_atime_ns, there.st_mtime_ns))
    elif change == "mode":
        os.chmod(path, 0o600)
    elif change == "attribute":
        os.setxattr(path, "user.a", b"b")
    else:
        (Path(str(store.layout.payload(first))) / "d/a").write_text("damaged")
    third = making.snapshot(store, "third")["snapshot_id"]
    assert inode(store, third, "d/a") != inode(store, first, "d/a")
    assert diff_trees(describe_tree(main), describe_tree(str(store.layout.payload(third)))) == []
    assert verify.check_snapshot(store, third).payload_hash_valid


def test_two_files_never_become_one(fs_at):
    """One that was linked to another by hand, and has its place and times, stays a file of its own."""
    store, main, first = lab(fs_at("ext4") / "r", "default_engine=copy")
    (main / "d/gone").unlink()
    os.link(main / "d/a", main / "d/gone")
    third = making.snapshot(store, "third")["snapshot_id"]
    assert inode(store, third, "d/a") == inode(store, third, "d/gone")
    assert inode(store, third, "same") == inode(store, first, "same")
    assert verify.check_snapshot(store, third).payload_hash_valid
