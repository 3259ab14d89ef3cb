"""What a walk does with what it meets: the contract between the scanner and those who hash or copy.

Source: jvs-format(5), Tree hash; jvs-engines(7), Speed.
"""

from __future__ import annotations

from jvs.errors import IOFailure
from jvs.tree import attributes

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any

    from jvs.tree.batches import Together
    from jvs.tree.node import Entry
    from jvs.tree.rows import Row

    Taken = tuple[Any, int, dict[bytes, bytes] | None]
    """Digest, or something whose `result()` is (digest, size, covered xattrs); size; covered xattrs."""


class Visitor:
    """Is told of every entry of a tree, by one scanner, in one walk and in one thread.

    For each directory that it visits the scanner calls

    1. `enter` with the open directory; what that returns (`inside`) comes with every call for what is inside;
    2. `listed` with all names, then `visited` with their stats and the row that the index has of the directory,
       unless the scanner only passes through to a directory below;
    3. for the entries, in no certain order: `keep`, once at most, with all that are no directories and have the stamps
       that the index knows; `take` with each other that is no directory; and 1 to 4 for each subdirectory, which may
       be left out where everything below is known (`must_visit`). Where all are files of which no stamp is what it was,
       `take_all` may do them at once;
    4. `leave`, or `abandon` when it turned out that the directory cannot be read.

    Between `listed` and `visited`, and in 3, it asks `is_same` or `are_same` of entries whose stamps do not tell of
    attributes.

    The root has the path `b""`. Descriptors belong to the scanner: they are valid during the call, and nobody else
    closes them. After the root's `leave` comes `flush`; then the scanner waits for the digests that are still missing.
    `close` is always the last call, also after an error.

    An OSError of `enter` or `take` that says that the entry is not what it was listed as (`listing.may_have_changed`)
    makes the scanner look at that entry again, and call again or leave it out; EACCES makes it call `refuse`. Any
    other exception ends the walk.

    The scanner reads `stored` and `busy` after each entry, `unreadable` and `lists` at the end.
    """

    must_visit: frozenset[bytes] | None = frozenset()
    """The directories that it must learn of even where they are as their rows say; None: all of them."""

    jobs = 0
    """How many threads and processes may share the work; 0: one for each processor."""

    def __init__(self, *, allow_unreadable: bool = False) -> None:
        self.allow_unreadable = allow_unreadable
        self.unreadable: list[tuple[bytes, str]] = []
        """What was left out because it cannot be read, and why."""
        self.stored: dict[bytes, tuple[int, dict[bytes, bytes] | None]] = {}
        """Mode and covered xattrs of what could not be stored as it was found; its stamp is not kept."""
        self.lists: dict[bytes, tuple[int, bytes]] = {}
        """The leaves of the large files that were read, by the digests of these files."""
        self.busy: set[bytes] = set()
        """Files that were open for writing when they were read; their stamps are not kept."""

    def enter(self, above: Any, name: bytes, path: bytes, fd: int, st: os.stat_result) -> Any:
        """Begin a directory. `above` is what `enter` returned for the one that holds it, None for the root."""
        return None

    def listed(self, path: bytes, names: list[bytes], *, proved: bool) -> None:
        """The names in a directory, before anything is done with them.

        `proved`: its row has the same names, and the row above it the same stamp for the directory itself.
        """

    def is_same(self, fd: int, name: bytes, old: Entry) -> bool:
        """Answer whether an entry has its old covered attributes, where no stamp says so. Errors: OSError."""
        return attributes.are_same(fd, name, old)

    def are_same(self, fd: int, names: list[bytes], entries: list[Entry]) -> bool:
        """Answer the same for all entries of a directory, read one by one. Errors: OSError."""
        return len(entries) == len(names) and all(map(self.is_same, [fd] * len(names), names, entries))

    def visited(
        self, fd: int, path: bytes, names: list[bytes], stats: list[os.stat_result], stamps: bytes, row: Row | None
    ) -> frozenset[bytes]:
        """A directory that was listed, with the row that is known of it.

        `stamps` are those of all entries; empty where there is no row and none will be kept.
        Returns the names whose stamps must not prove more than their content.
        """
        return frozenset()

    def keep(self, inside: Any, fd: int, names: list[bytes], stats: list[os.stat_result]) -> None:
        """Entries that are no directories and have not changed since the rows were written: their digest is known."""

    def take(
        self, inside: Any, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> Taken | None:
        """An entry that is new or changed; `old` is what the index knows of its name. None leaves it out."""
        raise NotImplementedError

    def take_all(
        self,
        inside: Any,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        row: tuple[Row, bytes] | None,
    ) -> Together | None:
        """All entries of a directory, each of them a regular file; None: they are to be taken one by one.

        `row` is what the index has of it, and its node's digest; no stamp in it is that of an entry now. `path` is that
        of the directory. Nothing was done when it answers None.
        """
        return None

    def leave(self, inside: Any, fd: int, st: os.stat_result) -> None:
        """End a directory, after everything inside it; `st` is as it was when the directory was listed above."""

    def abandon(self, inside: Any) -> None:
        """A directory that was entered turned out not to be readable; it is left out, or entered again."""

    def refuse(self, path: bytes, error: OSError) -> None:
        """An entry that is there and cannot be read: an error, or left out and reported when that was asked for.

        Errors: E_IO.
        """
        if not self.allow_unreadable:
            shown = path.decode("utf-8", "backslashreplace")
            ours = isinstance(error, PermissionError)
            what = "give yourself the right to read it" if ours else "see why its filesystem does not open it"
            raise IOFailure(
                f"'{shown}' cannot be read: {error.strerror}",
                hint=f"{what}, or leave it out with '--allow-unreadable'",
                path=shown,
            ) from error
        self.unreadable.append((path, error.strerror or str(error)))

    def flush(self) -> None:
        """Begin all work that was put off: the scanner is about to wait for it."""

    def close(self) -> None:
        """Release everything."""
