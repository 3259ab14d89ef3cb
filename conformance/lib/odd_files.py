"""Files that every operation must get along with: two names of one file, another user's, one that nobody may change."""

from __future__ import annotations

import fcntl
import os
import stat
import struct

_GETFLAGS, _SETFLAGS, _IMMUTABLE = 0x80086601, 0x40086602, 0x10
_SOMEBODY = 12345


def add(directory: str) -> None:
    """Put them into a directory that has 'dir/b.txt' or 'a.txt'; without root only the second name of a file."""
    here = f"{directory}/dir" if os.path.isdir(f"{directory}/dir") else directory
    _write(f"{here}/one-name", b"a file with two names\n")
    os.link(f"{here}/one-name", f"{directory}/another-name")
    _write(f"{here}/fixed", b"nobody may change this\n")
    _write(f"{here}/somebody's", b"somebody else's\n")
    if os.geteuid() == 0:
        os.chown(f"{here}/somebody's", _SOMEBODY, _SOMEBODY)
        fix(f"{here}/fixed")


def edit(directory: str) -> None:
    """Change the file with two names through one of them, and somebody else's."""
    here = f"{directory}/dir" if os.path.isdir(f"{directory}/dir") else directory
    for name in ("one-name", "somebody's"):
        with open(f"{here}/{name}", "ab") as file:
            file.write(b"changed\n")


def fix(path: str, *, fixed: bool = True) -> None:
    """Set or clear the flag that lets nobody change or remove a file, where the filesystem knows it."""
    with open(path, "rb") as file:
        flags = bytearray(8)
        try:
            fcntl.ioctl(file, _GETFLAGS, flags)
            value = struct.unpack("=q", flags)[0]
            value = value | _IMMUTABLE if fixed else value & ~_IMMUTABLE
            fcntl.ioctl(file, _SETFLAGS, struct.pack("=q", value))
        except OSError:
            return


def fixed_below(directory: str) -> list[str]:
    """Return the paths, below a directory, of the files called 'fixed' that nobody may change."""
    found = []
    for here, _, names in os.walk(directory):
        if "fixed" in names and is_fixed(os.path.join(here, "fixed")):
            found.append(os.path.relpath(os.path.join(here, "fixed"), directory))
    return found


def release(directory: str) -> None:
    """Let everything below a directory be changed and removed again."""
    for path in fixed_below(directory):
        fix(os.path.join(directory, path), fixed=False)


def is_fixed(path: str) -> bool:
    """Answer whether nobody may change or remove a file."""
    if not stat.S_ISREG(os.lstat(path).st_mode):
        return False
    with open(path, "rb") as file:
        flags = bytearray(8)
        try:
            fcntl.ioctl(file, _GETFLAGS, flags)
        except OSError:
            return False
        return bool(flags[0] & _IMMUTABLE)


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
