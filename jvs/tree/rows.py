"""What the index knows of directories: packed rows, their checks, and what binds a base to them.

A row says which names and stamps a directory had, and which node that gave.
Source: jvs-format(5), Index.
"""

from __future__ import annotations

import hashlib

from jvs.fs import listing
from jvs.tree import racy
from jvs.tree.leaves import LEAF_BYTES
from jvs.tree.node import PLAIN, decode_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Protocol

    from jvs.tree.node import Entry

    class RowSource(Protocol):
        """Where rows are kept: the index."""

        def checked_row(self, name: str, path: bytes) -> tuple[Row, bytes, bytes] | None: ...

        def rows(self, name: str, checks: frozenset[bytes] | None = None) -> Rows: ...

        def paths(self, name: str) -> Iterable[bytes]: ...


Total = tuple[int, int, int, int, int]
"""Shape: files, dirs, symlinks, others and bytes below a directory."""

_HEAD_BYTES = 8
_LEVEL = 1
_LONGEST_NAME = 256


class Unpacking:
    """How many more bytes may come out of what an index holds: a few bytes that somebody made can become gigabytes."""

    def __init__(self, most: int) -> None:
        self.left = most


class PackedRow:
    """A row as the index keeps it, compressed. It is equal to what `pack` made when the digest next to it is.

    So a directory that is as it was is recognised without decompressing anything. What does not give that digest is
    damaged, and holds nothing.
    """

    __slots__ = ("_unpacking", "kept")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, data: bytes, digest: bytes, unpacking: Unpacking) -> None:
        self.kept = data, digest
        self._unpacking = unpacking

    def __eq__(self, other: object) -> bool:
        if isinstance(other, PackedRow):
            return self.kept[1] == other.kept[1]
        return isinstance(other, bytes) and digest_of(other) == self.kept[1]

    @property
    def head(self) -> bytes:
        """The number of entries, which nothing proves."""
        return self.kept[0][:_HEAD_BYTES]

    def unpacked(self) -> bytes | None:
        """Return what `pack` made; None when it is damaged."""
        import zlib

        most = min(int.from_bytes(self.head, "little") * (listing.STAMP.size + _LONGEST_NAME), self._unpacking.left)
        if most < 0:
            return None
        stream = zlib.decompressobj()
        try:
            row = self.head + stream.decompress(self.kept[0][_HEAD_BYTES:], most + 1)
        except zlib.error:
            return None
        self._unpacking.left -= len(row)
        return row if stream.eof and digest_of(row) == self.kept[1] else None


Row = bytes | PackedRow
"""Shape: names and stamps of a directory as `pack` makes them."""
Rows = dict[bytes, tuple[Row, bytes]]
"""Shape: directory path -> (its row, digest of its node)."""


def as_kept(row: Row) -> tuple[bytes, bytes]:
    """Return a row as the index keeps it, and its digest.

    Shape: the number of entries, and the rest as a stream of zlib.
    """
    import zlib

    if isinstance(row, PackedRow):
        return row.kept
    return row[:_HEAD_BYTES] + zlib.compress(row[_HEAD_BYTES:], _LEVEL), digest_of(row)


def digest_of(row: bytes) -> bytes:
    """Return the digest next to a row. Shape: 16 bytes."""
    return hashlib.sha256(row).digest()[:16]


def whole(row: Row) -> bytes | None:
    """Return a row as `pack` made it; None when it is damaged."""
    return row if isinstance(row, bytes) else row.unpacked()


def pack(names: list[bytes], stamps: bytes) -> bytes:
    """Return one comparable value for a directory's names and stamps."""
    return len(names).to_bytes(8, "little") + stamps + b"\0".join(names)


def count(row: Row) -> int:
    """Return how many entries a directory had."""
    return int.from_bytes(row[:_HEAD_BYTES] if isinstance(row, bytes) else row.head, "little")


def has_names(row: Row, names: list[bytes], width: int) -> bool:
    """Answer whether a directory had exactly these names; `width` is the length of one stamp."""
    return _stamps_of(row, names, width) is not None


def proves_none(row: Row, names: list[bytes], stamps: bytes, width: int) -> bool:
    """Answer whether a directory had exactly these names, and none of them the stamp that it has now, marked or not."""
    old = _stamps_of(row, names, width)
    if not old:
        return False
    for start in range(0, len(stamps), width):
        now = stamps[start : start + width]
        if old[start : start + width] in (now, racy.marked(now)):
            return False
    return True


def _stamps_of(row: Row, names: list[bytes], width: int) -> bytes | None:
    """Return the stamps of a directory that had exactly these names; None where it had others, or is damaged."""
    found = whole(row) if count(row) == len(names) else None
    start = _HEAD_BYTES + len(names) * width
    return found[_HEAD_BYTES:start] if found is not None and found[start:] == b"\0".join(names) else None


def split(row: bytes, width: int) -> tuple[list[bytes], bytes]:
    """Return the names and the stamps that `pack` was given; `width` is the length of one stamp."""
    start = 8 + count(row) * width
    return row[start:].split(b"\0") if count(row) else [], row[8:start]


def unpack(row: Row, width: int) -> dict[bytes, bytes]:
    """Return name -> stamp from what `pack` made; nothing when it is damaged."""
    names, stamps = split(whole(row) or bytes(_HEAD_BYTES), width)
    return {name: stamps[i * width : (i + 1) * width] for i, name in enumerate(names)}


