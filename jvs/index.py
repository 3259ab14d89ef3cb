"""The rebuildable index: what was hashed before, so that only what changed is read again.

Two facts: the nodes of the Merkle tree by their digest, and for each worktree and directory the stamps of its
entries with the digest of the node that they gave. Everything that comes out of it is checked: a node by its
digest, a row by a checksum. It is written without fsync; damage, a full disk or a lock that stays held mean
"work without", never an error to the user. `verify` never uses it.
Source: jvs-format(5), Index.
"""

from __future__ import annotations

import hashlib
import os
import struct

from jvs import durable, tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

_VERSION = 3
_SCHEMA = f"""
PRAGMA page_size=16384;
CREATE TABLE IF NOT EXISTS node (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dir (tree TEXT, path BLOB, stamps BLOB NOT NULL, node BLOB NOT NULL, chk BLOB NOT NULL,
  PRIMARY KEY (tree, path));
CREATE INDEX IF NOT EXISTS dir_chk ON dir (tree, chk);
CREATE TABLE IF NOT EXISTS total (node BLOB PRIMARY KEY, counts BLOB NOT NULL, chk BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS base (tree TEXT PRIMARY KEY, snapshot TEXT NOT NULL, root BLOB NOT NULL,
  rows BLOB NOT NULL) WITHOUT ROWID;
PRAGMA user_version={_VERSION};
"""
BUSY_SECONDS = 2.0

Total = tuple[int, int, int, int, int]
"""Shape: files, dirs, symlinks, others and bytes below a directory."""

Rows = dict[bytes, tuple[bytes, bytes]]
"""Shape: directory path -> (its names and stamps as `pack_row` makes them, digest of its node)."""


def pack_row(names: list[bytes], stamps: bytes) -> bytes:
    """Return one comparable value for a directory's names and stamps."""
    return len(names).to_bytes(8, "little") + stamps + b"\0".join(names)


def split_row(row: bytes, width: int) -> tuple[list[bytes], bytes]:
    """Return the names and the stamps that `pack_row` was given; `width` is the length of one stamp."""
    count = int.from_bytes(row[:8], "little")
    start = 8 + count * width
    return row[start:].split(b"\0") if count else [], row[8:start]


def unpack_row(row: bytes, width: int) -> dict[bytes, bytes]:
    """Return name -> stamp from what `pack_row` made."""
    names, stamps = split_row(row, width)
    return {name: stamps[i * width : (i + 1) * width] for i, name in enumerate(names)}


def seen(name: str) -> str:
    """Return under which name the rows stand that looks at a worktree left; no worktree can be called so."""
    return name + "/seen"


def _check_of(name: str, path: bytes, row: bytes, node: bytes) -> bytes:
    digest = hashlib.sha256(name.encode() + b"\0" + path + b"\0" + node)
    digest.update(row)
    return digest.digest()[:16]


def _sum_of(checks: Iterable[bytes], snapshot: str, root: bytes) -> bytes:
    """Return what binds a base to its rows: the checks of all of them, added up so that their order does not show."""
    total = sum(int.from_bytes(check, "little") for check in checks) & ((1 << 128) - 1)
    return hashlib.sha256(snapshot.encode() + b"\0" + root + total.to_bytes(16, "little")).digest()[:16]


class LazyRows:
    """The rows of one worktree, each read when it is asked for: what nobody asks for costs nothing.

    `checks` are the checksums that the base was bound to. Only rows with one of them count: a crash may have kept
    the page with a row of before, which is whole in itself.
    """

    def __init__(self, index: Index, name: str, checks: frozenset[bytes]) -> None:
        self._index = index
        self._name = name
        self._checks = checks

    def get(self, path: bytes) -> tuple[bytes, bytes] | None:
        """Return one row, or None."""
        found = self._index.checked_row(self._name, path)
        return found[:2] if found is not None and found[2] in self._checks else None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._index.paths(self._name))


