"""A stamp is kept only where every change moves it: elsewhere files are read each time, and nothing is missed."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path

import own_mounts
import pytest
import tiny_fuse
from lab import Lab
from own_mounts import own_mounts as alone
from sample import filled

from jvs import system


def is_clean(lab: Lab) -> bool:
    return lab.json("status")["clean"]


def takes_one(lab: Lab) -> bool:
    """Answer whether `snapshot --if-changed` takes a snapshot."""
    before = lab.visible()
    lab.jvs("snapshot", "seen", "--if-changed")
    return lab.visible() != before


def store_through_a_mapping(path: Path) -> Callable[[bytes], None]:
    """Map a file and return a function that stores into it, after the descriptor is closed."""
    with open(path, "r+b") as file:
        mapped = mmap.mmap(file.fileno(), 0)
    mapped[0:1] = mapped[0:1]  # the page is dirty from now on

    def store(data: bytes) -> None:
        mapped[: len(data)] = data

    return store


def on_ext4(tmp_path: Path) -> Path:
    made = own_mounts.image(tmp_path, 64, "mkfs.ext4", "-q", "-F")
    return own_mounts.mount("ext4", tmp_path / "m", "loop", what=str(made))


def overlay_on(home: Path, *options: str) -> Path:
    (home / "lower").mkdir()
    return own_mounts.overlay(home, home / "lower", *options)


def over_a_repository(home: Path) -> Path:
    """The files lie in the lower layer, and are copied up when they are first written to."""
    (home / "lower").mkdir()
    Lab(home / "lower" / "r")
    return own_mounts.overlay(home, home / "lower", "volatile")


FILESYSTEMS = {
    "tmpfs": lambda path: own_mounts.mount("tmpfs", path / "t"),
    "ramfs": lambda path: own_mounts.mount("ramfs", path / "t"),
    "ext4": on_ext4,
    "overlay on tmpfs": lambda path: overlay_on(own_mounts.mount("tmpfs", path / "t")),
    "overlay on ramfs": lambda path: overlay_on(own_mounts.mount("ramfs", path / "t")),
    "overlay over tmpfs": lambda path: over_a_repository(own_mounts.mount("tmpfs", path / "t")),
    "overlay on ext4": lambda path: overlay_on(on_ext4(path)),
    "volatile overlay on ext4": lambda path: overlay_on(on_ext4(path), "volatile"),
}
KEPT = ("ext4", "overlay on ext4")
"""Where stamps are kept all the same."""


@alone
@pytest.mark.parametrize("name", FILESYSTEMS)
def test_a_store_through_a_mapping_is_seen(tmp_path: Path, name: str) -> None:
    lab = filled(Lab(FILESYSTEMS[name](tmp_path) / "r"))
    store = store_through_a_mapping(lab.main / "b")
    time.sleep(0.05)
    lab.take("warm", "-t", "warm")
    lab.jvs("status")
    store(b"TWO")
    assert lab.read("b") == b"TWO"
    assert not is_clean(lab)
    assert takes_one(lab)
    taken = lab.json("show", "HEAD")["snapshot_id"]
    store(b"tri")
    lab.jvs("restore", taken)
    assert lab.read("b") == b"TWO"


@alone
@pytest.mark.parametrize("name", FILESYSTEMS)
def test_files_are_read_again_only_where_stamps_say_nothing(tmp_path: Path, name: str, monkeypatch) -> None:
    from jvs.tree import leaves

    lab = filled(Lab(FILESYSTEMS[name](tmp_path) / "r"))
    time.sleep(0.05)
    lab.take("warm")
    read = []
    real = leaves.hash_open_file
    monkeypatch.setattr(leaves, "hash_open_file", lambda fd, **more: read.append(fd) or real(fd, **more))
    assert is_clean(lab)
    assert bool(read) == (name not in KEPT)


@alone
@pytest.mark.parametrize(
    "words", [("status",), ("snapshot", "n", "--if-changed"), ("restore", "first"), ("snapshot", "n")], ids=" ".join
)
def test_where_ctime_follows_mtime_a_change_of_the_same_size_is_seen(tmp_path: Path, words: tuple[str, ...]) -> None:
    (tmp_path / "real").mkdir()
    lab = filled(Lab(tiny_fuse.show(tmp_path / "real", tmp_path / "seen", ctime_is_mtime=True) / "r"))
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


@pytest.mark.xdist_group("juicefs-sqlite")
def test_a_store_through_a_mapping_whose_descriptor_is_closed_is_in_the_snapshot_on_juicefs(fs_at) -> None:
    lab = Lab(fs_at("juicefs-sqlite") / "r")
    lab.write({"b": "one"})
    store = store_through_a_mapping(lab.main / "b")
    lab.take("first")
    for content in (b"TWO", b"tri"):
        store(content)
        taken = lab.take("later")
        assert (lab.jvs_dir / "snapshots" / taken / "b").read_bytes() == content
        store(b"xyz")
        assert not is_clean(lab)


def test_what_a_process_may_store_into_is_found_by_its_mappings(tmp_path: Path) -> None:

    names = {name: tmp_path / name for name in ("shared", "private", "read only", "two  blanks", "new\nline")}
    kept = []
    for name, path in names.items():
        path.write_bytes(b"x")
        with open(path, "r+b") as file:
            flags = mmap.MAP_PRIVATE if name == "private" else mmap.MAP_SHARED
            rights = mmap.PROT_READ if name == "read only" else mmap.PROT_READ | mmap.PROT_WRITE
            kept.append(mmap.mmap(file.fileno(), 0, flags=flags, prot=rights))
    found = {Path(path).name for path in system.writable_mappings(str(os.getpid())) if path.startswith(str(tmp_path))}
    assert found == {"shared", "two  blanks", "new\nline"}
