"""Trees by name: what a snapshot or any directory holds, as flat lists for plumbing.

Source: jvs-ls-tree(1), jvs-diff-tree(1); sha256sum(1).
"""

from __future__ import annotations

import os

from jvs import canon
from jvs.errors import NotARepository, NotFound
from jvs.fs import listing, rooted
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NotRequired

    from jvs.store.node_store import Trees
    from jvs.store.store import Store
    from jvs.tree.node import Entry

    class EntryDocument(canon.PathJSON):
        """One entry of a tree as `--json` prints it: mode is octal text, digest and values of xattrs are hex."""

        kind: str
        mode: str
        size: int
        digest: str
        xattrs: NotRequired[dict[str, str]]


class Forest:
    """Finds trees by name. `open_store` is called when a name can be a snapshot; it may raise E_NOT_A_REPOSITORY."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._store: Store | None = None
        self._known: Trees | None = None
        self._nodes: dict[bytes, bytes] = {}

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
        root = self._known.root(lineage.load_visible(self._store, refs.resolve(self._store, word)))
        assert root is not None
        return root

    def _directory(self, path: str) -> node.Root:
        from jvs.store import node_store

        if not os.path.isdir(path):
            raise NotFound(f"'{path}' is not a directory", hint="name a snapshot, or a directory that is there")
        found = node_store.hash_payload(rooted.at(os.path.realpath(path)), jobs=os.cpu_count() or 1)
        self._nodes.update(found.nodes)
        return found.root

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


def entry_json(path: bytes, entry: Entry) -> EntryDocument:
    """Return an entry for `--json`. Shape: mode is octal text, digest hex; xattrs, when there are, hex by name."""
    value: EntryDocument = {
        **canon.path_json(path),
        "kind": listing.KIND_NAMES[entry[1]],
        "mode": f"{entry[2]:04o}",
        "size": entry[3],
        "digest": entry[4].hex(),
    }
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
