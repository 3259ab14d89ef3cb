"""Copies that several processes make: the same tree and the same files as one makes, whatever happens meanwhile."""

from __future__ import annotations

import gc
import os
import signal

import copying
import making
import pytest
import zoo
from copying import Line, old_files
from treefacts import describe_tree, diff_trees

from jvs import errors
from jvs.check import verify
from jvs.engine import base as engine
from jvs.engine import elsewhere, hardlinks, small_files
from jvs.fs import listing, metadata, paths
from jvs.store import changing
from jvs.tree import node, parallel, racy, rows, workers
from jvs.worktrees import fork


@pytest.fixture(autouse=True)
def forced(monkeypatch):
    """Let even small trees be shared by three processes, also next to the threads of the test runner."""
    copying.share_everything(monkeypatch)
    return monkeypatch


@pytest.fixture
def given(forced):
    """Count the orders that were handed over, by kind of answer."""
    found = []
    offer = workers.Workers.offer

    def count(self, order, descriptors, done):
        given = offer(self, order, descriptors, done)
        if given:
            found.append(order)
        return given

    forced.setattr(workers.Workers, "offer", count)
    return found


@pytest.fixture
def line(tmp_path):
    made = Line(tmp_path)
    old_files(made.main)
    return made


@pytest.mark.parametrize("hash", [True, False])
def test_a_zoo_is_copied_as_by_one_process(tmp_path, given, forced, hash):
    line = Line(tmp_path)
    zoo.make_zoo(line.main, many=40, skip={"deep"})
    many = line.copy("many", hash=hash, remember=False)
    assert given
    forced.setattr(workers.Workers, "processes", 1)
    before = len(given)
    one = line.copy("one", hash=hash)
    assert len(given) == before
    line.check("many", many)
    assert diff_trees(describe_tree(tmp_path / "one"), describe_tree(tmp_path / "many")) == []
    assert many.degraded == one.degraded
    if hash:
        assert many.tree.root_hash == one.tree.root_hash
        assert many.tree.payload() == one.tree.payload()
        assert many.tree.nodes == one.tree.nodes
        assert [row[::2] for row in sorted(many.tree.rows)] == [row[::2] for row in sorted(one.tree.rows)]


def test_unchanged_files_are_linked_by_all(line, given):
    line.copy("one")
    given.clear()
    (line.main / "a/f03").write_text("changed")
    made = line.copy("two")
    assert [order[2] for order in given if order[0] == elsewhere._COPY] == [[b"f03"]]
    assert elsewhere._LINK in {order[0] for order in given}
    line.check("two", made)
    for path in (line.root / "two").rglob("f*"):
        same = path.stat().st_ino == (line.root / "one" / path.relative_to(line.root / "two")).stat().st_ino
        assert same == (path.name != "f03" or path.parent.name != "a")


def test_what_was_changed_in_the_base_is_copied(line):
    line.copy("one")
    (line.root / "one/c/f05").write_text("damaged, longer")
    (line.root / "one/c/f06").unlink()
    made = line.copy("two")
    line.check("two", made)
    assert (line.root / "two/c/f05").read_text() == "c 5"


def test_directories_get_times_and_modes_after_their_files(line):
    for mode, name in ((0o555, "a/b"), (0o711, "a"), (0o1777, "c")):
        os.chmod(line.main / name, mode)
        os.utime(line.main / name, ns=(1, 10**18))
    for name in ("one", "two"):
        line.check(name, line.copy(name))


def test_losses_and_marks_come_back(line, forced):
    """What another process could not keep is in the list, and its stamp proves nothing."""
    apply = metadata.apply_metadata

    def lossy(target, st, xattrs, path, losses, **more):
        if path == b"a/f07":
            losses.add(path, "owner", "refused")
            apply(target, st, xattrs, path, losses, **more)
            return metadata.Kept(0o600, {"user.x": b"y"}, True)
        return apply(target, st, xattrs, path, losses, **more)

    forced.setattr(metadata, "apply_metadata", lossy)
    forced.setattr(small_files.SmallFiles, "on", False)
    made = line.copy("one")
    assert [(loss["path"], loss["what"]) for loss in made.degraded] == [("a/f07", "owner")]
    row, digest = line.rows[b"a"]
    names, _ = rows.split(row, listing.STAMP.size)
    entry = {entry[0]: entry for entry in node.decode_node(line.nodes[digest])}[b"f07"]
    assert entry[2] == 0o600 and entry[5] == {b"user.x": b"y"}
    assert rows.unpack(row, listing.STAMP.size)[b"f07"] == racy.NO_STAMP and b"f07" in names


def test_a_full_disk_in_another_process_is_reported_as_here(line, forced):
    def full(*words):
        raise OSError(28, "No space left on device")

    forced.setattr(metadata, "new_file", full)
    with pytest.raises(errors.NoSpace, match="copying '"):
        line.copy("one")


def test_a_full_disk_while_linking_is_reported_as_here(line, forced):
    line.copy("one")

    def full(*words, **more):
        raise OSError(28, "No space left on device")

    forced.setattr(os, "link", full)
    with pytest.raises(errors.NoSpace, match="copying '"):
        line.copy("two")


def test_a_file_that_goes_away_is_left_out(line, forced):
    open_file = paths.open_file_with_stat

    def vanish(name, dir_fd=None):
        if name == b"f04":
            try:
                os.unlink(name, dir_fd=dir_fd)
            except FileNotFoundError:
                pass
        return open_file(name, dir_fd)

    forced.setattr(paths, "open_file_with_stat", vanish)
    made = line.copy("one")
    forced.undo()
    assert not (line.root / "one/a/f04").exists()
    assert made.tree.files == 33
    assert made.tree.root_hash == verify.hash_directory(making.at(line.root / "one")).root_hash


