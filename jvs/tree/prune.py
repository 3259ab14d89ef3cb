"""Directories that a walk need not list, because the filesystem itself said what was touched.

Source: jvs-engines(7), Speed, btrfs-snapshot.
"""

from __future__ import annotations

from jvs.fs import listing
from jvs.tree import node
from jvs.tree import rows as tree_rows
from jvs.tree.builder import Directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Set
    from typing import Any


class Named(frozenset[bytes]):
    """Paths of directories that had these inodes when they were asked for: `inodes` says which, and names may move."""

    inodes: dict[int, bytes]

    @classmethod
    def of(cls, inodes: dict[int, bytes], others: Iterable[bytes]) -> Named:
        """Take these paths, and some that are to be visited whatever inodes they have."""
        found = cls({*inodes.values(), *others})
        found.inodes = inodes
        return found


class Untouched:
    """Answers for directories in which nothing changed since their rows were written.

    `touched` names those in which something may have changed; with None every directory may. `rows` and `known` come
    from the index.
    """

    def __init__(self, touched: Set[bytes] | None, rows: Any, known: tree_rows.Known) -> None:
        if touched is not None and isinstance(rows, tree_rows.OtherRows):
            touched = touched | rows.racy
        self._touched = touched
        self._inodes = touched.inodes if isinstance(touched, Named) else {}
        self._rows = rows
        self._known = known
        self._ways = _ways_to(touched)

    def is_elsewhere(self, path: bytes, inode: int) -> bool:
        """Answer whether a directory was named at another path: nothing that the rows say of what is below counts."""
        return self._inodes.get(inode, path) != path

    def preload(self) -> None:
        """Fetch what will be asked for, when all rows are at hand."""
        if not self._touched:
            return
        visited = {*self._touched, *self._ways}
        below = [path for path in self._rows if path.rpartition(b"/")[0] in visited]
        nodes = {row[1] for path in visited if (row := self._rows.get(path)) is not None}
        self._known.preload(nodes, nodes | {self._rows[path][1] for path in below})

    def whole(self, path: bytes) -> Directory | None:
        """Return a directory in and below which nothing changed; None when something may, or the index is short."""
        if self._touched is None or path in self._touched or path in self._ways:
            return None
        row = self._rows.get(path)
        total = self._known.total(row[1]) if row is not None else None
        if row is None or total is None:
            return None
        here = Directory(path)
        here.digest, here.changed = row[1], False
        here.counts, here.size = list(total[:4]), total[4]
        return here

    def passage(self, path: bytes) -> tuple[Directory, list[tuple[int, bytes]]] | None:
        """Return an unchanged directory that only leads to touched ones, for them to be put into.

        Shape: the directory, without what the subdirectories that lead on hold in all; the places of their entries
        and their names. None when the directory itself was touched, or the index is short.
        """
        if self._touched is None or path in self._touched:
            return None
        row = self._rows.get(path)
        data = self._known.node(row[1]) if row is not None else None
        total = self._known.total(row[1]) if row is not None else None
        stamps = tree_rows.whole(row[0]) if row is not None else None
        if stamps is None or data is None or total is None:
            return None
        here = Directory(path)
        here.names, here.row_stamps = tree_rows.split(stamps, listing.STAMP.size)
        here.entries = [list(entry) for entry in node.decode_node(data)]
        here.counts, here.size = list(total[:4]), total[4]
        places = {entry[0]: i for i, entry in enumerate(here.entries) if entry[1] == listing.DIR}
        onward: list[tuple[int, bytes]] = []
        for name in self._ways.get(path, ()):
            below = self._known.total(here.entries[places[name]][4]) if name in places else None
            if below is None:
                return None
            onward.append((places[name], name))
            here.size -= below[4]
            for i in range(4):
                here.counts[i] -= below[i]
        return here, onward


def _ways_to(touched: Set[bytes] | None) -> dict[bytes, set[bytes]]:
    """Return for each directory that leads to touched ones the names of its subdirectories that do."""
    ways: dict[bytes, set[bytes]] = {}
    for path in touched or ():
        while path:
            above, _, name = path.rpartition(b"/")
            known = ways.setdefault(above, set())
            if name in known:
                break
            known.add(name)
            path = above
    return ways
