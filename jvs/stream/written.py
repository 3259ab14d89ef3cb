"""The digests of files that a stream makes, taken of what it brings, so that nothing is read back.

Of a file that is made of one of the base, the leaves that nothing was written to are those of that one.
Source: jvs-stream(5); jvs-format(5), Tree hash.
"""

from __future__ import annotations

import hashlib
import os

from jvs.engine import traits
from jvs.fs import listing
from jvs.store import node_store
from jvs.tree import attributes, leaves, node, scan
from jvs.tree.leaves import DIGEST_BYTES, LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable
    from concurrent.futures import Future
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree.leaves import Lists
    from jvs.tree.node import Entry
    from jvs.tree.rows import Row
    from jvs.tree.threads import Threads
    from jvs.tree.visitor import Taken

    Inode = tuple[int, int]

_WORTH_BYTES = 256 << 10
"""Shorter parts are hashed at once: to hand one over costs more."""
_MOST_WAITING = 8


class InOrder:
    """One thread that does work in order while its owner goes on; a few pieces may wait for it."""

    def __init__(self) -> None:
        self._threads: Threads | None = None
        self._waiting: deque[Future[Any]] | None = None

    def do(self, work: Callable[[bytes | bytearray], None], data: bytes | bytearray) -> None:
        """Have something done with some bytes after all that was handed over before. Errors: those of the work."""
        if len(data) < _WORTH_BYTES and not self._waiting:
            work(data)
            return
        if self._threads is None or self._waiting is None:
            from collections import deque

            from jvs.tree.threads import Threads

            self._threads, self._waiting = Threads(1), deque()
        self._waiting.append(self._threads.submit(work, data))
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Wait until all of it is done. Errors: those of the work."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> None:
        """End the thread; what has not begun is dropped."""
        if self._threads is not None:
            self._threads.end()


