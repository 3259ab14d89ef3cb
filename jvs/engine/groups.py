"""Hard-link groups in a copy: files of the source with several names have the same names in the target.

The first name that is met is copied, maybe by another process; each other one becomes a link to what was made of it.
Source: link(2); jvs-engines(7), Fidelity.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs.engine import hardlinks
from jvs.engine.small_files import NOT_HASHED
from jvs.tree.batches import Promise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from jvs.engine.target import Dir, Target
    from jvs.fs.losses import Losses
    from jvs.tree.visitor import Taken

    class Naming(Protocol):
        """What makes a copy: the copier."""

        losses: Losses
        stored: dict[bytes, tuple[int, dict[bytes, bytes] | None]]
        stale: bool
        hashes: bool
        target: Target

        def take_here(self, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Any) -> Taken | None: ...

        def flush(self) -> None: ...


class Linked:
    """The first name of a hard-link group: where it is, what it was hashed to, and the stat that belongs to it.

    `digest` is None where only the rows of the base know it, and a promise while it is being copied.
    """

    __slots__ = ("_stamp", "digest", "mode", "path", "size", "xattrs")

    def __init__(
        self, path: bytes, st: os.stat_result, digest: Any, size: int, xattrs: dict[bytes, bytes] | None
    ) -> None:
        self.path = path
        self._stamp = st.st_size, st.st_mtime_ns, st.st_ctime_ns
        self.mode = stat.S_IMODE(st.st_mode)
        self.digest = digest
        self.size = size
        self.xattrs = xattrs

    def is_as(self, st: os.stat_result) -> bool:
        """Answer whether the file is the same as far as a stat of it tells."""
        return self._stamp == (st.st_size, st.st_mtime_ns, st.st_ctime_ns)


class Groups:
    """The hard-link groups that one copy has met, by the inodes of the source."""

    def __init__(self, copier: Naming, *, none: bool) -> None:
        self._copier = copier
        self.none = none
        """Whether it is known that there are none: names that files have elsewhere are nothing to keep in mind."""
        self._first: dict[tuple[int, int], Linked] = {}

    def has(self, st: os.stat_result) -> bool:
        """Answer whether a name of an inode of the source was met, and is the first one."""
        return (st.st_dev, st.st_ino) in self._first

    def get(self, st: os.stat_result) -> Linked | None:
        """Return the first name of an inode of the source when it is there in the target; else None.

        Errors: as `tree.workers`: another process may have to finish it.
        """
        first = self._first.get((st.st_dev, st.st_ino))
        if first is not None and isinstance(first.digest, Promise):
            self._copier.flush()
            try:
                first.digest, first.size, first.xattrs = first.digest.result()
            except OSError:  # that name went away, or could not be read: the next one is the first
                self.forget(st)
                return None
        return first

    def note(
        self,
        path: bytes,
        st: os.stat_result,
        digest: Any,
        size: int,
        xattrs: dict[bytes, bytes] | None,
        *,
        final: os.stat_result | None = None,
    ) -> bool:
        """Note the first of several names of an inode, nothing where it has but one; False where another was the first.

        `st` is the stat that it was listed with, `final` that of what was made of it, where it is another.
        """
        if st.st_nlink < 2 or self.none:
            return True
        mine = Linked(path, final or st, digest, size, xattrs)
        return self._first.setdefault((st.st_dev, st.st_ino), mine).path == path

    def forget(self, st: os.stat_result) -> None:
        """Let the next name of an inode of the source be its first one, and be copied."""
        self._first.pop((st.st_dev, st.st_ino), None)

    def take(self, inside: Dir, fd: int, path: bytes, name: bytes, st: os.stat_result) -> Taken | None:
        """Give an inode that was copied before another name; None when it has to be copied. Errors: JvsError."""
        first = self.get(st)
        if first is None:
            return None
        copier = self._copier
        digest, size, xattrs = first.digest, first.size, first.xattrs
        if digest is None and copier.hashes:  # it was linked from the base, so only its row knows the digest
            found = copier.take_here(fd, path, name, st, None)
            if found is None:
                return None
            digest, size, xattrs = found
            if not first.is_as(os.stat(name, dir_fd=fd, follow_symlinks=False)):
                copier.stale = True
        if not self.link(first, inside, name, path, st):
            return None
        if not first.is_as(st):
            copier.stored[path] = copier.stored.get(first.path) or (first.mode, xattrs)
        elif first.path in copier.stored:
            copier.stored[path] = copier.stored[first.path]
        return digest if digest is not None else NOT_HASHED, size, xattrs

    def link(self, first: Linked, inside: Dir, name: bytes, path: bytes, st: os.stat_result) -> bool:
        """Give the first name's file another name; False, and a loss, when the system does not let us."""
        copier = self._copier
        try:
            refused = hardlinks.link(copier.target.root, first.path, inside.fd, name)
        except OSError as error:
            raise copier.target.failed(error, path) from error
        if refused is not None:
            copier.losses.add(path, "hardlink", hardlinks.loss(refused))
            if refused.errno == errno.EMLINK:  # another copy takes the names that are left
                self.forget(st)
        return refused is None
