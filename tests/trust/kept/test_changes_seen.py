"""A clean bill needs proof: every change of content, kind or kept metadata is seen, reported, and put right."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import own_mounts
import pytest
import tiny_fuse
from crashing import dies_at
from lab import Lab, same
from own_mounts import command, needs_root
from own_mounts import own_mounts as alone


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return filled(Lab(tmp_path / "r"))


def filled(lab: Lab) -> Lab:
    lab.write({"a": "one", "b": "two", "d/x": "x", "d/e/y": "y"})
    os.link(lab.main / "a", lab.main / "d/linked")
    os.symlink("a", lab.main / "link")
    lab.take("first", "-t", "first")
    return lab


def warm(lab: Lab) -> None:
    """Let the stamps of the index be old enough to be believed."""
    time.sleep(0.05)
    lab.jvs("snapshot", "warm", "-t", "warm")
    lab.jvs("status")


def is_clean(lab: Lab) -> bool:
    return lab.json("status")["clean"]


def takes_one(lab: Lab) -> bool:
    """Answer whether `snapshot --if-changed` takes a snapshot."""
    before = lab.visible()
    lab.jvs("snapshot", "seen", "--if-changed")
    return lab.visible() != before


# Metadata


def chown(main: Path) -> None:
    os.chown(main / "b", 1000, 1001)


def chown_link(main: Path) -> None:
    os.chown(main / "link", 1000, 1001, follow_symlinks=False)


def chown_directory(main: Path) -> None:
    os.chown(main / "d/e", 1000, 1001)


def chown_top(main: Path) -> None:
    os.chown(main, 1000, 1001)


def touch(main: Path) -> None:
    os.utime(main / "b", ns=(10**18, 10**18))


def touch_by_a_nanosecond(main: Path) -> None:
    st = (main / "b").stat()
    os.utime(main / "b", ns=(st.st_atime_ns, st.st_mtime_ns + 1))


def touch_link(main: Path) -> None:
    os.utime(main / "link", ns=(10**18, 10**18), follow_symlinks=False)


def touch_directory(main: Path) -> None:
    os.utime(main / "d/e", ns=(10**18, 10**18))


def trusted(main: Path) -> None:
    os.setxattr(main / "b", "trusted.jvs-test", b"value")


def trusted_of_a_directory(main: Path) -> None:
    os.setxattr(main / "d", "trusted.jvs-test", b"value")


def user_attribute(main: Path) -> None:
    os.setxattr(main / "b", "user.jvs-test", b"value")


def broken_link_group(main: Path) -> None:
    data = main / "new"
    data.write_bytes((main / "a").read_bytes())
    st = (main / "a").stat()
    os.utime(data, ns=(st.st_atime_ns, st.st_mtime_ns))
    os.rename(data, main / "a")


def joined_link_group(main: Path) -> None:
    (main / "twin").write_bytes((main / "b").read_bytes())
    (main / "twin").unlink()
    os.link(main / "b", main / "twin")


METADATA: list[Callable[[Path], None]] = [
    chown,
    chown_link,
    chown_directory,
    chown_top,
    touch,
    touch_by_a_nanosecond,
    touch_link,
    touch_directory,
    trusted,
    trusted_of_a_directory,
    user_attribute,
    broken_link_group,
    joined_link_group,
]
ids = [change.__name__ for change in METADATA]


def apply_or_skip(change: Callable[[Path], None], lab: Lab) -> None:
    try:
        change(lab.main)
    except OSError as error:
        pytest.skip(f"cannot be made here: {error}")


@needs_root
@pytest.mark.parametrize("change", METADATA, ids=ids)
def test_status_sees_a_change_of_metadata(lab, change):
    apply_or_skip(change, lab)
    assert not is_clean(lab)


@needs_root
@pytest.mark.parametrize("change", METADATA, ids=ids)
def test_if_changed_sees_a_change_of_metadata(lab, change):
    apply_or_skip(change, lab)
    assert takes_one(lab)


@needs_root
@pytest.mark.parametrize("change", METADATA, ids=ids)
def test_a_restore_puts_metadata_right_and_undo_brings_it_back(lab, change):
    before = lab.facts()
    owner = (lab.main.stat().st_uid, trusted_of(lab))
    apply_or_skip(change, lab)
    changed = (lab.facts(), trusted_of(lab))
    lab.jvs("restore", "first")
    assert same(before, lab.facts()) == []
    assert (lab.main.stat().st_uid, trusted_of(lab)) == owner
    lab.jvs("undo")
    assert same(changed[0], lab.facts()) == []
    assert trusted_of(lab) == changed[1]


def trusted_of(lab: Lab) -> list[str]:
    found = [(path, os.listxattr(path, follow_symlinks=False)) for path in sorted(lab.main.rglob("*"))]
    return [f"{path}:{name}" for path, names in found for name in names if "jvs-test" in name]


@needs_root
@pytest.mark.parametrize("change", [chown, touch, trusted], ids=["chown", "touch", "trusted"])
def test_diff_says_what_of_the_metadata_differs(lab, change):
    apply_or_skip(change, lab)
    word = {"chown": "owner", "touch": "mtime", "trusted": "xattr"}[change.__name__]
    entries = lab.json("diff", "first")["modified"]
    assert [entry["path"] for entry in entries] == ["b"]
    assert any(word in what for what in entries[0]["changed"]), entries


@needs_root
def test_metadata_alone_is_not_the_same_snapshot(lab):
    chown(lab.main)
    second = lab.take("second")
    os.chown(lab.main / "b", 0, 0)
    lab.jvs("restore", second)
    st = (lab.main / "b").stat()
    assert (st.st_uid, st.st_gid) == (1000, 1001)


# Hard links


@pytest.mark.parametrize("mode", ["same", "other size"])
@pytest.mark.parametrize("path", ["a", "d", "d/linked"])
def test_a_restored_name_never_gets_the_content_of_another_file(lab, mode, path):
    """`a` and `d/linked` are one file in the snapshot; the one that is left is not what it was any more."""
    other = "d/linked" if path == "a" else "a"
    (lab.main / "a").unlink()
    (lab.main / "d/linked").unlink()
    lab.write({other: "ONE" if mode == "same" else "longer than it was"})
    lab.jvs("restore", "first", "--", path)
    restored = "d/linked" if path.startswith("d") else "a"
    assert lab.read(restored) == b"one"
    assert lab.read(other) == (b"ONE" if mode == "same" else b"longer than it was")
    assert not os.path.samefile(lab.main / "a", lab.main / "d/linked")


def test_a_name_that_is_left_and_unchanged_is_linked_again(lab):
    (lab.main / "a").unlink()
    lab.jvs("restore", "first", "--", "a")
    assert os.path.samefile(lab.main / "a", lab.main / "d/linked")


@needs_root
def test_a_link_is_not_made_to_a_file_with_other_metadata(lab):
    (lab.main / "a").unlink()
    os.setxattr(lab.main / "d/linked", "user.other", b"1")
    lab.jvs("restore", "first", "--", "a")
    assert "user.other" not in os.listxattr(lab.main / "a")


def test_more_names_than_the_filesystem_allows_stay_few_files(tmp_path, fs_at):
    """EMLINK starts one new copy of the group, not one for every name that is left."""
    home = fs_at("ext4")
    lab = Lab(home / "r")
    lab.write({"n/0": "content"})
    try:
        for number in range(1, 64_900):
            os.link(lab.main / "n/0", lab.main / f"n/{number}")
    except OSError as error:
        assert error.errno == errno.EMLINK
    lab.take("many", "-t", "many")
    os.link(lab.main / "n/0", lab.main / "one-more")
    made = {p.stat().st_ino for p in (lab.jvs_dir / "snapshots").glob("*/**/n/*")}
    assert len(made) <= 2


# Stores through mappings


def store_through_a_mapping(path: Path) -> Callable[[bytes], None]:
    """Map a file and return a function that stores into it, after the descriptor is closed."""
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped[0:1] = mapped[0:1]  # the page is dirty from now on

    def store(data: bytes) -> None:
        mapped[: len(data)] = data

    return store


def make_overlay_on_tmpfs(tmp_path: Path) -> Path:
    home = own_mounts.mount("tmpfs", tmp_path / "t")
    (home / "lower").mkdir()
    return own_mounts.overlay(home, home / "lower")


def make_overlay_on_ext4(tmp_path: Path) -> Path:
    made = own_mounts.image(tmp_path, 64, "mkfs.ext4", "-q", "-F")
    home = own_mounts.mount("ext4", tmp_path / "m", "loop", what=str(made))
    (home / "lower").mkdir()
    return own_mounts.overlay(home, home / "lower")


def make_overlay_lower(tmp_path: Path) -> Path:
    """The file lies in the lower layer, on tmpfs, and is copied up when it is first written to."""
    home = own_mounts.mount("tmpfs", tmp_path / "t")
    (home / "lower").mkdir()
    Lab(home / "lower" / "r")
    return own_mounts.overlay(home, home / "lower", "volatile")


FILESYSTEMS = {
    "tmpfs": lambda tmp_path: own_mounts.mount("tmpfs", tmp_path / "t"),
    "ramfs": lambda tmp_path: own_mounts.mount("ramfs", tmp_path / "t"),
    "overlay on tmpfs": make_overlay_on_tmpfs,
    "overlay over tmpfs": make_overlay_lower,
    "overlay on ext4": make_overlay_on_ext4,
}


@alone
@pytest.mark.parametrize("name", FILESYSTEMS)
def test_a_store_through_a_mapping_is_seen(tmp_path, name):
    lab = filled(Lab(FILESYSTEMS[name](tmp_path) / "r"))
    store = store_through_a_mapping(lab.main / "b")
    warm(lab)
    store(b"TWO")
    assert lab.read("b") == b"TWO"
    assert not is_clean(lab)
    assert takes_one(lab)
    taken = lab.json("show", "HEAD")["snapshot_id"]
    store(b"tri")
    lab.jvs("restore", taken)
    assert lab.read("b") == b"TWO"


# Filesystems that lie


def shown(tmp_path: Path, **odd: object) -> Path:
    (tmp_path / "real").mkdir()
    return tiny_fuse.show(tmp_path / "real", tmp_path / "seen", **odd)


@alone
@pytest.mark.parametrize(
    "words", [("status",), ("snapshot", "n", "--if-changed"), ("restore", "first"), ("snapshot", "n")]
)
def test_where_ctime_follows_mtime_a_change_of_the_same_size_is_seen(tmp_path, words):
    lab = filled(Lab(shown(tmp_path, ctime_is_mtime=True) / "r"))
    os.utime(lab.main / "b", ns=(10**18, 10**18))
    first = lab.take("first", "-t", "first")
    time.sleep(2.1)
    lab.take("warm", "-t", "warm")
    inode = (lab.main / "b").stat().st_ino
    with open(lab.main / "b", "r+b") as file:
        file.write(b"TWO")
    os.utime(lab.main / "b", ns=(10**18, 10**18))
    assert (lab.main / "b").stat().st_ino == inode
    said = lab.jvs(*(first if word == "first" else word for word in words))
    if words == ("status",):
        assert not is_clean(lab), said.text
    elif words[0] == "restore":
        assert lab.read("b") == b"two"
    else:
        lab.write({"b": "overwritten"})
        lab.jvs("restore", "HEAD")
        assert lab.read("b") == b"TWO"


ERRORS = ["ESTALE", "EINVAL", "ENXIO", "ENOENT", "EACCES", "EIO", "ELOOP", "ENOTDIR", "ENOMEM", "EMFILE"]


@alone
@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.parametrize("words", [("snapshot", "n"), ("snapshot", "n", "--allow-unreadable"), ("status",)])
def test_a_file_that_cannot_be_opened_is_never_left_out_in_silence(tmp_path, name, words):
    home = shown(tmp_path, refuse={b"secret": getattr(errno, name)})
    lab = Lab(home / "r")
    (tmp_path / "real/r/main/secret").write_text("it is there")
    lab.write({"a": "one"})
    said = lab.say(*words, "--json")
    if said.exit == 0:
        assert "secret" in said.text + said.err, "it is in `degraded`, or in `unreadable`"
    else:
        assert "secret" in said.err
        assert not lab.visible()
    assert "E_INTERNAL" not in said.err


@alone
@pytest.mark.parametrize("name", ["ESTALE", "EINVAL", "ENXIO", "ENOENT"])
def test_a_file_that_could_be_opened_before_is_not_called_removed(tmp_path, name):
    lab = Lab(shown(tmp_path, refuse={b"secret": getattr(errno, name)}) / "r")
    lab.write({"a": "one", "b": "two"})
    lab.take("first", "-t", "first")
    os.rename(tmp_path / "real/r/main/b", tmp_path / "real/r/main/secret")
    said = lab.say("status", "--json")
    assert said.exit != 0 or "secret" in said.text
    lab.say("restore", "first")
    assert "two" in [p.read_text() for p in (tmp_path / "real/r").rglob("*") if p.is_file() and p.stat().st_size == 3]


# A walk and somebody who works meanwhile


@alone
@pytest.mark.parametrize("words", [("snapshot", "n"), ("snapshot", "n", "--engine", "copy")])
def test_a_name_that_changes_its_kind_during_the_walk_is_not_left_out(tmp_path, words):
    """Between the listing and the opening of `b` a link is renamed over it, and back for the next."""
    real = tmp_path / "real"

    def swap(name: bytes) -> None:
        marker = real / "swap"
        if name == b"b" and marker.exists():
            marker.unlink()
            os.symlink("a", real / "link")
            os.rename(real / "link", real / "r/main/b")
            raise OSError(errno.ELOOP, "now it is a link")

    lab = Lab(shown(tmp_path, on_open=swap) / "r")
    lab.write({"a": "one", "b": "two", "c": "three"})
    (real / "swap").touch()
    said = lab.say(*words, "--json")
    if said.exit == 0:
        listed = lab.json("diff", "HEAD")
        assert [e["path"] for e in listed["added"]] == [], "b, as a file or as a link, is in the snapshot"
    else:
        assert "b" in said.err or "E_BUSY" in said.err


def test_two_names_that_trade_places_all_the_time_are_both_in_every_snapshot(tmp_path):
    """A file and a link, a file and a directory: one rename each, in a loop."""
    lab = Lab(tmp_path / "r")
    lab.write({"a": "file", "d/in": "in", **{f"fill{i}": "x" * 1000 for i in range(300)}})
    os.symlink("nowhere", lab.main / "l")
    libc = ctypes.CDLL(None, use_errno=True)
    stop = threading.Event()
    names = [os.fsencode(lab.main / name) for name in ("a", "l", "d")]

    def trade() -> None:
        while not stop.is_set():
            for one, other in ((0, 1), (0, 2), (1, 2)):
                libc.renameat2(-100, names[one], -100, names[other], 2)

    worker = threading.Thread(target=trade)
    worker.start()
    try:
        said = [lab.say("snapshot", f"{number}", "--json") for number in range(12)]
    finally:
        stop.set()
        worker.join()
    for one in said:
        if one.exit == 0:
            counts = one.json["payload"]
            entries = counts["files"] + counts["symlinks"] + counts["dirs"] + counts["others"]
            missing = [loss["path"] for loss in one.json["degraded"]]
            assert entries + len(missing) >= 304 - 1 + (counts["files"] >= 302) - 1, counts
            names_there = payload_names(lab, one.json["snapshot_id"])
            assert {"a", "l", "d"} <= names_there | set(missing), names_there
        else:
            assert "E_INTERNAL" not in one.err


def payload_names(lab: Lab, snapshot_id: str) -> set[str]:
    from making import plumb

    before = os.getcwd()
    os.chdir(lab.root)
    try:
        listed = plumb("ls-tree", "--json", snapshot_id)
    finally:
        os.chdir(before)
    assert listed.exit == 0, listed.err
    return {entry["path"] for entry in listed.json if isinstance(entry.get("path"), str) and "/" not in entry["path"]}


# Without /proc


def jvs_process(lab: Lab, *words: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-c", "import sys; from jvs import cli; sys.exit(cli.main(sys.argv[1:]))"]
    return subprocess.run([*program, *words], cwd=lab.root, capture_output=True, text=True, check=False)


@alone
@pytest.mark.parametrize("engine", ["copy", "auto"])
@pytest.mark.parametrize("kind", ["tmp", "ext4", "xfs"])
def test_without_proc_nothing_is_left_out_in_silence(tmp_path, engine, kind):
    home = tmp_path
    if kind != "tmp":
        size = 320 if kind == "xfs" else 64
        made = own_mounts.image(tmp_path, size, f"mkfs.{kind}", "-q")
        home = own_mounts.mount(kind, tmp_path / "m", "loop", what=str(made))
    lab = Lab(home / "r")
    lab.write({"a": "one"})
    os.symlink("a", lab.main / "symlink")
    os.mkfifo(lab.main / "fifo")
    os.mknod(lab.main / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as sock:
        os.chdir(lab.main)
        sock.bind("socket")
        os.chdir("/")
    os.setxattr(lab.main / "fifo", "trusted.x", b"1")
    command("umount", "-l", "/proc")
    words = [] if engine == "auto" else ["--engine", engine]
    said = jvs_process(lab, "snapshot", "n", "--json", *words)
    if said.returncode:
        assert "proc" in said.stderr
        return
    record = json.loads(said.stdout)
    missing = {loss["path"] for loss in record["degraded"]}
    payload = next(path for path in (lab.jvs_dir / "snapshots").iterdir() if path.is_dir())
    there = set(os.listdir(payload))
    assert {"a", "symlink", "fifo", "device", "socket"} <= there | missing
    (lab.main / "symlink").unlink()
    (lab.main / "fifo").unlink()
    restored = jvs_process(lab, "restore", "HEAD")
    assert restored.returncode == 0, restored.stderr
    assert set(os.listdir(lab.main)) >= {"symlink", "fifo"} - missing


# Case


@alone
@pytest.mark.parametrize("what", ["file", "directory", "link"])
@pytest.mark.parametrize("words", [("restore", "first"), ("restore", "first", "--", "Name")])
def test_a_case_only_rename_is_restored(tmp_path, what, words):
    lab = Lab(shown(tmp_path, fold=True) / "r")
    lab.write({"a": "one"})
    if what == "file":
        lab.write({"Name": "content"})
    elif what == "directory":
        lab.write({"Name/inside": "content"})
    else:
        os.symlink("target", lab.main / "Name")
    lab.take("first", "-t", "first")
    before = {p.relative_to(lab.main).as_posix(): p.read_bytes() for p in lab.main.rglob("*") if p.is_file()}
    os.rename(lab.main / "Name", lab.main / "nAME")
    if what == "file":
        lab.write({"nAME": "changed"})
    said = lab.say(*words)
    real = tmp_path / "real/r/main"
    assert said.exit == 0, said.err
    assert sorted(os.listdir(real)) == ["Name", "a"]
    now = {p.relative_to(real).as_posix(): p.read_bytes() for p in real.rglob("*") if p.is_file()}
    assert now == before
    lab.jvs("undo")
    assert sorted(os.listdir(real)) == ["a", "nAME"]
    if what == "file":
        assert (real / "nAME").read_text() == "changed"


# Rolling forward


def test_a_restore_rolled_forward_does_not_copy_rotten_bytes(tmp_path):
    files = {f"f{i}": f"content {i}" for i in range(6)} | {"d/g": "deep", "n/new": "new"}
    lab = Lab(tmp_path / "r")
    lab.write(files)
    first = lab.take("first", "-t", "first")
    lab.write({name: f"changed {name}" for name in files if not name.startswith("n/")})
    (lab.main / "n/new").unlink()
    (lab.main / "n").rmdir()
    lab.take("second")
    rotten = {data.swapcase().encode() for data in files.values()}
    died, number = True, 0
    while died:
        number += 5
        here = lab.copy_to(tmp_path / f"copy{number}")
        died = dies_at(number, lambda: here.say("restore", "first"))  # noqa: B023
        for path in (here.jvs_dir / "snapshots" / first).rglob("*"):
            if path.is_file():
                os.chmod(path, 0o644)
                path.write_bytes(path.read_bytes().swapcase())
        here.say("snapshot", "next")
        for path in here.main.rglob("*"):
            assert not path.is_file() or path.read_bytes() not in rotten, (number, path)
