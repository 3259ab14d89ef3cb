"""Some files of one directory that are dealt with together: in a thread, in another process, or a little later.

Source: jvs-engines(7), Speed.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat

from jvs.fs import copyfile, listing, paths
from jvs.fs.xattrs import read_covered
from jvs.tree import leaves
from jvs.tree.leaves import NOT_READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from concurrent.futures import Future
    from typing import Any

    from jvs.tree.workers import Workers

    Hashed = tuple[Any, int, dict[bytes, bytes] | None]
    Answers = list[Hashed | OSError]

MOST_FILES = 256
MOST_BYTES = 4 << 20
"""Of the contents in one batch: the next process must not wait long for its share."""


class Batch:
    """Files of one directory, until there is an answer for each: what it was hashed to, or why not."""

    __slots__ = ("answers", "directory", "fd", "future", "inside", "likes", "most", "names", "size", "stats")

    def __init__(self, fd: int, directory: bytes, inside: Any, most: int) -> None:
        self.directory = directory
        self.inside = inside
        self.fd = os.dup(fd)  # the walk closes its own before the turn of the batch comes
        self.names: list[bytes] = []
        self.stats: list[os.stat_result] = []
        self.size = 0
        self.likes: list[tuple[int, Any]] = []
        """Places of some, and where they may lie already; the business of who copies."""
        self.most = most
        self.future: Future[Answers] | None = None
        self.answers: Answers | None = None

    def add(self, name: bytes, st: os.stat_result) -> int:
        """Add a file; return its place."""
        self.names.append(name)
        self.stats.append(st)
        self.size += st.st_size
        return len(self.names) - 1

    def is_full(self) -> bool:
        """Answer whether nothing more is to be added."""
        return len(self.names) >= self.most or self.size >= MOST_BYTES

    def all_stamps(self) -> bytes:
        """Return the stamps of its files, one after the other."""
        return listing.stamps(self.stats, with_inode=True, with_dirs=False)

    def give_up(self) -> None:
        """Do nothing of it: for whoever waits for one of its files, that is gone."""
        self.answers = [listing.Vanished(errno.ENOENT, os.strerror(errno.ENOENT), name) for name in self.names]
        self.close()

    def close(self) -> None:
        """Release the directory."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class Promise:
    """The place of one file in a batch; answers like a future."""

    __slots__ = ("batch", "position", "workers")

    def __init__(self, batch: Batch, position: int, workers: Workers) -> None:
        self.batch = batch
        self.position = position
        self.workers = workers

    def done(self) -> bool:
        """Answer whether `result` returns at once."""
        batch = self.batch
        return batch.answers is not None or (batch.future is not None and batch.future.done())

    def result(self) -> Hashed:
        """Return the hash. Errors: OSError of that file; JvsError of the process that had it."""
        batch = self.batch
        if batch.answers is None and batch.future is not None:
            batch.answers = batch.future.result()
        if batch.answers is None:
            self.workers.wait()
        assert batch.answers is not None
        found = batch.answers[self.position]
        if isinstance(found, OSError):
            raise found
        return found


class Together:
    """All files of one directory, in batches of which each has begun: what is common to them is done once."""

    __slots__ = ("batches", "workers")

    def __init__(self, batches: list[Batch], workers: Workers) -> None:
        self.batches = batches
        self.workers = workers

    def done(self) -> bool:
        """Answer whether `answers` returns at once."""
        return all(batch.answers is not None for batch in self.batches)

    def answers(self) -> Answers:
        """Return what was found out of each file, in the order of their names. Errors: as `Workers.offer`."""
        found: Answers = []
        for batch in self.batches:
            if batch.answers is None:
                self.workers.wait()
            assert batch.answers is not None
            found += batch.answers
            batch.stats = []  # promises may keep the batch until the end of the walk
        return found

    def promises(self, places: list[int]) -> list[Promise]:
        """Return what answers for some of the files, by themselves; `places` are in order."""
        found = []
        number = first = 0
        for place in places:
            while place - first >= len(self.batches[number].names):
                first += len(self.batches[number].names)
                number += 1
            found.append(Promise(self.batches[number], place - first, self.workers))
        return found


def hash_files(fd: int, names: Iterable[bytes], *, plain: bool, lists: leaves.Lists | None = None) -> Answers:
    """Hash files of an open directory; one that fails brings its error, and the others go on."""
    return [_hash_small(fd, name) or _hash_one(fd, name, plain, lists) for name in names]


def _hash_small(fd: int, name: bytes) -> Hashed | None:
    """Hash a file whose content comes with one call, with as few calls as there can be; None when it is no such file.

    Where it is short, its digest is SHA-256 of the content with each algorithm. What is read is as long as the open
    file says: a read of one byte more tells that it did not grow since.
    """
    try:
        file_fd, st = paths.open_file_with_stat(name, fd)
    except OSError:
        return None
    try:
        size = st.st_size
        if size >= copyfile.FIRST_BYTES:
            return None
        data = os.pread(file_fd, size + 1, 0)
        if len(data) != size:
            return None
        return hashlib.sha256(data).digest(), size, read_covered(file_fd)
    except OSError:
        return None
    finally:
        os.close(file_fd)


def _hash_one(fd: int, name: bytes, plain: bool, lists: leaves.Lists | None) -> Hashed | OSError:
    """Hash a file, or return why not: `listing.Vanished` only when it is proved to be gone."""
    failure: OSError | None = None
    for _ in range(listing.TRIES):
        try:
            return hash_and_close(paths.open_file(name, fd), True, plain, lists)
        except OSError as error:
            failure = error
        if not listing.may_have_changed(failure):
            break
        try:
            if not stat.S_ISREG(listing.look_again(fd, name).st_mode):
                break
        except OSError as error:
            failure = error
            if isinstance(error, listing.Vanished):
                break
    assert failure is not None
    return failure


def hash_and_close(fd: int, attributes: bool, plain: bool, lists: leaves.Lists | None = None) -> Hashed:
    """Hash an open file and close it; `attributes` reads its covered xattrs as well. Errors: OSError."""
    try:
        digest, size = leaves.hash_open_file(fd, plain=plain, lists=lists)
        return digest, size, read_covered(fd) if attributes else NOT_READ
    finally:
        os.close(fd)


def as_plain(answers: Answers) -> list[Any]:
    """Return answers as values that travel between processes."""
    return [
        (isinstance(found, listing.Vanished), found.errno, found.strerror) if isinstance(found, OSError) else [*found]
        for found in answers
    ]


def from_plain(values: list[Any]) -> Answers:
    """Return what `as_plain` was given."""
    return [
        tuple(value) if isinstance(value, list) else (listing.Vanished if value[0] else OSError)(value[1], value[2])
        for value in values
    ]
