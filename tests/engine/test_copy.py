"""The engines that copy: linking what did not change, and what happens when that fails."""

from __future__ import annotations

import errno
import gc
import os
from collections.abc import Iterator
from pathlib import Path

import making
import pytest
from treefacts import describe_tree, diff_trees

from jvs.engine import base as engine
from jvs.engine import copy as copy_engine
from jvs.engine import registry, small_files
from jvs.errors import CloneIncomplete, IOFailure, NoSpace, PathEscape
from jvs.fs import copyfile
from jvs.store import changing
from jvs.tree import path_filter, scan

OTHER = 1234


class Store:
    """A worktree, its clones, and what the index would know."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.worktree = root / "main"
        self.worktree.mkdir()
        self.rows: dict = {}
        self.nodes: dict = {}
        self.base: str | None = None

    def fill(self, count: int = 5) -> None:
        (self.worktree / "dir").mkdir()
        for number in range(count):
            path = self.worktree / "dir" / f"file{number}"
            path.write_bytes(b"content %d" % number)
            os.utime(path, ns=(1, 10**18 + number))

    def clone(self, name: str, **options) -> engine.Cloned:
        import time

        time.sleep(0.05)  # until no stamp is young
        options.setdefault("base_payload", making.at(self.base))
        target = str(self.root / name)
        request = engine.Request(
            making.at(self.worktree), making.at(target), rows=self.rows, known=making.Known(self.nodes), **options
        )
        cloned = registry.get("copy", making.engine_options()).clone(request)
        if cloned.tree is not None:
            self.rows.update({path: (row, digest) for path, row, digest in cloned.tree.rows})
            self.nodes.update(cloned.tree.nodes)
            self.base = target
        return cloned

    def inode(self, name: str) -> int:
        return os.lstat(self.root / name).st_ino

    def check(self, name: str, cloned: engine.Cloned) -> None:
        assert diff_trees(describe_tree(self.worktree), describe_tree(self.root / name)) == []
        fresh = scan.Scanner(scan.Hasher()).run(making.at(self.root / name))
        if cloned.tree is not None:
            assert cloned.tree.root_hash == fresh.root_hash


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def as_other(store: Store) -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root to become somebody else")
    for above in [store.root, *store.root.parents][:4]:
        os.chmod(above, os.stat(above).st_mode | 0o755)
    for path in (store.root, store.worktree):
        os.chown(path, OTHER, OTHER)
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(OTHER)
    os.seteuid(OTHER)
    yield
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)


def test_unchanged_file_is_linked_and_changed_file_is_not(store: Store):
    store.fill()
    store.clone("one")
    (store.worktree / "dir" / "file1").write_bytes(b"changed")
    cloned = store.clone("two")
    assert store.inode("one/dir/file0") == store.inode("two/dir/file0")
    assert store.inode("one/dir/file1") != store.inode("two/dir/file1")
    assert (store.root / "one" / "dir" / "file1").read_bytes() == b"content 1"
    store.check("two", cloned)


def test_nothing_is_linked_to_the_worktree(store: Store):
    store.fill()
    store.clone("one")
    store.clone("two")
    assert store.inode("main/dir/file0") != store.inode("two/dir/file0")
    assert os.lstat(store.worktree / "dir" / "file0").st_nlink == 1


def test_touched_file_with_equal_content_and_metadata_is_linked(store: Store):
    store.fill()
    store.clone("one")
    os.utime(store.worktree / "dir" / "file1", ns=(1, 10**18 + 1))  # a new ctime, and nothing else
    cloned = store.clone("two")
    assert store.inode("one/dir/file1") == store.inode("two/dir/file1")
    store.check("two", cloned)


def test_file_with_another_mode_or_time_is_copied(store: Store):
    store.fill()
    store.clone("one")
    os.chmod(store.worktree / "dir" / "file1", 0o600)
    os.utime(store.worktree / "dir" / "file2", ns=(1, 5))
    os.setxattr(store.worktree / "dir" / "file3", "user.a", b"b")
    cloned = store.clone("two")
    assert all(store.inode(f"one/dir/file{n}") != store.inode(f"two/dir/file{n}") for n in (1, 2, 3))
    store.check("two", cloned)


def test_base_that_was_collected_means_copying(store: Store):
    store.fill()
    store.clone("one")
    registry.remove_any(making.at(store.root / "one"), making.engine_options())
    cloned = store.clone("two")
    assert cloned.degraded == []
    store.check("two", cloned)


def test_base_that_lacks_a_file_means_copying_it(store: Store):
    store.fill()
    store.clone("one")
    (store.root / "one" / "dir" / "file2").unlink()
    cloned = store.clone("two")
    store.check("two", cloned)
    assert store.inode("one/dir/file1") == store.inode("two/dir/file1")


@pytest.mark.parametrize("number", [errno.EMLINK, errno.EPERM, errno.EXDEV])
def test_file_that_cannot_be_linked_is_copied(store: Store, monkeypatch: pytest.MonkeyPatch, number: int):
    store.fill()
    store.clone("one")
    real = os.link

    def limited(source: bytes, target: bytes, **options) -> None:
        if source == b"file2":
            raise OSError(number, os.strerror(number))
        real(source, target, **options)

    monkeypatch.setattr(os, "link", limited)
    cloned = store.clone("two")
    store.check("two", cloned)
    assert store.inode("one/dir/file3") == store.inode("two/dir/file3")
    assert store.inode("one/dir/file2") != store.inode("two/dir/file2")


def test_full_disk_while_linking_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.fill()
    store.clone("one")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "link", full)
    with pytest.raises(NoSpace):
        store.clone("two")


def test_lost_node_means_hashing_again(store: Store):
    store.fill()
    (store.worktree / "top").write_bytes(b"x")
    first = store.clone("one")
    store.nodes.clear()
    (store.worktree / "dir" / "file1").write_bytes(b"changed")
    cloned = store.clone("two")
    store.check("two", cloned)
    assert cloned.tree.payload()["files"] == first.tree.payload()["files"]


def test_clone_that_cannot_fit_is_refused_before_it_starts(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.fill()
    (store.worktree / "big").write_bytes(bytes(1 << 20))
    real = os.statvfs(store.root)

    class Full:
        f_blocks, f_bfree, f_bavail, f_frsize = real.f_blocks, 100, 100, 4096

    monkeypatch.setattr(os, "statvfs", lambda _: Full)
    with pytest.raises(NoSpace) as caught:
        store.clone("one")
    assert caught.value.facts["free_bytes"] == 409600
    assert not (store.root / "one").exists()


def test_allocated_bytes_counts_a_file_with_two_names_once(store: Store):
    (store.worktree / "one").write_bytes(bytes(1 << 20))
    once = copy_engine.allocated_bytes(making.at(store.worktree), 1 << 40)
    os.link(store.worktree / "one", store.worktree / "two")
    assert copy_engine.allocated_bytes(making.at(store.worktree), 1 << 40) == once >= 1 << 20


def test_torn_file_is_named_and_the_hash_is_that_of_the_copy(store: Store, monkeypatch: pytest.MonkeyPatch):
    store.fill()
    path = store.worktree / "dir" / "file1"
    copied = copyfile.copy_data

    def busy(source: int, target: int, st: os.stat_result, digest: object = None) -> None:
        copied(source, target, st, digest)
        if os.fstat(source).st_ino == os.stat(path).st_ino:
            with open(path, "ab") as file:
                file.write(b"more")

    monkeypatch.setattr(copyfile, "copy_data", busy)
    monkeypatch.setattr(small_files.SmallFiles, "on", False)
    cloned = store.clone("one")
    assert [(loss["path"], loss["what"]) for loss in cloned.degraded] == [("dir/file1", "torn")]
    fresh = scan.Scanner(scan.Hasher()).run(making.at(store.root / "one"))
    assert cloned.tree.root_hash == fresh.root_hash
    assert cloned.tree.payload() == fresh.payload()
    monkeypatch.undo()
    store.check("two", store.clone("two"))


def test_unreadable_file_is_an_error_or_reported(store: Store, as_other: None):
    store.fill()
    os.chmod(store.worktree / "dir" / "file1", 0)
    with pytest.raises(IOFailure) as caught:
        store.clone("one")
    assert "file1" in caught.value.message
    assert "--allow-unreadable" in caught.value.hint
    cloned = store.clone("two", allow_unreadable=True)
    assert [(loss["path"], loss["what"]) for loss in cloned.degraded] == [("dir/file1", "unreadable")]
    assert sorted(os.listdir(store.root / "two" / "dir")) == ["file0", "file2", "file3", "file4"]
    fresh = scan.Scanner(scan.Hasher()).run(making.at(store.root / "two"))
    assert cloned.tree.root_hash == fresh.root_hash


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o444], ids=oct)
def test_unreadable_directory_is_left_out_when_asked(store: Store, as_other: None, mode: int):
    store.fill()
    (store.worktree / "closed").mkdir()
    (store.worktree / "closed" / "file").write_bytes(b"x")
    os.chmod(store.worktree / "closed", mode)
    cloned = store.clone("one", allow_unreadable=True)
    os.chmod(store.worktree / "closed", 0o700)
    assert [(loss["path"], loss["what"]) for loss in cloned.degraded] == [("closed", "unreadable")]
    assert os.listdir(store.root / "one") == ["dir"]
    fresh = scan.Scanner(scan.Hasher()).run(making.at(store.root / "one"))
    assert cloned.tree.root_hash == fresh.root_hash


def test_losses_of_one_clone_are_reported_again_by_the_next(store: Store, as_other: None):
    store.fill()
    os.seteuid(0)
    os.chown(store.worktree / "dir" / "file1", 0, 0)
    os.chmod(store.worktree / "dir" / "file1", 0o4755)
    os.seteuid(OTHER)
    first = store.clone("one")
    second = store.clone("two")
    assert {(loss["path"], loss["what"]) for loss in first.degraded} == {("dir/file1", "owner"), ("dir/file1", "mode")}
    assert second.degraded == first.degraded
    fresh = scan.Scanner(scan.Hasher()).run(making.at(store.root / "two"))
    assert second.tree.root_hash == fresh.root_hash
    assert second.tree.root_hash != scan.Scanner(scan.Hasher()).run(making.at(store.worktree)).root_hash


def test_mount_inside_is_refused(store: Store):
    import subprocess

    store.fill()
    point = store.worktree / "dir" / "mounted"
    point.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(point)], check=False).returncode:
        pytest.skip("cannot mount a tmpfs here")
    try:
        with pytest.raises(CloneIncomplete) as caught:
            store.clone("one")
        assert caught.value.facts["path"] == "dir/mounted"
    finally:
        subprocess.run(["umount", str(point)], check=True)


def test_no_descriptor_stays_open(store: Store):
    store.fill()
    store.clone("one")
    gc.collect()  # what earlier tests left open may be closed at any moment
    before = len(making.descriptors())
    store.clone("two")
    with pytest.raises(PathEscape):
        store.clone("three", paths=[b"../x"])
    gc.collect()  # the traceback holds the frames, and they hold the roots
    assert len(making.descriptors()) == before


def test_chosen_names_of_nested_and_repeated_paths():
    assert path_filter.chosen_names([b"a/b/c", b"a/b", b"x", b"x"]) == {b"": {b"a", b"x"}, b"a": {b"b"}}
    assert path_filter.chosen_names([b"a", b"a/b"]) == {b"": {b"a"}}
    assert path_filter.chosen_names([b"."]) == {}


@pytest.mark.parametrize("path", [b"../x", b"/etc", b"a/../../b"])
def test_chosen_names_refuse_to_leave(path: bytes):
    with pytest.raises(PathEscape):
        path_filter.chosen_names([path])


def test_store_into_a_mapped_page_is_seen_by_the_next_clone(ext4_dir: Path):
    """A store into a page that is dirty already moves no time stamp; the write-back before the walk makes it."""
    import mmap

    store = Store(ext4_dir)
    path = store.worktree / "mapped"
    path.write_bytes(b"a" * 4096)
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 4096) as pages:
        pages[0:5] = b"first"
        store.clone("one")
        pages[0:6] = b"second"
        cloned = store.clone("two")
    assert (store.root / "two" / "mapped").read_bytes().startswith(b"second")
    store.check("two", cloned)


def test_damage_in_the_store_does_not_spread_to_the_next_snapshot(tmp_path: Path) -> None:
    from jvs.check import verify
    from jvs.publish import run as publishing
    from jvs.store import init
    from jvs.store.settings import Settings
    from jvs.store.store import Store

    settings = Settings.from_environment({"JVS_SNAPSHOT_ENGINE": "copy"})
    init.create(str(tmp_path / "lab"), settings)
    store = Store.open(str(tmp_path / "lab"), settings)
    for name in ("a", "b"):
        (tmp_path / "lab" / "main" / name).write_text("as it was")
        os.utime(tmp_path / "lab" / "main" / name, ns=(10**18, 10**18))
    os.link(tmp_path / "lab" / "main" / "b", tmp_path / "lab" / "main" / "c")

    def take() -> str:
        with changing.worktree(store, "main"):
            return publishing.publish(store, "main")["snapshot_id"]

    take()
    second = take()
    for name in ("a", "b"):
        with open(os.path.join(str(store.layout.payload(second)), name), "r+b") as file:
            file.write(b"tampered!")
    assert verify.check_snapshot(store, take()).error is None
    assert verify.check_snapshot(store, second).error is not None
