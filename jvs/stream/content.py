"""Which parts of a file go into a stream: all its data, or those in which it differs from a file that is there.

Only leaves whose digests differ are read; in them only the blocks that differ are sent. Holes stay holes.
Source: jvs-stream(5); jvs-format(5), Leaf lists.
"""

from __future__ import annotations

import os

from jvs.fs import extents
from jvs.stream import items
from jvs.tree import leaves
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jvs.stream.items import ItemWriter
    from jvs.tree.leaves import Lists
    from jvs.tree.node import Entry

BLOCK_BYTES = 64 << 10
"""What differs is sent in blocks of this size; smaller files are sent as a whole."""


class Changed:
    """Finds and writes the parts of an open file that another one, if there is one, does not have."""

    def __init__(self, fd: int, size: int, source: int, entry: Entry, known: Entry | None) -> None:
        self._fd = fd
        self._size = size
        self._source = source
        self._entry = entry
        self._known = known
        self._holes = extents.tells_holes(fd)
        self._had = 0 if source < 0 else os.fstat(source).st_size

    def write(self, writer: ItemWriter, lists: Callable[[], Lists]) -> None:
        """Write the items of the parts, in their order. Errors: OSError; E_PARTIAL_SNAPSHOT for a file cut short."""
        if self._source < 0:
            for start, stop in self._data(0, self._size):
                self._write_data(writer, start, stop)
            return
        for start, stop in self._candidates(lists):
            for at in range(start, stop, items.DATA_BYTES):
                self._compare(writer, at, min(at + items.DATA_BYTES, stop))

    def _data(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of a range that hold data."""
        while start < stop:
            begin, end = leaves.data_from(self._fd, start, stop) if self._holes else (start, stop)
            if begin >= end:
                return
            yield begin, end
            start = end

    def _candidates(self, lists: Callable[[], Lists]) -> list[tuple[int, int]]:
        """Return the parts that may differ: by the leaves of both files, where those are known."""
        known = self._known
        if known is not None and max(self._size, known[3]) > LEAF_BYTES:
            found = lists()
            one, other = (found.get(e[4]) if e[3] > LEAF_BYTES else (e[3], e[4]) for e in (known, self._entry))
            if _are_proved(known, one) and _are_proved(self._entry, other):
                assert one is not None and other is not None
                parts = leaves.differing_parts(one, other)
                return [(start, min(stop, self._size)) for start, stop in parts if start < self._size]
        return [(0, self._size)] if self._size else []

    def _compare(self, writer: ItemWriter, start: int, stop: int) -> None:
        """Write the blocks of a range that differ, neighbours together."""
        mine = self._read(self._fd, start, stop - start)
        theirs = os.pread(self._source, stop - start, start) if start < self._had else b""
        begin = -1
        for at in range(0, len(mine), BLOCK_BYTES):
            block = mine[at : at + BLOCK_BYTES]
            differs = block != theirs[at : at + BLOCK_BYTES]
            is_zero = differs and not block.strip(b"\0")
            if begin >= 0 and (is_zero or not differs):
                writer.put_data(start + begin, mine[begin:at])
                begin = -1
            if is_zero:
                self._write_zeros(writer, start + at, len(block))
            elif differs and begin < 0:
                begin = at
        if begin >= 0:
            writer.put_data(start + begin, mine[begin:])

    def _write_zeros(self, writer: ItemWriter, at: int, length: int) -> None:
        """Write that a block holds zeros: nothing where the other file ends before it, a hole is there then."""
        if at < self._had:
            writer.put(items.ZEROS, at, length)

    def _write_data(self, writer: ItemWriter, start: int, stop: int) -> None:
        for at in range(start, stop, items.DATA_BYTES):
            writer.put_part(self._fd, at, min(items.DATA_BYTES, stop - at))

    @staticmethod
    def _read(fd: int, at: int, size: int) -> bytes:
        parts = []
        while size:
            part = os.pread(fd, size, at)
            if not part:
                raise items.damaged("a file of the snapshot became shorter while it was sent")
            parts.append(part)
            at, size = at + len(part), size - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _are_proved(entry: Entry, listed: tuple[int, bytes] | None) -> bool:
    if entry[3] <= LEAF_BYTES:
        return True
    return listed is not None and listed[0] == entry[3] and leaves.is_list_of(entry[4], *listed)
