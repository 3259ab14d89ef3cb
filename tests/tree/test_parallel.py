"""Finding what changed with several processes: the same answer as a walk, whatever happens meanwhile."""

from __future__ import annotations

import os
import shutil
import threading
import time
from pathlib import Path

import making
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jvs import clock
from jvs.check import verify
from jvs.tree import parallel, scan

FUTURE_NS = 10**12


class Counting(scan.Hasher):
    """Notes what is read, and which directories were listed."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[bytes] = []
        self.listings: list[bytes] = []

    def take(self, inside, fd, path, name, st, old):
        self.read.append(path)
        return super().take(inside, fd, path, name, st, old)

    def listed(self, path, names, *, proved):
        self.listings.append(path)


class Looked:
    """One walk after another over a tree, each with what the one before left."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows: dict = {}
        self.known = making.Known({}, {})
        self.remember(self.walk())

    def walk(self) -> scan.ScanResult:
        self.worker = Counting()
        moment = clock.now_ns() + FUTURE_NS  # stamps are then old enough to be kept
        return scan.Scanner(self.worker, rows=self.rows, known=self.known, moment_ns=moment).run(making.at(self.root))

    def remember(self, found: scan.ScanResult) -> dict:
        self.rows = {path: row for path, row in self.rows.items() if path not in found.gone}
        self.rows.update({path: (row, node) for path, row, node in found.rows})
        self.known.nodes.update(found.nodes)
        self.known.totals.update(found.totals)
        return self.rows


@pytest.fixture
def forced(monkeypatch):
    """Let every tree be swept, by three processes, also next to the threads of the test runner; count the sweeps."""
    force(monkeypatch)
    return monkeypatch


def force(monkeypatch, processes=3):
    monkeypatch.setattr(parallel, "LEAST_ENTRIES", 1)
    monkeypatch.setattr(parallel, "has_threads", lambda: False)
    monkeypatch.setattr(parallel.Sweeper, "processes", processes)


def tree_of(root: Path) -> Looked:
    making.write(
        root, {f"{d}/f{i}": f"{d}{i}" for d in ("a", "b", "b/c", "b/c/d", "e-x", "e", "e/g") for i in range(3)}
    )
    return Looked(root)


