"""Filesystems on which nobody else works: what `df` says of them is what a test did."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q", "-f"],
}


@contextlib.contextmanager
def mounted(kind: str, where: Path, size: int = 1 << 30) -> Iterator[Path]:
    """Give the root of a new filesystem in a file (a tmpfs has none); skips the test where that is not to be had."""
    if os.geteuid() != 0 or (kind in MAKE and shutil.which(MAKE[kind][0]) is None):
        pytest.skip("only root can mount, and mkfs has to be there")
    image, place = where / f"image-{kind}", where / f"fs-{kind}"
    place.mkdir()
    words = ["-t", "tmpfs", "-o", f"size={size}", "own"]
    if kind in MAKE:
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run([*MAKE[kind], str(image)], check=True, capture_output=True)
        words = ["-o", "loop", str(image)]
    if subprocess.run(["mount", *words, str(place)], capture_output=True, check=False).returncode:
        pytest.skip("mounts are not allowed here")
    try:
        yield place
    finally:
        os.chdir("/")
        subprocess.run(["umount", "-l", str(place)], check=False)  # the store may be open still


def used(place: Path) -> int:
    """Return the used bytes as `df` has them, after all that is delayed was done."""
    subprocess.run(["sync", "-f", str(place)], check=True)
    facts = os.statvfs(place)
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize
