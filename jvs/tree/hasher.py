"""Hashing what a walk meets: inline, in threads for big files, in batches where each call is slow.

Source: jvs-engines(7), Speed.
"""

from __future__ import annotations

import os
import stat

from jvs.fs import copyfile, listing, paths
from jvs.fs.xattrs import read_covered
from jvs.tree import leaves, node
from jvs.tree.attributes import read_special
from jvs.tree.leaves import NOT_READ as NOT_READ
from jvs.tree.visitor import Visitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from jvs.tree.file_hash import FileHash
    from jvs.tree.node import Entry
    from jvs.tree.shared_leaves import SharedLeaves
    from jvs.tree.threads import Threads
    from jvs.tree.visitor import Taken

    Hashed = tuple[bytes, int, dict[bytes, bytes] | None]

BIG_BYTES = leaves.LEAF_BYTES
WATCHED_BYTES = 256 << 10
"""A single write of less is over before its stamp is old enough to be kept."""
BATCH_FILES = 32
LATENCY_THREADS = 8


class Hasher(Visitor):
    """Hashes what the index does not know; the base of those who do more.

    `jobs` threads hash big files, each of them all together. With `slow_calls` small files are hashed in threads as
    well, some at a time: on FUSE a call waits for another process, and waiting for several at once costs no more than
    for one. `plain` hashes as `sha256-tree-1` does.
    """

    def __init__(
        self,
        *,
        jobs: int = 1,
        allow_unreadable: bool = False,
        slow_calls: bool = False,
        plain: bool = False,
    ) -> None:
        super().__init__(allow_unreadable=allow_unreadable)
        self.jobs = jobs
        self.plain = plain
        self.shared: Callable[[], SharedLeaves] | None = None
        """Gives what a snapshot knows of large files that share storage with its own."""
        self._shared: SharedLeaves | None = None
        self._open: set[FileHash] = set()
        self.slow_calls = slow_calls
        self._pool: Threads | None = None
        self._running: list[Future[Any]] = []
        self._batch: _Batch | None = None

    def take(
        self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> Taken | None:
        """Hash an entry that is new or changed."""
        kind = listing.kind_of(st.st_mode)
        try:
            if kind != listing.FILE:
                xattrs = None if kind == listing.SYMLINK else read_special(fd, name)
                size = st.st_size if kind == listing.SYMLINK else 0
                return node.special_digest(kind, name, st, fd), size, xattrs
            if self.slow_calls and st.st_size < BIG_BYTES:
                return self._put(fd, path[: -len(name)], name), st.st_size, None
            file_fd = paths.open_file(name, fd)
        except PermissionError as error:
            self.refuse(path, error)
            return None
        self.watch(file_fd, path, st.st_size)
        known = self.known_leaves(file_fd, path, old) if st.st_size > BIG_BYTES else None
        return self.hash_file(file_fd, st.st_size, known)

    def watch(self, file_fd: int, path: bytes, size: int) -> None:
        """Note a file that somebody may be writing just now: its stamp may be the same when that is done."""
        if size >= WATCHED_BYTES and copyfile.is_open_for_writing(file_fd):
            self.busy.add(path)

    def known_leaves(self, fd: int, path: bytes, old: Entry | None) -> dict[int, bytes]:
        """Return the leaves of an open file that are those of a snapshot, proved without reading."""
        if self.shared is None or self.plain:
            return {}
        if self._shared is None:
            self._shared = self.shared()
        return self._shared.known(fd, path, old)

    def hash_file(self, file_fd: int, size: int, known: dict[int, bytes] | None = None) -> Taken:
        """Hash an open file, in other threads when it is big; takes over the descriptor."""
        try:
            if size > BIG_BYTES:
                big, file_fd = file_fd, -1
                return self.hash_in_thread(big, size, known=known), size, None
            digest, read = leaves.hash_open_file(file_fd, plain=self.plain, lists=self.lists)
            return digest, read, read_covered(file_fd)
        finally:
            if file_fd >= 0:
                os.close(file_fd)

    def hash_in_thread(
        self, file_fd: int, size: int, *, attributes: bool = True, known: dict[int, bytes] | None = None
    ) -> Future[Hashed]:
        """Hash an open big file in threads, which close it; `attributes` reads its xattrs as well.

        `known` are leaves that need not be read: of an immutable file.
        """
        if self.plain:
            return self.run_in_thread(self.jobs, _hash_and_close, file_fd, attributes, True)
        from jvs.tree.file_hash import FileHash

        return self.hash_leaves(FileHash(file_fd, size, attributes=attributes, lists=self.lists, known=known))

    def hash_original(
        self,
        original: int,
        clone: int,
        before: os.stat_result,
        *,
        attributes: bool = True,
        known: dict[int, bytes] | None = None,
    ) -> Future[Hashed]:
        """Hash a big file by its original, whose stat was `before` when both had one content; both are closed.

        `known` are leaves that need not be read.
        """
        from jvs.tree.file_hash import FileHash

        work = FileHash(
            *(original, before.st_size),
            attributes=attributes,
            lists=self.lists,
            instead=clone,
            before=before,
            known=known,
        )
        return self.hash_leaves(work)

    def hash_leaves(self, work: FileHash) -> Future[Hashed]:
        """Let as many threads as there are work on one file."""
        self._open.add(work)
        work.future.add_done_callback(lambda _: self._open.discard(work))
        if self.jobs == 1:
            work.work()
        else:
            for _ in range(min(self.jobs, work.count)):
                self.run_in_thread(self.jobs, work.work)
        return work.future

    def run_in_thread(self, threads: int, work: Any, *args: Any) -> Future[Any]:
        """Do some work in one of the threads; waits while there is too much of it already."""
        if self._pool is None:
            from jvs.tree.threads import Threads

            self._pool = Threads(LATENCY_THREADS if self.slow_calls else self.jobs)
        while len(self._running) >= 2 * threads:  # bounds the open files
            self._running.pop(0).exception()
        future = self._pool.submit(work, *args)
        self._running.append(future)
        return future

    def _put(self, fd: int, directory: bytes, name: bytes) -> _Promise:
        """Put a small file into the batch of its directory, which its path tells: numbers of descriptors come again."""
        batch = self._batch
        if batch is None or batch.directory != directory or len(batch.names) >= BATCH_FILES:
            self.flush()
            batch = self._batch = _Batch(fd, directory, self.plain, self.lists)
        batch.names.append(name)
        return _Promise(batch, len(batch.names) - 1)

    def flush(self) -> None:
        """Let the batch begin that is being collected."""
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.future = self.run_in_thread(LATENCY_THREADS, batch.work)

    def close(self) -> None:
        """End the threads."""
        if self._batch is not None:
            self._batch.drop()
            self._batch = None
        if self._pool is not None:
            self._pool.end()
        if self._shared is not None:
            self._shared.close()
        for work in list(self._open):  # an error ended the walk before its turn came
            work.close()
        self._open.clear()


class _Batch:
    """Some files of one directory that one thread hashes."""

    def __init__(self, fd: int, directory: bytes, plain: bool, lists: leaves.Lists) -> None:
        self.plain = plain
        self.lists = lists
        self.directory = directory
        self.fd = os.dup(fd)  # the walk closes its own before the thread is done
        self.names: list[bytes] = []
        self.future: Future[list[Hashed | OSError]] | None = None

    def work(self) -> list[Hashed | OSError]:
        """Hash them all; a file that fails brings its error, and the others go on."""
        try:
            return [self._one(name) for name in self.names]
        finally:
            os.close(self.fd)

    def _one(self, name: bytes) -> Hashed | OSError:
        """Hash a file, or return why not: `listing.Vanished` only when it is proved to be gone."""
        failure: OSError | None = None
        for _ in range(listing.TRIES):
            try:
                return _hash_and_close(paths.open_file(name, self.fd), True, self.plain, self.lists)
            except OSError as error:
                failure = error
            if not listing.may_have_changed(failure):
                break
            try:
                if not stat.S_ISREG(listing.look_again(self.fd, name).st_mode):
                    break
            except OSError as error:
                failure = error
                if isinstance(error, listing.Vanished):
                    break
        assert failure is not None
        return failure

    def drop(self) -> None:
        """Release a batch that never began."""
        os.close(self.fd)


class _Promise:
    """The place of one file in a batch; answers like a future."""

    __slots__ = ("batch", "position")

    def __init__(self, batch: _Batch, position: int) -> None:
        self.batch = batch
        self.position = position

    def result(self) -> Hashed:
        """Return the hash. Errors: OSError of that file."""
        assert self.batch.future is not None
        found = self.batch.future.result()[self.position]
        if isinstance(found, OSError):
            raise found
        return found


def _hash_and_close(fd: int, attributes: bool, plain: bool, lists: leaves.Lists | None = None) -> Hashed:
    try:
        digest, size = leaves.hash_open_file(fd, plain=plain, lists=lists)
        return digest, size, read_covered(fd) if attributes else NOT_READ
    finally:
        os.close(fd)


def hash_quickly(
    fd: int, *, plain: bool = False, lists: leaves.Lists | None = None, known: dict[int, bytes] | None = None
) -> tuple[bytes, int]:
    """Return the digest and the size of an open file; a large one is read by all processors but for `known` leaves."""
    size = os.fstat(fd).st_size
    if plain or size <= BIG_BYTES:
        return leaves.hash_open_file(fd, plain=plain, lists=lists)
    from jvs.tree.file_hash import hash_by_all

    return hash_by_all(fd, size, lists, known)
