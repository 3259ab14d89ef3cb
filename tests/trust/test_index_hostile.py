"""The index cannot hurt: whatever lies in it or next to it, nothing is run or deleted and the answers are right."""

from __future__ import annotations

import os
import signal
import sqlite3
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from making import run, write
from running import Lab

from jvs.tree import index, index_file

SECONDS = 20.0
"""A loaded machine is slow; what is hostile would take for ever."""
LIMITS = ["limit AS 1073741824", "seconds 60"]
ENDLESS = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) "
TABLES = ("node", "dir", "total", "base", "room")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a repository whose index knows two snapshots and a worktree, and a canary next to it."""
    root = tmp_path / "repo"
    assert run("init", str(root)).exit == 0
    for content in ("one", "two"):
        write(root / "main", {"a": content, "d/b": content})
        assert run("-C", str(root), "snapshot", content, "-t", content).exit == 0
    (tmp_path / "canary").write_bytes(b"canary")
    return root


def index_of(root: Path) -> Path:
    return root / ".jvs/index.sqlite"


def edit(root: Path, *statements: str) -> None:
    """Run SQL in the index, as whoever made the repository could."""
    database = sqlite3.connect(index_of(root), isolation_level=None)
    database.execute("PRAGMA writable_schema=ON")
    for statement in statements:
        database.execute(statement)
    database.close()


def super_journal(root: Path) -> None:
    """Put a hot journal next to the index that names the canary as its super-journal; SQLite would unlink it."""
    name = os.fsencode(root.parent / "canary")
    magic = bytes.fromhex("d9d505f920a163d7")
    pages = index_of(root).stat().st_size // 16384
    header = magic + struct.pack(">IIIII", 0, 0, pages, 512, 16384)
    checksum = sum(byte - 256 if byte > 127 else byte for byte in name) & 0xFFFFFFFF
    trailer = struct.pack(">I", 0x40000000 // 16384 + 1) + name + struct.pack(">II", len(name), checksum) + magic
    Path(f"{index_of(root)}-journal").write_bytes(header.ljust(512, b"\0") + trailer)
    (root.parent / "canary").write_bytes(b"")  # a super-journal that names no journal is "stale"


def views(root: Path) -> None:
    """Let every table be a view that never ends."""
    for table in TABLES:
        database = sqlite3.connect(index_of(root))
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        database.close()
        values = ", ".join(f"randomblob(1000) AS {column}" for column in columns)
        edit(root, f"DROP TABLE {table}", f"CREATE VIEW {table} AS {ENDLESS} SELECT {values} FROM c")


def triggers(root: Path) -> None:
    """Let every change of a table begin a query that never ends."""
    for table in TABLES:
        for event in ("INSERT", "DELETE", "UPDATE"):
            body = f"SELECT 1 FROM ({ENDLESS} SELECT sum(length(randomblob(1000))) FROM c)"
            edit(root, f"CREATE TRIGGER {table}_{event} BEFORE {event} ON {table} BEGIN {body}; END")


def generated(root: Path) -> None:
    """Put tables of other columns in place, with generated columns."""
    for table in TABLES:
        edit(root, f"DROP TABLE {table}", f"CREATE TABLE {table} (x, y AS (zeroblob(900000000)) VIRTUAL)")
        edit(root, f"INSERT INTO {table}(x) VALUES (1)")


def expression_index(root: Path) -> None:
    """Add an index over an expression, which is evaluated when rows are written."""
    edit(root, "CREATE INDEX evil ON node (length(data) + abs(1))")


def check_constraint(root: Path) -> None:
    """Give a table of the right name and columns a constraint that is evaluated."""
    edit(root, "UPDATE sqlite_master SET sql=replace(sql, 'data BLOB NOT NULL', 'data BLOB CHECK(length(data)>0)')")


def virtual_table(root: Path) -> None:
    edit(root, "CREATE VIRTUAL TABLE evil USING fts5(x)")


def many_tables(root: Path) -> None:
    edit(root, "BEGIN", *(f"CREATE TABLE t{number} (x)" for number in range(1000)), "COMMIT")


def gigantic(root: Path) -> None:
    """Make a blob of the index 280 MB long."""
    one = "WHERE rowid=(SELECT min(rowid) FROM dir)"
    edit(root, f"UPDATE dir SET stamps=zeroblob(280000000) {one}")


def cyclic(root: Path) -> None:
    """Let each page of the file be an inner page whose children are the others: a walk through it never ends."""
    pages = index_of(root).stat().st_size // 16384
    with index_of(root).open("r+b") as file:
        for number in range(2, pages + 1):
            child = struct.pack(">I", 2 + number % (pages - 1))
            cells = b"".join(child + bytes([1 + i // 128]) for i in range(400))
            pointers = b"".join(struct.pack(">H", 16384 - len(cells) + 5 * i) for i in range(400))
            head = b"\x05\0\0" + struct.pack(">HHB", 400, 16384 - len(cells), 0) + child
            page = (head + pointers).ljust(16384 - len(cells), b"\0") + cells
            file.seek((number - 1) * 16384)
            file.write(page)


def wal(root: Path) -> None:
    """Leave a write-ahead log next to the index, and say in its header that there is one."""
    with index_of(root).open("r+b") as file:
        file.seek(18)
        file.write(b"\x02\x02")
    Path(f"{index_of(root)}-wal").write_bytes(os.urandom(40_000))


def links(root: Path) -> None:
    """Let the neighbours of the index be links to the canary."""
    for suffix in ("-journal", "-wal", "-shm"):
        Path(f"{index_of(root)}{suffix}").unlink(missing_ok=True)
        Path(f"{index_of(root)}{suffix}").symlink_to(root.parent / "canary")


def hard_link(root: Path) -> None:
    """Let the index be another name of a database of the user, which is not to be written."""
    index_of(root).rename(root.parent / "canary")
    os.link(root.parent / "canary", index_of(root))


def by_others(root: Path) -> None:
    index_of(root).chmod(0o666)


def no_database(root: Path) -> None:
    index_of(root).write_bytes(os.urandom(100_000))


HOSTILE: dict[str, Callable[[Path], None]] = {
    "super-journal": super_journal,
    "views": views,
    "triggers": triggers,
    "generated columns": generated,
    "expression index": expression_index,
    "check constraint": check_constraint,
    "virtual table": virtual_table,
    "many tables": many_tables,
    "gigantic": gigantic,
    "cyclic": cyclic,
    "wal": wal,
    "links": links,
    "hard link": hard_link,
    "writable by others": by_others,
    "no database": no_database,
}


@pytest.mark.parametrize("words", [("status", "--json"), ("snapshot", "x", "--json")], ids=lambda words: words[0])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_index_is_dropped(root, name, words):
    write(root / "main", {"a": "three"})
    right = run("-C", str(root), "--no-index", "status", "--json").json
    HOSTILE[name](root)
    before, inode = (root.parent / "canary").read_bytes(), index_of(root).lstat().st_ino
    held = index_of(root).open("rb")  # or the next file may get its inode
    began = time.monotonic()
    done = Lab(root).jvs(*words, situation=LIMITS)
    assert time.monotonic() - began < SECONDS
    assert done.exit == 0, done.said
    assert (root.parent / "canary").read_bytes() == before, "the canary was changed"
    if name not in ("super-journal", "links", "gigantic", "cyclic"):
        assert index_of(root).lstat().st_ino != inode, "it was not made anew"
    held.close()
    if words[0] == "status":
        assert run("-C", str(root), "status", "--json").json == right
    assert run("-C", str(root), "verify", "--all").exit == 0


def test_an_honest_index_is_kept(root):
    inode = index_of(root).stat().st_ino
    for words in (("status",), ("snapshot", "x"), ("gc", "plan", "--keep-last", "1"), ("verify", "--all")):
        assert run("-C", str(root), *words).exit == 0
    assert index_of(root).stat().st_ino == inode


def test_an_empty_journal_of_an_earlier_version_is_removed_and_the_index_kept(root):
    inode = index_of(root).stat().st_ino
    Path(f"{index_of(root)}-journal").touch()
    assert run("-C", str(root), "status").exit == 0
    assert index_of(root).stat().st_ino == inode
    assert not Path(f"{index_of(root)}-journal").exists()


def test_no_journal_is_left_next_to_the_index_at_any_time(root, monkeypatch):
    seen = []
    real = index.Index._write_many

    def watch(self, statement, rows):
        real(self, statement, rows)
        seen.extend(path.name for path in (root / ".jvs").glob("index.sqlite?*"))

    monkeypatch.setattr(index.Index, "_write_many", watch)
    write(root / "main", {f"many/{number}/f": str(number) for number in range(50)})
    assert run("-C", str(root), "snapshot", "x").exit == 0
    assert seen == []


@pytest.mark.parametrize(
    "statement",
    (
        "ATTACH DATABASE '{canary}' AS other",
        "CREATE TABLE evil (x)",
        "PRAGMA writable_schema=ON",
        "PRAGMA journal_mode=WAL",
        "DROP TABLE node",
        "SELECT load_extension('x')",
        "SELECT randomblob(10)",
        "SELECT sql FROM sqlite_master",
        "VACUUM INTO '{canary}2'",
        "DELETE FROM sqlite_master",
    ),
)
def test_only_our_statements_are_admitted(root, statement):
    with index.Index(str(index_of(root))) as opened:
        assert opened._db is not None
        with pytest.raises(sqlite3.Error):
            opened._db.execute(statement.format(canary=root.parent / "canary")).fetchall()
    assert not (root.parent / "canary2").exists()


def test_what_runs_too_long_is_interrupted_and_the_file_is_dropped(root, monkeypatch):
    monkeypatch.setattr(index_file, "_LEAST_SECONDS", 0.2)
    with index.Index(str(index_of(root))) as opened:
        assert opened._db is not None
        opened._db.set_authorizer(None)
        began = time.monotonic()
        assert opened._one(f"{ENDLESS} SELECT count(*) FROM c") is None
        assert time.monotonic() - began < SECONDS
        assert opened._db is None
    assert not index_of(root).exists()


def test_a_signal_ends_a_long_query(root, monkeypatch):
    """The exception of a handler is not swallowed by a callback of SQLite."""

    class Stop(BaseException):
        pass

    def stop(*_):
        raise Stop

    monkeypatch.setattr(index_file, "_LEAST_SECONDS", 1.0)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with index.Index(str(index_of(root))) as opened:
            opened._db.set_authorizer(None)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(Stop):
                opened._one(f"{ENDLESS} SELECT count(*) FROM c")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_more_rows_than_the_file_can_hold_are_not_collected(root, monkeypatch):
    with index.Index(str(index_of(root))) as opened:
        monkeypatch.setattr(index_file, "size_of", lambda _: 8)
        assert opened.paths("anything") == []
        name = next(iter(opened._db.execute("SELECT tree FROM dir")))[0]
        assert opened.rows(name) == {}
        assert opened._db is None
