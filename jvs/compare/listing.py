"""Trees by name: what a snapshot or any directory holds, as flat lists for plumbing.

Source: jvs-ls-tree(1), jvs-diff-tree(1); sha256sum(1).
"""

from __future__ import annotations

import os

from jvs import canon
from jvs.errors import NotARepository, NotFound, PayloadHashMismatch, from_oserror
from jvs.fs import listing, paths, rooted
from jvs.tree import hasher, leaves, node
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NotRequired

    from jvs.fs.rooted import Below
    from jvs.store.node_store import Trees
    from jvs.store.store import Store
    from jvs.tree.node import Entry

    class EntryDocument(canon.PathJSON):
        """One entry of a tree as `--json` prints it: mode is octal text, digest and values of xattrs are hex."""

        kind: str
        mode: str
        size: int
        digest: str
        algorithm: NotRequired[str]
        xattrs: NotRequired[dict[str, str]]


class Forest:
    """Finds trees by name. `open_store` is called when a name can be a snapshot; it may raise E_NOT_A_REPOSITORY."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._store: Store | None = None
        self._known: Trees | None = None
        self.where: Below | None = None
        """Where the files of what was found last are."""
        self._nodes: dict[bytes, bytes] = {}
        self.plain: bool | None = None
        """Whether all trees are as `sha256-tree-1` has them; the first that is found decides."""

    def find(self, word: str) -> node.Root:
        """Return the root of a snapshot or of a directory, whose every byte is read.

        A word with a slash, `.` and `..` are directories; others are snapshots when one answers to them.
        Errors: E_NOT_FOUND, E_NOT_A_REPOSITORY, E_AMBIGUOUS, E_IO, and what a damaged snapshot raises.
        """
        if "/" not in word and word not in (".", ".."):
            try:
                return self._snapshot(word)
            except (NotFound, NotARepository):
                if not os.path.isdir(word):
                    raise
        return self._directory(word)

    def _snapshot(self, word: str) -> node.Root:
        from jvs.store import lineage, node_store, refs

        if self._store is None:
            self._store = self._open_store()
            self._known = node_store.Trees(self._store)
        assert self._known is not None
        record = lineage.load_visible(self._store, refs.resolve(self._store, word))
        if self.plain is None:
            self.plain = node.is_plain(record["hash_algorithm"])
        self.where = self._store.layout.payload(record["snapshot_id"])
        return self._known.root_as(record, plain=self.plain)

    def _directory(self, path: str) -> node.Root:
        from jvs.store import node_store

        if not os.path.isdir(path):
            raise NotFound(f"'{path}' is not a directory", hint="name a snapshot, or a directory that is there")
        self.where = rooted.at(os.path.realpath(path))
        self.plain = bool(self.plain)
        found = node_store.hash_payload(self.where, jobs=os.cpu_count() or 1, plain=self.plain)
        self._nodes.update(found.nodes)
        return found.root

    def with_sha256(self, path: bytes, entry: Entry) -> Entry:
        """Return the entry of a file with the SHA-256 of its content, for which a large one is read.

        Errors: E_PAYLOAD_HASH_MISMATCH for a file that is not what was published; E_IO.
        """
        if self.plain or entry[3] <= LEAF_BYTES:
            return entry
        assert self.where is not None
        shown = path.decode("utf-8", "backslashreplace")
        try:
            root = paths.open_dir(self.where)
            try:
                fd = paths.open_file_below(root, path)
                try:
                    digest = leaves.hash_open_file(fd, plain=True)[0]
                    if hasher.hash_quickly(fd)[0] == entry[4]:
                        return (*entry[:4], digest, entry[5])
                finally:
                    os.close(fd)
            finally:
                os.close(root)
        except OSError as error:
            raise from_oserror(error, f"reading '{shown}'") from error
        raise PayloadHashMismatch(
            f"'{shown}' is not what was hashed before", hint="run 'jvs verify' on the snapshot, or the command again"
        )

    def load(self, digest: bytes) -> list[Entry]:
        """Return the entries of a directory that lies below what was found."""
        data = self._nodes.get(digest)
        if data is not None:
            return node.decode_node(data)
        assert self._known is not None
        return self._known.load(digest)


def entries(load: Callable[[bytes], list[Entry]], digest: bytes, *, recursive: bool) -> Iterator[tuple[bytes, Entry]]:
    """Yield path and entry of all that a directory holds, sorted; with `recursive` also what lies deeper."""
    stack: list[Iterator[tuple[bytes, Entry]]] = [iter([(entry[0], entry) for entry in load(digest)])]
    while stack:
        pair = next(stack[-1], None)
        if pair is None:
            stack.pop()
            continue
        yield pair
        path, entry = pair
        if recursive and entry[1] == listing.DIR:
            stack.append(iter([(path + b"/" + below[0], below) for below in load(entry[4])]))


def entry_json(path: bytes, entry: Entry, *, plain: bool = False) -> EntryDocument:
    """Return an entry for `--json`. Shape: mode is octal text, digest hex; xattrs, when there are, hex by name.

    `plain`: the digest of a large file is the SHA-256 of its content, too.
    """
    value: EntryDocument = {
        **canon.path_json(path),
        "kind": listing.KIND_NAMES[entry[1]],
        "mode": f"{entry[2]:04o}",
        "size": entry[3],
        "digest": entry[4].hex(),
    }
    if entry[1] == listing.FILE:
        value["algorithm"] = "sha256" if plain or entry[3] <= LEAF_BYTES else "jvs-file-2"
    if entry[5]:
        value["xattrs"] = {name.decode("utf-8", "backslashreplace"): data.hex() for name, data in entry[5].items()}
    return value


def sha256sum_line(path: bytes, digest: bytes, *, zero: bool = False) -> bytes:
    r"""Return a line that `sha256sum -c` takes.

    Shape: a name with a backslash, a newline or a carriage return has them escaped, and the line begins with a
    backslash; with `zero` the name is raw and NUL ends it.
    """
    if zero:
        return digest.hex().encode() + b"  " + path + b"\0"
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != path else b"") + digest.hex().encode() + b"  " + escaped + b"\n"
