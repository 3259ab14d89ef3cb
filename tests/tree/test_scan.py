"""The walk with the index gives what a walk without gives, whatever was edited and however."""

from __future__ import annotations

import itertools
import mmap
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import making
import pytest
import zoo
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from jvs.check import verify
from jvs.errors import CloneIncomplete, IOFailure
from jvs.fs import listing
from jvs.store import worktree_scan
from jvs.tree import racy, scan
from jvs.tree import rows as tree_rows

NAMES = ("a", "b", "sub/a", "sub/b", "sub/deep/a", "other/x")
DIRS = ("sub", "sub/deep", "other", "empty")


class Editor:
    """Changes a worktree in the ways that a cache of stats is likely to miss."""

    def __init__(self, root: Path):
        self.root = root
        self.count = itertools.count()

    def fresh(self) -> bytes:
        return b"%06d" % next(self.count)

    def existing(self, name: str) -> Path:
        path = self.root / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        if path.is_symlink() or not path.exists():
            for parent in reversed(path.relative_to(self.root).parents):
                if (self.root / parent).is_symlink() or (self.root / parent).is_file():
                    (self.root / parent).unlink()
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(self.fresh())
        return path

    def write(self, name):
        self.existing(name).write_bytes(self.fresh())

    def same_size_and_times(self, name):
        path = self.existing(name)
        was = os.stat(path)
        with open(path, "r+b") as file:
            file.write(self.fresh()[: was.st_size])
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))

    def replaced_with_times(self, name):
        path = self.existing(name)
        was = os.stat(path)
        sibling = path.with_name("sibling")
        sibling.write_bytes(self.fresh())
        os.utime(sibling, ns=(was.st_atime_ns, was.st_mtime_ns))
        sibling.rename(path)

    def mapped(self, name):
        """Store through a mapping twice: the second store meets a dirty page and moves no time stamp."""
        path = self.existing(name)
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            mapping[0:1] = b"x"
            mapping[0 : len(mapping)] = self.fresh()[: len(mapping)].ljust(len(mapping), b"y")

    def grown(self, name):
        with open(self.existing(name), "ab") as file:
            file.write(self.fresh())

    def removed(self, name):
        self.existing(name).unlink()

    def renamed(self, name):
        path = self.existing(name)
        path.rename(path.with_name("renamed"))

    def mode(self, name):
        path = self.existing(name)
        path.chmod(0o600 if path.stat().st_mode & 0o077 else 0o644)

    def attribute(self, name):
        os.setxattr(self.existing(name), "user.x", self.fresh())

    def linked(self, name):
        path = self.existing(name)
        path.with_name("hard").unlink(missing_ok=True)
        os.link(path, path.with_name("hard"))

    def to_symlink(self, name):
        path = self.existing(name)
        path.unlink()
        path.symlink_to(self.fresh())

    def to_directory(self, name):
        path = self.existing(name)
        path.unlink()
        path.mkdir()
        (path / "inside").write_bytes(self.fresh())

    def directory_mode(self, name):
        path = self.existing(name).parent
        path.chmod(0o755 if path.stat().st_mode & 0o077 == 0 else 0o700)

    def directory_attribute(self, name):
        os.setxattr(self.existing(name).parent, "user.d", self.fresh())

    def swapped(self, name):
        """Let two files trade names: the directory's names stay, inode numbers move."""
        path, other = self.existing(name), self.existing("b" if name != "b" else "a")
        for source, target in ((path, "swap"), (other, path), (self.root / "swap", other)):
            os.rename(source, self.root / target)

    def nothing(self, name):
        pass


EDITS = [name for name in vars(Editor) if not name.startswith("_") and name not in ("fresh", "existing")]
BATCHES = st.lists(
    st.lists(st.tuples(st.sampled_from(EDITS), st.sampled_from(NAMES)), min_size=1, max_size=4), min_size=1, max_size=4
)


def check_same(store, made):
    """Hold a snapshot against the worktree and its own payload, each hashed by the independent reader."""
    hash_tree = making.oracle_module("treehash").hash_tree
    assert hash_tree(str(store.layout.payload(made["snapshot_id"]))).root_hash == made["payload_root_hash"]
    assert hash_tree(str(making.main_of(store))).root_hash == made["payload_root_hash"]


def run_batches(root, batches, engine=None):
    store = making.make_store(root)
    making.write(making.main_of(store), dict.fromkeys(NAMES, "first"))
    (making.main_of(store) / "empty").mkdir()
    check_same(store, making.snapshot(store, requested=engine))
    editor = Editor(making.main_of(store))
    for batch in batches:
        for edit, name in batch:
            getattr(editor, edit)(name)
        bare = making.open_store(root, use_index=False)
        known = making.open_store(root)
        assert worktree_scan.walk_now(known, "main").root_hash == worktree_scan.walk_now(bare, "main").root_hash
        made = making.snapshot(known, requested=engine)
        check_same(known, made)
        assert worktree_scan.walk_now(known, "main").root_hash == made["payload_root_hash"]
        known.close()
        bare.close()


