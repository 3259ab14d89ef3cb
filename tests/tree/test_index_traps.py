"""What once gave a wrong hash or a wrong payload, or stopped a command: each with the steps that led there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import making
import pytest
from running import Lab

from jvs.fs import copyfile, listing
from jvs.publish import run as publishing
from jvs.store import changing, worktree_scan
from jvs.store.store import Store
from jvs.tree import parallel, racy, rows, scan

TICK_SECONDS = 0.06


def snapshot(store: Store, name: str = "main") -> dict:
    """Take a snapshot when no stamp is young, and hold its hash against the files, read without help."""
    time.sleep(TICK_SECONDS)
    with changing.worktree(store, name):
        made = publishing.publish(store, name)
    _, btrfs = making_flags(store)
    for directory in (str(store.layout.worktree_dir(name)), str(store.layout.payload(made["snapshot_id"]))):
        assert (
            scan.Scanner(scan.Hasher(), btrfs=btrfs).run(making.at(directory)).root_hash == made["payload_root_hash"]
        ), directory
    return made


def making_flags(store: Store) -> tuple[bool, bool]:
    from jvs.engine import traits

    return traits.scan_flags(store.layout.snapshots)


@pytest.fixture(params=["btrfs_dir", "xfs_dir", "ext4_dir"])
def store(request: pytest.FixtureRequest) -> Store:
    return making.make_store(request.getfixturevalue(request.param))


def test_a_directory_that_was_moved_away_and_back_is_not_taken_from_its_old_rows(store: Store) -> None:
    main = making.main_of(store)
    making.write(main, {"a/deep/f": "one", "a/deep/deeper/g": "one"})
    snapshot(store)
    os.rename(main / "a", main / "b")
    snapshot(store)
    (main / "b/deep/f").write_text("two")
    (main / "b/deep/deeper/g").write_text("two")
    snapshot(store)
    os.rename(main / "b", main / "a")
    snapshot(store)
    key = store.tree_key("main")
    assert set(store.index().rows(key)) == {b"", b"a", b"a/deep", b"a/deep/deeper"}


@pytest.mark.parametrize("engine", ["copy", "reflink-copy"])
def test_names_that_were_one_file_are_two_in_the_payload_once_they_are_two(xfs_dir: Path, engine: str) -> None:
    store = making.make_store(xfs_dir, f"default_engine={engine}")
    main = making.main_of(store)
    making.write(main, {"d1/a": "content"})
    (main / "d2").mkdir()
    os.link(main / "d1/a", main / "d2/b")
    snapshot(store)
    os.rename(main / "d2", main / "d3")
    subprocess.run(["cp", "-a", str(main / "d3"), str(main / "d2")], check=True)
    made = snapshot(store)
    payload = Path(str(store.layout.payload(made["snapshot_id"])))
    one, two, three = (os.lstat(payload / name).st_ino for name in ("d1/a", "d2/b", "d3/b"))
    assert one == three
    assert two != one


def test_the_rows_of_a_worktree_are_not_those_of_another_that_gets_its_name(store: Store) -> None:
    snapshot(store)
    for name in ("w1", "w2"):
        assert making.run("-C", store.root, "worktree", "fork", "HEAD", name).exit == 0
        (Path(str(store.layout.worktree_dir(name))) / "new").write_text(name)
    snapshot(store, "w1")
    keys = store.tree_key("w1")
    assert store.index().rows(keys)
    assert making.run("-C", store.root, "--no-index", "worktree", "remove", "w1").exit == 0
    assert making.run("-C", store.root, "--no-index", "worktree", "rename", "w2", "w1").exit == 0
    assert store.tree_key("w1") != keys
    snapshot(store, "w1")


def test_times_beyond_what_64_bits_of_nanoseconds_hold(store: Store) -> None:
    path = making.main_of(store) / "late"
    path.write_text("x")
    subprocess.run(["touch", "-d", "2400-01-01 00:00:00 UTC", str(path)], check=True)
    snapshot(store)
    path.write_text("y")
    snapshot(store)


def test_times_outside_of_64_bits_make_stamps_of_their_own() -> None:
    class Late:
        st_ino, st_mode, st_uid, st_gid, st_size = 1, 0o100644, 0, 0, 5
        st_mtime_ns, st_ctime_ns = 1 << 63, 7

        def __getitem__(self, i: int) -> int:
            return (self.st_mode, self.st_ino, 0, 0, self.st_uid, self.st_gid, self.st_size)[i]

    stamp = listing.stamps([Late()], with_inode=True)  # type: ignore[list-item]
    assert listing.STAMP.unpack(stamp) == (1, 0o100644, 0, 0, 5, -(1 << 63), 7)
    assert listing._wrap(1 << 63) == -(1 << 63)
    assert listing._wrap(-(1 << 63)) == -(1 << 63)
    assert listing._wrap(5) == 5


@pytest.mark.parametrize("suffix", ["", "-journal", "-wal"])
@pytest.mark.parametrize("kind", ["fifo", "directory", "link"])
def test_nobody_waits_for_what_stands_in_the_place_of_the_index(store: Store, suffix: str, kind: str) -> None:
    path = Path(str(store.layout.index) + suffix)
    path.unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
        (path / "within").write_text("in the way")
    else:
        path.symlink_to("/dev/zero")
    for word in ("snapshot", "status"):
        answer = Lab(Path(store.root)).jvs(word, situation=["seconds 30"])
        assert answer.exit == 0, answer.said
    assert Path(str(store.layout.index)).is_file(), "the index is there again"


def test_a_file_that_is_open_for_writing_keeps_no_stamp(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One long write moves the times only when it begins: in its middle the stamp is that of its end."""
    monkeypatch.setattr("jvs.tree.hasher.WATCHED_BYTES", 1)
    monkeypatch.setattr("jvs.tree.hash_source.WATCHED_BYTES", 1)
    main = making.main_of(store)
    making.write(main, {"d/held": "held", "d/free": "free"})
    with open(main / "d/held", "r+b"):
        snapshot(store)
    key = store.tree_key("main")
    width = listing.STAMP.size
    row = rows.whole(store.index().rows(key)[b"d"][0])
    assert row[8 : 8 + width] != racy.NO_STAMP
    assert row[8 + width : 8 + 2 * width] == racy.NO_STAMP
    (main / "d/free").write_text("more")  # or btrfs, which knows better than any stamp, would not be asked
    snapshot(store)
    assert rows.whole(store.index().rows(key)[b"d"][0])[8 + width :][:width] != racy.NO_STAMP


