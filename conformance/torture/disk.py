"""A real filesystem on an image, whose power can be cut.

ext4 and XFS: FS_IOC_SHUTDOWN without a log flush. btrfs, which knows no shutdown: the image is on an XFS with
reflinks and is cloned in one step; the clone is mounted afterwards. Needs root, mkfs and loop devices.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import struct
import subprocess
import time

_FS_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_FICLONE = 0x40049409
_SIZES = {"ext4": 192 << 20, "xfs": 320 << 20, "btrfs": 256 << 20}
_MKFS = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _is_attached(image: str) -> bool:
    """Answer whether a loop device still uses an image."""
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            if file.read().rstrip("\n").removesuffix(" (deleted)") == os.path.realpath(image):
                return True
    return False


class UnmountableError(OSError):
    """The filesystem itself did not survive the cut, so that nothing can be judged."""


class Disk:
    """A filesystem on an image, whose power can be cut."""

    def __init__(self, kind: str, directory: str) -> None:
        self.kind = kind
        self.mount_point = os.path.join(directory, "mnt")
        self.holder = os.path.join(directory, "holder")
        os.makedirs(self.mount_point)
        self.mounted = False
        self.image = os.path.join(directory, "image")
        if kind == "btrfs":  # its image must be where it can be cloned in one step
            os.makedirs(self.holder)
            self._make(os.path.join(directory, "holder.image"), "xfs", 2000 << 20)
            _run("mount", "-o", "loop", os.path.join(directory, "holder.image"), self.holder)
            self.image = os.path.join(self.holder, "image")
        self.clone = self.image + ".cut"

    def make(self) -> None:
        """Make an empty filesystem."""
        self._make(self.image, self.kind, _SIZES[self.kind])

    @staticmethod
    def _make(image: str, kind: str, size: int) -> None:
        with open(image, "wb") as file:
            file.truncate(size)
        _run(*_MKFS[kind], image)

    def mount(self, image: str | None = None) -> None:
        _run("mount", "-o", "loop", image or self.image, self.mount_point)
        self.mounted = True

    def unmount(self) -> None:
        """Unmount, and wait until the loop device has released the image."""
        deadline = time.monotonic() + 10
        while self.mounted:
            try:
                _run("umount", self.mount_point)
                self.mounted = False
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        while _is_attached(self.image) and time.monotonic() < deadline:
            time.sleep(0.02)

    def cut(self) -> None:
        """Cut the power now: what is not on the disk is lost."""
        if self.kind == "btrfs":
            with open(self.image, "rb") as source, open(self.clone, "wb") as target:
                fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
            return
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _FS_IOC_SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(fd)

    def power_up(self) -> None:
        """Mount what the cut left, which replays the journal."""
        self.unmount()
        if self.kind == "btrfs":
            os.replace(self.clone, self.image)
        try:
            self.mount()
        except OSError as error:
            raise UnmountableError(str(error)) from error

    def save(self) -> None:
        """Unmount, and keep the image as it is now."""
        self.unmount()
        _run("cp", "--sparse=always", "--reflink=auto", self.image, self.image + ".base")

    def reset(self) -> None:
        """Mount the image as it was saved."""
        self.unmount()
        _run("cp", "--sparse=always", "--reflink=auto", self.image + ".base", self.image)
        self.mount()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.unmount()
        if self.kind == "btrfs":
            subprocess.run(["umount", self.holder], capture_output=True, check=False)


def missing(kind: str) -> str:
    """Return why power cannot be cut here, or nothing."""
    if os.geteuid() != 0:
        return "mounting needs root"
    tools = [_MKFS[kind][0], "mount", "umount"] + (["mkfs.xfs"] if kind == "btrfs" else [])
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"{', '.join(absent)} is not installed" if absent else ""
