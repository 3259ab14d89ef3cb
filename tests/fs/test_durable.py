"""Durable writes: what is on disk after success, after an error, and in which order it got there."""

from __future__ import annotations

import errno
import os
import stat
import subprocess

import making
import pytest

from jvs import system
from jvs.fs import durable, removal


@pytest.fixture
def calls(monkeypatch):
    """Record what reaches the disk, in order, by the name that each descriptor stands for."""
    seen: list[tuple[str, str]] = []

    def name_of(what: object) -> str:
        path = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else os.fsdecode(what)  # type: ignore
        return os.path.basename(path)

    real = {name: getattr(os, name) for name in ("fsync", "rename", "unlink", "write", "ftruncate")}

    def watch(name: str):
        def call(first, *args, **more):
            seen.append((name, name_of(first)))
            return real[name](first, *args, **more)

        return call

    for name in real:
        monkeypatch.setattr(os, name, watch(name))
    return seen


def fail(monkeypatch, name, number, *, after=0):
    """Let os.NAME fail from its n-th call on."""
    real, count = getattr(os, name), iter(range(10**6))

    def call(*args, **more):
        if next(count) >= after:
            raise OSError(number, os.strerror(number))
        return real(*args, **more)

    monkeypatch.setattr(os, name, call)


def test_replacing_syncs_the_content_before_the_rename_and_the_name_after(tmp_path, calls):
    path = tmp_path / "file"
    durable.replace_file(making.at(path), b"new")
    order = [call for call in calls if call[0] in ("fsync", "rename")]
    assert order == [("fsync", "file.tmp"), ("rename", "file.tmp"), ("fsync", tmp_path.name)]
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_replacing_leaves_the_old_content_when_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    for name in ("write", "fsync", "rename"):
        with monkeypatch.context() as patch:
            fail(patch, name, errno.ENOSPC)
            with pytest.raises(OSError, match="No space"):
                durable.replace_file(making.at(path), b"new")
        assert path.read_bytes() == b"old"
        assert os.listdir(tmp_path) == ["file"]


def test_a_temporary_name_that_a_crash_left_is_taken_away(tmp_path):
    (tmp_path / "file.tmp").write_bytes(b"torn")
    durable.replace_file(making.at(tmp_path / "file"), b"new")
    assert os.listdir(tmp_path) == ["file"]


def test_a_planted_link_at_the_temporary_name_is_not_followed(tmp_path):
    (tmp_path / "victim").write_bytes(b"mine")
    (tmp_path / "file.tmp").symlink_to(tmp_path / "victim")
    durable.replace_file(making.at(tmp_path / "file"), b"new")
    assert (tmp_path / "victim").read_bytes() == b"mine"


def test_creating_never_replaces(tmp_path):
    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        durable.create_file(making.at(tmp_path / "file"), b"new")
    (tmp_path / "link").symlink_to(tmp_path / "absent")
    with pytest.raises(FileExistsError):
        durable.create_file(making.at(tmp_path / "link"), b"new")
    assert not (tmp_path / "absent").exists()


