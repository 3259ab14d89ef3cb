"""Places below an opened root: no link, no mount and no name leads out, with openat2 and without it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jvs import system
from jvs.errors import PathEscape
from jvs.fs import paths, removal, rooted
from jvs.fs.rooted import Root

CALLS = ("openat2", "no such call", "refused by seccomp")


def _fail_with(number: int) -> Callable[[], Callable[..., int]]:
    def call(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    return lambda: call


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let the kernel have openat2, or answer as an old kernel, or as a container that forbids what it does not know."""
    monkeypatch.setattr(rooted, "_probed", False)
    monkeypatch.setattr(rooted, "_openat2", None)
    if request.param != "openat2":
        number = errno.ENOSYS if request.param == "no such call" else errno.EPERM
        monkeypatch.setattr(system, "openat2", _fail_with(number))
    yield request.param


@pytest.fixture
def root(tmp_path: Path) -> Root:
    (tmp_path / "root/a/b").mkdir(parents=True)
    (tmp_path / "root/a/b/file").write_bytes(b"inside")
    (tmp_path / "outside/b").mkdir(parents=True)
    (tmp_path / "outside/b/file").write_bytes(b"outside")
    return Root.open(str(tmp_path / "root"))


def read(root: Root) -> bytes:
    """Read `a/b/file`."""
    return paths.read_file(root / "a" / "b" / "file")


def test_what_is_inside_is_found(root, call):
    assert read(root) == b"inside"
    assert paths.exists(root / "a" / "b") and not paths.exists(root / "a" / "c" / "d")
    with rooted.holding(root / "a" / "b" / "file") as (fd, name):
        assert os.stat(name, dir_fd=fd).st_size == 6


@pytest.mark.parametrize("where", ["a", "a/b", "a/b/file"])
def test_no_link_on_the_way_is_followed(root, call, tmp_path, where):
    (tmp_path / "root" / where).rename(tmp_path / "away")
    (tmp_path / "root" / where).symlink_to(Path(tmp_path / "outside", *where.split("/")[1:]))
    with pytest.raises(OSError) as caught:
        read(root)
    assert caught.value.errno in (errno.ELOOP, errno.ENOTDIR)
    with pytest.raises(OSError):
        os.close(paths.open_below(root.fd, [b"a", b"b", b"file"]))
    if where != "a/b/file":
        with pytest.raises(OSError):
            removal.remove_tree(root / "a" / "b" / "file")
    assert (tmp_path / "outside/b/file").read_bytes() == b"outside"


@pytest.mark.parametrize("name", ["..", ".", "", "a/b", "a\0b", b"..", b"/"])
def test_a_place_is_made_of_single_names(root, name):
    with pytest.raises(PathEscape):
        root / name


def test_a_directory_that_is_kept_open_is_opened_once(root, call, tmp_path):
    root.keep_open(root / "a")
    assert read(root) == b"inside"
    (tmp_path / "root/a").rename(tmp_path / "away")
    (tmp_path / "root/a").symlink_to(tmp_path / "outside")
    assert read(root) == b"inside"


_MOUNTED = """
import os, subprocess, sys
from jvs.errors import PathEscape
from jvs.fs import paths, removal, rooted
from jvs.fs.rooted import Root
top, what, where = sys.argv[1:4]
subprocess.run(["mount", "--bind", f"{top}/outside/{what}", f"{top}/root/{where}"], check=True)
if sys.argv[4] != "openat2":
    rooted._probed = True
root = Root.open(f"{top}/root")
def refused(work, *arguments):
    try:
        work(*arguments)
    except (OSError, PathEscape) as error:
        return error.errno in (18, 16) if isinstance(error, OSError) else True
    return False
place = paths.below(root.here, b"a/b/file")
assert paths.read_file(place) == b"outside"  # where mounts are nobody's business
parts = [b"a", b"b", b"file"]
checks = [refused(removal.remove_tree, root / "a"), refused(removal.remove_tree, place)]
if where != "a/b/file":
    checks.append(refused(paths.open_parent, root.fd, parts))
one = Root.open(f"{top}/root")
one.one_mount = True
one.keep_open(one / "a" / "b")
place = paths.below(one.here, b"a/b/file")
checks.append(refused(rooted.open_at, place, os.O_WRONLY | os.O_TRUNC))
checks.append(refused(paths.open_dir, one / "a" / "b") or where == "a/b/file")
assert all(checks), checks
assert open(f"{top}/outside/b/file", "rb").read() == b"outside"
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("with_call", ["openat2", "by components"])
@pytest.mark.parametrize(("what", "where"), [("", "a"), ("b", "a/b"), ("b/file", "a/b/file")])
def test_nothing_mounted_is_entered_written_or_removed(root, tmp_path, what, where, with_call):
    """A bind mount of the same filesystem, or of a single file: no device number shows it."""
    words = ["unshare", "-m", "--propagation", "private", sys.executable, "-c", _MOUNTED]
    done = subprocess.run([*words, str(tmp_path), what, where, with_call], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "outside/b/file").read_bytes() == b"outside"
