"""The leaves of a large file that did not change since the snapshot before, proved without reading them.

The payload of that snapshot and the new one are immutable. Where their files lie in the same places, they hold the same
bytes, whose digests the snapshot before wrote down.
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
    """Knows the leaves of the payload that the index describes; `lists` reads what its snapshot wrote down.

    `ready_ns` is when that was complete: a file that was written to later, by whoever, proves nothing.
    """

    def __init__(self, payload: Below, lists: Callable[[], leaves.Lists], ready_ns: int) -> None:
        self._payload = payload
        self._ready_ns = ready_ns
        self._read = lists
        self._lists: leaves.Lists | None = None
        self._root = -1

    def known(self, fd: int, path: bytes, old: Entry | None) -> dict[int, bytes]:
        """Return the digests of the leaves of an immutable file that are those of the old entry at its path.

        Nothing where nothing is proved; the file is to be read then.
        """
        if old is None or old[1] != listing.FILE or old[3] <= LEAF_BYTES:
            return {}
        if self._lists is None:
            self._lists = self._read()
        listed = self._lists.get(old[4])
        if listed is None or listed[0] != old[3] or not leaves.is_list_of(old[4], *listed):
            return {}
        try:
            if self._root < 0:
                self._root = paths.open_dir(self._payload)
            before = paths.open_file_below(self._root, path)
        except OSError:
            return {}
        try:
            st = os.fstat(before)
            if st.st_size != old[3] or st.st_mtime_ns >= self._ready_ns:
                return {}
            unchanged = extents.unchanged_parts(fd, before, LEAF_BYTES)
        finally:
            os.close(before)
        return {i: listed[1][i * DIGEST_BYTES : (i + 1) * DIGEST_BYTES] for i in sorted(unchanged)}

    def close(self) -> None:
        """Close the payload."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1
