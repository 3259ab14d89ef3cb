"""The leaves of a large file that are those of a snapshot, proved without reading them.

The payload of that snapshot is immutable. Where another file lies in the same places, it holds the same bytes, whose
digests the snapshot wrote down: for good when that file is immutable, too, and else at the moment of the look, as if
it had been read then.
Source: jvs-engines(7), Shared extents; jvs-format(5), Leaf lists.
"""

from __future__ import annotations

import os

from jvs.fs import extents, listing, paths
from jvs.tree import leaves
from jvs.tree.leaves import DIGEST_BYTES, LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.fs.rooted import Below
    from jvs.tree.node import Entry


class SharedLeaves:
    """Knows the leaves of a payload; `lists` reads what its snapshot wrote down.

    `ready_ns` is when that was complete: a file that was written to later, by whoever, proves nothing. `entry_of` tells
    what the payload has at a path; without it that is the old entry.
    """

    def __init__(
        self,
        payload: Below,
        lists: Callable[[], leaves.Lists],
        ready_ns: int,
        entry_of: Callable[[bytes], Entry | None] | None = None,
    ) -> None:
        self._payload = payload
        self._entry_of = entry_of
        self._ready_ns = ready_ns
        self._read = lists
        self._lists: leaves.Lists | None = None
        self._root = -1

    def known(self, fd: int, path: bytes, old: Entry | None) -> dict[int, bytes]:
        """Return the digests of the leaves of an open file that are those of the payload's file at its path.

        Nothing where nothing is proved; the file is to be read then.
        """
        if self._entry_of is not None:
            old = self._entry_of(path)
        listed = self._listed(old)
        before = self._open(path, old) if old is not None and listed is not None else -1
        if before < 0 or listed is None:
            return {}
        try:
            unchanged = extents.unchanged_parts(fd, before, LEAF_BYTES)
        finally:
            os.close(before)
        return {i: listed[1][i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] for i in sorted(unchanged)}

    def _listed(self, entry: Entry | None) -> tuple[int, bytes] | None:
        """Return the leaves of a large file as the snapshot wrote them down, when they are those of its digest."""
        if entry is None or entry[1] != listing.FILE or entry[3] <= LEAF_BYTES:
            return None
        if self._lists is None:
            self._lists = self._read()
        listed = self._lists.get(entry[4])
        return listed if listed is not None and listed[0] == entry[3] and leaves.is_list_of(entry[4], *listed) else None

    def _open(self, path: bytes, entry: Entry) -> int:
        """Open a file of the payload; -1 when it is not as long as its entry, or was written to later."""
        try:
            if self._root < 0:
                self._root = paths.open_dir(self._payload)
            fd = paths.open_file_below(self._root, path)
        except OSError:
            return -1
        st = os.fstat(fd)
        if st.st_size == entry[3] and st.st_mtime_ns < self._ready_ns:
            return fd
        os.close(fd)
        return -1

    def close(self) -> None:
        """Close the payload."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1
