"""An open index: asking it, writing to it, and working without it when it is busy, damaged or too slow.

Source: jvs-format(5), Index.
"""

from __future__ import annotations

import contextlib
import hashlib

from jvs.tree import index_file
from jvs.tree.index_file import is_passing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Self

    from jvs.fs.rooted import Below
    from jvs.tree.sqlite import sqlite3


class Access:
    """The file of the index, or none that answers nothing and keeps nothing (`Access(None)`)."""

    def __init__(self, path: str | Below | None, *, readonly: bool = False) -> None:
        self.path = path
        self.readonly = readonly
        self._db: sqlite3.Connection | None = None
        self._seconds = 0.0
        if path is not None:
            self._db = self._open()

    def _open(self) -> sqlite3.Connection | None:
        from jvs.tree.sqlite import sqlite3

        assert self.path is not None
        for attempt in (1, 2):
            try:
                db = index_file.connect(self.path, readonly=self.readonly)
                if db is not None:
                    self._seconds = index_file.seconds_for(index_file.size_of(db))
                return db
            except (index_file.Odd, sqlite3.Error) as error:
                if attempt == 2 or self.readonly or is_passing(error):
                    return None  # busy, read-only, no space: work without
                try:
                    index_file.drop(self.path)
                except OSError:  # immutable, or not ours
                    return None
            except OSError:
                return None
        return None

    def arm(self) -> None:
        """Interrupt what takes longer from now on than any honest answer of this file."""
        if self._db is not None:
            index_file.with_budget(self._db, self._seconds)

    def _write_many(self, statement: str, rows: Iterable[Any]) -> None:
        """Write rows, however many there are."""
        assert self._db is not None
        index_file.without_budget(self._db)
        self._db.executemany(statement, rows)
        self.arm()

    def _all(self, query: str, *values: object) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query, but no more than the file can hold: pages that are shared give them for ever.

        Errors: sqlite3.Error; ValueError for more.
        """
        assert self._db is not None
        left = index_file.size_of(self._db)
        self._seconds = max(self._seconds, index_file.seconds_for(left))
        self.arm()
        for row in self._db.execute(query, values):
            for value in row:
                left -= len(value) if isinstance(value, (bytes, str)) else 1
            if left < 0:
                raise ValueError("more rows than the file can hold")
            yield row

    def take_back(self) -> None:
        """Undo what was begun and not committed; after questions alone there is nothing to undo."""
        if self._db is not None and self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def give_up(self) -> None:
        """Throw the file away and work without it until the next start."""
        from jvs.tree.sqlite import sqlite3

        if self._db is not None:
            try:
                self._db.close()
            except sqlite3.Error:
                pass
            self._db = None
        if not self.readonly and self.path is not None:
            try:
                index_file.drop(self.path)
            except OSError:
                pass

    def _one(self, query: str, *values: object) -> tuple[Any, ...] | None:
        """Return the first row of a query; None when there is none, or no answer."""
        if self._db is None:
            return None
        with Asking(self):
            row: tuple[Any, ...] | None = self._db.execute(query, values).fetchone()
            return row
        return None

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Ask several things under one lock: on FUSE each by itself waits for it. Nobody can write meanwhile."""
        if self._db is None or self._db.in_transaction:
            yield
            return
        with Asking(self):
            self._db.execute("BEGIN")
        try:
            yield
        finally:
            with Asking(self):
                self.take_back()

    def state(self) -> tuple[int, int] | None:
        """Return what is another value once anybody has changed anything in the file; None when there is no answer.

        Shape: a number that moves when another connection commits, and how many rows this one has changed.
        Source: https://sqlite.org/pragma.html#pragma_data_version; sqlite3_total_changes.
        """
        found = self._one("PRAGMA data_version")
        return None if found is None or self._db is None else (found[0], self._db.total_changes)

    def said(self, kind: str) -> tuple[bytes, bytes] | None:
        """Return the stamps and texts that `keep_said` kept last; None when they are not as it left them."""
        found = self._one("SELECT stamps, texts, chk FROM said WHERE kind=?", kind)
        if found is None or not index_file.are_bytes(found) or _check_of(kind, found[0], found[1]) != found[2]:
            return None
        return found[0], found[1]

    def keep_said(self, kind: str, stamps: bytes, texts: bytes) -> None:
        """Keep what files of the control plane say, in place of what was kept of that kind. Nothing is raised."""
        if self._db is None or self.readonly:
            return
        with Asking(self):
            self.take_back()  # what was asked at once is answered
            values = (kind, stamps, texts, _check_of(kind, stamps, texts))
            self._write_many("INSERT OR REPLACE INTO said VALUES (?,?,?,?)", [values])

    @property
    def keeps(self) -> bool:
        """Whether anything can be kept."""
        return self._db is not None and not self.readonly

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_of(kind: str, stamps: bytes, texts: bytes) -> bytes:
    """Return the check that finds a part which a crash lost. Shape: 16 bytes."""
    digest = hashlib.sha256(kind.encode() + b"\0" + len(stamps).to_bytes(8, "little") + stamps)
    digest.update(texts)
    return digest.digest()[:16]


class Asking:
    """Wraps what is done with the file: no answer while it is busy, and the end of a file that is damaged.

    What is half done is rolled back. No error of the file or of what is in it ever reaches the user.
    """

    def __init__(self, owner: Access) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        self._owner.arm()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> bool:
        if kind is None:
            return False
        from jvs.tree.sqlite import sqlite3

        if is_passing(error):
            self._owner.take_back()
            return True
        if issubclass(kind, (sqlite3.Error, TypeError, ValueError, AttributeError)):
            self._owner.give_up()
            return True
        self._owner.take_back()
        return False
