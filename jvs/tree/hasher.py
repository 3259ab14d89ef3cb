"""Hashing what a walk meets: inline, in threads for big files, in batches where each call is slow.

Source: jvs-engines(7), Speed.
"""

from __future__ import annotations

import os

from jvs.fs import copyfile, listing, paths
from jvs.fs.xattrs import read_covered
from jvs.tree import batches, leaves, node, workers
from jvs.tree.attributes import read_special
from jvs.tree.batches import Batch, Promise, Together
from jvs.tree.leaves import NOT_READ as NOT_READ
from jvs.tree.visitor import Visitor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future
    from typing import Any

    from jvs.tree.file_hash import FileHash
    from jvs.tree.node import Entry
    from jvs.tree.rows import Row
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

    `jobs` threads hash big files, each of them all together. Small files of large trees are hashed by several
    processes, those of a directory together. With `slow_calls` they are hashed in threads instead, some at a time: on
    FUSE a call waits for another process, and waiting for several at once costs no more than for one. `plain` hashes
    as `sha256-tree-1` does.
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
        self._batch: Batch | None = None
        self._met = 0
        self.workers = workers.Workers(self.work_along, jobs)

    def take(
        self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> Taken | None:
        """Hash an entry that is new or changed."""
        small = st.st_size < BIG_BYTES and listing.kind_of(st.st_mode) == listing.FILE
        if small and (self.slow_calls or self.shares(st)):
            return self.put(inside, fd, path, name, st), st.st_size, None
        return self.take_here(fd, path, name, st, old)

    def take_here(self, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None) -> Taken | None:
        """Hash an entry in this process."""
        kind = listing.kind_of(st.st_mode)
        try:
            if kind != listing.FILE:
                xattrs = None if kind == listing.SYMLINK else read_special(fd, name)
                size = st.st_size if kind == listing.SYMLINK else 0
                return node.special_digest(kind, name, st, fd), size, xattrs
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
            return self.run_in_thread(self.jobs, batches.hash_and_close, file_fd, attributes, True)
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

            if not self.slow_calls:
                self.workers.begin()  # later this process has threads, and cannot fork
            self._pool = Threads(LATENCY_THREADS if self.slow_calls else self.jobs)
        while len(self._running) >= 2 * threads:  # bounds the open files
            self._running.pop(0).exception()
        future = self._pool.submit(work, *args)
        self._running.append(future)
        return future

    def shares(self, st: os.stat_result) -> bool:
        """Count a file, and answer whether it is to be put into a batch for other processes."""
        return self.meets(1) and st.st_size < WATCHED_BYTES

    def meets(self, count: int) -> bool:
        """Count files that may be shared; answer whether there are other processes, as from many files on."""
        self._met += count
        if self._met >= workers.LEAST_ENTRIES:
            self.workers.begin()
        return self.workers.are_there

    def put(self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result) -> Promise:
        """Put a small file into the batch of its directory, which its path tells: numbers of descriptors come again."""
        batch, directory = self._batch, path[: -len(name)]
        if batch is None or batch.directory != directory or batch.is_full():
            self.flush()
            batch = self._batch = Batch(fd, directory, inside, BATCH_FILES if self.slow_calls else batches.MOST_FILES)
        return Promise(batch, batch.add(name, st), self.workers)

    def take_all(
        self,
        inside: Any,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        row: tuple[Row, bytes] | None,
    ) -> Together | None:
        """Let all processes hash the files of a directory, when they are small."""
        return self.take_batches(inside, fd, path, names, stats)

    def take_batches(
        self,
        inside: Any,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        likes: Sequence[Any] = (),
    ) -> Together | None:
        """Begin batches of all files of a directory; None when they are few, or some are large.

        `likes` is empty, or is for each of them what its batch is to know.
        """
        if self.slow_calls or len(names) < workers.LEAST_FILES or not self._are_small(stats):
            return None
        few = self._met + len(names) < workers.LEAST_ENTRIES
        if few or not self.meets(len(names)):  # few are counted when they are taken one by one
            return None
        self.flush()  # what waits to be begun would keep everything after it from being finished
        directory = path + b"/" if path else b""
        parts = []
        start = 0
        while start < len(names):
            end, size = start, 0
            while end < len(names) and end - start < batches.MOST_FILES and size < batches.MOST_BYTES:
                size += stats[end].st_size
                end += 1
            batch = Batch(fd, directory, inside, batches.MOST_FILES)
            batch.names, batch.stats, batch.size = names[start:end], stats[start:end], size
            batch.likes = list(enumerate(likes[start:end]))
            parts.append(batch)
            self._begin(batch)
            start = end
        return Together(parts, self.workers)

    def _are_small(self, stats: list[os.stat_result]) -> bool:
        return max([st.st_size for st in stats]) < min(WATCHED_BYTES, BIG_BYTES)

    def flush(self) -> None:
        """Let the batch begin that is being collected."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        if self.slow_calls:
            batch.future = self.run_in_thread(LATENCY_THREADS, self._do_and_close, batch)
            return
        self._begin(batch)

    def _begin(self, batch: Batch) -> None:
        """Hand a batch to another process, or do it here; release its directory."""
        try:
            if not self.give(batch):
                batch.answers = self.do_batch(batch)
        finally:
            batch.close()

    def give(self, batch: Batch) -> bool:
        """Hand a batch to another process; False when it is to be done here."""
        if len(batch.names) < workers.LEAST_FILES:
            return False
        return self.workers.offer(*self.order(batch), lambda value: self.answered(batch, value))

    def _do_and_close(self, batch: Batch) -> batches.Answers:
        try:
            return self.do_batch(batch)
        finally:
            batch.close()

    def do_batch(self, batch: Batch) -> batches.Answers:
        """Do in this process what a batch asks for."""
        return batches.hash_files(batch.fd, batch.names, plain=self.plain, lists=self.lists)

    def order(self, batch: Batch) -> tuple[Any, list[int]]:
        """Return what another process has to know of a batch, and the descriptors."""
        return batch.names, [batch.fd]

    def work_along(self, order: Any, descriptors: list[int]) -> Any:
        """Do in another process what a batch asks for. Shape: see `order`, `answered`."""
        return batches.as_plain(batches.hash_files(descriptors[0], order, plain=self.plain))

    def answered(self, batch: Batch, value: Any) -> None:
        """Take what another process found."""
        batch.answers = batches.from_plain(value)

    def close(self) -> None:
        """End the threads and processes."""
        self.workers.end()
        if self._batch is not None:
            self._batch.close()
            self._batch = None
        if self._pool is not None:
            self._pool.end()
        if self._shared is not None:
            self._shared.close()
        for work in list(self._open):  # an error ended the walk before its turn came
            work.close()
        self._open.clear()


def hash_quickly(
    fd: int, *, plain: bool = False, lists: leaves.Lists | None = None, known: dict[int, bytes] | None = None
) -> tuple[bytes, int]:
    """Return the digest and the size of an open file; a large one is read by all processors but for `known` leaves."""
    size = os.fstat(fd).st_size
    if plain or size <= BIG_BYTES:
        return leaves.hash_open_file(fd, plain=plain, lists=lists)
    from jvs.tree.file_hash import hash_by_all

    return hash_by_all(fd, size, lists, known)
