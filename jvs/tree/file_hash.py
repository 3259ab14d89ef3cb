"""Hashing one large file in several threads, leaf by leaf.

Source: jvs-format(5), Tree hash; jvs-engines(7), Speed.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from concurrent.futures import Future

from jvs import system
from jvs.fs import copyfile, extents
from jvs.fs.xattrs import read_covered
from jvs.tree import leaves
from jvs.tree.leaves import LEAF_BYTES, NOT_READ
from jvs.tree.threads import Threads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jvs.tree.leaves import Lists

    Hashed = tuple[bytes, int, dict[bytes, bytes] | None]


LEAVES_AHEAD = 2
"""How far the disk is ahead of the threads: what one of them hashes meanwhile."""


class FileHash:
    """Hashes one large open file, in as many threads as call `work`; the last of them gives the answer, and closes it.

    Shape: the result of `future` is digest, size and covered xattrs (`NOT_READ` without `attributes`). A file that
    changes its length meanwhile is read from its start to its end. With `instead`, the file is only the original of
    that one, and counts while its stat is `before`; else that one is read. `known` are the digests of leaves that need
    not be read; `done` gets the open file and the digests of all of them.
    """

    skip_holes = True
    """Take the zeros of holes as known; off: read them. The answer is the same."""

    reads_ahead = True
    """Ask the disk for leaves before their turn comes; off: when they are read. The answer is the same."""

    def __init__(
        self,
        fd: int,
        size: int,
        *,
        attributes: bool = True,
        lists: Lists | None = None,
        instead: int = -1,
        before: os.stat_result | None = None,
        known: dict[int, bytes] | None = None,
        done: Callable[[int, list[bytes]], None] | None = None,
    ) -> None:
        self.future: Future[Any] = Future()
        self.size = size
        self.count = leaves.count(size)
        self._fd = fd
        self._instead = instead
        self._before = before
        self._attributes = attributes
        self._lists = lists
        self._known = known or {}
        self._done = done
        self._digests: list[bytes | None] = [None] * self.count
        self._turn = itertools.count()
        self._lock = threading.Lock()
        self._left = self.count
        self._failure: BaseException | None = None
        self._holes = False
        try:
            st = os.fstat(fd)
            self._holes = self.skip_holes and st.st_blocks * 512 < st.st_size and extents.tells_holes(fd)
        except BaseException:
            self.close()
            raise

    def work(self) -> None:
        """Hash leaves until there are none left. Raises nothing: errors are those of `future`."""
        while (number := next(self._turn)) < self.count:
            try:
                if self._failure is None:
                    if self.reads_ahead and not self._holes:  # a hole that is read ahead would fill memory
                        self._ask(number)
                    self._digests[number] = self._leaf(number)
            except BaseException as error:
                self._failure = self._failure or error
            with self._lock:
                self._left -= 1
                last = not self._left
            if last:
                self._finish()

    def _ask(self, number: int) -> None:
        """Let the system read leaves before they are hashed: to it, threads that take turns do not read in order."""
        for leaf in range(number + (LEAVES_AHEAD if number else 0), min(number + LEAVES_AHEAD + 1, self.count)):
            if leaf not in self._known:
                system.read_ahead(self._fd, leaf * LEAF_BYTES, LEAF_BYTES)

    def _leaf(self, number: int) -> bytes | None:
        known = self._known.get(number)
        if known is not None:
            return known
        start = number * LEAF_BYTES
        return leaves.hash_range(self._fd, start, min(start + LEAF_BYTES, self.size), holes=self._holes)

    def _finish(self) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            self.future.set_result(self._result())
        except BaseException as error:
            self.future.set_exception(error)
        finally:
            self.close()

    def _result(self) -> Hashed:
        digests = [digest for digest in self._digests if digest is not None]
        if len(digests) == self.count and os.fstat(self._fd).st_size == self.size:
            digest, size = self._digest_of(digests), self.size
            if self._done is not None:
                self._done(self._fd, digests)
        else:
            digests = []
            digest, size = leaves.hash_open_file(self._fd, lists=self._lists)
        if self._before is not None and not copyfile.unchanged(self._before, os.fstat(self._fd)):
            digests = []
            digest, size = leaves.hash_open_file(self._instead, lists=self._lists)
        if digests and self._lists is not None and size > LEAF_BYTES:
            self._lists[digest] = size, b"".join(digests)
        clone = self._instead if self._instead >= 0 else self._fd
        return digest, size, read_covered(clone) if self._attributes else NOT_READ

    def _digest_of(self, digests: list[bytes]) -> bytes:
        return digests[0] if self.size <= LEAF_BYTES else leaves.file_digest(self.size, b"".join(digests))

    def close(self) -> None:
        """Close the files, when nobody will work any more."""
        for fd in (self._fd, self._instead):
            if fd >= 0:
                os.close(fd)
        self._fd = self._instead = -1


class CopyHash(FileHash):
    """Copies a large file on the way, leaf by leaf, and keeps its holes; `target` is as long as it already.

    Shape: the result is an empty digest when the file changed its length meanwhile: the copy is no good then.
    """

    def __init__(self, fd: int, size: int, target: int, *, lists: Lists | None) -> None:
        super().__init__(fd, size, attributes=False, lists=lists)
        self._target = target

    def _leaf(self, number: int) -> bytes | None:
        at, end = number * LEAF_BYTES, min((number + 1) * LEAF_BYTES, self.size)
        digest = hashlib.sha256()
        while at < end:
            data, stop = leaves.data_from(self._fd, at, end) if self._holes else (at, end)
            if data - at == LEAF_BYTES:
                return leaves.ZERO_LEAF
            digest.update(bytes(data - at))
            at = data
            while at < stop:
                chunk = os.pread(self._fd, min(leaves.CHUNK_BYTES, stop - at), at)
                if not chunk:
                    return None
                digest.update(chunk)
                view = memoryview(chunk)
                while view:
                    written = os.pwrite(self._target, view, at)
                    at, view = at + written, view[written:]
        return digest.digest()

    def _result(self) -> Hashed:
        if None in self._digests or os.fstat(self._fd).st_size != self.size:
            return b"", 0, NOT_READ
        return super()._result()


def copy_by_all(source: int, target: int, size: int, lists: Lists | None) -> bytes:
    """Copy an open large file to an empty one, by all processors; return its digest, empty when it changed its length.

    Errors: OSError.
    """
    os.ftruncate(target, size)
    return _by_all(CopyHash(os.dup(source), size, target, lists=lists))[0]


def hash_by_all(
    fd: int, size: int, lists: Lists | None = None, known: dict[int, bytes] | None = None
) -> tuple[bytes, int]:
    """Return the digest of a large open file and its size, by all processors; `known` leaves are not read."""
    return _by_all(FileHash(os.dup(fd), size, attributes=False, lists=lists, known=known))


def _by_all(work: FileHash) -> tuple[bytes, int]:
    pool = Threads(min(os.cpu_count() or 1, work.count) - 1)
    try:
        for _ in range(pool.most):
            pool.submit(work.work)
        work.work()
        digest, read, _ = work.future.result()
        return digest, read
    finally:
        pool.end()
