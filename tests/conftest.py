"""What every test gets: a world of its own, and directories on real filesystems.

The world: own HOME and XDG directories, an empty current directory, no JVS_* variables, UTC, C.UTF-8, umask 022.
The filesystems: `fs_dir` runs a test on each of `FILESYSTEMS`, `fs_at("btrfs")` gives a directory on one of them.
They are mounted once per run by contrib/testfs: beforehand, with their directory in $JVS_TEST_FS (contrib/check does
so), or when the first test asks. A filesystem that cannot be made here skips its tests with the reason; naming it in
$JVS_TEST_REQUIRE (`btrfs,xfs,juicefs`) turns the skip into a failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import itertools
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

if "JVS_TEST_PYCACHE" in os.environ:  # in this process only
    sys.pycache_prefix = os.environ["JVS_TEST_PYCACHE"]

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))  # importlib mode puts nothing there, and tests share zoo, treefacts and hostile

import own_filesystem  # noqa: E402
from treefacts import remove_tree  # noqa: E402

TESTFS = HERE.parent / "contrib" / "testfs"
FILESYSTEMS = ("ext4", "xfs", "btrfs", "tmpfs", "juicefs-sqlite", "juicefs-redis")
JUICEFS = ("juicefs-sqlite", "juicefs-redis")
TEST_VARIABLES = ("JVS_TEST_FS", "JVS_TEST_REQUIRE")
LAZY = "JVS_TEST_FS_LAZY"

FsAt = Callable[[str], Path]


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; in the controlling process also choose where filesystems go when a test asks for them.

    Worker processes inherit the choice through the environment, so all of them share one set of mounts.
    """
    config.addinivalue_line("markers", "xdist_group(name): run the tests of one group in one worker")
    if "JVS_TEST_FS" not in os.environ and not hasattr(config, "workerinput"):
        os.environ[LAZY] = str(Path(tempfile.gettempdir()) / f"jvs-test-fs-{os.getpid()}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what was mounted on demand, after the last worker has ended."""
    lazy = os.environ.get(LAZY)
    if lazy and not hasattr(config, "workerinput") and Path(lazy).exists():
        subprocess.run([sys.executable, str(TESTFS), "down", lazy], check=False)
        Path(lazy + ".lock").unlink(missing_ok=True)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let no garbage collection look through thousands of tests again, nor a child that is forked copy them for it."""
    if hasattr(session.config, "workerinput") and getattr(session.config.option, "loadgroup", False):
        _check_groups(session.items)
    gc.collect()
    gc.freeze()


def _check_groups(items: list[pytest.Item]) -> None:
    """Refuse a pytest and a pytest-xdist that do not keep groups in one worker, and say nothing about it."""
    for item in items:
        if item.get_closest_marker("xdist_group") and "@" not in item.nodeid.rpartition("]")[2]:
            raise pytest.UsageError(f"{item.nodeid}: its group is lost; install what the extra 'dev' names")


def on(*names: str) -> list:
    """Return the names as parameters; a JuiceFS volume's tests stay in one worker, so as not to crowd its mount."""
    group = pytest.mark.xdist_group
    return [pytest.param(name, marks=group(name)) if name.startswith("juicefs") else name for name in names]


NUMBERS = itertools.count()


def directory_of_a_test(factory: pytest.TempPathFactory, name: str) -> Path:
    """Make a directory of a name and a number of its own.

    pytest finds the number by listing all that there are, twice for each test: after three thousand tests that costs
    24 ms of each.
    """
    path = factory.getbasetemp() / f"{re.sub(r'[^A-Za-z0-9_]', '_', name)[:30]}-{next(NUMBERS)}"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an empty directory of the test's own."""
    return directory_of_a_test(tmp_path_factory, request.node.name)


@pytest.fixture(scope="session", autouse=True)
def world_of_templates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give what is made for more than one test a home of its own: repositories leave their anchors there."""
    home = directory_of_a_test(tmp_path_factory, "templates")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        for word in ("CONFIG", "CACHE", "STATE", "DATA"):
            patch.setenv(f"XDG_{word}_HOME", str(home / f".{word.lower()}"))
        yield


@pytest.fixture(autouse=True)
def own_world(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the test its own home and current directory and a plain environment; yields the home."""
    world = directory_of_a_test(tmp_path_factory, "world")
    home, here = world / "home", world / "cwd"
    home.mkdir()
    here.mkdir()
    for name in list(os.environ):
        dropped = name.startswith(("JVS_", "LC_", "XDG_", "GIT_")) and name not in (*TEST_VARIABLES, LAZY)
        if dropped or name in ("LANGUAGE", "NO_COLOR", "COLUMNS", "SOURCE_DATE_EPOCH", "PAGER", "TERM"):
            monkeypatch.delenv(name)
    plain = {"HOME": home, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb"}
    plain |= {f"XDG_{word}_HOME": home / f".{word.lower()}" for word in ("CONFIG", "CACHE", "STATE", "DATA")}
    for name, value in plain.items():
        monkeypatch.setenv(name, str(value))
    time.tzset()
    monkeypatch.chdir(here)
    mask = os.umask(0o022)
    yield home
    os.umask(mask)


@pytest.fixture(scope="session")
def mounts() -> dict:
    """Return what contrib/testfs made: `mounts` by name, and `missing` with reasons."""
    ready = os.environ.get("JVS_TEST_FS")
    return _read_state(Path(ready)) if ready else _make_once(Path(os.environ[LAZY]))


def _read_state(directory: Path) -> dict:
    return json.loads((directory / "testfs.json").read_text())


def _make_once(directory: Path) -> dict:
    """Run testfs, or wait until the worker that came first has run it."""
    with open(f"{directory}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "testfs.json").exists():
            done = subprocess.run([sys.executable, str(TESTFS), "up", str(directory)], capture_output=True, text=True)
            if not (directory / "testfs.json").exists():
                pytest.fail(f"contrib/testfs exit {done.returncode}: {done.stderr}")
    return _read_state(directory)


def _required(name: str) -> bool:
    words = os.environ.get("JVS_TEST_REQUIRE", "").replace(",", " ").split()
    return any(name == word or name.startswith(word + "-") for word in words)


@pytest.fixture
def fs_at(mounts: dict, request: pytest.FixtureRequest) -> Iterator[FsAt]:
    """Return a function from a filesystem's name to a new directory on it, removed after the test."""
    made: list[Path] = []

    def at(name: str) -> Path:
        if name not in mounts["mounts"]:
            reason = f"no {name} here: {mounts['missing'].get(name, 'it was not asked for')}"
            (pytest.fail if _required(name) else pytest.skip)(reason)
        made.append(Path(tempfile.mkdtemp(prefix="t-", dir=mounts["mounts"][name])))
        return made[-1]

    yield at
    os.chdir("/")  # a test may stand in what is removed now
    for directory in made:
        remove_tree(directory)


@pytest.fixture
def own_fs(tmp_path: Path) -> Iterator[FsAt]:
    """Return a function from a filesystem's name to the root of one on which nobody else works.

    For every test that asks how much is free or used, or that fills it: other tests work on those of `fs_at`.
    """
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(own_filesystem.mounted(name, tmp_path))


@pytest.fixture(params=on(*FILESYSTEMS))
def fs_name(request: pytest.FixtureRequest) -> str:
    """Return the name of the filesystem that this run of the test is on."""
    return request.param


@pytest.fixture
def fs_dir(fs_name: str, fs_at: FsAt) -> Path:
    """Return a new directory on each filesystem in turn."""
    return fs_at(fs_name)


@pytest.fixture
def btrfs_dir(fs_at: FsAt) -> Path:
    """Return a new directory on btrfs."""
    return fs_at("btrfs")


@pytest.fixture
def xfs_dir(fs_at: FsAt) -> Path:
    """Return a new directory on XFS with reflinks."""
    return fs_at("xfs")


@pytest.fixture
def ext4_dir(fs_at: FsAt) -> Path:
    """Return a new directory on ext4."""
    return fs_at("ext4")


@pytest.fixture(params=on(*JUICEFS))
def juicefs_dir(request: pytest.FixtureRequest, fs_at: FsAt) -> Path:
    """Return a new directory on JuiceFS, with its metadata in SQLite and in redis in turn."""
    return fs_at(request.param)


@pytest.fixture(params=on("juicefs-sqlite"))
def two_hosts(request: pytest.FixtureRequest, fs_at: FsAt, mounts: dict) -> tuple[Path, Path]:
    """Return one JuiceFS directory as two mounts see it, which behave like two hosts."""
    first = fs_at(request.param)
    second = fs_at("juicefs-sqlite-2").parent / first.name
    for _ in range(50):  # the second mount may remember for a second that the name was not there
        if second.name in os.listdir(second.parent) and second.is_dir():
            break
        time.sleep(0.1)
    return first, second
