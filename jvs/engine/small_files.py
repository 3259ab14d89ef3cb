"""Copying a small file that has nothing out of the ordinary, with as few calls as there can be.

Nearly all files of large trees are of this kind, and the calls and steps for each are what a copy of such a tree costs.
Whatever is not of this kind, or changes meanwhile, is left to the copier, which knows all kinds.
Source: jvs-engines(7), Speed.
"""

from __future__ import annotations

import hashlib
import os

from jvs.fs import copyfile, durable, metadata, paths, xattrs
from jvs.tree import hasher, racy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.engine.content import Contents

NOT_HASHED = bytes(32)
"""The digest of what nobody asked to hash."""
_ODD_BITS = 0o7000


class SmallFiles:
    """Copies small files for one copy of a tree, whose others `contents` copies: what holds there holds here."""

    on = True
    """Off: each file goes the way of all files. The answer is the same."""

    def __init__(self, contents: Contents) -> None:
        self._share, self._stamps_hold = contents.share, contents.stamps_hold
        self._started_ns = contents.started_ns

    def copy(self, source_dir: int, target_dir: int, name: bytes, st: os.stat_result, *, hash: bool) -> bytes | None:
        """Copy a file whose stat was `st` into a directory that it inherits nothing from, under a name that is free.

        Returns its digest, `NOT_HASHED` where none was asked for; None when nothing was made, and it is to be copied
        in the usual way. Errors: OSError of what is written.
        """
        most = min(copyfile.FIRST_BYTES, hasher.BIG_BYTES, hasher.WATCHED_BYTES)
        if not self.on or st.st_size >= most or st.st_mode & _ODD_BITS:
            return None
        try:
            source, now = paths.open_file_with_stat(name, source_dir)
        except OSError:
            return None
        try:
            # A hole stays a hole, and attributes go along: in the usual way.
            if not _is_same(st, now) or now.st_blocks * 512 < now.st_size or xattrs.are_there(source):
                return None
            target = metadata.new_file(name, target_dir, now.st_mode & 0o777)  # mostly what it shall have in the end
            try:
                digest = self._content(source, target, now, hash)
                if digest is not None and metadata.apply_to_new(target, now):
                    return digest
            finally:
                os.close(target)
            durable.unlink(name, dir_fd=target_dir)
            return None
        finally:
            os.close(source)

    def _content(self, source: int, target: int, now: os.stat_result, hash: bool) -> bytes | None:
        """Copy the content and hash it; None when the file did not hold still, or has another size."""
        size = now.st_size
        if self._share and copyfile.reflink(source, target):
            # What is shared is what the file was then. It is read afterwards: a store since would show in its stamps.
            data = os.pread(source, size + 1, 0) if hash else b""
            proved = len(data) == size and self._stamps_hold and racy.is_conclusive(now, self._started_ns)
            done = proved or not hash
        else:
            data = os.pread(source, size + 1, 0)
            done = len(data) == size and os.pwrite(target, data, 0) == size
        if not done or not copyfile.unchanged(now, os.fstat(source)):
            return None
        return hashlib.sha256(data).digest() if hash else NOT_HASHED


def _is_same(st: os.stat_result, now: os.stat_result) -> bool:
    return st.st_ino == now.st_ino and st.st_mode == now.st_mode and copyfile.unchanged(st, now)