@hypothesis_settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(BATCHES)
def test_random_edits_hash_the_same_with_and_without_the_index(tmp_path_factory, batches):
    run_batches(tmp_path_factory.mktemp("scan") / "r", batches)


@pytest.mark.parametrize("edit", EDITS)
def test_each_edit_is_seen_twice_in_a_row(tmp_path, edit):
    run_batches(tmp_path / "r", [[(edit, name)] for name in ("a", "sub/deep/a", "a")])


def test_every_edit_is_seen_on_every_filesystem(fs_dir, fs_name):
    edits = EDITS
    run_batches(fs_dir / "r", [[(edit, name) for name in ("a", "sub/deep/a")] for edit in edits])


def test_an_edit_within_the_same_tick_is_seen(tmp_path):
    """A file that changes again right after it was read, without any stamp moving."""
    store = making.make_store(tmp_path / "r")
    path = making.main_of(store) / "a"
    for i in range(30):
        path.write_bytes(b"%04d" % i)
        was = os.stat(path)
        check_same(store, making.snapshot(store))
        with open(path, "r+b") as file:
            file.write(b"x%03d" % i)
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
        check_same(store, making.snapshot(store))


def test_a_store_into_a_mapping_that_stays_open_is_seen(fs_dir):
    store = making.make_store(fs_dir / "r")
    path = making.main_of(store) / "mapped"
    path.write_bytes(b"0" * 4096 * 4)
    making.snapshot(store)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        for i in range(4):
            mapping[i * 4096] = ord("1")
            mapping.flush()
            made = making.snapshot(making.open_store(store.root))
            check_same(store, made)
            mapping[i * 4096] = ord("2")
            mapping.flush()
            check_same(store, making.snapshot(making.open_store(store.root)))


def test_the_zoo_snapshots_the_same_with_and_without_the_index(fs_dir):
    store = making.make_store(fs_dir / "r")
    main = making.main_of(store)
    zoo.make_zoo(main / "zoo", many=20, skip=("socket", "xattrs"))
    first = making.snapshot(store)
    making.write(main, {"zoo/many/new": "x"})
    second = making.snapshot(making.open_store(store.root))
    third = making.snapshot(making.open_store(store.root, use_index=False))
    assert second["payload_root_hash"] == third["payload_root_hash"] != first["payload_root_hash"]
    if not second["degraded"]:
        check_same(store, second)


class Counting(scan.Hasher):
    """Counts the files that are read."""

    def __init__(self):
        super().__init__()
        self.read = []

    def take(self, inside, fd, path, name, st, old):
        self.read.append(path)
        return super().take(inside, fd, path, name, st, old)


def test_only_what_changed_is_read_again(tmp_path):
    making.write(tmp_path / "t", {f"d{i}/f{j}": f"{i}{j}" for i in range(5) for j in range(5)})
    moment = walk_moment()
    first = scan.Scanner(Counting(), moment_ns=moment).run(making.at(tmp_path / "t"))
    rows = {path: (row, node) for path, row, node in first.rows}
    making.write(tmp_path / "t", {"d2/f2": "changed"})
    worker = Counting()
    again = scan.Scanner(worker, rows=rows, known=making.Known(first.nodes), moment_ns=moment).run(
        making.at(tmp_path / "t")
    )
    assert worker.read == [b"d2/f2"]
    assert again.root_hash == verify.hash_directory(making.at(tmp_path / "t")).root_hash
    assert {path for path, _, _ in again.rows} == {b"", b"d2"}


def walk_moment():
    """Return a moment in the future: stamps are then old enough to be kept."""
    from jvs import clock

    return clock.now_ns() + 10**12


def test_fresh_stamps_are_not_kept(tmp_path):
    making.write(tmp_path / "t", {"a": "1"})
    from jvs import clock

    found = scan.Scanner(Counting(), moment_ns=clock.now_ns()).run(making.at(tmp_path / "t"))
    ((_, row, _),) = found.rows
    assert tree_rows.unpack(row, listing.STAMP.size) == {b"a": bytes(listing.STAMP.size)}


def test_whole_second_stamps_are_racy_for_two_seconds():
    piece = b"x" * listing.STAMP.size
    file = SimpleNamespace(st_ctime_ns=10**10, st_mtime_ns=10**10, st_mode=0o100644)
    for seconds, kept in ((11, False), (12, False), (13, True)):
        found = racy.lasting(piece, file, seconds * 10**9, slow_directories=False)
        assert found == (piece if kept else racy.NO_STAMP)


