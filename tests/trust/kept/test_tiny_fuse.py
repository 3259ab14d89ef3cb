"""The odd filesystem is what it says."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import tiny_fuse
from lab import Lab
from own_mounts import own_mounts


@own_mounts
def test_it_is_a_filesystem_on_which_a_repository_works(tmp_path: Path):
    (tmp_path / "real").mkdir()
    home = tiny_fuse.show(tmp_path / "real", tmp_path / "seen")
    lab = Lab(home / "r")
    lab.write({"a": "one", "d/b": "two" * 99999})
    first = lab.take()
    lab.write({"a": "changed"})
    lab.restore(first)
    assert lab.read("a") == b"one"
    lab.jvs("undo")
    assert lab.read("a") == b"changed"


@own_mounts
def test_it_shows_the_oddities(tmp_path: Path):
    (tmp_path / "real").mkdir()
    home = tiny_fuse.show(
        tmp_path / "real", tmp_path / "seen", fold=True, ctime_is_mtime=True, refuse={b"no": errno.ESTALE}
    )
    (home / "Name").write_text("x")
    assert (home / "nAME").read_text() == "x"
    os.rename(home / "Name", home / "name")
    assert os.listdir(home) == ["name"]
    os.utime(home / "name", ns=(5, 5))
    assert (home / "name").stat().st_ctime_ns == 5
    (tmp_path / "real" / "no").write_text("x")
    assert (home / "no").lstat().st_size == 1
    with pytest.raises(OSError, match="Stale"):
        (home / "no").read_text()
