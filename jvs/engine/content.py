"""Copying the content of files, and hashing what was written on the way where that costs no second read.

Source: ioctl_ficlone(2); jvs-engines(7).
"""

from __future__ import annotations

import hashlib
import os

from jvs import clock
from jvs.fs import copyfile
from jvs.tree import hash_source, hasher, leaves, racy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.losses import Losses
    from jvs.tree.node import Entry


class Contents:
    """Copies the content of one file after another; big ones are hashed in threads.

    `share` lets blocks be shared. `stamps_hold` says that a change of a file always shows in its stat; without, what
    was hashed is what was written.
    """

    at_once = True
    """Hash big files while they are copied; off: read the copy. The answer is the same."""

    def __init__(self, threads: hasher.Hasher, losses: Losses, *, share: bool, stamps_hold: bool) -> None:
        self._hasher = threads
        self._losses = losses
        self.share = share
        self.stamps_hold = stamps_hold
        self.started_ns = clock.now_ns()

    def copy(
        self, source: int, target: int, path: bytes, *, hash: bool, old: Entry | None = None
    ) -> tuple[os.stat_result, Any, int]:
        """Copy the content; return the stat that belongs to it, its digest when that came for free, and its size.

        `old` is what the payload before has under this path.
        """
        before = os.fstat(source)
        if self.share and copyfile.reflink(source, target):
            if hash and before.st_size > hasher.BIG_BYTES and not self._hasher.plain:
                return self._hash_shared(source, target, path, before, old)
            after = os.fstat(source)
            if not copyfile.unchanged(before, after):  # written before the blocks were shared, or after that
                return after, None, os.fstat(target).st_size
            if hash and not self._hasher.plain and self.stamps_hold and racy.is_conclusive(before, self.started_ns):
                os.lseek(source, 0, os.SEEK_SET)
                both = os.dup(source), os.dup(target)
                digest, size, _ = hash_source.hash_either(*both, before)
                return before, digest, size
            return before, None, os.fstat(target).st_size
        if hash and before.st_size > hasher.BIG_BYTES and not self._hasher.plain:
            copied = self._copy_and_hash(source, target, before)
            if copied is not None:
                return copied
        if not hash or before.st_size > hasher.BIG_BYTES:
            final = copyfile.copy_content(source, target, path, self._losses, share=False)
            return final, None, os.fstat(target).st_size
        for attempt in range(1, copyfile.TRIES + 1):
            content = hashlib.sha256()
            copyfile.copy_data(source, target, before, content)
            after = os.fstat(source)
            if copyfile.unchanged(before, after):
                break
            before = after
            if attempt < copyfile.TRIES:
                os.ftruncate(target, 0)
        else:
            why = f"the file changed during each of {copyfile.TRIES} attempts to copy it"
            self._losses.add(path, "torn", why)
        return before, content.digest(), os.fstat(target).st_size

    def _copy_and_hash(
        self, source: int, target: int, before: os.stat_result
    ) -> tuple[os.stat_result, Any, int] | None:
        """Copy a big file and hash what is written, reading it once; None where another way is to be gone.

        That is where the filesystem copies by itself, and for a file that changes each time.
        """
        from jvs.fs import extents
        from jvs.tree import file_hash

        for _ in range(copyfile.TRIES if self.at_once and extents.copies_bytes(source) else 0):
            digest = file_hash.copy_by_all(source, target, before.st_size, self._hasher.lists)
            after = os.fstat(source)
            if digest and copyfile.unchanged(before, after):
                return after, digest, after.st_size
            os.ftruncate(target, 0)
            before = after
            if before.st_size <= hasher.BIG_BYTES:
                break
        return None

    def _hash_shared(
        self, source: int, target: int, path: bytes, before: os.stat_result, old: Entry | None
    ) -> tuple[os.stat_result, Any, int]:
        """Hash a big file whose blocks are shared with the source, by the source while that holds still."""
        known = self._hasher.known_leaves(target, path, old)
        after, size = os.fstat(source), os.fstat(target).st_size
        still = copyfile.unchanged(before, after) and self.stamps_hold and racy.is_conclusive(before, self.started_ns)
        if still:
            both = os.dup(source), os.dup(target)
            return before, self._hasher.hash_original(*both, before, attributes=False, known=known), size
        return after, self._hasher.hash_in_thread(os.dup(target), size, attributes=False, known=known), size

    def hash_copy(self, target: int, size: int) -> tuple[Any, int]:
        """Hash what was written, in another thread when it is big."""
        os.lseek(target, 0, os.SEEK_SET)
        if size > hasher.BIG_BYTES:
            return self._hasher.hash_in_thread(os.dup(target), size, attributes=False), size
        return leaves.hash_open_file(target, plain=self._hasher.plain, lists=self._hasher.lists)
