"""The commands of the twelve steps used alone; tests/publish/test_step_pipeline.py has them in a row."""

from __future__ import annotations

import json
import os

import making
import pytest
import zoo

from jvs import system
from jvs.engine import base as engine
from jvs.fs import metadata
from jvs.store import audit, audit_check, intent, worktree


@pytest.fixture
def store(tmp_path, monkeypatch):
    made = making.make_store(tmp_path / "r")
    making.write(making.main_of(made), {"a": "1", "sub/b": "2"})
    monkeypatch.chdir(made.root)
    return made


@pytest.fixture
def tree(tmp_path):
    making.write(tmp_path / "tree", {"a": "1", "sub/b": "2"})
    (tmp_path / "tree/link").symlink_to("a")
    return tmp_path / "tree"


# check-worktree


def test_check_worktree_prints_worktree_id_and_parent(store):
    first = making.plumb("check-worktree", "main")
    name, snapshot_id, parent = first.text.rstrip("\n").split("\t")
    assert (name, parent) == ("main", "-")
    taken = making.snapshot(store)["snapshot_id"]
    assert making.plumb("check-worktree").text.split("\t")[2] == taken + "\n"
    assert snapshot_id != taken


def test_check_worktree_writes_nothing(store):
    before = zoo.describe_tree(os.fsencode(store.root))
    assert making.plumb("check-worktree", "--record", "main").exit == 0
    assert zoo.diff_trees(before, zoo.describe_tree(os.fsencode(store.root))) == []


def test_check_worktree_refuses_what_cannot_be_snapshotted(store):
    assert making.plumb("check-worktree", "nope").exit == 5
    assert making.plumb("check-worktree", "../main").exit == 10
    assert making.plumb("check-worktree", "--paths", "../../x").exit == 11


def test_check_worktree_holds_the_policy_for_detached_worktrees(store):
    first = making.snapshot(store)["snapshot_id"]
    second = making.snapshot(store)["snapshot_id"]
    worktree.move_head(store.layout, "main", first, expected=second, latest=second, event_id=None)
    assert making.plumb("check-worktree").text.split("\t")[2] == first + "\n"
    said = making.plumb("check-worktree", "-c", "snapshot.when_detached=refuse")
    assert said.exit == 7
    assert "E_DETACHED" in said.err
    assert "jvs worktree fork" in said.err


# write-intent, clear-intent


def test_write_intent_says_who_owns_the_operation_and_what_will_be_recorded(store):
    record = making.plumb("check-worktree", "--record").out
    said = making.plumb("write-intent", "--record", "--owner-pid", str(os.getpid()), stdin=record)
    pending = intent.load(store.layout, said.json["snapshot_id"])
    assert pending["owner"]["pid"] == os.getpid()
    assert intent.is_alive(pending, lock_held=True)
    assert pending["audit"]["operation"] == "snapshot"
    assert pending["audit_seq"] == store.log().tail()[0]


def test_write_intent_without_an_owner_takes_the_process_that_called_it(store):
    record = making.plumb("check-worktree", "--record").out
    said = making.plumb("write-intent", "--record", stdin=record)
    assert intent.load(store.layout, said.json["snapshot_id"])["owner"]["pid"] == os.getppid()


def test_clear_intent_twice_is_success(store):
    record = making.plumb("check-worktree", "--record").out
    operation = making.plumb("write-intent", "--record", stdin=record).json["snapshot_id"]
    for _ in range(2):
        assert making.plumb("clear-intent", operation).exit == 0
        assert intent.list_ids(store.layout) == []
    assert making.plumb("clear-intent").exit == 2
    assert making.plumb("clear-intent", "../x").exit == 10


# clone-tree


def test_clone_tree_clones_everything(fs_dir):
    zoo.make_zoo(fs_dir / "src", many=5, skip=("socket", "xattrs", "times", "deep", "links", "owners"))
    said = making.plumb("clone-tree", "--json", str(fs_dir / "src"), str(fs_dir / "dst"))
    assert said.exit == 0, said.err
    assert said.json["engine"] in engine.NAMES
    hash_tree = making.oracle_module("treehash").hash_tree
    assert hash_tree(str(fs_dir / "dst")).entries == hash_tree(str(fs_dir / "src")).entries
    assert sorted(os.listdir(fs_dir)) == ["dst", "src"]