def test_stamps_of_directories_are_racy_for_two_seconds_where_their_times_lag():
    piece = b"x" * listing.STAMP.size
    for mode, lag, kept in ((0o040755, True, False), (0o100644, True, True), (0o040755, False, True)):
        info = SimpleNamespace(st_ctime_ns=10**10 + 1, st_mtime_ns=10**10 + 1, st_mode=mode)
        found = racy.lasting(piece, info, 11 * 10**9, slow_directories=lag)
        assert found == (piece if kept else racy.NO_STAMP)


def test_directories_that_are_gone_are_reported(tmp_path):
    making.write(tmp_path / "t", {"d/e/f": "1", "x": "2"})
    first = scan.Scanner(Counting(), moment_ns=walk_moment()).run(making.at(tmp_path / "t"))
    rows = {path: (row, node) for path, row, node in first.rows}
    shutil.rmtree(tmp_path / "t/d")
    again = scan.Scanner(Counting(), rows=rows, known=making.Known(first.nodes)).run(making.at(tmp_path / "t"))
    assert sorted(again.gone) == [b"d", b"d/e"]


def test_lost_nodes_only_cost_reading(tmp_path):
    making.write(tmp_path / "t", {"d/e/f": "1", "d/g": "3", "x": "2"})
    first = scan.Scanner(Counting(), moment_ns=walk_moment()).run(making.at(tmp_path / "t"))
    rows = {path: (row, node) for path, row, node in first.rows}
    making.write(tmp_path / "t", {"d/e/f": "changed"})
    expected = verify.hash_directory(making.at(tmp_path / "t"))
    for lost in first.nodes:
        kept = {digest: data for digest, data in first.nodes.items() if digest != lost}
        again = scan.Scanner(Counting(), rows=rows, known=making.Known(kept)).run(making.at(tmp_path / "t"))
        assert again.root_hash == expected.root_hash
        assert again.payload() == expected.payload()


def test_what_vanishes_during_the_walk_is_left_out(tmp_path):
    making.write(tmp_path / "t", {"a": "1", "b": "2", "d/x": "3"})

    class Vanishing(scan.Hasher):
        def take(self, inside, fd, path, name, st, old):
            (tmp_path / "t/b").unlink(missing_ok=True)
            shutil.rmtree(tmp_path / "t/d", ignore_errors=True)
            return super().take(inside, fd, path, name, st, old)

    found = scan.Scanner(Vanishing()).run(making.at(tmp_path / "t"))
    assert found.root_hash == verify.hash_directory(making.at(tmp_path / "t")).root_hash
    assert found.payload()["files"] == 1


def test_a_mount_below_is_refused(fs_at, tmp_path):
    inside = fs_at("tmpfs")
    with pytest.raises(CloneIncomplete):
        scan.Scanner(scan.Hasher()).run(making.at(inside.parent.parent))


def test_a_tree_deeper_than_a_path_can_be_named_is_walked(tmp_path):
    zoo.make_zoo(tmp_path / "z", many=0, skip=set(zoo.parts(0)) - {"deep"})
    found = verify.hash_directory(making.at(tmp_path / "z"))
    assert found.root_hash == making.oracle_module("treehash").hash_tree(str(tmp_path / "z")).root_hash
    assert found.dirs >= zoo.DEEP_LEVELS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("allowed", [False, True])
def test_what_may_not_be_read_is_an_error_or_left_out_and_reported(tmp_path, allowed):
    making.write(tmp_path / "t", {"open": "1", "closed": "2", "dir/inner": "3"})
    os.chmod(tmp_path / "t/closed", 0)
    os.chmod(tmp_path / "t/dir", 0)
    for path in ("t", "t/open", "t/closed", "t/dir", "."):
        os.chown(tmp_path / path, 1234, 1234)
    os.chdir(tmp_path)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(1234)
            os.setuid(1234)
            found = scan.Scanner(scan.Hasher(allow_unreadable=allowed)).run(making.at("t"))
            reported = sorted(path for path, _ in found.unreadable)
            code = 0 if allowed and reported == [b"closed", b"dir"] and found.files == 1 else 2
        except IOFailure as error:
            code = 0 if not allowed and error.hint else 3
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_walk_leaves_no_descriptor_open(tmp_path):
    making.write(tmp_path / "t", {f"d{i}/e/f": "x" for i in range(20)})
    before = len(making.descriptors())
    verify.hash_directory(making.at(tmp_path / "t"), jobs=4)
    os.mkdir(tmp_path / "t/d3/e/g")
    assert len(making.descriptors()) == before