class ContentHash:
    """The digest in `sha256-tree-2` of a file whose parts come in order; what lies between them is zeros."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._at = 0
        self._leaf = hashlib.sha256()
        self._digests: list[bytes] = []

    def skip(self, to: int) -> None:
        """Take what lies before a place as zeros."""
        while self._at < to:
            room = self._room()
            if room == LEAF_BYTES and to - self._at >= LEAF_BYTES:
                self._digests.append(leaves.ZERO_LEAF)
                self._at += LEAF_BYTES
                continue
            part = min(room, to - self._at, leaves.CHUNK_BYTES)
            self._update(memoryview(bytes(part)))

    def take_at(self, at: int, data: bytes | bytearray) -> None:
        """Take bytes at a place, with zeros before them up to those that came last."""
        self.skip(at)
        view = memoryview(data)
        while view:
            part = view[: self._room()]
            self._update(part)
            view = view[len(part) :]

    def _room(self) -> int:
        return LEAF_BYTES - self._at % LEAF_BYTES

    def _update(self, part: memoryview) -> None:
        self._leaf.update(part)
        self._at += len(part)
        if not self._at % LEAF_BYTES:
            self._digests.append(self._leaf.digest())
            self._leaf = hashlib.sha256()

    def result(self) -> tuple[bytes, bytes]:
        """Return the digest, and those of the leaves one after another, of which a small file has none."""
        self.skip(self._size)
        if self._size <= LEAF_BYTES:
            return (self._digests[0] if self._digests else self._leaf.digest()), b""
        if self._at % LEAF_BYTES:
            self._digests.append(self._leaf.digest())
        joined = b"".join(self._digests)
        return leaves.file_digest(self._size, joined), joined


class Written:
    """What a builder knows of the files that it made.

    Shape: `digests` by inode, of files that the stream brought as a whole; `leaves` by inode, the numbers of those that
    something was written to in a file of the base, with the path of that; `linked` paths that became other names.
    """

    def __init__(self) -> None:
        self.digests: dict[Inode, bytes | None] = {}
        self.leaves: dict[Inode, tuple[bytes, set[int]]] = {}
        self.linked: set[bytes] = set()
        self.lists: Lists = {}


class Base:
    """The tree of the snapshot that another one is built on: its entries by path, and the lists of its leaves."""

    def __init__(self, store: Store, record: Descriptor, lists: Callable[[], Lists]) -> None:
        self._trees = node_store.Trees(store)
        self._root = self._trees.root(record, rebuild=False)
        self._directories: dict[bytes, dict[bytes, Entry] | None] = {}
        self._give = lists
        self._lists: Lists | None = None

    def entry(self, path: bytes) -> Entry | None:
        """Return the entry at a path; None when there is none, or the index does not know."""
        directory, _, name = path.rpartition(b"/")
        return (self._directory(directory) or {}).get(name)

    def _directory(self, path: bytes) -> dict[bytes, Entry] | None:
        if path not in self._directories:
            digest = None if self._root is None else self._root[2]
            if path:
                above = self.entry(path)
                digest = above[4] if above is not None and above[1] == listing.DIR else None
            data = None if digest is None else self._trees.data(digest)
            found = None if data is None else {entry[0]: entry for entry in node.decode_node(data)}
            self._directories[path] = found
        return self._directories[path]

    def lists(self) -> Lists:
        """Return the lists of leaves, none of them proved yet."""
        if self._lists is None:
            self._lists = self._give()
        return self._lists

    def listed(self, entry: Entry) -> bytes | None:
        """Return the digests of the leaves of a large file, proved by its own; None when they are not known."""
        found = self.lists().get(entry[4])
        if found is None or found[0] != entry[3] or not leaves.is_list_of(entry[4], *found):
            return None
        return found[1]


class WrittenHasher(scan.Hasher):
    """Hashes a tree that was just built, without reading what is known: contents that came, and those of the base."""

    def __init__(self, written: Written, base: Base | None, *, jobs: int, slow_calls: bool) -> None:
        super().__init__(jobs=jobs, slow_calls=slow_calls)
        self._written = written
        self._base = base

    def take(
        self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> Taken | None:
        """Give what is known of a file, and hash what is not."""
        if listing.kind_of(st.st_mode) == listing.FILE:
            digest = self._known(path, st)
            if digest is not None:
                if digest in self._written.lists:
                    self.lists[digest] = self._written.lists[digest]
                return digest, st.st_size, attributes.read_special(fd, name)
        return super().take(inside, fd, path, name, st, old)

    def take_all(
        self,
        inside: Any,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        row: tuple[Row, bytes] | None,
    ) -> None:
        """Leave it: what is known is known of each file by itself."""

    def _known(self, path: bytes, st: os.stat_result) -> bytes | None:
        inode = (st.st_dev, st.st_ino)
        if inode in self._written.digests:
            return self._written.digests[inode]
        if self._base is None or path in self._written.linked:
            return None
        entry = self._base.entry(path)
        same = entry is not None and entry[1] == listing.FILE and entry[3] == st.st_size
        return entry[4] if same and entry is not None else None

    def known_leaves(self, fd: int, path: bytes, old: Entry | None) -> dict[int, bytes]:
        """Return the leaves of a file that are those of the file of the base that it was made of."""
        st = os.fstat(fd)
        found = self._written.leaves.get((st.st_dev, st.st_ino))
        if found is None or self._base is None:
            return {}
        origin, touched = found
        entry = self._base.entry(origin)
        listed = None if entry is None or entry[3] <= LEAF_BYTES else self._base.listed(entry)
        if entry is None or listed is None:
            return {}
        whole = leaves.count(st.st_size) if entry[3] == st.st_size else min(entry[3], st.st_size) // LEAF_BYTES
        at = DIGEST_BYTES
        return {i: listed[i * at : (i + 1) * at] for i in range(whole) if i not in touched}


def hash_built(target: Below, written: Written, base: Base | None, *, jobs: int) -> scan.ScanResult:
    """Hash a tree that was just built, reading only what is not known. Errors: E_IO."""
    with_inode, btrfs = traits.scan_flags(target)
    worker = WrittenHasher(written, base, jobs=jobs, slow_calls=not with_inode)
    return scan.Scanner(worker, btrfs=btrfs, one_mount=True).run(target)