def test_an_unchanged_tree_is_not_listed_again(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    found = tree.walk()
    assert tree.worker.listings == []
    assert found.root_hash == verify.hash_directory(making.at(tree.root)).root_hash
    assert found.payload() == verify.hash_directory(making.at(tree.root)).payload()
    assert (found.rows, found.gone, found.taken) == ([], [], 0)


def test_only_touched_directories_are_listed(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    (tree.root / "b/c/f1").write_text("changed")
    found = tree.walk()
    assert tree.worker.listings == [b"b/c"]
    assert tree.worker.read == [b"b/c/f1"]
    assert found.root_hash == verify.hash_directory(making.at(tree.root)).root_hash


def test_what_a_worker_must_visit_is_visited(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    forced.setattr(Counting, "must_visit", frozenset({b""}))
    tree.walk()
    assert tree.worker.listings == [b""]
    forced.setattr(Counting, "must_visit", None)
    tree.walk()
    assert len(tree.worker.listings) == 8


def test_the_directory_whose_own_stamp_changed_is_touched(tmp_path, forced):
    """Its row is what it was; whether something came and went in it, only the row above could say."""
    tree = tree_of(tmp_path / "t")
    making.write(tree.root, {"b/c/passing": "x"})
    os.unlink(tree.root / "b/c/passing")
    tree.walk()
    assert tree.worker.listings == [b"b", b"b/c"]


def test_a_link_in_the_place_of_a_directory_is_not_followed(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    os.rename(tree.root / "b", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tree.root / "b")
    found = tree.walk()
    assert sorted(found.gone) == [b"b", b"b/c", b"b/c/d"]
    assert found.root_hash == verify.hash_directory(making.at(tree.root)).root_hash
    assert found.symlinks == 1


def test_a_directory_that_vanishes_between_sweep_and_walk_is_gone(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    making.write(tree.root, {"b/c/d/new": "new"})
    real = parallel.Sweeper.run

    def run(self):
        found = real(self)
        shutil.rmtree(tree.root / "b")
        return found

    forced.setattr(parallel.Sweeper, "run", run)
    found = tree.walk()
    assert found.root_hash == verify.hash_directory(making.at(tree.root)).root_hash


@pytest.mark.parametrize("how", ["exit", "garbage", "hang"])
def test_a_process_that_fails_leaves_its_share_to_the_walk(tmp_path, forced, how):
    tree = tree_of(tmp_path / "t")
    (tree.root / "e/g/f1").write_text("changed")
    parent = os.getpid()
    real = parallel.Sweeper.look

    def look(self, paths):
        if os.getpid() != parent:
            if how == "garbage":
                os.write(1, b"")
                return parallel.Swept([b"x"], entries=object())  # type: ignore[arg-type]
            os._exit(1)
        return real(self, paths)

    forced.setattr(parallel.Sweeper, "look", look)
    found = tree.walk()
    assert found.root_hash == verify.hash_directory(making.at(tree.root)).root_hash
    assert tree.worker.read == [b"e/g/f1"]


def test_no_more_processes_is_no_error(tmp_path, forced):
    tree = tree_of(tmp_path / "t")

    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    forced.setattr(os, "fork", refuse)
    assert tree.walk().root_hash == verify.hash_directory(making.at(tree.root)).root_hash


def test_nothing_is_left_of_the_processes(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    before, children = making.descriptors(), making.children()
    tree.walk()
    assert len(making.descriptors()) == len(before)
    assert making.children() <= children


def test_alone_it_sweeps_in_one_process(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    forced.setattr(parallel.Sweeper, "processes", 0)
    forced.setattr(os, "fork", None)
    swept = []
    real = parallel.Sweeper.look
    forced.setattr(parallel.Sweeper, "look", lambda self, paths: swept.append(paths) or real(self, paths))
    (tree.root / "e/g/f1").write_text("other")
    with parallel.alone():
        assert tree.walk().root_hash == verify.hash_directory(making.at(tree.root)).root_hash
    assert len(swept) == 1
    assert tree.worker.read == [b"e/g/f1"]


def test_an_interrupt_ends_the_processes(tmp_path, forced):
    tree = tree_of(tmp_path / "t")
    parent = os.getpid()

    def look(self, paths):
        if os.getpid() == parent:
            raise KeyboardInterrupt
        time.sleep(60)

    forced.setattr(parallel.Sweeper, "look", look)
    start, children = time.monotonic(), making.children()
    with pytest.raises(KeyboardInterrupt):
        tree.walk()
    assert time.monotonic() - start < 30
    assert making.children() <= children


def test_it_is_left_alone_where_it_does_not_pay(tmp_path, monkeypatch):
    tree = tree_of(tmp_path / "t")
    fd = os.open(tree.root, os.O_RDONLY)
    try:
        sweeper = parallel.Sweeper(fd, tree.rows, with_inode=True)
        force(monkeypatch, processes=2)
        assert sweeper.pays()
        monkeypatch.setattr(parallel, "has_threads", lambda: True)
        assert not sweeper.pays()
        force(monkeypatch, processes=1)
        assert not sweeper.pays()
        force(monkeypatch, processes=2)
        monkeypatch.setattr(parallel, "LEAST_ENTRIES", 1000)
        assert not sweeper.pays()
        assert not sweeper.run().touched
    finally:
        os.close(fd)


def test_a_process_with_threads_is_not_forked(tmp_path):
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert parallel.has_threads()
    finally:
        done.set()
        thread.join()


PATHS = ("a", "a/f0", "a/f1", "b", "b/f2", "b/c", "b/c/f0", "b/c/d", "b/c/d/f1", "e", "e/g", "e/g/f2", "new", "b/new")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "append", "remove", "mkdir", "chmod", "rename", "link", "exchange", "times"]),
        st.sampled_from(PATHS),
        st.sampled_from(PATHS),
    ),
    max_size=6,
)


def mutate(root: Path, what: str, one: str, two: str) -> None:
    """Do something to a tree, if it can be done there."""
    path, other = root / one, root / two
    try:
        if what == "write":
            path.write_text(two)
        elif what == "append":
            with path.open("a") as file:
                file.write("x")
        elif what == "remove":
            making.remove(path)
        elif what == "mkdir":
            path.mkdir()
        elif what == "chmod":
            path.chmod(path.stat().st_mode ^ 0o050)
        elif what == "rename":
            os.rename(path, other)
        elif what == "link":
            os.symlink(os.path.relpath(other, path.parent), path)
        elif what == "exchange":
            os.rename(path, root / "parked")
            os.rename(other, path)
            os.rename(root / "parked", other)
        else:
            os.utime(path, ns=(0, 0), follow_symlinks=False)
    except OSError:
        if (root / "parked").exists():
            os.rename(root / "parked", path)


@given(rounds=st.lists(STEPS, min_size=1, max_size=3))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_sweep_gives_the_answer_of_a_walk(tmp_path_factory, rounds):
    tree = tree_of(tmp_path_factory.mktemp("sweep") / "t")
    for steps in rounds:
        for step in steps:
            mutate(tree.root, *step)
        with pytest.MonkeyPatch.context() as monkeypatch:
            force(monkeypatch, processes=1)
            walked = tree.walk()
            read = sorted(tree.worker.read)
            force(monkeypatch, processes=2)
            swept = tree.walk()
        assert sorted(tree.worker.read) == read
        assert swept.root_hash == walked.root_hash == verify.hash_directory(making.at(tree.root)).root_hash
        assert swept.payload() == walked.payload()
        assert sorted(swept.gone) == sorted(walked.gone)
        before, known = dict(tree.rows), tree.known
        by_walk = dict(tree.remember(walked))
        tree.rows, tree.known = before, known
        assert tree.remember(swept) == by_walk


def test_a_directory_whose_row_was_lost_is_visited(tmp_path, forced):
    """The row above does not change when a file below is written in place."""
    for lost in ("b", "b/c", "b/c/d", "e/g"):
        tree = tree_of(tmp_path / lost.replace("/", "-"))
        del tree.rows[lost.encode()]
        (tree.root / lost / "f1").write_text("changed")
        assert tree.walk().root_hash == verify.hash_directory(making.at(tree.root)).root_hash
