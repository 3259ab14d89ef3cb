"""Tests in a mount namespace of their own, on filesystems made for them, and at another time.

`@own_mounts` runs the body of a test in a child that nobody else sees the mounts of: they go away with it, however it
ends. `at_another_time` runs a function with the wall clock and the clock of the boot moved, as after a sleep or a wrong
setting: the latter by a time namespace.
"""

from __future__ import annotations

import ctypes
import functools
import os
import pickle
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CLONE_NEWNS, CLONE_NEWTIME = 0x20000, 0x80
DAY_SECONDS = 86_400
DAY_NS = DAY_SECONDS * 1_000_000_000
TIMEOUT_SECONDS = 120
_LIBC = ctypes.CDLL(None, use_errno=True)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts filesystems and owns files of others")


def _unshare(flags: int) -> None:
    if _LIBC.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def in_child(work: Callable[[], Any]) -> Any:
    """Run a function in a forked child; return what it returned, or fail with its traceback, or skip as it did."""
    receive, send = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(receive)
        try:
            result = ("ok", work())
        except pytest.skip.Exception as skipped:
            result = ("skip", str(skipped))
        except BaseException as error:
            where = [frame for frame in traceback.extract_tb(error.__traceback__) if "/tests/" in frame.filename]
            lines = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(where))
            result = ("failed", f"{type(error).__name__}: {error}\nin {lines}\n{traceback.format_exc()}")
        try:
            with open(send, "wb") as pipe:
                pipe.write(pickle.dumps(result))
        finally:
            os._exit(0)
    os.close(send)
    with open(receive, "rb") as pipe:
        data = pipe.read()
    os.waitpid(child, 0)
    kind, value = pickle.loads(data) if data else ("failed", "the child ended without a word")
    if kind == "skip":
        pytest.skip(value)
    if kind == "failed":
        raise AssertionError(value)
    return value


def own_mounts(test: Callable[..., None]) -> Callable[..., None]:
    """Run a test in a child with a mount namespace of its own."""

    @functools.wraps(test)
    def run(*args: Any, **named: Any) -> None:
        def work() -> None:
            _unshare(CLONE_NEWNS)
            command("mount", "--make-rprivate", "/")
            _LIBC.alarm(TIMEOUT_SECONDS)
            try:
                test(*args, **named)
            finally:
                os.chdir("/")

        in_child(work)

    return needs_root(run)


def command(*words: str | Path, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a program; with `ok` it has to succeed."""
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False)
    assert not ok or done.returncode == 0, (words, done.stdout, done.stderr)
    return done


def mount(kind: str, at: Path, *options: str, what: str = "none") -> Path:
    """Mount a filesystem on a directory, made when it is not there; skip where the kernel has none of that kind."""
    at.mkdir(parents=True, exist_ok=True)
    words = ["-o", ",".join(options)] if options else []
    done = command("mount", "-t", kind, *words, what, at, ok=False)
    if done.returncode:
        pytest.skip(f"no {kind} here: {done.stderr.strip()}")
    return at


def bind(source: Path, at: Path) -> Path:
    """Let a directory, or a file, be seen at another place as well."""
    command("mount", "--bind", source, at)
    return at


def overlay(home: Path, lower: Path, *options: str) -> Path:
    """Mount an overlay over a directory; its upper directory lies below `home` too."""
    for name in ("upper", "work"):
        (home / name).mkdir(parents=True, exist_ok=True)
    wanted = [f"lowerdir={lower}", f"upperdir={home / 'upper'}", f"workdir={home / 'work'}", *options]
    return mount("overlay", home / "merged", *wanted, what="overlay")


def image(home: Path, megabytes: int, *make: str) -> Path:
    """Make a sparse image with a filesystem."""
    path = home / "image"
    with open(path, "wb") as file:
        file.truncate(megabytes << 20)
    command(*make, path)
    return path


def crc32c(data: bytes) -> int:
    """Return the CRC-32C, as XFS keeps it. Source: RFC 3720, B.4."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def give_parent_pointers(path: Path) -> None:
    """Turn parent pointers on in an XFS image that holds nothing yet, as mkfs of xfsprogs 7 does by itself.

    Source: struct xfs_dsb in fs/xfs/libxfs/xfs_format.h: features_incompat at 216, crc at 224, 512 bytes.
    """
    with open(path, "r+b") as file:
        block = bytearray(file.read(512))
        features = struct.unpack_from(">I", block, 216)[0] | 1 << 7
        struct.pack_into(">I", block, 216, features)
        struct.pack_into("<I", block, 224, 0)
        struct.pack_into("<I", block, 224, crc32c(bytes(block)))
        file.seek(0)
        file.write(block)


def at_another_time(work: Callable[[], Any], *, wall_days: float = 0, boot_days: float = 0) -> Any:
    """Run a function in a child whose wall clock, and whose clock of this boot, are moved by so many days."""

    def inside() -> Any:
        jump(wall_days)
        return work()

    if not boot_days:
        return in_child(inside)

    def outside() -> Any:
        _unshare(CLONE_NEWTIME)
        seconds = int(boot_days * DAY_SECONDS)
        Path("/proc/self/timens_offsets").write_text(f"monotonic {seconds} 0\nboottime {seconds} 0\n")
        return in_child(inside)

    return in_child(outside)


def jump(days: float) -> None:
    """Move the wall clock of this process."""
    real, offset_ns = time.time_ns, int(days * DAY_NS)
    time.time_ns = lambda: real() + offset_ns
    time.time = lambda: time.time_ns() / 1e9
