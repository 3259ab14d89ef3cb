"""Repositories with snapshots of `sha256-tree-1` and of `sha256-tree-2`: all commands go on, and tell the truth."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import making
import pytest

from jvs.check import verify
from jvs.compare import diff
from jvs.errors import JvsError
from jvs.gc import reach
from jvs.restore import run as restoring
from jvs.store import changing, descriptor, worktree_scan
from jvs.store.store import Store
from jvs.tree import batches, file_hash, hasher, leaves, node, rows
from jvs.tree.leaves import LEAF_BYTES

Before = Callable[..., dict[str, Any]]
OLD_NS = 1_600_000_000_000_000_000


@pytest.fixture(params=["ext4", "xfs", "btrfs"])
def store(request: pytest.FixtureRequest, fs_at: Any) -> Iterator[Store]:
    """Return a repository with a large file, two small ones, and a directory without large ones."""
    made = making.make_store(fs_at(request.param) / "lab")
    main = making.main_of(made)
    making.write(main, {"d/large": os.urandom(2 * LEAF_BYTES + 5), "d/small": "small", "e/other": "other"})
    let_stamps_age(main)
    yield made
    made.close()


def let_stamps_age(main: Path) -> None:
    """Let the stamps of all files be old enough to be kept."""
    from jvs import clock

    os.sync()
    clock.sleep(0.05)


@pytest.fixture
def before(monkeypatch: pytest.MonkeyPatch) -> Before:
    """Take snapshots as the version before did: every digest plain, and no algorithm in the index."""

    def take(store: Store, **more: Any) -> dict[str, Any]:
        real = hasher.Hasher.__init__
        with monkeypatch.context() as patch:
            patch.setattr(node, "ALGORITHM", node.PLAIN)
            patch.setattr(rows, "with_algorithm", lambda text, algorithm: text)
            patch.setattr(hasher.Hasher, "__init__", lambda self, **k: real(self, **{**k, "plain": True}))
            record = making.snapshot(store, **more)
        assert record["hash_algorithm"] == "sha256-tree-1"
        theirs = making.oracle_module("treehash")
        payload = str(store.layout.payload(record["snapshot_id"]))
        assert theirs.hash_tree(payload, theirs.TREE_1).root_hash == record["payload_root_hash"]
        assert theirs.hash_tree(payload).root_hash != record["payload_root_hash"]
        return record

    return take


def check(store: Store) -> None:
    """Verify everything, also by the independent reader."""
    reports, problems, _ = verify.check_all(store)
    assert [report.error for report in reports if report.error] == [] and problems == []
    assert making.violations(store.root) == []


def flip(path: Path, at: int) -> None:
    """Change one byte, and put the mtime back."""
    st = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(st.st_atime_ns, st.st_mtime_ns))


def test_nothing_is_called_changed_after_the_change_of_algorithm(store: Store, before: Before) -> None:
    first = before(store)
    assert worktree_scan.unchanged_since(store, "main") == first["snapshot_id"]
    assert diff.against_files(store, first["snapshot_id"], "main").changes == []
    second = making.snapshot(store)
    assert second["hash_algorithm"] == "sha256-tree-2" and second["parent_id"] == first["snapshot_id"]
    assert second["changes"] == {"added": 0, "removed": 0, "modified": 0, "bytes": 0}
    assert diff.between(store, first["snapshot_id"], second["snapshot_id"]).changes == []
    assert diff.between(store, second["snapshot_id"], first["snapshot_id"]).changes == []
    assert worktree_scan.unchanged_since(store, "main") == second["snapshot_id"]
    check(store)


def test_one_changed_byte_is_found_across_the_two(store: Store, before: Before) -> None:
    first = before(store)
    flip(making.main_of(store) / "d/large", LEAF_BYTES + 1)
    assert worktree_scan.unchanged_since(store, "main") is None
    found = diff.against_files(store, first["snapshot_id"], "main").changes
    assert [(change.path, "content" in change.how()) for change in found] == [(b"d/large", True)]
    second = making.snapshot(store)
    assert second["changes"]["modified"] == 1
    for one, other in ((first, second), (second, first)):
        changes = diff.between(store, one["snapshot_id"], other["snapshot_id"]).changes
        assert [(change.path, change.how()) for change in changes] == [(b"d/large", ["content"])]
    check(store)


@pytest.mark.parametrize("way", ["back", "forth"])
def test_a_restore_across_the_two_brings_the_files_back(store: Store, before: Before, way: str) -> None:
    main = making.main_of(store)
    content = (main / "d/large").read_bytes()
    take = (before, making.snapshot) if way == "back" else (making.snapshot, before)
    first = take[0](store)
    flip(main / "d/large", 3)
    (main / "e/other").unlink()
    second = take[1](store)
    with changing.worktree(store, "main"):
        done = restoring.restore(store, "main", first["snapshot_id"])
    assert sorted(step.path for step in done.plan.delta.steps) == [b"d/large", b"e/other"]
    assert (main / "d/large").read_bytes() == content
    assert worktree_scan.unchanged_since(store, "main") == first["snapshot_id"]
    with changing.worktree(store, "main"):
        done = restoring.restore(store, "main", second["snapshot_id"])
    assert sorted(step.path for step in done.plan.delta.steps) == [b"d/large", b"e/other"]
    check(store)


def test_what_did_not_change_is_shared_with_a_parent_of_the_other_algorithm(store: Store, before: Before) -> None:
    record = before(store)
    if record["engine"] == "btrfs-snapshot":
        pytest.skip("a snapshot shares everything")
    second = making.snapshot(store)
    for name in ("d/large", "d/small", "e/other"):
        one, other = (Path(str(store.layout.payload(r["snapshot_id"]))) / name for r in (record, second))
        assert one.stat().st_ino == other.stat().st_ino, name


def test_a_directory_that_comes_back_has_no_digest_of_the_other_algorithm(store: Store, before: Before) -> None:
    """Its stamps are those of the rows that the version before wrote."""
    main = making.main_of(store)
    before(store)
    if main.stat().st_dev != main.parent.stat().st_dev:
        pytest.skip("a directory cannot leave its subvolume")
    (main / "d").rename(main.parent / "aside")
    making.snapshot(store)
    (main.parent / "aside").rename(main / "d")
    let_stamps_age(main)
    making.snapshot(store)
    check(store)


def test_a_lost_node_of_the_other_algorithm_costs_only_time(store: Store, before: Before) -> None:
    first = before(store)
    store.index().forget_nodes(set())
    second = making.snapshot(store)
    assert diff.between(store, first["snapshot_id"], second["snapshot_id"]).changes == []
    check(store)


def test_a_partial_snapshot_over_one_of_the_other_algorithm(store: Store, before: Before) -> None:
    main = making.main_of(store)
    first = before(store)
    (main / "e/other").write_text("changed")
    second = making.snapshot(store, paths=[b"e"])
    assert second["hash_algorithm"] == "sha256-tree-2"
    found = diff.between(store, first["snapshot_id"], second["snapshot_id"]).changes
    assert [change.path for change in found] == [b"e/other"]
    assert worktree_scan.unchanged_since(store, "main", [b"d"]) == second["snapshot_id"]
    assert diff.against_files(store, second["snapshot_id"], "main").changes == []
    check(store)


def test_a_damaged_parent_of_the_other_algorithm_fails_no_snapshot(store: Store, before: Before) -> None:
    first = before(store)
    payload = Path(str(store.layout.payload(first["snapshot_id"])))
    if first["engine"] == "btrfs-snapshot":
        pytest.skip("read-only")
    making.write(making.main_of(store), {"d/large": os.urandom(LEAF_BYTES + 9)})
    flip(payload / "d/large", 5)
    second = making.snapshot(store)
    assert second["changes"] is None
    with pytest.raises(JvsError, match="not what was published"):
        diff.between(store, second["snapshot_id"], first["snapshot_id"])
    assert verify.check_snapshot(store, first["snapshot_id"]).tampered
    assert not verify.check_snapshot(store, second["snapshot_id"]).tampered


def test_the_estimate_of_a_collection_is_not_exact_where_one_content_has_two_digests(
    store: Store, before: Before
) -> None:
    first, second = before(store), making.snapshot(store)
    found = {record["snapshot_id"]: descriptor.load(store.layout, record["snapshot_id"]) for record in (first, second)}
    if first["engine"] == "copy":
        pytest.skip("nothing is shared but hard links")
    asked = first["engine"] == "btrfs-snapshot" and os.geteuid() == 0  # the filesystem knows, whatever the digests say
    assert reach.measure(store, found, [first["snapshot_id"]], store.layout.payload).exact is asked


def test_an_unknown_algorithm_is_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node, "ALGORITHM", "sha256-tree-3")
    with pytest.raises(JvsError) as caught:
        making.snapshot(store)
    assert caught.value.name == "E_FORMAT_UNSUPPORTED"


def test_sha256sum_of_a_listing_is_that_of_the_content(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    making.snapshot(store)
    monkeypatch.chdir(store.root)
    content = (making.main_of(store) / "d/large").read_bytes()
    said = making.plumb("ls-tree", "--sha256sum", "HEAD").text
    assert f"{hashlib.sha256(content).hexdigest()}  d/large\n" in said
    shown = {item["path"]: item for item in making.plumb("ls-tree", "-r", "--json", "HEAD").json}
    assert shown["d/large"]["algorithm"] == "jvs-file-2" and shown["d/small"]["algorithm"] == "sha256"
    assert making.plumb("ls-tree", "--sha256sum", "./main").text == said
    assert {item["algorithm"] for item in making.plumb("ls-tree", "--sha256sum", "--json", "HEAD").json} == {"sha256"}


def test_only_large_files_are_read_again(store: Store, before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    before(store)
    read: list[int] = []
    monkeypatch.setattr(batches, "_hash_small", lambda fd, name: None)  # one way of reading is enough to watch
    real = leaves.hash_open_file
    monkeypatch.setattr(leaves, "hash_open_file", lambda fd, **k: read.append(os.fstat(fd).st_size) or real(fd, **k))
    real_hash = file_hash.FileHash.__init__
    monkeypatch.setattr(
        file_hash.FileHash, "__init__", lambda self, fd, size, **k: read.append(size) or real_hash(self, fd, size, **k)
    )
    making.snapshot(store)
    assert read and min(read) > LEAF_BYTES


def test_the_history_of_a_path_knows_no_change_where_only_the_algorithm_changed(
    store: Store, before: Before, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = before(store)
    making.snapshot(store, note="the same")
    flip(making.main_of(store) / "d/large", 9)
    third = making.snapshot(store)
    monkeypatch.chdir(store.root)
    said = making.run("history", "--json", "--", "d/large")
    assert said.exit == 0, said.err
    assert first["snapshot_id"] in said.text and third["snapshot_id"] in said.text
    assert "the same" not in said.text


def test_a_large_file_can_be_read_from_either(store: Store, before: Before, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (making.main_of(store) / "d/large").read_bytes()
    records = [before(store), making.snapshot(store)]
    monkeypatch.chdir(store.root)
    for record in records:
        assert making.plumb("cat-file", f"{record['snapshot_id']}:d/large").out == content
        said = making.plumb("ls-tree", "--sha256sum", f"{record['snapshot_id']}:d").text
        assert f"{hashlib.sha256(content).hexdigest()}  large\n" in said


def test_a_merge_of_snapshots_of_both_algorithms_finds_no_difference_in_what_is_the_same(
    store: Store, before: Before, monkeypatch: pytest.MonkeyPatch
) -> None:
    main = making.main_of(store)
    first = before(store)
    monkeypatch.chdir(main)
    assert making.run("fork", "--at", first["snapshot_id"], "side").exit == 0
    making.write(Path(store.root) / "worktrees/side", {"e/mine": "mine"})
    theirs = making.snapshot(store, name="side")
    assert theirs["hash_algorithm"] == "sha256-tree-2"
    making.write(main, {"d/small": "ours"})
    before(store)
    said = making.run("merge", "side")
    assert said.exit == 0, said.err
    assert (main / "e/mine").read_text() == "mine" and (main / "d/small").read_text() == "ours"
    check(store)
