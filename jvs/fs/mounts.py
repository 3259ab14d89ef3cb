"""Mounts: the one reader of the kernel's mount table, and what lies on which mount.

A mount point inside a directory hides what is below it: a clone of the directory would miss what is mounted there.
Source: proc(5), /proc/pid/mountinfo; statx(2).
"""

from __future__ import annotations

import os

from jvs import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = system.MOUNT_TABLE


class Mount:
    """One line of the mount table.

    Shape: `mount_id` is that of statx(2); `device` as `st_dev` has it; `root` is the directory of the filesystem that
    is mounted, `/` for all of it; `point` is where; both are decoded paths.
    """

    __slots__ = ("device", "filesystem", "mount_id", "point", "root")

    def __init__(self, mount_id: int, device: int, root: bytes, point: bytes, filesystem: str) -> None:
        self.mount_id = mount_id
        self.device = device
        self.root = os.fsdecode(root)
        self.point = os.fsdecode(point)
        self.filesystem = filesystem


def parse(lines: Iterator[bytes]) -> Iterator[Mount]:
    """Yield the mounts of a mount table, in its order: of two at one point the later one is on top.

    Shape: `id parent major:minor root point options [optional ...] - type source options`, octal escapes for blank,
    tab, newline and backslash. A line of another form is left out.
    """
    for line in lines:
        fields = line.rstrip(b"\n").split(b" ")
        try:
            major, minor = fields[2].split(b":")
            device = os.makedev(int(major), int(minor))
            kind = fields[fields.index(b"-", 5) + 1] if b"-" in fields[5:] else b""
            yield Mount(int(fields[0]), device, _decode(fields[3]), _decode(fields[4]), kind.decode("ascii", "replace"))
        except (ValueError, IndexError):
            continue


def _decode(field: bytes) -> bytes:
    """Return a field with its escapes read: a backslash and three octal digits are one byte."""
    first, *rest = field.split(b"\\")
    parts = [first]
    for part in rest:
        octal = part[:3]
        if len(octal) == 3 and all(0x30 <= digit <= 0x37 for digit in octal) and octal[0] <= 0x33:
            parts += [bytes([int(octal, 8)]), part[3:]]
        else:
            parts += [b"\\", part]
    return b"".join(parts)


def all_mounts() -> list[Mount]:
    """Return the mounts that this process sees; none where there is no /proc. Errors: OSError."""
    try:
        with open(TABLE, "rb") as lines:
            return list(parse(lines))
    except FileNotFoundError:  # then the device numbers met during a walk are the only guard
        return []


def points_below(directory: str) -> list[str]:
    """Return the mount points strictly below a directory."""
    prefix = os.path.realpath(directory).rstrip("/") + "/"
    return [mount.point for mount in all_mounts() if mount.point.startswith(prefix) and mount.point != prefix]


def roots_of_device(device: int) -> list[str]:
    """Return where the whole filesystem of a device is mounted; without /proc nowhere."""
    try:
        return [mount.point for mount in all_mounts() if mount.device == device and mount.root == "/"]
    except OSError:
        return []