def test_clone_tree_prints_the_engine_first(tree, tmp_path):
    said = making.plumb("clone-tree", "--engine", "copy", str(tree), str(tmp_path / "dst"))
    assert said.text.split("\n")[0] == "copy"


def test_clone_tree_never_overwrites(tree, tmp_path):
    for target in ("file", "dir", "dangling"):
        path = tmp_path / target
        {"file": path.touch, "dir": path.mkdir, "dangling": lambda at=path: at.symlink_to("none")}[target]()
        assert making.plumb("clone-tree", str(tree), str(path)).exit == 7


def test_clone_tree_leaves_nothing_behind_when_it_fails(tree, tmp_path, monkeypatch):
    before = sorted(os.listdir(tmp_path))

    def full(*_args, **_more):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(metadata, "apply_metadata", full)
    said = making.plumb("clone-tree", "--engine", "copy", str(tree), str(tmp_path / "dst"))
    assert said.exit == 4, said.err
    assert "E_NO_SPACE" in said.err
    assert sorted(os.listdir(tmp_path)) == before


def test_clone_tree_of_what_is_not_there_or_no_directory(tree, tmp_path):
    assert making.plumb("clone-tree", str(tmp_path / "none"), str(tmp_path / "dst")).exit == 5
    assert making.plumb("clone-tree", str(tree / "a"), str(tmp_path / "dst")).exit == 5
    assert making.plumb("clone-tree", str(tree)).exit == 2
    assert making.plumb("clone-tree", "--engine", "magic", str(tree), str(tmp_path / "dst")).exit == 2
    assert not (tmp_path / "dst").exists()


# hash-tree


def test_hash_tree_prints_the_root_hash(tree):
    expected = making.oracle_module("treehash").hash_tree(str(tree))
    assert making.plumb("hash-tree", str(tree)).text == expected.root_hash + "\n"
    said = making.plumb("hash-tree", "--json", "-j", "3", str(tree))
    assert said.json == {
        "root_hash": expected.root_hash,
        "hash_algorithm": "sha256-tree-2",
        "payload": expected.counts(),
    }


def test_hash_tree_refuses_what_is_no_directory(tree):
    for name in ("a", "link", "none"):
        said = making.plumb("hash-tree", str(tree / name))
        assert said.exit == 4, name
        assert "hint: " in said.err
    assert making.plumb("hash-tree").exit == 2


# sync-tree


def test_sync_tree_is_silent(tree):
    said = making.plumb("sync-tree", str(tree))
    assert (said.exit, said.out, said.err) == (0, b"", "")
    assert making.plumb("sync-tree", "--json", str(tree)).json["synced"] == str(tree)
    assert making.plumb("sync-tree", str(tree / "none")).exit == 4
    assert making.plumb("sync-tree").exit == 2


# rename-ready


def test_rename_ready_publishes_a_directory_or_a_file_once(tmp_path):
    (tmp_path / "d.tmp").mkdir()
    (tmp_path / "f.tmp").write_bytes(b"x")
    for name in ("d", "f"):
        source, target = str(tmp_path / f"{name}.tmp"), str(tmp_path / name)
        for _ in range(2):  # the second time it is done already, which is success
            said = making.plumb("rename-ready", source, target)
            assert (said.exit, said.out) == (0, b""), said.err
    assert sorted(os.listdir(tmp_path)) == ["d", "f"]


def test_rename_ready_replaces_nothing(tmp_path):
    (tmp_path / "d.tmp").mkdir()
    (tmp_path / "d").mkdir()
    assert making.plumb("rename-ready", str(tmp_path / "d.tmp"), str(tmp_path / "d")).exit == 7
    assert making.plumb("rename-ready", str(tmp_path / "none"), str(tmp_path / "other")).exit == 5
    assert making.plumb("rename-ready", str(tmp_path / "d.tmp")).exit == 2
    assert sorted(os.listdir(tmp_path)) == ["d", "d.tmp"]


# update-head


def test_update_head_moves_head_and_latest_and_records_it(store):
    first = making.snapshot(store)["snapshot_id"]
    second = making.snapshot(store)["snapshot_id"]
    said = making.plumb("update-head", "main", first)
    assert said.text == f"main\t{first}\n"
    config = worktree.load(store.layout, "main")
    assert (config["head_snapshot_id"], config["latest_snapshot_id"]) == (first, first)
    assert making.plumb("update-head", "main", second, first).exit == 0
    assert making.plumb("chain-check").exit == 0
    assert making.violations(store.root) == []


