"""Copying the content of files, and hashing what was written on the way where that costs no second read.

Source: ioctl_ficlone(2); jvs-engines(7).
"""

from __future__ import annotations

import hashlib
import os

from jvs import clock
from jvs.fs import copyfile
from jvs.tree import hash_source, hasher, node, racy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.losses import Losses


class Contents:
    """Copies the content of one file after another; big ones are hashed in threads.

    `share` lets blocks be shared. `stamps_hold` says that a change of a file always shows in its stat; without, what
    was hashed is what was written.
    """

    def __init__(self, threads: hasher.Hasher, losses: Losses, *, share: bool, stamps_hold: bool) -> None:
        self._hasher = threads
        self._losses = losses
        self._share = share
        self._stamps_hold = stamps_hold
        self._started_ns = clock.now_ns()

    def copy(self, source: int, target: int, path: bytes, *, hash: bool) -> tuple[os.stat_result, Any, int]:
        """Copy the content; return the stat that belongs to it, its digest when that came for free, and its size."""
        before = os.fstat(source)
        if self._share and copyfile.reflink(source, target):
            after = os.fstat(source)
            if not copyfile.unchanged(before, after):  # written before the blocks were shared, or after that
                return after, None, os.fstat(target).st_size
            if hash and self._stamps_hold and racy.is_settled(before, self._started_ns):
                os.lseek(source, 0, os.SEEK_SET)
                both = os.dup(source), os.dup(target)
                if before.st_size >= hasher.BIG_BYTES and self._hasher.jobs > 1:
                    return (
                        before,
                        self._hasher.run_in_thread(self._hasher.jobs, hash_source.hash_either, *both, before),
                        before.st_size,
                    )
                digest, size, _ = hash_source.hash_either(*both, before)
                return before, digest, size
            return before, None, os.fstat(target).st_size
        if not hash or before.st_size >= hasher.BIG_BYTES:
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

    def hash_copy(self, target: int, size: int) -> tuple[Any, int]:
        """Hash what was written, in another thread when it is big."""
        os.lseek(target, 0, os.SEEK_SET)
        if size >= hasher.BIG_BYTES and self._hasher.jobs > 1:
            return self._hasher.hash_in_thread(os.dup(target), attributes=False), size
        return node.hash_open_file(target)
