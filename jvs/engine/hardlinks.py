"""Hard links in a copy to files of the base payload that did not change.

Source: link(2); jvs-engines(7), Fidelity.
"""

from __future__ import annotations

import errno
import os

from jvs.fs import listing, metadata, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from jvs.fs.xattrs import Attributes

Facts = tuple[int, int, int, int, int]
"""Shape: size, mtime_ns, mode, uid, gid."""
COPY_INSTEAD = frozenset(
    {
        errno.EMLINK,  # as many names as the filesystem allows (65,000 on ext4)
        errno.ENOENT,  # the base payload is being collected, or is damaged
        errno.EPERM,  # fs.protected_hardlinks, immutable files, filesystems without links
        errno.EXDEV,
        errno.EOPNOTSUPP,
        errno.EACCES,
    }
)
"""Why a file of the base payload cannot be linked, where a copy of it will do."""


def link(root: int, path: bytes, dir_fd: int, name: bytes) -> OSError | None:
    """Give a file at a path below `root` another name; return why that is not possible, or None.

    With EMLINK the file has as many names as the filesystem allows: another copy takes those that are left.
    Errors: OSError for a full disk or broken storage; E_PATH_ESCAPE.
    """
    parts = paths.split_relative(path)
    try:
        above = paths.open_parent(root, parts)
        try:
            os.link(parts[-1], name, src_dir_fd=above, dst_dir_fd=dir_fd, follow_symlinks=False)
        finally:
            os.close(above)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
            raise
        return error
    return None


def loss(error: OSError) -> str:
    """Return how a descriptor says that a name became a file of its own."""
    return f"copied as a file of its own: {error.strerror or error}"


def facts(st: os.stat_result) -> Facts:
    """Return what a file in a payload was stored with, as far as its stat tells."""
    return st.st_size, st.st_mtime_ns, st.st_mode, st.st_uid, st.st_gid


def facts_of_all(stamps: bytes) -> list[Facts]:
    """Return the facts of files from their stamps, one after the other."""
    found = listing.STAMP.iter_unpack(stamps)
    return [(size, mtime_ns, mode, uid, gid) for _, mode, uid, gid, size, mtime_ns, _ in found]


def with_other_names(stats: list[os.stat_result]) -> list[int]:
    """Return the places of files that have other names, wherever these are."""
    return [i for i, st in enumerate(stats) if st.st_nlink > 1]


def looks_like(stored: os.stat_result, st: os.stat_result) -> bool:
    """Answer whether a file in a payload still has the size, times, mode and owner that it was stored with."""
    return facts(stored) == facts(st)


def link_all(
    base: int, target: int, names: list[bytes], wanted: list[Facts], several: Collection[int] = ()
) -> tuple[list[int], list[tuple[int, int]]]:
    """Link files of one directory in another.

    Returns the places of those that have to be copied instead, and the inodes of those that are in `several` and were
    linked. To be copied are what the system lets nobody link, and what somebody changed in the base payload, so that
    its damage ends there. Errors: OSError, whose `filename` is the name.
    """
    refused, inodes = [], []
    look, link = os.stat, os.link
    for i, name in enumerate(names):
        try:
            st = look(name, dir_fd=base, follow_symlinks=False)
            if (st.st_size, st.st_mtime_ns, st.st_mode, st.st_uid, st.st_gid) == wanted[i]:
                link(name, name, src_dir_fd=base, dst_dir_fd=target, follow_symlinks=False)
                if i in several:
                    inodes.append((i, st.st_ino))
            else:
                refused.append(i)
        except OSError as error:
            if error.errno not in COPY_INSTEAD:
                raise OSError(error.errno, error.strerror, name) from error
            refused.append(i)
    return refused, inodes


def xattrs_at(name: bytes, dir_fd: int) -> Attributes | None:
    """Return the attributes of an entry of a payload; None when it cannot be asked."""
    try:
        return metadata.entry_xattrs(name, dir_fd)
    except OSError:
        return None
