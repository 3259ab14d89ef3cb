"""From the directories of a walk to the nodes of a Merkle tree, also while files are still being hashed.

Source: jvs-format(5), Tree hash and Index.
"""

from __future__ import annotations

import errno
from collections import deque

from jvs import progress
from jvs.errors import from_oserror
from jvs.fs import listing
from jvs.tree import node, racy, rows
from jvs.tree.hasher import NOT_READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Collection
    from typing import Any, TypedDict

    from jvs.tree.batches import Answers, Hashed, Together
    from jvs.tree.visitor import Visitor

    class Counts(TypedDict):
        """How many entries of each kind a payload holds, and the bytes of its files; the root is not counted."""

        files: int
        dirs: int
        symlinks: int
        others: int
        bytes: int


class ScanResult:
    """What a walk found. Shape: `rows` are (path, packed row, node digest) of the directories that had changed."""

    def __init__(self) -> None:
        self.root_hash = ""
        self.digest = b""
        self.root: node.Root = (0, None, b"")
        self.files = self.dirs = self.symlinks = self.others = self.bytes = 0
        self.nodes: dict[bytes, bytes] = {}
        self.rows: list[tuple[bytes, bytes, bytes]] = []
        self.gone: list[bytes] = []
        self.totals: dict[bytes, rows.Total] = {}
        self.taken = 0  # entries that the rows did not answer for
        self.unreadable: list[tuple[bytes, str]] = []
        self.differs: dict[bytes, list[str]] = {}  # metadata that is not that of the snapshot it was compared with
        self.marks_hold = True  # the rows say of each entry whether `differs` holds it
        self.lists: dict[
            bytes, tuple[int, bytes]
        ] = {}  # the leaves of the large files that were read, by their digests
        self.plain = False  # known to have neither hard-link groups nor special files
        self.source_stamps = False  # the rows hold the stamps of the source, not of what was walked

    def payload(self) -> Counts:
        """Return the counts of the descriptor. Units: bytes are sums of file sizes; the root is not counted."""
        return {
            "files": self.files,
            "dirs": self.dirs,
            "symlinks": self.symlinks,
            "others": self.others,
            "bytes": self.bytes,
        }


class Directory:
    """A directory on its way to a digest: entries may still be waiting for their hash."""

    __slots__ = (
        *("changed", "counts", "digest", "entries", "moved", "names", "path", "row_stamps", "size", "subdirs"),
        *("marked", "together", "visited"),
    )

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.digest: bytes | None = None
        self.size = 0
        self.counts = [0, 0, 0, 0]
        self.changed = True
        self.moved = False
        self.entries: list[Any] = []
        self.subdirs: list[tuple[int, Directory]] = []
        self.names: list[bytes] = []
        self.row_stamps = b""
        self.marked: frozenset[bytes] = frozenset()
        self.visited: dict[bytes, Directory] = {}
        self.together: Together | None = None

    def gather(self, below: list[tuple[int, Directory]]) -> None:
        """Add what the subdirectories hold in all to what is here itself."""
        for _, child in below:
            self.size += child.size
            for i in range(4):
                self.counts[i] += child.counts[i]

    def count(self, stats: list[os.stat_result]) -> list[int]:
        """Count all entries; return where the subdirectories are."""
        forms = [st.st_mode & 0o170000 for st in stats]
        files = forms.count(0o100000)
        if files == len(stats):  # as in most directories
            self.counts[0] += files
            self.size += sum([st.st_size for st in stats])
            return []
        dirs = []
        files = 0
        size = 0
        for i, st in enumerate(stats):
            form = st.st_mode & 0o170000
            if form == 0o100000:
                files += 1
                size += st.st_size
            elif form == 0o040000:
                dirs.append(i)
            elif form == 0o120000:
                self.counts[2] += 1
            else:
                self.counts[3] += 1
        self.counts[0] += files
        self.counts[1] += len(dirs)
        self.size += size
        return dirs

    def count_one(self, kind: int, size: int) -> None:
        """Count one entry that is no directory."""
        if kind == listing.FILE:
            self.size += size
        self.counts[0 if kind == listing.FILE else 2 if kind == listing.SYMLINK else 3] += 1


