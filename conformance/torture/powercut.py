"""Real power cuts: the kernel shuts a loop-mounted filesystem down at call N, it is mounted again, and judged.

ext4 and XFS: FS_IOC_SHUTDOWN without a log flush at the call's entry. btrfs, which knows no shutdown: the image lies
on an XFS with reflinks, is cloned in one step at the call's entry, and the clone is mounted afterwards.
Needs root, mkfs and loop devices; says so where one is missing.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import glob
import os
import shutil
import struct
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

from lib.harness import Env, Failure
from supervisor import supervise

if TYPE_CHECKING:
    from lib.scenarios import Scenario

_FS_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2
_FICLONE = 0x40049409
_CLONE_NEWNS = 0x20000
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
    """The filesystem itself did not survive the cut, so that there is nothing to judge."""


class Disk:
    """A filesystem on an image, whose power can be cut."""

    def __init__(self, kind: str, directory: str) -> None:
        self.kind = kind
        self.mount_point = os.path.join(directory, "mnt")
        self.holder = os.path.join(directory, "holder")
        os.makedirs(self.mount_point)
        self.mounted = False
        self.image = os.path.join(directory, "image")
        if kind == "btrfs":  # its image must lie where it can be cloned in one step
            os.makedirs(self.holder)
            self._make(os.path.join(directory, "holder.image"), "xfs", 2000 << 20)
            _run("mount", "-o", "loop", os.path.join(directory, "holder.image"), self.holder)
            self.image = os.path.join(self.holder, "image")
        self.clone = self.image + ".cut"

    def make(self) -> None:
        """Begin with an empty filesystem."""
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
        """Unmount, and wait until the loop device has let go of the image."""
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
        """Cut the power now: nothing that is not on the disk will ever be."""
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


def _leave_the_others() -> None:
    """Enter a mount namespace of our own: a copy of a mount that somebody else's one holds keeps it from going."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    _run("mount", "--make-rprivate", "/")


def main(args: argparse.Namespace, bin_dir: str, directory: str, chosen: list[Scenario]) -> int:
    """Cut the power at each call of each operation, one after the other."""
    from torture import torturer

    why = missing(args.power)
    if why:
        print(f"skipped: no power cuts on {args.power}: {why}")
        return 0
    deadline = None if args.seconds is None else time.monotonic() + args.seconds
    _leave_the_others()
    disk = Disk(args.power, directory)
    totals = {"points": 0, "violations": 0, "broken": 0}
    try:
        for scenario in chosen:
            try:
                torturer, prepared = _prepare_on(disk, bin_dir, scenario)
            except Failure as failure:
                totals["broken"] += 1
                print(f"BROKEN  {scenario.name}: {failure}", flush=True)
                continue
            count = len(prepared.events)
            points = [torturer.Point(scenario.name, "power", n) for n in range(1, count + 1) if args.at in (None, n)]
            points = torturer.spread(points, args.sample)
            if args.at in (None, count + 1):  # after "done" was said: the cut that matters most is always made
                points.insert(0, torturer.Point(scenario.name, "power", count + 1))
            count = 0
            for point in points:
                if deadline is not None and time.monotonic() > deadline:
                    break
                try:
                    found, fired = _cut_at(disk, torturer, prepared, point.at, lie=args.lie)
                except UnmountableError as error:  # once can be the doing of the loop device; twice is a finding
                    print(f"again: --only {scenario.name} --at {point.at}: {error}", flush=True)
                    found, fired = _cut_at(disk, torturer, prepared, point.at, lie=args.lie)
                count += 1
                if found:
                    totals["violations"] += 1
                    words = f"--power {args.power} --only {scenario.name} --at {point.at}"
                    print(f"VIOLATION  torture {words}   [{fired}]")
                    print("\n".join("    " + v.replace("\n", "\n      ")[:2000] for v in found[:6]), flush=True)
            totals["points"] += count
            print(f"{scenario.name} on {args.power}: {len(prepared.events)} calls, {count} power cuts", flush=True)
    finally:
        disk.close()
        if not disk.mounted:
            shutil.rmtree(directory, ignore_errors=True)
    print(
        f"{totals['points']} power cuts, {totals['violations']} with violations, {totals['broken']} operations broken"
    )
    return 3 if totals["violations"] or totals["broken"] else 0


def _prepare_on(disk: Disk, bin_dir: str, scenario: Scenario) -> tuple[Any, Any]:
    """Build the repository on a new filesystem, where engines differ, save its image, and count the calls there."""
    from torture import torturer

    disk.make()
    disk.mount()
    torturer = torturer.Torturer(bin_dir, disk.mount_point, keep=False)
    try:
        prepared = torturer.prepare(scenario)
        disk.save()
        disk.reset()
        done = torturer.supervised(prepared, Env(bin_dir, prepared.base), None)
        if done.returncode != 0:
            raise Failure(f"{scenario.name} on {disk.kind}: exit {done.returncode}: {done.stderr.decode()}")
        prepared.events = [str(event).replace(prepared.base, "") for event in done.events]
    finally:
        disk.unmount()
    return torturer, prepared


def _cut_at(disk: Disk, torturer: Any, prepared: Any, at: int, *, lie: bool) -> tuple[list[str], str]:
    """Cut at one call; beyond the last one, right after the command said that it was done."""
    disk.reset()
    try:
        env = Env(torturer.bin, prepared.base)
        action = supervise.Action("kill", at, callback=lambda _event: disk.cut())
        outcome = torturer.supervised(prepared, env, action, lie=lie)
        if outcome.fired is None:
            disk.cut()
        disk.power_up()
        code = outcome.returncode if outcome.fired is None else -9
        found = torturer.judge(prepared, env, code, at)
    except OSError as error:
        print(f"the harness failed: {error}", file=sys.stderr)
        raise
    finally:
        disk.unmount()
    return found, str(outcome.fired or "after the end").replace(disk.mount_point, "")