@pytest.mark.parametrize("kind", ["link", "directory", "fifo"])
def test_a_file_that_becomes_something_else_is_copied_as_that(line, forced, kind):
    open_file = paths.open_file_with_stat
    there = (line.main / "a").stat().st_ino

    def swap(name, dir_fd=None):
        if name == b"f04" and os.fstat(dir_fd).st_ino == there and not os.path.exists(line.root / "done"):
            (line.root / "done").touch()
            os.unlink(line.main / "a/f04")
            if kind == "link":
                os.symlink("there", line.main / "a/f04")
            elif kind == "directory":
                making.write(line.main, {"a/f04/inside": "x"})
            else:
                os.mkfifo(line.main / "a/f04")
        return open_file(name, dir_fd)

    forced.setattr(paths, "open_file_with_stat", swap)
    line.check("one", line.copy("one"))


def test_what_cannot_be_read_is_refused_or_left_out(line, forced):
    open_file = paths.open_file_with_stat

    def refuse(name, dir_fd=None):
        if name == b"f04":
            raise PermissionError(13, "Permission denied")
        return open_file(name, dir_fd)

    forced.setattr(paths, "open_file_with_stat", refuse)
    with pytest.raises(errors.IOFailure, match=r"f04' cannot be read"):
        line.copy("one")


def test_a_killed_process_is_one_error_and_the_next_snapshot_is_good(tmp_path, forced):
    store = making.make_store(tmp_path / "repo", "default_engine=copy")
    old_files(making.main_of(store))
    making.snapshot(store, "one")
    (making.main_of(store) / "c/f01").write_text("changed")
    link_all = hardlinks.link_all

    def die(*words):
        os.kill(os.getpid(), signal.SIGKILL)

    forced.setattr(hardlinks, "link_all", lambda *words: die() if os.getpid() != here else link_all(*words))
    here = os.getpid()
    with pytest.raises(errors.IOFailure, match="was killed"):
        making.snapshot(store, "two")
    assert making.violations(tmp_path / "repo") == []
    forced.setattr(hardlinks, "link_all", link_all)
    again = making.snapshot(making.open_store(tmp_path / "repo", "default_engine=copy"), "two")
    assert again["changes"]["modified"] == 1
    assert making.violations(tmp_path / "repo") == []


def test_a_command_that_is_killed_while_others_work_is_rolled_back_by_the_next(tmp_path, forced):
    words = "default_engine=copy"
    store = making.make_store(tmp_path / "repo", words)
    old_files(making.main_of(store))
    making.snapshot(store, "one")
    child = os.fork()
    if not child:
        forced.setattr(elsewhere.Elsewhere, "arrived", lambda self, inside: os.kill(os.getpid(), signal.SIGKILL))
        try:
            making.snapshot(making.open_store(tmp_path / "repo", words), "two")
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    again = making.snapshot(making.open_store(tmp_path / "repo", words), "three")  # waits for those who still worked
    assert again["changes"] == {"added": 0, "removed": 0, "modified": 0, "bytes": 0}
    assert making.violations(tmp_path / "repo") == []


def test_no_descriptor_and_no_process_stays(line, forced):
    line.copy("one")
    gc.collect()  # what holds itself keeps its roots open
    before = len(making.descriptors())
    line.copy("two")
    gc.collect()
    assert len(making.descriptors()) == before

    def full(*words):
        raise OSError(28, "No space left on device")

    forced.setattr(metadata, "new_file", full)
    line.base = None
    line.rows = {}
    with pytest.raises(errors.NoSpace):
        line.copy("three")
    gc.collect()
    assert len(making.descriptors()) == before


@pytest.mark.parametrize(("name", "fs"), [(engine.COPY, "ext4"), (engine.REFLINK, "xfs"), (engine.BTRFS, "btrfs")])
def test_a_repository_is_the_same_with_and_without(fs_at, forced, given, name, fs):
    """First and second snapshot, look, verify and fork: the same hashes and the same files."""
    seen = {}
    for jobs in (3, 1):
        forced.setattr(workers.Workers, "processes", 0)
        forced.setattr(parallel, "processors", lambda: 3)
        store = making.make_store(fs_at(fs) / "r", "default_engine=" + name, f"engine.jobs={jobs}")
        main = making.main_of(store)
        old_files(main)
        for path in sorted(main.rglob("f*")):
            os.utime(path, ns=(1, 10**18))
        given.clear()
        first = making.snapshot(store, "one")
        (main / "a/f01").write_text("changed")
        os.utime(main / "a/f01", ns=(1, 10**18))
        second = making.snapshot(store, "two")
        store = making.open_store(store.root, "default_engine=" + name, f"engine.jobs={jobs}")
        assert verify.check_snapshot(store, second["snapshot_id"]).payload_hash_valid
        with changing.worktree(store, "side"):
            made = fork.fork(store, second["snapshot_id"], "side")
        assert bool(given) == (jobs == 3)
        payload = describe_tree(str(store.layout.payload(second["snapshot_id"])))
        assert diff_trees(payload, describe_tree(made["path"])) == []
        seen[jobs] = (first["payload_root_hash"], second["payload_root_hash"], first["payload"], second["changes"])
        assert making.violations(store.root) == []
    assert seen[3] == seen[1]
