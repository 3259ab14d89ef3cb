"""The rebuildable index: what was hashed before, so that only what changed is read again.

Two facts: the nodes of the Merkle tree by their digest, and for each worktree and directory the stamps of its
entries with the digest of the node that they gave. Everything that comes out of it is checked: a node by its
digest, a row by a checksum. It is written without fsync; damage, a full disk or a lock that stays held mean
"work without", never an error to the user. `verify` never uses it.
Source: jvs-format(5), Index.
"""

from __future__ import annotations

import struct

from jvs.tree import index_file
from jvs.tree import node as tree_node
from jvs.tree import rows as tree_rows
from jvs.tree.index_access import Access, Asking
from jvs.tree.index_file import are_bytes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from jvs.fs.rooted import Below

_NODE = "SELECT data FROM node WHERE digest=?"
_TOTAL = "SELECT counts, chk FROM total WHERE node=?"
Bound = tuple[str, bytes, frozenset[bytes], bool, str]
"""Shape: snapshot, root node, checksums of its rows, whether it is plain (see `store`), algorithm."""
LEAST_UNPACKED, MOST_TIMES_UNPACKED = 64 << 20, 100
MOST_PRELOADED = 2_000
"""More nodes and totals than that are not kept in memory."""


class Index(Access, tree_rows.Known):
    """An open index, or an absent one that knows nothing and keeps nothing (`Index(None)`)."""

    def __init__(self, path: str | Below | None, *, readonly: bool = False) -> None:
        super().__init__(path, readonly=readonly)
        self._read: dict[str, bytes] = {}
        self._ahead: dict[tuple[str, bytes], tuple[Any, ...] | None] = {}
        self._unpacking_ones: tree_rows.Unpacking | None = None
        self._bound_at: tuple[int, int] | None = None
        self._bound: dict[str, tuple[Bound, bytes] | None] = {}

    def _fetch(self, query: str, key: bytes) -> tuple[Any, ...] | None:
        """Return the row of a query for one key, which may have been fetched ahead; that is forgotten then."""
        found = self._ahead.pop((query, key), None)
        return found if found is not None else self._one(query, key)

    def preload(self, nodes: set[bytes], totals: set[bytes]) -> int:
        """Fetch nodes and totals by page, at once: on FUSE each query waits for calls. Returns how long nodes are."""
        if self._db is None or len(nodes) + len(totals) > MOST_PRELOADED:
            return 0
        with self.at_once(), Asking(self):
            for query, key in [(_NODE, key) for key in sorted(nodes)] + [(_TOTAL, key) for key in sorted(totals)]:
                self._ahead[query, key] = self._db.execute(query, (key,)).fetchone()
        return sum(len(row[0]) for key in nodes if (row := self._ahead.get((_NODE, key))) and are_bytes(row))

    def rows(self, name: str, checks: frozenset[bytes] | None = None) -> tree_rows.Rows:
        """Return the rows of one worktree whose checksum is right, and one of those that its base was bound to."""
        if self._db is None:
            return {}
        with Asking(self):
            query = self._all("SELECT path, stamps, digest, node, chk FROM dir WHERE tree=?", name)
            unpacking = self._unpacking()
            return {
                path: (tree_rows.PackedRow(row, digest, unpacking), node)
                for path, row, digest, node, check in query
                if isinstance(row, bytes)
                and tree_rows.check_of(name, path, digest, node) == check
                and (checks is None or check in checks)
            }
        return {}

    def bound_rows(self, name: str, *, plain: bool = False) -> tree_rows.Rows:
        """Return the rows of one worktree if its base proves all of them; `plain`: for a walk in `sha256-tree-1`.

        A row alone is true of the stamps in it, but its node also says what is below: the row above a directory must
        not be older than that of the directory.
        """
        with self.at_once():
            base = self.bound_base(name)
            return {} if base is None else tree_rows.as_wanted(self.rows(name, base[2]), self, base[4], plain=plain)

    def seen_rows(self, name: str, *, plain: bool = False) -> tree_rows.Rows:
        """Return the rows of one worktree with those of later looks before them, for looking only.

        What a look found has the right digests, but says nothing of what any payload holds: no link may rest on it.
        """
        with self.at_once():
            rows = self.bound_rows(name, plain=plain)
            checks = self.seen_checks(name, plain=plain)
            if checks is not None:
                rows.update(self.rows(tree_rows.seen(name), checks))
            return rows

    def seen_checks(self, name: str, *, plain: bool = False) -> frozenset[bytes] | None:
        """Return the checksums of the rows of later looks; None when they were laid over other rows than those now."""
        seen = self._seen_base(name, plain)
        return seen[2] if seen is not None else None

    def _seen_base(self, name: str, plain: bool) -> Bound | None:
        """Return the base of later looks, when they used the algorithm and were laid over the rows that are there."""
        seen = self.bound_base(tree_rows.seen(name))
        if seen is None or (seen[4] == tree_node.PLAIN) != plain:
            return None
        return seen if seen[0].partition(" ")[0] == self.base_id(name) else None

    def compared_with(self, name: str, *, plain: bool = False) -> str:
        """Return the snapshot whose metadata the stamps prove that `seen_rows` returns; empty when unknown."""
        seen = self._seen_base(name, plain)
        return seen[0].partition(" ")[2] if seen is not None else self.base_id(name)

    def trees_of(self, snapshot_id: str) -> list[str]:
        """Return the worktrees whose rows are said to describe a snapshot, which `bound_base` proves or not."""
        if self._db is None:
            return []
        names = [tree_rows.with_algorithm(snapshot_id, one) for one in (tree_node.ALGORITHM, tree_node.PLAIN)]
        with Asking(self):
            found = self._all("SELECT tree FROM base WHERE snapshot=? OR snapshot=?", *names)
            return [tree for (tree,) in found if isinstance(tree, str)]
        return []

    def base_id(self, name: str) -> str:
        """Return the snapshot that the rows of a worktree describe; empty when there is none."""
        return (self.base(name) or ("", b""))[0]

    def _unpacking(self) -> tree_rows.Unpacking:
        """Return how much may come out of the file: far more than out of any that jvs filled."""
        return tree_rows.Unpacking(
            LEAST_UNPACKED + MOST_TIMES_UNPACKED * index_file.size_of(self._db) if self._db else 0
        )

    def checked_row(self, name: str, path: bytes) -> tuple[tree_rows.Row, bytes, bytes] | None:
        """Return one row of a worktree, its node and its checksum, when that is right."""
        found = self._one("SELECT stamps, digest, node, chk FROM dir WHERE tree=? AND path=?", name, path)
        if found is None or not are_bytes(found):
            return None
        row, digest, node, check = found
        if tree_rows.check_of(name, path, digest, node) != check:
            return None
        if self._unpacking_ones is None:
            self._unpacking_ones = self._unpacking()
        return tree_rows.PackedRow(row, digest, self._unpacking_ones), node, check

    def paths(self, name: str) -> list[bytes]:
        """Return the directories of a worktree that have a row."""
        if self._db is None:
            return []
        with Asking(self):
            return [path for (path,) in self._all("SELECT path FROM dir WHERE tree=?", name)]
        return []

    def total(self, node: bytes) -> tree_rows.Total | None:
        """Return what a directory with this node holds in all, when it is known."""
        found = self._fetch(_TOTAL, node)
        if found is None or not are_bytes(found) or tree_rows.check_of("total", node, found[0], b"") != found[1]:
            return None
        return struct.unpack("<5Q", found[0]) if len(found[0]) == 40 else None

    def base(self, name: str) -> tuple[str, bytes] | None:
        """Return the snapshot whose payload the rows of a worktree describe, and its root node; None if unknown."""
        bound = self.bound_base(name)
        return bound[:2] if bound is not None else None

    def bound_base(self, name: str) -> Bound | None:
        """Return the base of a worktree, with the checksums of the rows that it was bound to.

        Files are linked from that payload unread, so a base that a crash, which may keep some pages of a transaction
        and lose others, left next to the rows of another snapshot must not be trusted. The checksums are in an index.
        """
        self._read.pop(name, None)
        state = self.state()
        if state is None:
            return None
        if state != self._bound_at:
            self._bound_at, self._bound = state, {}
        if name not in self._bound:
            self._bound[name] = self._bound_now(name)
        found = self._bound[name]
        if found is None:
            return None
        self._read[name] = found[1]
        return found[0]

    def _bound_now(self, name: str) -> tuple[Bound, bytes] | None:
        """Return what `bound_base` does, and the check that binds it."""
        with Asking(self):
            row = self._one("SELECT snapshot, root, plain, rows FROM base WHERE tree=?", name)
            if row is None:
                return None
            snapshot, root, plain, bound = row
            checks = self._checks_of(name)
            if tree_rows.sum_of(checks, snapshot, root, plain == 1) == bound:
                base, algorithm = tree_rows.without_algorithm(snapshot)
                return (base, root, frozenset(checks), plain == 1, algorithm), bound
        return None

    def _is_as_read(self, name: str) -> bool:
        """Answer whether the rows of a worktree are those that its base proved when it was asked for last."""
        now = self._bound_now(name)
        return now is not None and self._read.get(name) == now[1]

    def _checks_of(self, name: str) -> list[bytes]:
        return [check for (check,) in self._all("SELECT chk FROM dir INDEXED BY dir_chk WHERE tree=?", name)]

    def node(self, digest: bytes) -> bytes | None:
        """Return the bytes of a node, proved by its digest, or None."""
        if digest == tree_node.EMPTY_DIGEST:
            return b"\x80"
        found = self._fetch(_NODE, digest)
        if found is None or not are_bytes(found) or tree_node.node_digest(found[0]) != digest:
            return None
        data: bytes = found[0]
        return data

    def root(self, root_hash: str) -> tree_node.Root | None:
        """Return the root that a root hash names, proved by it, or None."""
        found = self._fetch(_NODE, bytes.fromhex(root_hash))
        if found is None or not are_bytes(found) or tree_node.hash_of_root(found[0]) != root_hash:
            return None
        return tree_node.decode_root(found[0])

    def store(
        self,
        name: str | None,
        *,
        rows: Iterable[tuple[bytes, tree_rows.Row, bytes]] = (),
        gone: Iterable[bytes] = (),
        nodes: dict[bytes, bytes] | None = None,
        totals: dict[bytes, tree_rows.Total] | None = None,
        base: tuple[str, bytes] | None = None,
        plain: bool = False,
        replace: bool = False,
        algorithm: str = tree_node.ALGORITHM,
    ) -> None:
        """Keep nodes, and rows (path, packed row, node digest) of one worktree, in one transaction.

        `gone` are directories that are no more; `replace` forgets all rows of the worktree first; `base` says
        which snapshot the rows describe, and rows that are kept without one have none; `plain` that there are neither
        hard-link groups nor special files in it; `algorithm` is that of the tree. Whatever goes wrong, nothing is
        raised and nothing half is kept.
        """
        if self._db is None or self.readonly:
            return
        with Asking(self):
            self.take_back()  # what was asked at once is answered
            self._db.execute("BEGIN IMMEDIATE")
            if nodes:
                self._write_many("INSERT OR IGNORE INTO node VALUES (?,?)", list(nodes.items()))
            if totals:
                packed = [(node, struct.pack("<5Q", *counts)) for node, counts in totals.items()]
                self._write_many(
                    "INSERT OR IGNORE INTO total VALUES (?,?,?)",
                    [(node, counts, tree_rows.check_of("total", node, counts, b"")) for node, counts in packed],
                )
            if name is not None:
                if base is not None:  # a snapshot knows better than the looks before it
                    self._db.execute("DELETE FROM dir WHERE tree=?", (tree_rows.seen(name),))
                # New rows may be laid only over those that they were made from: another program may have put an old
                # copy of the file back meanwhile, or dropped it.
                if replace or (base is not None and not self._is_as_read(name)):
                    self._db.execute("DELETE FROM dir WHERE tree=?", (name,))
                self._write_many("DELETE FROM dir WHERE tree=? AND path=?", [(name, path) for path in gone])
                self._write_many("INSERT OR REPLACE INTO dir VALUES (?,?,?,?,?,?)", _columns(name, rows))
                if base is not None:
                    base = tree_rows.with_algorithm(base[0], algorithm), base[1]
                    bound = tree_rows.sum_of(self._checks_of(name), *base, plain)
                    values = (name, *base, int(plain), bound)
                    self._db.execute("INSERT OR REPLACE INTO base VALUES (?,?,?,?,?)", values)
                    self._read[name] = bound
            self._db.execute("COMMIT")

    def forget(self, name: str) -> None:
        """Drop all rows of worktrees of a name, whenever they were made."""
        if self._db is None or self.readonly:
            return
        with Asking(self):
            for table in ("dir", "base"):
                self._db.execute(f"DELETE FROM {table} WHERE tree=? OR tree GLOB ?", (name, f"{name}[ /]*"))

    def forget_trees(self, keep: set[str]) -> None:
        """Drop the rows of every worktree that is not in `keep`: another mount may have removed it."""
        if self._db is None or self.readonly:
            return
        with Asking(self):
            gone = {tree for (tree,) in self._all("SELECT tree FROM base") if str(tree).partition("/")[0] not in keep}
            self._db.execute("BEGIN IMMEDIATE")
            for table in ("dir", "base"):
                self._write_many(f"DELETE FROM {table} WHERE tree=?", [(tree,) for tree in gone])
            self._db.execute("COMMIT")

    def forget_nodes(self, keep: set[bytes]) -> None:
        """Drop every node that is not in `keep`, after a collection."""
        if self._db is None or self.readonly:
            return
        with Asking(self):
            have = [row[0] for row in self._all("SELECT digest FROM node")]
            self._db.execute("BEGIN IMMEDIATE")
            lost = [(digest,) for digest in have if digest not in keep]
            self._write_many("DELETE FROM node WHERE digest=?", lost)
            self._write_many("DELETE FROM total WHERE node=?", lost)
            self._db.execute("COMMIT")


def _columns(
    name: str, rows: Iterable[tuple[bytes, tree_rows.Row, bytes]]
) -> Iterator[tuple[str, bytes, bytes, bytes, bytes, bytes]]:
    """Yield rows of a worktree as the table `dir` has them."""
    for path, row, node in rows:
        data, digest = tree_rows.as_kept(row)
        yield name, path, data, digest, node, tree_rows.check_of(name, path, digest, node)
