"""Opens the file of the index so that what lies in it, or next to it, cannot hurt.

An index comes with the repository, and somebody else may have made that. So the file must be a regular one of our own
with one name, its header that of an index, and its schema exactly ours: no view, trigger, generated column or virtual
table is left that a query could run. SQLite finds neither a journal nor a write-ahead log to replay, because jvs keeps
its journal in memory: whatever lies there under such a name is unlinked before the file is opened. After that an
authorizer admits only our statements on our tables, and a query that takes longer than any honest one is interrupted.
Whatever is odd: the file is dropped and fills again.
Source: jvs-format(5), Index; https://sqlite.org/security.html; https://sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jvs import clock
from jvs.fs import durable, paths, rooted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from jvs.tree.sqlite import sqlite3

VERSION = 8
BUSY_SECONDS = 2.0
_ROOM = 256 << 10
"""Bytes that dropping the index frees at least: on a full disk XFS makes no file while less is free."""
_SCHEMA = {
    # Without a rowid each that is longer than a quarter of a page would take pages of its own.
    "node": "CREATE TABLE node (digest BLOB PRIMARY KEY, data BLOB NOT NULL)",
    "dir": "CREATE TABLE dir (tree TEXT, path BLOB, stamps BLOB NOT NULL, digest BLOB NOT NULL, node BLOB NOT NULL,\n"
    "  chk BLOB NOT NULL, PRIMARY KEY (tree, path))",
    "dir_chk": "CREATE INDEX dir_chk ON dir (tree, chk)",
    "total": "CREATE TABLE total (node BLOB PRIMARY KEY, counts BLOB NOT NULL, chk BLOB NOT NULL) WITHOUT ROWID",
    "base": "CREATE TABLE base (tree TEXT PRIMARY KEY, snapshot TEXT NOT NULL, root BLOB NOT NULL,\n"
    "  plain INTEGER NOT NULL, rows BLOB NOT NULL) WITHOUT ROWID",
    "said": "CREATE TABLE said (kind TEXT PRIMARY KEY, stamps BLOB NOT NULL, texts BLOB NOT NULL,\n"
    "  chk BLOB NOT NULL) WITHOUT ROWID",
    "room": "CREATE TABLE room (bytes BLOB NOT NULL)",
}
_IMPLIED = {"sqlite_autoindex_node_1": None, "sqlite_autoindex_dir_1": None}
_TABLES = frozenset({"node", "dir", "total", "base", "said", "room"})
NEIGHBOURS = ("-journal", "-wal", "-shm")
_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_PAGE_BYTES = 16384
_LONGEST_VALUE = 1 << 28
"""Bytes: the stamps of a directory of two million entries are shorter."""
_LONGEST_SQL = 4096
_STEPS_BETWEEN_LOOKS = 1000
_LEAST_SECONDS = 5.0
_SLOWEST_BYTES_PER_SECOND = 8 << 20
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Odd(Exception):
    """The file is not an index that jvs made; it is to be dropped."""


def connect(path: str | rooted.Below, *, readonly: bool) -> sqlite3.Connection | None:
    """Open the index, made anew where there is none; None when there is none and none can be made.

    Errors: `Odd`; sqlite3.Error; OSError.
    """
    from jvs.tree.sqlite import sqlite3

    place = _place_of(path)
    if not _check_file(place, readonly=readonly):
        if readonly:
            return None
        with contextlib.suppress(FileExistsError):  # it is there and empty, or another process was faster
            durable.create_file(place, b"", sync=False)
    name = _read_only_uri(place) if readonly else str(place)
    db = sqlite3.connect(name, uri=readonly, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        _limit(db)
        # No durability wanted: after a crash the checks of the rows find what is torn, and it is hashed again.
        db.execute("PRAGMA synchronous=OFF")
        db.execute("PRAGMA journal_mode=MEMORY")
        with_budget(db, _LEAST_SECONDS)
        if db.execute("PRAGMA user_version").fetchone() == (0,):
            _make(db)
        _check_schema(db)
        db.set_authorizer(_authorize)
    except BaseException:
        db.close()
        raise
    return db


def _read_only_uri(place: rooted.Below) -> str:
    return "file:" + "".join(f"%{byte:02x}" for byte in os.fsencode(str(place))) + "?mode=ro"


def _place_of(path: str | rooted.Below) -> rooted.Below:
    return rooted.at(path) if isinstance(path, str) else path


def drop(path: str | rooted.Below) -> None:
    """Remove the file and everything that SQLite would read together with it, whatever it is. Errors: OSError."""
    from jvs.fs import removal

    place = _place_of(path)
    for suffix in ("", *NEIGHBOURS):
        removal.remove_tree(place.plus(suffix))


def _check_file(place: rooted.Below, *, readonly: bool) -> bool:
    """Answer whether there is an index that is not empty. Errors: `Odd`, OSError."""
    with rooted.holding(place) as (above, name):
        for suffix in NEIGHBOURS:
            try:
                info = os.lstat(name + suffix.encode(), dir_fd=above)
            except FileNotFoundError:
                continue
            if readonly or not stat.S_ISREG(info.st_mode) or info.st_size:
                raise Odd(f"there is something at '{place}{suffix}'")
            durable.unlink(place.plus(suffix), missing_ok=True)  # earlier versions of jvs left their journal, empty
        try:
            info = os.lstat(name, dir_fd=above)
        except FileNotFoundError:
            return False
        if not stat.S_ISREG(info.st_mode) or info.st_nlink != 1:  # SQLite waits for a fifo, and follows a link
            raise Odd("it is not a file of one name")
        if info.st_uid not in (os.geteuid(), os.fstat(above).st_uid) or info.st_mode & _WRITABLE_BY_OTHERS:
            raise Odd("it can be changed by others")
    return _check_header(place)


def _check_header(place: rooted.Below) -> bool:
    fd = paths.open_file(place)
    try:
        header = os.pread(fd, _HEADER_BYTES, 0)
    finally:
        os.close(fd)
    if not header:
        return False
    rollback = header[18:20] == b"\1\1"  # otherwise SQLite would make and read a write-ahead log
    page, version = int.from_bytes(header[16:18], "big"), int.from_bytes(header[60:64], "big")
    if not (header.startswith(_MAGIC) and page == _PAGE_BYTES and rollback and version == VERSION):
        raise Odd("it is no index of this version")
    return True


def _limit(db: sqlite3.Connection) -> None:
    """Bound what a database may make SQLite do, before anything of it is read."""
    from jvs.tree.sqlite import sqlite3

    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST_VALUE)
    db.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, _LONGEST_SQL)
    db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    db.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 1)
    db.execute("PRAGMA trusted_schema=OFF")
    db.execute("PRAGMA cell_size_check=ON")
    if hasattr(db, "setconfig"):  # Python 3.12
        for option, value in (("DEFENSIVE", True), ("ENABLE_TRIGGER", False), ("ENABLE_VIEW", False)):
            db.setconfig(getattr(sqlite3, f"SQLITE_DBCONFIG_{option}"), value)


def with_budget(db: sqlite3.Connection, seconds: float) -> None:
    """Interrupt what runs longer from now on than this.

    The handler is made of built-in functions only: no bytecode runs in it, so that no signal is handled where SQLite
    would swallow the exception; it is handled when the statement has ended.
    """
    from itertools import repeat
    from operator import lt

    deadline = clock.monotonic() + seconds
    looks = map(lt, repeat(deadline), iter(clock.monotonic_builtin, None))
    db.set_progress_handler(looks.__next__, _STEPS_BETWEEN_LOOKS)


def without_budget(db: sqlite3.Connection) -> None:
    """Let our own rows be written, however many; each goes down a tree of bounded depth."""
    db.set_progress_handler(None, 0)


def seconds_for(size_bytes: int) -> float:
    """Return the longest that an honest answer from a database of this size takes."""
    return max(_LEAST_SECONDS, size_bytes / _SLOWEST_BYTES_PER_SECOND)


def size_of(db: sqlite3.Connection) -> int:
    """Return how large the database is, with what the transaction adds to it. Units: bytes."""
    pages: int = db.execute("PRAGMA page_count").fetchone()[0]
    return pages * _PAGE_BYTES


def _make(db: sqlite3.Connection) -> None:
    """Make the tables, unless another process has just made them."""
    db.execute(f"PRAGMA page_size={_PAGE_BYTES}")
    db.execute("BEGIN IMMEDIATE")
    if db.execute("PRAGMA user_version").fetchone() == (0,):
        for statement in _SCHEMA.values():
            db.execute(statement)
        db.execute(f"INSERT INTO room VALUES (zeroblob({_ROOM}))")
        db.execute(f"PRAGMA user_version={VERSION}")
    db.execute("COMMIT")


def _check_schema(db: sqlite3.Connection) -> None:
    """Raise `Odd` unless the schema is exactly ours. Nothing of it is run by reading it."""
    most = len(_SCHEMA) + len(_IMPLIED)
    found: dict[object, object] = dict(_rows_of_schema(db, most + 1))
    if found != {**_SCHEMA, **_IMPLIED}:
        raise Odd("it has another schema")


def _rows_of_schema(db: sqlite3.Connection, most: int) -> Iterator[tuple[object, object]]:
    for number, row in enumerate(db.execute(f"SELECT name, sql FROM sqlite_master LIMIT {most}")):
        if number == most - 1:
            raise Odd("it has another schema")
        yield row


def _authorize(action: int, first: str | None, second: str | None, database: str | None, inner: str | None) -> int:
    """Admit reading and writing of our tables, and nothing else. Source: sqlite3_set_authorizer."""
    from jvs.tree.sqlite import sqlite3

    if inner is not None:  # on behalf of a view or trigger
        return sqlite3.SQLITE_DENY
    if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_TRANSACTION):
        return sqlite3.SQLITE_OK
    if action in (sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_DELETE, sqlite3.SQLITE_UPDATE):
        return sqlite3.SQLITE_OK if first in _TABLES and database == "main" else sqlite3.SQLITE_DENY
    if (action, first, second) in (
        (sqlite3.SQLITE_FUNCTION, None, "glob"),
        (sqlite3.SQLITE_PRAGMA, "page_count", None),
        (sqlite3.SQLITE_PRAGMA, "data_version", None),
    ):
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def is_passing(error: BaseException | None) -> bool:
    """Answer whether the file may be good for all that: busy, read-only, no space; not one that takes for ever."""
    from jvs.tree.sqlite import sqlite3

    interrupted = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT
    return isinstance(error, sqlite3.OperationalError) and not interrupted


def are_bytes(values: tuple[Any, ...]) -> bool:
    """Answer whether columns hold bytes: SQLite keeps whatever was put there."""
    return all(isinstance(value, bytes) for value in values)
