"""Reading many payloads in one run, each stored byte once.

What has other names was read under the first of them: a file with several links by its inode, and on XFS and btrfs
parts of files by their places on the disk. No stamp and no index is believed: where the system does not say that bytes
are the same, they are read. What was remembered may be overtaken by something that moves extents meanwhile; so
whatever does not fit is read again without any memory before it is called damage.
Source: jvs-verify(1); jvs-engines(7), Shared extents.
"""

from __future__ import annotations

import os
from functools import partial
from threading import Lock

from jvs import progress
from jvs.engine import traits
from jvs.fs import extents, listing
from jvs.fs.xattrs import read_covered
from jvs.tree import leaves, scan
from jvs.tree.batches import Batch, Together
from jvs.tree.file_hash import FileHash
from jvs.tree.hasher import BIG_BYTES, Hasher
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.extents import Device, Extent
    from jvs.fs.rooted import Below
    from jvs.tree.batches import Hashed, Promise
    from jvs.tree.builder import ScanResult
    from jvs.tree.node import Entry
    from jvs.tree.rows import Row
    from jvs.tree.visitor import Taken

    Place = tuple[Any, ...]

LEAST_BYTES = 4096
"""Smaller files are read: asking for their places costs more."""
MOST = 500_000
"""More inodes, or more places, are not remembered: about 200 MB."""


class Memory:
    """What was read in this run, by inodes and by places; `read_bytes` says how much that was."""

    def __init__(self, total_bytes: int = 0, *, many: bool = True) -> None:
        self.many = many
        """Whether places are worth asking for: more than one payload will be read."""
        self.total_bytes = total_bytes
        """How many bytes all payloads hold, each by itself."""
        self.inodes: dict[tuple[int, int, bool], Taken] = {}
        self.places: dict[Place, bytes] = {}
        self.read_bytes = 0
        self._lock = Lock()

    def note_read(self, count: int) -> None:
        """Add to what was read, from any thread."""
        with self._lock:
            self.read_bytes += count

    def note_places(self, keys: list[Place | None], digests: list[bytes]) -> None:
        """Remember what lies in some places."""
        with self._lock:
            if len(self.places) < MOST:
                self.places.update((key, digest) for key, digest in zip(keys, digests, strict=True) if key is not None)


def _answer(taken: Taken) -> Hashed | OSError:
    """Return what came of reading an inode."""
    if isinstance(taken[0], bytes):
        return taken
    try:
        found: Hashed = taken[0].result()
        return found
    except OSError as error:
        return error


