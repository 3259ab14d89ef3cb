"""The large files of a snapshot that is being published: which leaves it writes down, and how much of them is new.

Source: jvs-format(5), Leaf lists, Descriptor.
"""

from __future__ import annotations

from jvs.fs import listing, paths
from jvs.tree import leaves, node
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.store.layout import Layout
    from jvs.tree.builder import ScanResult
    from jvs.tree.leaves import Lists
    from jvs.tree.node import Entry


class LargeFiles:
    """Is told of every change against the parent, and knows then what the snapshot has."""

    def __init__(self, layout: Layout, parent_id: str | None, found: ScanResult) -> None:
        self._layout = layout
        self._parent_id = parent_id
        self._found = found
        self._before: Lists | None = None
        self._gone: set[bytes] = set()
        self._there: set[bytes] = set()

    def note(self, old: Entry | None, new: Entry | None) -> int:
        """Note an entry that changed; return how many bytes of it are new: of a large file only whole leaves."""
        if old is None and new is not None and new[1] == listing.FILE and new[3] <= LEAF_BYTES:
            return new[3]  # nearly all that a first snapshot brings
        was, now = _is_file(old), _is_file(new)
        if was and old is not None and old[3] > LEAF_BYTES:
            self._gone.add(old[4])
        if new is None or not now:
            return 0
        if new[3] > LEAF_BYTES:
            self._there.add(new[4])
        if old is not None and old[4] == new[4]:
            return 0
        if old is None or not was:
            return new[3]
        if max(old[3], new[3]) <= LEAF_BYTES:
            return new[3]
        changed = leaves.changed_bytes(old, new, {**self._of_parent(), **self._found.lists})
        return new[3] if changed is None else min(changed, new[3])

    def note_all(self, load: Callable[[bytes], list[Entry]], digest: bytes) -> None:
        """Note what is large in a directory that is new, and below it; the size of an entry is that of all in it."""
        for entry in load(digest):
            if entry[3] > LEAF_BYTES:
                self.note(None, entry)
                if entry[1] == listing.DIR:
                    self.note_all(load, entry[4])

    def _of_parent(self) -> Lists:
        if self._before is None:
            self._before = {}
            if self._parent_id is not None and paths.exists(self._layout.leaves(self._parent_id)):
                from jvs.store import leaf_lists

                self._before = leaf_lists.load(self._layout, self._parent_id)
        return self._before

    def lists(self, *, all_noted: bool) -> Lists:
        """Return the leaves that were read, and those of the parent that the snapshot has, too.

        Unless all changes were noted only those that were read: the others cost time once.
        """
        lists: Lists = {}
        if all_noted:
            gone = self._gone - self._there
            lists = {digest: listed for digest, listed in self._of_parent().items() if digest not in gone}
        if self._found.lists:  # also of files that changed or went away before the walk was over
            held = {e[4] for data in self._found.nodes.values() for e in node.decode_node(data) if _is_file(e)}
            lists |= {digest: listed for digest, listed in self._found.lists.items() if digest in held}
        return lists


def _is_file(entry: Entry | None) -> bool:
    return entry is not None and entry[1] == listing.FILE