class Index:
    """An open index, or an absent one that knows nothing and keeps nothing (`Index(None)`)."""

    def __init__(self, path: str | None, *, readonly: bool = False) -> None:
        self.path = path
        self.readonly = readonly
        self._db: sqlite3.Connection | None = None
        if path is not None:
            self._db = self._open()

    def _open(self) -> sqlite3.Connection | None:
        import sqlite3

        assert self.path is not None
        for attempt in (1, 2):
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError) or attempt == 2 or self.readonly:
                    return None  # busy, read-only, no space: work without
                self._drop_file()
            except OSError:
                return None
        return None

    def _connect(self) -> sqlite3.Connection | None:
        import sqlite3

        assert self.path is not None
        if os.path.islink(self.path):
            self._drop_file()
        fresh = not os.path.exists(self.path)
        if fresh and self.readonly:
            return None
        db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            if fresh:
                os.chmod(self.path, 0o600)
            # No durability wanted: after a crash the checks below find what is torn, and it is hashed again.
            db.execute("PRAGMA synchronous=OFF")
            db.execute("PRAGMA journal_mode=TRUNCATE")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise sqlite3.DatabaseError("another version")
            if version == 0:
                db.executescript(_SCHEMA)
        except BaseException:
            db.close()
            raise
        return db

    def _drop_file(self) -> None:
        assert self.path is not None
        for suffix in ("", "-journal"):
            durable.unlink(self.path + suffix, missing_ok=True)

    def _damaged(self) -> None:
        """Throw the file away and work without it until the next start."""
        import sqlite3

        if self._db is not None:
            try:
                self._db.close()
            except sqlite3.Error:
                pass
            self._db = None
        if not self.readonly and self.path is not None:
            try:
                self._drop_file()
            except OSError:
                pass

    def rows(self, name: str, checks: frozenset[bytes] | None = None) -> Rows:
        """Return the rows of one worktree whose checksum is right, and one of those that its base was bound to."""
        import sqlite3

        if self._db is None:
            return {}
        result: Rows = {}
        try:
            query = self._db.execute("SELECT path, stamps, node, chk FROM dir WHERE tree=?", (name,))
            for path, row, node, check in query:
                if _check_of(name, path, row, node) == check and (checks is None or check in checks):
                    result[path] = (row, node)
        except sqlite3.OperationalError:
            return {}
        except (sqlite3.DatabaseError, TypeError, ValueError):
            self._damaged()
            return {}
        return result

    def seen_rows(self, name: str) -> Rows:
        """Return the rows of one worktree with those of later looks before them, for looking only.

        What a look found has the right digests, but says nothing of what any payload holds: no link may rest on it.
        """
        return {**self.rows(name), **self.rows(seen(name))}

    def checked_row(self, name: str, path: bytes) -> tuple[bytes, bytes, bytes] | None:
        """Return one row of a worktree and its checksum, when that is right."""
        import sqlite3

        if self._db is None:
            return None
        try:
            found = self._db.execute(
                "SELECT stamps, node, chk FROM dir WHERE tree=? AND path=?", (name, path)
            ).fetchone()
            if found is not None and _check_of(name, path, found[0], found[1]) == found[2]:
                return found
        except (sqlite3.OperationalError, TypeError, ValueError):
            return None
        except sqlite3.DatabaseError:
            self._damaged()
        return None

    def paths(self, name: str) -> list[bytes]:
        """Return the directories of a worktree that have a row."""
        import sqlite3

        if self._db is None:
            return []
        try:
            return [row[0] for row in self._db.execute("SELECT path FROM dir WHERE tree=?", (name,))]
        except sqlite3.OperationalError:
            return []
        except sqlite3.DatabaseError:
            self._damaged()
            return []

    def total(self, node: bytes) -> Total | None:
        """Return what a directory with this node holds in all, when it is known."""
        import sqlite3

        if self._db is None:
            return None
        try:
            found = self._db.execute("SELECT counts, chk FROM total WHERE node=?", (node,)).fetchone()
            if found is None or _check_of("total", node, found[0], b"") != found[1] or len(found[0]) != 40:
                return None
            return struct.unpack("<5Q", found[0])
        except (sqlite3.OperationalError, TypeError, ValueError):
            return None
        except sqlite3.DatabaseError:
            self._damaged()
            return None

    def base(self, name: str) -> tuple[str, bytes] | None:
        """Return the snapshot whose payload the rows of a worktree describe, and its root node; None if unknown."""
        bound = self.bound_base(name)
        return bound[:2] if bound is not None else None

    def bound_base(self, name: str) -> tuple[str, bytes, frozenset[bytes]] | None:
        """Return the base of a worktree, and the checksums of the rows that it was bound to.

        Files are linked from that payload unread, so a base that a crash, which may keep some pages of a
        transaction and lose others, left beside the rows of another snapshot must not be believed. The checksums
        come from an index of their own, which is small: the rows hold the stamps of every file.
        """
        import sqlite3

        if self._db is None:
            return None
        try:
            row = self._db.execute("SELECT snapshot, root, rows FROM base WHERE tree=?", (name,)).fetchone()
            if row is None:
                return None
            snapshot, root, bound = row
            checks = self._checks_of(name)
            return (snapshot, root, frozenset(checks)) if _sum_of(checks, snapshot, root) == bound else None
        except sqlite3.OperationalError:
            return None
        except (sqlite3.DatabaseError, TypeError, ValueError, AttributeError):
            self._damaged()
            return None

    def _checks_of(self, name: str) -> list[bytes]:
        assert self._db is not None
        query = self._db.execute("SELECT chk FROM dir INDEXED BY dir_chk WHERE tree=?", (name,))
        return [check for (check,) in query]

    def node(self, digest: bytes) -> bytes | None:
        """Return the bytes of a node, proved by its digest, or None."""
        import sqlite3

        if digest == tree.EMPTY_DIGEST:
            return b"\x80"
        if self._db is None:
            return None
        try:
            row = self._db.execute("SELECT data FROM node WHERE digest=?", (digest,)).fetchone()
        except sqlite3.OperationalError:
            return None
        except sqlite3.DatabaseError:
            self._damaged()
            return None
        if row is None or not isinstance(row[0], bytes) or tree.node_digest(row[0]) != digest:
            return None
        return row[0]

    def root(self, root_hash: str) -> tree.Root | None:
        """Return the root that a root hash stands for, proved by it, or None."""
        import sqlite3

        if self._db is None:
            return None
        try:
            row = self._db.execute("SELECT data FROM node WHERE digest=?", (bytes.fromhex(root_hash),)).fetchone()
            if row is None or not isinstance(row[0], bytes) or tree.hash_of_root(row[0]) != root_hash:
                return None
            return tree.decode_root(row[0])
        except (sqlite3.OperationalError, ValueError):
            return None
        except sqlite3.DatabaseError:
            self._damaged()
            return None

    def store(
        self,
        name: str | None,
        *,
        rows: Iterable[tuple[bytes, bytes, bytes]] = (),
        gone: Iterable[bytes] = (),
        nodes: dict[bytes, bytes] | None = None,
        totals: dict[bytes, Total] | None = None,
        base: tuple[str, bytes] | None = None,
        replace: bool = False,
    ) -> None:
        """Keep nodes, and rows (path, packed row, node digest) of one worktree, in one transaction.

        `gone` are directories that are no more; `replace` forgets all rows of the worktree first; `base` says
        which snapshot the rows describe, and rows that are kept without one have none. Whatever goes wrong, nothing
        is raised and nothing half is kept.
        """
        import sqlite3

        if self._db is None or self.readonly:
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            if nodes:
                self._db.executemany("INSERT OR IGNORE INTO node VALUES (?,?)", list(nodes.items()))
            if totals:
                packed = [(node, struct.pack("<5Q", *counts)) for node, counts in totals.items()]
                self._db.executemany(
                    "INSERT OR IGNORE INTO total VALUES (?,?,?)",
                    [(node, counts, _check_of("total", node, counts, b"")) for node, counts in packed],
                )
            if name is not None:
                if base is not None:  # a snapshot knows better than the looks before it
                    self._db.execute("DELETE FROM dir WHERE tree=?", (seen(name),))
                if replace:
                    self._db.execute("DELETE FROM dir WHERE tree=?", (name,))
                self._db.executemany("DELETE FROM dir WHERE tree=? AND path=?", [(name, path) for path in gone])
                self._db.executemany(
                    "INSERT OR REPLACE INTO dir VALUES (?,?,?,?,?)",
                    [(name, path, row, node, _check_of(name, path, row, node)) for path, row, node in rows],
                )
                if base is not None:
                    bound = _sum_of(self._checks_of(name), *base)
                    self._db.execute("INSERT OR REPLACE INTO base VALUES (?,?,?,?)", (name, *base, bound))
            self._db.execute("COMMIT")
        except sqlite3.OperationalError:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.DatabaseError:
            self._damaged()

    def forget(self, name: str) -> None:
        """Drop all rows of a worktree."""
        import sqlite3

        if self._db is None or self.readonly:
            return
        try:
            self._db.execute("DELETE FROM dir WHERE tree IN (?,?)", (name, seen(name)))
            self._db.execute("DELETE FROM base WHERE tree=?", (name,))
        except sqlite3.OperationalError:
            return
        except sqlite3.DatabaseError:
            self._damaged()

    def forget_nodes(self, keep: set[bytes]) -> None:
        """Drop every node that is not in `keep`, after a collection."""
        import sqlite3

        if self._db is None or self.readonly:
            return
        try:
            have = [row[0] for row in self._db.execute("SELECT digest FROM node")]
            self._db.execute("BEGIN IMMEDIATE")
            lost = [(digest,) for digest in have if digest not in keep]
            self._db.executemany("DELETE FROM node WHERE digest=?", lost)
            self._db.executemany("DELETE FROM total WHERE node=?", lost)
            self._db.execute("COMMIT")
        except sqlite3.OperationalError:
            if self._db is not None and self._db.in_transaction:
                self._db.execute("ROLLBACK")
        except sqlite3.DatabaseError:
            self._damaged()

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