def test_update_head_is_a_compare_and_swap(store):
    first = making.snapshot(store)["snapshot_id"]
    second = making.snapshot(store)["snapshot_id"]
    for old in (first, "-"):
        said = making.plumb("update-head", "main", first, old)
        assert said.exit == 7, said.err
        assert "E_STALE_HEAD" in said.err
    assert worktree.load(store.layout, "main")["head_snapshot_id"] == second
    assert intent.list_ids(store.layout) == []


def test_update_head_to_what_it_is_already_writes_no_record(store):
    first = making.snapshot(store)["snapshot_id"]
    before = store.log().tail()
    assert making.plumb("update-head", "main", first).exit == 0
    assert store.log().tail() == before


def test_update_head_never_names_what_is_not_visible(store):
    making.snapshot(store)
    for target in ("1700000000000-0a1b2c3d", "../x"):
        assert making.plumb("update-head", "main", target).exit in (5, 10)
    assert making.plumb("update-head", "main").exit == 2


def test_update_head_that_died_before_its_record_is_recovered(store, monkeypatch):
    first = making.snapshot(store)["snapshot_id"]
    second = making.snapshot(store)["snapshot_id"]

    def dead(*_args, **_more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(audit.Log, "append", dead)
        assert making.plumb("update-head", "main", first).exit == 130
    monkeypatch.setattr(system, "start_time", lambda pid: "another process")
    assert making.plumb("chain-check").exit == 0
    assert making.run("snapshot", "--json", "next").json["parent_id"] == first
    assert "head_update" in [record["operation"] for record in _records(store)]
    assert making.violations(store.root) == []
    assert second != first


def _records(store):
    return audit_check.check(store.layout.audit_log, None, keep=True).records


# chain-append


def test_chain_append_keeps_a_log_of_your_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hashes = [
        making.plumb("chain-append", "--log", "d.jsonl", "deploy", "--target", f"v{i}", "--reason", "r").text.strip()
        for i in range(3)
    ]
    said = making.plumb("chain-check", "d.jsonl")
    assert said.text == f"3\t{hashes[-1]}\n"
    record = json.loads((tmp_path / "d.jsonl").read_text().split("\n")[1])
    assert (record["operation"], record["target"], record["reason"]) == ("deploy", "v1", "r")


def test_chain_append_takes_details_as_json(tmp_path):
    log = str(tmp_path / "d.jsonl")
    said = making.plumb("chain-append", "--log", log, "x", "--details", '{"a":[1,null]}', "--json")
    assert said.json["details"] == {"a": [1, None]}
    for bad in ("[]", "x", '{"a":1.5}', '{"a":1,"a":2}', "\udcff"):
        assert making.plumb("chain-append", "--log", log, "x", "--details", bad).exit == 2
    assert making.plumb("chain-append", "--log", log, "x", "--first-hash", "xyz").exit == 2
    assert making.plumb("chain-append", "--log", log).exit == 2
    assert making.plumb("chain-check", log).text.startswith("1\t")


# write-descriptor, write-ready


def test_write_descriptor_needs_a_record(store):
    assert making.plumb("write-descriptor").exit == 2
    assert making.plumb("write-ready").exit == 2
    assert making.plumb("write-intent").exit == 2


def test_write_descriptor_adds_the_default_tags_once(store):
    record = making.plumb("check-worktree", "--record").out
    for name in ("write-intent", "clone-tree", "hash-tree", "sync-tree"):
        record = making.plumb(name, "--record", stdin=record).out
    said = making.plumb(
        "write-descriptor", "--record", "--tag", "b", "-c", "default_tags=a,b", "--note", "é\n", stdin=record
    )
    assert said.json["descriptor"]["tags"] == ["b", "a"]
    assert said.json["descriptor"]["note"] == "é\n"
    said = making.plumb("write-ready", "--record", stdin=said.out)
    with open(str(store.layout.ready(said.json["snapshot_id"])), "rb") as file:
        ready = json.loads(file.read())
    assert ready["descriptor_checksum"] == said.json["descriptor_checksum"]
