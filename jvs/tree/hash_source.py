"""Hashing a clone of a file by reading the original, whose pages are in memory already.

A file and its clone share their blocks, but not their pages: what was just written or used is read from the disk
again when the clone is read. The original says the same as long as its stat shows that it did not change since; the
moment it does, the clone is read instead. For big files only: for small ones the second look costs more.
Source: jvs-engines(7); btrfs and XFS write back and write-protect all pages before they share blocks, so that every
later store moves the ctime, also one into a mapped file.
"""

from __future__ import annotations

import os

from jvs.fs import copyfile, listing, paths
from jvs.fs.xattrs import read_covered
from jvs.tree import leaves, racy
from jvs.tree.hasher import BIG_BYTES, NOT_READ, WATCHED_BYTES, Hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.tree.hasher import Hashed
    from jvs.tree.node import Entry


def hash_either(original: int, clone: int, before: os.stat_result, *, attributes: bool = False) -> Hashed:
    """Hash two open files with one content, and close both: the original, or the clone when the original changed.

    `before` is the stat of the original when they were equal; it must be old (`racy.is_conclusive`). `attributes`
    reads the covered xattrs of the clone as well. Big files are hashed by `FileHash`, in the same way. Errors: OSError.
    """
    try:
        digest, size = leaves.hash_open_file(original)
        if not copyfile.unchanged(before, os.fstat(original)):
            digest, size = leaves.hash_open_file(clone)
        return digest, size, read_covered(clone) if attributes else NOT_READ
    finally:
        os.close(original)
        os.close(clone)


class OriginalsHasher(Hasher):
    """Hashes a frozen clone that keeps inodes and stamps (a btrfs snapshot), big files by their originals."""

    def __init__(self, source: Below, *, moment_ns: int, jobs: int, allow_unreadable: bool) -> None:
        super().__init__(jobs=jobs, allow_unreadable=allow_unreadable)
        self._moment_ns = moment_ns
        self._source = paths.open_dir(source)

    def take(
        self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> tuple[Any, int, dict[bytes, bytes] | None] | None:
        """Hash a big file by its original, all others as they are."""
        if (
            listing.kind_of(st.st_mode) == listing.FILE
            and st.st_size >= min(WATCHED_BYTES, BIG_BYTES)
            and racy.is_conclusive(st, self._moment_ns)
            and not self.plain
        ):
            original = self._open_original(path, st)
            if original >= 0:
                self.watch(original, path, st.st_size)
                if st.st_size <= BIG_BYTES or path in self.busy:  # a write that goes on does not show in the stat
                    os.close(original)
                    return super().take(inside, fd, path, name, st, old)
                try:
                    clone = paths.open_file(name, fd)
                except BaseException:
                    os.close(original)
                    raise
                known = self.known_leaves(clone, path, old)
                return self.hash_original(original, clone, st, known=known), st.st_size, None
        return super().take(inside, fd, path, name, st, old)

    def _open_original(self, path: bytes, st: os.stat_result) -> int:
        """Open the file of the same inode and stamps; -1 when it is not there any more, or not ours to read."""
        parts = path.split(b"/")
        try:
            above = paths.open_parent(self._source, parts)
            try:
                fd = paths.open_file(parts[-1], above)
            finally:
                os.close(above)
        except OSError:
            return -1
        now = os.fstat(fd)
        if now.st_ino == st.st_ino and copyfile.unchanged(st, now):
            return fd
        os.close(fd)
        return -1

    def close(self) -> None:
        """End the threads."""
        super().close()
        os.close(self._source)
