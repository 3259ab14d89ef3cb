"""Attributes of entries that a walk does not open, and whether they are still the old ones.

Source: xattr(7), open(2) O_PATH; jvs-format(5), Tree hash.
"""

from __future__ import annotations

import errno
import os

from jvs import system
from jvs.fs import listing, paths
from jvs.fs.xattrs import read_covered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.tree.node import Entry

    Reader = Callable[[int, bytes], dict[bytes, bytes] | None]
    """Returns the covered attributes of an entry of an open directory."""


def read_special(fd: int, name: bytes) -> dict[bytes, bytes] | None:
    """Return the covered xattrs (ACLs, in practice) of a fifo, socket or device without opening it."""
    handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    try:
        return read_covered(system.path_of(handle))
    finally:
        os.close(handle)


def read_directory(fd: int, name: bytes) -> dict[bytes, bytes] | None:
    """Return the covered xattrs of a subdirectory."""
    child = paths.open_dir(name, fd)
    try:
        return read_covered(child)
    finally:
        os.close(child)


def are_kept(fd: int) -> bool:
    """Answer whether a filesystem keeps extended attributes at all."""
    try:
        os.listxattr(fd)
    except OSError:  # ENOTSUP: JuiceFS does unless it was mounted to keep them
        return False
    return True


def are_same(fd: int, name: bytes, old: Entry, read: Reader = read_special) -> bool:
    """Answer whether an entry has the attributes that a node says, for filesystems whose ctime does not tell."""
    if old[1] == listing.SYMLINK:
        return True
    try:
        return read(fd, name) == old[5]
    except OSError as error:
        if listing.may_have_changed(error) or error.errno == errno.EACCES:
            return False
        raise