def test_a_signal_right_after_the_temporary_name_was_made_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"old")
    really = os.open

    def opened(path, flags, *args, **more):
        fd = really(path, flags, *args, **more)
        if os.fsdecode(path).endswith(".tmp"):
            os.close(fd)
            raise KeyboardInterrupt
        return fd

    monkeypatch.setattr(os, "open", opened)
    with pytest.raises(KeyboardInterrupt):
        durable.replace_file(making.at(tmp_path / "file"), b"new")
    assert os.listdir(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def test_a_file_that_could_not_be_written_whole_is_removed(tmp_path, monkeypatch):
    for name in ("write", "fsync"):
        with monkeypatch.context() as patch:
            fail(patch, name, errno.EIO)
            with pytest.raises(OSError):
                durable.create_file(making.at(tmp_path / "file"), b"x")
        assert os.listdir(tmp_path) == []


def test_short_writes_are_continued(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data)[:3]))
    durable.create_file(making.at(tmp_path / "file"), b"0123456789")
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_an_append_that_fails_cuts_the_file_back(tmp_path, monkeypatch):
    path = tmp_path / "log"
    path.write_bytes(b"one\n")
    real, left = os.write, [4]

    def write(fd, data):
        if not left[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        taken = min(left[0], len(data))
        left[0] -= taken
        return real(fd, bytes(data)[:taken])

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space"):
        durable.append(making.at(path), b"two and more\n")
    assert path.read_bytes() == b"one\n"


def test_an_append_is_synced(tmp_path, calls):
    path = tmp_path / "log"
    path.touch()
    durable.append(making.at(path), b"one\n")
    assert calls == [("write", "log"), ("fsync", "log")]


def test_an_append_never_makes_the_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        durable.append(making.at(tmp_path / "log"), b"x")


def test_truncating_is_durable(tmp_path, calls):
    path = tmp_path / "log"
    path.write_bytes(b"onetorn")
    durable.truncate(making.at(path), 3)
    assert path.read_bytes() == b"one"
    assert calls == [("ftruncate", "log"), ("fsync", "log")]


def test_publishing_syncs_both_directories_after_the_rename(tmp_path, calls):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a/x.tmp").write_bytes(b"x")
    calls.clear()
    durable.publish(making.at(tmp_path / "a/x.tmp"), making.at(tmp_path / "b/x"))
    assert calls == [("rename", "x.tmp"), ("fsync", "b"), ("fsync", "a")]


@pytest.mark.parametrize("kind", ["file", "dir", "link"])
def test_publishing_replaces_nothing(tmp_path, kind):
    source, target = tmp_path / "x.tmp", tmp_path / "x"
    source.mkdir()
    {"file": target.touch, "dir": target.mkdir, "link": lambda: target.symlink_to("nowhere")}[kind]()
    with pytest.raises(FileExistsError):
        durable.publish(making.at(source), making.at(target))
    assert source.is_dir()


def test_removing_a_tree_follows_no_link(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(b"x")
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub/link").symlink_to(outside)
    (tree / "link").symlink_to(outside / "kept")
    removal.remove_tree(making.at(tree))
    assert not tree.exists()
    assert (outside / "kept").read_bytes() == b"x"
    (tmp_path / "top").symlink_to(outside)
    removal.remove_tree(making.at(tmp_path / "top"))
    assert (outside / "kept").exists()


def test_removing_a_tree_deeper_than_a_path_can_be_named(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    os.mkdir("deep", dir_fd=fd)
    here = os.open("deep", os.O_RDONLY, dir_fd=fd)
    for _ in range(600):
        os.mkdir("d" * 20, dir_fd=here)
        below = os.open("d" * 20, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    os.close(fd)
    removal.remove_tree(making.at(tmp_path / "deep"))
    assert not (tmp_path / "deep").exists()


def test_removing_what_is_not_there(tmp_path):
    removal.remove_tree(making.at(tmp_path / "none"))
    with pytest.raises(FileNotFoundError):
        removal.remove_tree(making.at(tmp_path / "none"), missing_ok=False)


def test_removing_below_a_directory_descriptor(tmp_path):
    (tmp_path / "tree/sub").mkdir(parents=True)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        removal.remove_tree(b"tree", dir_fd=fd)
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_removing_what_its_owner_took_the_rights_from(tmp_path):
    tree = tmp_path / "tree"
    (tree / "closed/inner").mkdir(parents=True)
    (tree / "closed/inner/file").touch()
    for path in (tree / "closed/inner/file", tree / "closed/inner", tree / "closed", tree, tmp_path):
        os.chown(path, 1234, 1234)
    os.chmod(tree / "closed/inner", 0o000)
    os.chmod(tree / "closed", 0o500)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(1234)
            os.setuid(1234)
            fd = os.open(".", os.O_RDONLY)
            removal.remove_tree(b"tree", dir_fd=fd)
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert not tree.exists()


@pytest.fixture(autouse=True)
def stand_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_two_names_trade_places_in_one_step(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").mkdir()
    above = making.at(tmp_path / "a")
    fd = above.root.fd
    if not durable.exchange(b"a", b"b", source_fd=fd, target_fd=fd):
        pytest.skip("this filesystem cannot exchange names")
    assert (tmp_path / "a").is_dir()
    assert (tmp_path / "b").read_bytes() == b"a"


def test_renaming_to_a_taken_name_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    above = making.at(tmp_path / "a")
    with pytest.raises(FileExistsError):
        durable.rename_new(b"a", b"b", source_fd=above.root.fd, target_fd=above.root.fd)
    durable.rename_new(b"a", b"c", source_fd=above.root.fd, target_fd=above.root.fd)
    assert sorted(os.listdir(tmp_path)) == ["b", "c"]


def test_a_tree_is_synced_file_by_file_where_one_barrier_is_not_trusted(tmp_path, calls):
    (tmp_path / "tree/sub").mkdir(parents=True)
    for name in ("tree/a", "tree/sub/b", "single"):
        (tmp_path / name).write_bytes(b"x")
    os.mkfifo(tmp_path / "tree/fifo")
    (tmp_path / "tree/link").symlink_to("a")
    calls.clear()
    with durable.Barrier(making.at(tmp_path), each=True) as barrier:
        assert not barrier.whole_filesystem
        barrier.sync_trees([making.at(tmp_path / "tree")], [making.at(tmp_path / "single")])
    synced = [name for call, name in calls if call == "fsync"]
    assert sorted(synced) == sorted(["a", "b", "sub", "tree", "single", tmp_path.name])
    assert synced.index("b") < synced.index("sub") < synced.index("tree") < synced.index(tmp_path.name)


def test_one_barrier_is_used_only_where_it_flushes(fs_dir, fs_name):
    with durable.Barrier(making.at(fs_dir)) as barrier:
        assert barrier.whole_filesystem == (not fs_name.startswith("juicefs"))
        (fs_dir / "file").write_bytes(b"x")
        barrier.sync_trees([making.at(fs_dir)], [])


def test_a_filesystem_that_nobody_listed_is_not_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "filesystem_type", lambda fd: 0x6969)  # NFS
    with durable.Barrier(making.at(tmp_path)) as barrier:
        assert not barrier.whole_filesystem


def test_the_type_of_a_filesystem_is_that_of_stat(tmp_path):
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        reported = subprocess.run(["stat", "-f", "-c", "%t", str(tmp_path)], capture_output=True, text=True).stdout
        assert system.filesystem_type(fd) == int(reported, 16)
    finally:
        os.close(fd)


def test_a_file_that_somebody_else_writes_can_be_committed(fs_dir):
    path = fs_dir / "file"
    with open(path, "wb") as file:
        file.write(b"x")
        file.flush()
        durable.commit_file(making.at(path))
    os.mkfifo(fs_dir / "fifo")
    durable.commit_file(making.at(fs_dir / "fifo"))