class TreeBuilder:
    """Makes the nodes of a tree, children first; with `with_rows` also the rows that the index keeps of it.

    Without `with_nodes` it makes nothing, and waits for what is being done with the files.
    """

    def __init__(self, visitor: Visitor, *, with_rows: bool, with_nodes: bool) -> None:
        self.tree = ScanResult()
        self._visitor = visitor
        self._with_rows, self._with_nodes = with_rows, with_nodes
        self._unfinished: deque[Directory] = deque()

    def take_together(
        self,
        here: Directory,
        known: tuple[rows.Row, bytes] | None,
        fd: int,
        names: list[bytes],
        stats: list[os.stat_result],
        inside: Any,
        moment_ns: int,
    ) -> bool:
        """Take a directory of nothing but files at once, where the visitor can and `known`, its row, proves none.

        `moment_ns` is as for a walk. False when nothing was done.
        """
        if known is not None and not rows.proves_none(known[0], names, here.row_stamps, listing.STAMP.size):
            return False
        if {st.st_mode & 0o170000 for st in stats} != {0o100000}:
            return False
        here.together = self._visitor.take_all(inside, fd, here.path, names, stats, known)
        if here.together is None:
            return False
        here.count(stats)
        kind = listing.FILE
        here.entries = [
            [name, kind, st.st_mode & 0o7777, st.st_size, None, None] for name, st in zip(names, stats, strict=True)
        ]
        if moment_ns:  # else no row is kept
            stamps = racy.all_marked(here.row_stamps, names, here.marked)
            here.row_stamps = racy.all_lasting(stamps, stats, moment_ns)
        self.tree.taken += len(names)
        progress.advance("scan", len(names))
        self.finalize(here)
        return True

    def finalize(self, here: Directory) -> None:
        """Finish a directory now when nothing in it is still being hashed, else later."""
        waiting = here.together is not None or any(not isinstance(entry[4], bytes) for entry in here.entries)
        waiting = waiting or any(child.digest is None for _, child in here.subdirs)
        if waiting:
            self._unfinished.append(here)
            while self._unfinished and _is_ready(self._unfinished[0]):  # or a large tree is in memory until the end
                self._finish(self._unfinished.popleft())
        else:
            self._finish(here)

    def finish(self, root: Directory) -> ScanResult:
        """Finish what was waiting, children before the directories above them; return the tree. Errors: E_IO."""
        while self._unfinished:
            self._finish(self._unfinished.popleft())
        assert root.digest is not None
        self.tree.digest = root.digest
        self.tree.files, self.tree.dirs, self.tree.symlinks, self.tree.others = root.counts
        self.tree.bytes = root.size
        return self.tree

    def _finish(self, here: Directory) -> None:
        for position, child in here.subdirs:
            here.entries[position][4] = child.digest
            here.entries[position][3] = child.size
        if here.together is not None:
            answers = here.together.answers()
            late: Collection[int] = range(len(here.entries))
            vanished = self._resolve_all(here, answers)
        else:
            late = [i for i, entry in enumerate(here.entries) if not isinstance(entry[4], bytes)]
            vanished = [here.entries[i] for i in late if not self._resolve(here, here.entries[i])]
        if self._visitor.stored or self._visitor.busy:
            self._note_stored(here, late)
        if vanished:  # it went away while it was waiting to be hashed, so the row of the directory cannot be kept
            here.entries = [entry for entry in here.entries if entry not in vanished]
        here.gather(here.subdirs)
        here.digest = self._note_node(here)
        if self._with_rows and not vanished:
            self.tree.rows.append((here.path, rows.pack(here.names, here.row_stamps), here.digest))
        here.entries = []
        here.row_stamps = b""
        here.together = None

    def _note_node(self, here: Directory) -> bytes:
        if not self._with_nodes:
            return node.EMPTY_DIGEST
        data = node.encode_node(here.entries)
        digest = node.node_digest(data)
        self.tree.nodes[digest] = data
        self.tree.totals[digest] = (*here.counts, here.size)  # type: ignore[assignment]
        return digest

    def _note_stored(self, here: Directory, late: Collection[int]) -> None:
        """Take over what the visitor told of entries only when it was done with them."""
        width = listing.STAMP.size
        for i in late:
            path = listing.relative(here.path, here.entries[i][0])
            instead = self._visitor.stored.get(path)
            if instead is not None:
                here.entries[i][2], here.entries[i][5] = instead
            if instead is not None or path in self._visitor.busy:
                stamps = here.row_stamps
                here.row_stamps = stamps[: i * width] + racy.NO_STAMP + stamps[(i + 1) * width :]

    def _resolve(self, here: Directory, entry: list[Any]) -> bool:
        """Wait for the hash of an entry; False when the file was deleted or is to be left out."""
        try:
            found = entry[4].result()
        except OSError as error:
            found = error
        return self._take_answer(here, entry, found)

    def _resolve_all(self, here: Directory, answers: Answers) -> list[list[Any]]:
        """Take the hashes of all entries; return those that were deleted or are to be left out."""
        vanished = []
        usual = not self._visitor.stored
        for entry, found in zip(here.entries, answers, strict=True):
            if usual and type(found) is tuple and found[1] == entry[3]:
                entry[4], _, entry[5] = found
            elif not self._take_answer(here, entry, found):
                vanished.append(entry)
        return vanished

    def _take_answer(self, here: Directory, entry: list[Any], found: Hashed | OSError) -> bool:
        path = listing.relative(here.path, entry[0])
        if isinstance(found, OSError):
            gone = isinstance(found, listing.Vanished)
            if gone or listing.may_have_changed(found) or found.errno == errno.EACCES:
                if not gone:
                    self._visitor.refuse(path, found)
                here.counts[0] -= 1
                here.size -= entry[3]
                return False
            raise from_oserror(found, f"reading '{path.decode('utf-8', 'backslashreplace')}'") from found
        entry[4], read, xattrs = found
        here.size += read - entry[3]
        entry[3] = read
        if xattrs is not NOT_READ and path not in self._visitor.stored:
            entry[5] = xattrs
        return True


def _is_ready(here: Directory) -> bool:
    """Answer whether a directory whose subdirectories are finished waits for nothing more."""
    if here.together is not None:
        return here.together.done()
    return all(isinstance(entry[4], bytes) or entry[4].done() for entry in here.entries if entry[1] != listing.DIR)