def test_a_lease_tells_who_writes(ext4_dir: Path) -> None:
    path = ext4_dir / "file"
    path.write_bytes(b"x")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert not copyfile.is_open_for_writing(fd)
        with path.open("r+b"):
            assert copyfile.is_open_for_writing(fd)
        with path.open("rb"):
            assert not copyfile.is_open_for_writing(fd)
        path.write_bytes(b"y")  # the lease was given back: nobody waits for it
    finally:
        os.close(fd)


@pytest.mark.parametrize("words", [["--engine", "copy"], []])
def test_what_is_written_to_an_open_file_on_juicefs_is_seen(juicefs_dir: Path, words: list[str]) -> None:
    store = making.make_store(juicefs_dir)
    main = making.main_of(store)
    making.write(main, {"log": "one"})
    snapshot(store)
    script = "import sys,time; f=open(sys.argv[1],'ab',0); f.write(b'two'); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", script, str(main / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None and writer.stdin is not None
        writer.stdout.readline()
        status = json.loads(making.run("-C", store.root, "status", "--json").out)
        assert [change["path"] for change in status["modified"]] == ["log"]
        made = json.loads(making.run("-C", store.root, "snapshot", "--json", *words).out)
        assert (Path(str(store.layout.payload(made["snapshot_id"]))) / "log").read_text() == "onetwo"
        writer.stdin.close()


def test_a_tree_of_many_processes_is_swept_by_a_command(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole way: a program that forks finds what changed, and what it says is true."""
    monkeypatch.setattr(parallel, "LEAST_ENTRIES", 1)
    main = making.main_of(store)
    making.write(main, {f"d{i}/f{j}": f"{i}{j}" for i in range(20) for j in range(5)})
    snapshot(store)
    (main / "d7/f3").write_text("changed")
    shutil.rmtree(main / "d9")
    code = (
        "import sys; from jvs.tree import parallel; parallel.LEAST_ENTRIES = 1; parallel.Sweeper.processes = 3\n"
        "from jvs.cli.run import main; sys.exit(main(['-C', sys.argv[1], 'status', '--porcelain']))"
    )
    done = subprocess.run([sys.executable, "-c", code, store.root], capture_output=True, text=True, check=True)
    assert "M d7/f3" in done.stdout
    assert "D d9" in done.stdout
    assert len(done.stdout.splitlines()) == 7


def two_directories(root: Path) -> tuple[Store, Path]:
    """Make a repository with a snapshot of two directories; return it, and main."""
    store = making.make_store(root)
    making.write(making.main_of(store), {"d/f": "f", "e/g": "g"})
    snapshot(store)
    return store, making.main_of(store)


@pytest.mark.parametrize("where", ["d", ""])
def test_a_directory_that_gets_attributes_while_it_is_copied_is_hashed_with_them(
    xfs_dir: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from jvs.engine.copier import Copier

    store, main = two_directories(xfs_dir)
    real = Copier.leave

    def late(self: Copier, inside: Any, fd: int, st: os.stat_result) -> None:
        if inside.path == where.encode():
            os.setxattr(main / where, "user.late", b"1")
        real(self, inside, fd, st)

    monkeypatch.setattr(Copier, "leave", late)
    for change in ("one", "two"):
        (main / "d/f").write_text(change)
        os.removexattr(main / where, "user.late") if change == "two" else None
        snapshot(store)


@pytest.mark.parametrize("where", ["d", ""])
def test_a_directory_that_gets_attributes_after_they_were_read_is_seen_to_have_changed(
    xfs_dir: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    from jvs.engine.target import Target

    store, main = two_directories(xfs_dir)
    real = Target.finish

    def late(self: Target, inside: Any, xattrs: Any, st: os.stat_result) -> Any:
        if inside.path == where.encode():
            os.setxattr(main / where, "user.late", b"1")
        return real(self, inside, xattrs, st)

    (main / "d/f").write_text("changed")
    with monkeypatch.context() as patched:
        patched.setattr(Target, "finish", late)
        time.sleep(TICK_SECONDS)
        with changing.worktree(store, "main"):
            made = publishing.publish(store, "main")
    payload = store.layout.payload(made["snapshot_id"])
    assert scan.Scanner(scan.Hasher()).run(payload).root_hash == made["payload_root_hash"]
    assert worktree_scan.unchanged_since(store, "main") is None
    snapshot(store)
