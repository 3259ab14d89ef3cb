"""The mount table is read in one place, and every path in it is decoded."""

from __future__ import annotations

import os
from pathlib import Path

import making
import pytest

from jvs import system
from jvs.engine.juicefs import control
from jvs.fs import mounts

ODD = ["a b", "tab\there", "new\nline", "back\\slash", "\\040", "ümläut", "#hash", os.fsdecode(b"\xff\xfe")]


def escaped(path: str) -> bytes:
    """Write a path as the kernel does (fs/proc_namespace.c: mangle of blank, tab, newline, backslash and hash)."""
    return b"".join(b"\\%03o" % c if c in b" \t\n\\#" else bytes([c]) for c in os.fsencode(path))


def table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *lines: bytes) -> None:
    (tmp_path / "mountinfo").write_bytes(b"".join(line + b"\n" for line in lines))
    monkeypatch.setattr(mounts, "TABLE", str(tmp_path / "mountinfo"))


@pytest.mark.parametrize("name", ODD)
def test_every_path_is_read_as_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    point, root = f"/mnt/{name}", f"/{name}"
    table(monkeypatch, tmp_path, b"7 1 0:44 %s %s rw shared:3 - fuse.juicefs jfs rw" % (escaped(root), escaped(point)))
    (mount,) = mounts.all_mounts()
    assert (mount.mount_id, mount.device, mount.root, mount.point) == (7, os.makedev(0, 44), root, point)
    assert mount.filesystem == "fuse.juicefs"
    assert mounts.points_below("/mnt") == [point]


def test_lines_of_another_form_are_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    table(monkeypatch, tmp_path, b"", b"x y", b"1 2 z:1 / /a rw - t n rw", b"3 2 0:1 / /b rw - tmpfs none rw")
    assert [mount.point for mount in mounts.all_mounts()] == ["/b"]


def test_without_proc_there_are_no_mounts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mounts, "TABLE", str(tmp_path / "absent"))
    assert mounts.all_mounts() == mounts.points_below("/") == mounts.roots_of_device(1) == []


def test_the_table_names_the_mount_of_an_open_file() -> None:
    fd = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    try:
        number = system.mount_id(fd)
    finally:
        os.close(fd)
    assert number in {mount.mount_id for mount in mounts.all_mounts() if mount.point == "/proc"}
    assert system.mount_id(fd + 1000) is None


def test_the_config_of_a_juicefs_mount_at_a_path_with_a_blank_is_found(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "my volume"
    root.mkdir()
    (root / ".config").write_text('{"Version": "1.4.0"}')
    device = os.stat(tmp_path).st_dev
    numbers = b"%d:%d" % (os.major(device), os.minor(device))
    table(monkeypatch, tmp_path, b"7 1 %s / %s rw - fuse.juicefs j rw" % (numbers, escaped(str(root))))
    (tmp_path / "bound").mkdir()  # seen from a bind mount of a part: no inode 1 on the way up
    found = control.mount_config(making.at(tmp_path / "bound"))
    assert found == {"Version": "1.4.0"}


def test_only_what_is_below_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lines = [b"%d 1 0:1 / %s rw - tmpfs none rw" % (i, p) for i, p in enumerate((b"/a", b"/a/b", b"/ab", b"/"))]
    table(monkeypatch, tmp_path, *lines)
    assert mounts.points_below("/a") == ["/a/b"]
    assert mounts.points_below("/") == ["/a", "/a/b", "/ab"]


def test_what_is_mounted_below_is_found(ext4_dir: Path) -> None:
    above = ext4_dir.parent.parent
    assert str(ext4_dir.parent) in mounts.points_below(str(above))
    assert mounts.points_below(str(ext4_dir)) == []