class ReadingHasher(Hasher):
    """Hashes a payload, but for what its memory holds; `plain` is as for any hasher."""

    def __init__(self, memory: Memory, *, jobs: int, slow_calls: bool, plain: bool) -> None:
        super().__init__(jobs=jobs, slow_calls=slow_calls, plain=plain)
        self._memory = memory
        self._device: Device | None = None

    def enter(self, above: Any, name: bytes, path: bytes, fd: int, st: os.stat_result) -> Any:
        """Find out whether this filesystem tells places."""
        if not path:
            self._device = extents.device_of(fd) if self._memory.many else None

    def take(
        self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> Taken | None:
        """Hash an entry, or return what its inode was hashed to."""
        if listing.kind_of(st.st_mode) != listing.FILE:
            return super().take(inside, fd, path, name, st, old)
        progress.advance("verify", st.st_size, self._memory.total_bytes, "bytes")
        if self.slow_calls and st.st_size <= BIG_BYTES:
            return super().take(inside, fd, path, name, st, old)
        key = st.st_dev, st.st_ino, self.plain
        known = self._memory.inodes.get(key) if st.st_nlink > 1 else None
        if known is not None:
            return known
        taken = super().take(inside, fd, path, name, st, old)
        if taken is not None and st.st_nlink > 1 and len(self._memory.inodes) < MOST:
            self._memory.inodes[key] = taken
        return taken

    def shares(self, st: os.stat_result) -> bool:
        """Answer whether a file may be read by another process, which learns no places."""
        return (not self._memory.many or st.st_size < LEAST_BYTES) and super().shares(st)

    def put(self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result) -> Promise:
        """Put a file into a batch, which is read."""
        self._memory.note_read(st.st_size)
        return super().put(inside, fd, path, name, st)

    def take_all(
        self,
        inside: Any,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        row: tuple[Row, bytes] | None,
    ) -> Together | None:
        """Let all processes hash the files of a directory, unless something is known of one of them."""
        memory, plain = self._memory, self.plain
        linked = [(i, (st.st_dev, st.st_ino, plain)) for i, st in enumerate(stats) if st.st_nlink > 1]
        known = [taken for _, key in linked if (taken := memory.inodes.get(key)) is not None]
        if known:
            return self._all_known(fd, path, stats, known) if len(known) == len(stats) else None
        if self.slow_calls or (memory.many and max([st.st_size for st in stats]) >= LEAST_BYTES):
            return None
        together = super().take_all(inside, fd, path, names, stats, row)
        if together is None:
            return None
        size = sum([st.st_size for st in stats])
        progress.advance("verify", size, memory.total_bytes, "bytes")
        memory.note_read(size)
        if len(memory.inodes) < MOST:
            for (i, key), promise in zip(linked, together.promises([i for i, _ in linked]), strict=True):
                memory.inodes[key] = promise, stats[i].st_size, None
        return together

    def _all_known(self, fd: int, path: bytes, stats: list[os.stat_result], known: list[Taken]) -> Together:
        """Answer for a directory of which each inode was read before."""
        progress.advance("verify", sum([st.st_size for st in stats]), self._memory.total_bytes, "bytes")
        batch = Batch(fd, path, None, len(stats))
        batch.answers = [_answer(taken) for taken in known]
        batch.close()
        return Together([batch], self.workers)

    def hash_file(self, file_fd: int, size: int, known: dict[int, bytes] | None = None) -> Taken:
        """Hash an open file, but for parts whose places are remembered; takes over the descriptor."""
        if size <= BIG_BYTES or self.plain:
            return self._hash_whole(file_fd, size)
        keys = self._keys(file_fd, size, LEAF_BYTES)
        places = self._memory.places
        found = {i: places[key] for i, key in enumerate(keys) if key is not None and key in places}
        work = FileHash(file_fd, size, known=found, lists=self.lists, done=partial(self._note, keys, found))
        return self.hash_leaves(work), size, None

    def _hash_whole(self, file_fd: int, size: int) -> Taken:
        try:
            key = self._keys(file_fd, size, size)[0] if size >= LEAST_BYTES else None
            digest = self._memory.places.get(key) if key is not None else None
            if digest is None:
                digest, size = leaves.hash_open_file(file_fd, plain=self.plain)
                self._memory.note_read(size)
                self._memory.note_places([key], [digest])
            return digest, size, read_covered(file_fd)
        finally:
            os.close(file_fd)

    def _note(self, keys: list[Place | None], found: dict[int, bytes], fd: int, digests: list[bytes]) -> None:
        """Remember the leaves of a file that was read, unless something moved them meanwhile."""
        size = os.fstat(fd).st_size
        read = [i for i in range(len(digests)) if i not in found]
        self._memory.note_read(sum(min(LEAF_BYTES, size - i * LEAF_BYTES) for i in read))
        if any(key is not None for key in keys) and self._keys(fd, size, LEAF_BYTES) == keys:
            self._memory.note_places(keys, digests)

    def _keys(self, fd: int, size: int, part: int) -> list[Place | None]:
        """Return for each part of a file a value that only equal bytes have; None for a part that has to be read.

        A hole has no places, and is equal to every other one.
        """
        count = -(-size // part)
        device = self._device
        found = extents.places(fd) if device is not None else None
        if found is None or device is None:
            return [None] * count
        realtime = device[0] == "xfs" and extents.is_realtime(fd)
        kind = (device, realtime, self.plain and size > LEAF_BYTES)
        pieces = _pieces(found, part, count)
        return [
            None if any(place == extents.UNKNOWN for _, place, _ in own) else (kind, min(part, size - i * part), own)
            for i, own in enumerate(pieces)
        ]


def _pieces(found: list[Extent], part: int, count: int) -> list[tuple[Extent, ...]]:
    """Return the extents of each part of a file, counted from where it begins."""
    pieces: list[list[Extent]] = [[] for _ in range(count)]
    for begin, place, length in found:
        at = begin
        while at < begin + length and at // part < count:
            i = at // part
            end = min(begin + length, (i + 1) * part)
            pieces[i].append((at - i * part, place if place == extents.UNKNOWN else place + at - begin, end - at))
            at = end
    return [tuple(own) for own in pieces]


def hash_payload(path: Below, memory: Memory, *, jobs: int, plain: bool) -> ScanResult:
    """Hash a payload, reading what its memory does not hold. Errors: E_IO."""
    with_inode, btrfs = traits.scan_flags(path)
    worker = ReadingHasher(memory, jobs=jobs, slow_calls=not with_inode, plain=plain)
    try:
        return scan.Scanner(worker, btrfs=btrfs, one_mount=True).run(path)
    except BaseException:
        memory.inodes.clear()  # some of them were never hashed
        raise