def seen(name: str) -> str:
    """Return the name under which the rows of later scans are kept; no worktree can be called so."""
    return name + "/seen"


def check_of(name: str, path: bytes, row_digest: bytes, node: bytes) -> bytes:
    """Return the check over what is next to a row. Shape: 16 bytes."""
    return hashlib.sha256(name.encode() + b"\0" + path + b"\0" + node + row_digest).digest()[:16]


def sum_of(checks: Iterable[bytes], snapshot: str, root: bytes, plain: bool) -> bytes:
    """Return what binds a base to its rows: the checks of all of them, added up so that their order does not show."""
    total = sum(int.from_bytes(check, "little") for check in checks) & ((1 << 128) - 1)
    facts = snapshot.encode() + b"\0" + root + (b"\1" if plain else b"\0") + total.to_bytes(16, "little")
    return hashlib.sha256(facts).digest()[:16]


def with_algorithm(text: str, algorithm: str) -> str:
    """Return the text that names a base together with the algorithm of its tree; the older one has no mark."""
    return text if algorithm == PLAIN else f"{text}#{algorithm}"


def without_algorithm(text: str) -> tuple[str, str]:
    """Return what `with_algorithm` was given."""
    base, _, algorithm = text.partition("#")
    return base, algorithm or PLAIN


class OtherRows(dict[bytes, tuple[Row, bytes]]):
    """Rows of a tree in another algorithm: large files, whose digests are no good, have no stamps, and are read.

    `racy` are the directories that hold some, or may: the rows that they have must not stay.
    """

    def __init__(self, rows: Rows, known: Known) -> None:
        super().__init__(rows)
        self.racy: set[bytes] = set()
        for path, (row, digest) in rows.items():
            names = _large_files(known, digest)
            if names is None or names:
                listed, stamps = split(whole(row) or bytes(_HEAD_BYTES), listing.STAMP.size)
                self[path] = pack(listed, _without(stamps, listed, names)), digest
                self.racy.add(path)


def _large_files(known: Known, digest: bytes) -> set[bytes] | None:
    """Return the names of the large files in a directory, or None when its node is not known."""
    total = known.total(digest)
    if total is not None and total[4] <= LEAF_BYTES:
        return set()
    data = known.node(digest)
    if data is None:
        return None
    return {entry[0] for entry in decode_node(data) if entry[1] == listing.FILE and entry[3] > LEAF_BYTES}


def _without(stamps: bytes, names: list[bytes], dropped: set[bytes] | None) -> bytes:
    """Return stamps with zeros for some names, or for all of them."""
    width = listing.STAMP.size
    pieces = [stamps[i * width : (i + 1) * width] for i in range(len(names))]
    return b"".join(
        bytes(width) if dropped is None or name in dropped else piece for name, piece in zip(names, pieces, strict=True)
    )


def as_wanted(rows: Rows, known: Known, have: str, *, plain: bool) -> Rows:
    """Return the rows of a tree in one algorithm for a walk in the one that is wanted."""
    return rows if (have == PLAIN) == plain else OtherRows(rows, known)


class Known:
    """What is known of directories by their nodes: here nothing. The index is one that knows."""

    def node(self, digest: bytes) -> bytes | None:
        """Return the bytes of a node, proved by its digest, or None."""
        return None

    def total(self, node: bytes) -> Total | None:
        """Return what a directory with this node holds in all, or None."""
        return None

    def recall(self, row: tuple[Row, bytes] | None) -> tuple[dict[bytes, bytes], dict[bytes, Entry]]:
        """Return the stamps and entries of a directory by name; nothing when its row or node is missing or damaged."""
        data = self.node(row[1]) if row is not None else None
        stamps = whole(row[0]) if row is not None and data is not None else None
        if data is None or stamps is None:
            return {}, {}
        try:
            return unpack(stamps, listing.STAMP.size), {entry[0]: entry for entry in decode_node(data)}
        except ValueError:
            return {}, {}

    def preload(self, nodes: set[bytes], totals: set[bytes]) -> int:
        """Learn which nodes will be asked for, and the totals of which, so that they can be fetched together.

        Returns how many bytes are kept until then.
        """
        return 0


class LazyRows:
    """The rows of one worktree, each read when it is asked for: what nobody asks for costs nothing.

    `checks` are the checksums that the base was bound to. Only rows with one of them count: a crash may have kept
    the page with a row of before, which is whole in itself.
    """

    def __init__(self, index: RowSource, name: str, checks: frozenset[bytes]) -> None:
        self._index = index
        self._name = name
        self._checks = checks

    def get(self, path: bytes) -> tuple[Row, bytes] | None:
        """Return one row, or None."""
        found = self._index.checked_row(self._name, path)
        return found[:2] if found is not None and found[2] in self._checks else None

    def all(self) -> Rows:
        """Return all of them at once."""
        return self._index.rows(self._name, self._checks)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._index.paths(self._name))


class RowsOver(LazyRows):
    """Such rows with those of later looks, `over`, laid over them."""

    def __init__(self, index: RowSource, name: str, checks: frozenset[bytes], over: Rows) -> None:
        super().__init__(index, name, checks)
        self._over = over

    def get(self, path: bytes) -> tuple[Row, bytes] | None:
        """Return one row, or None."""
        return self._over.get(path) or super().get(path)

    def all(self) -> Rows:
        """Return all of them at once."""
        return super().all() | self._over

    def __iter__(self) -> Iterator[bytes]:
        return iter({*super().__iter__(), *self._over})
