"""The tree of a snapshot as the other hash algorithm has it, for comparing it with a tree of that one.

The two differ in the digests of large files alone, so that only these are read, and proved on the way.
Source: jvs-format(5), Tree hash.
"""

from __future__ import annotations

import os

from jvs.errors import PayloadHashMismatch, from_oserror
from jvs.fs import listing, paths
from jvs.tree import hasher, node
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.fs.rooted import Below
    from jvs.tree.node import Entry

    Load = Callable[[bytes], list[Entry]]


def translate(
    load: Load, payload: Below, snapshot_id: str, root: node.Root, *, plain: bool
) -> tuple[node.Root, dict[bytes, bytes]]:
    """Return the root of a snapshot's tree in the other algorithm, and its nodes; `load` gives those that it has.

    Errors: E_PAYLOAD_HASH_MISMATCH for a file that is not what was published; E_IO.
    """
    made: dict[bytes, bytes] = {}
    try:
        fd = paths.open_dir(payload)
        try:
            return (root[0], root[1], _directory(load, made, root[2], fd, snapshot_id, b"", plain)), made
        finally:
            os.close(fd)
    except OSError as error:
        raise from_oserror(error, f"reading snapshot '{snapshot_id}'") from error


def _directory(
    load: Load, made: dict[bytes, bytes], digest: bytes, fd: int, snapshot_id: str, path: bytes, plain: bool
) -> bytes:
    entries = []
    for entry in load(digest):
        name, kind, mode, size, _, xattrs = entry
        if size > LEAF_BYTES and kind in (listing.FILE, listing.DIR):  # of a directory the sum of all below
            below = listing.relative(path, name)
            child = paths.open_dir(name, fd, one_mount=True) if kind == listing.DIR else paths.open_file(name, fd)
            try:
                if kind == listing.DIR:
                    other = _directory(load, made, entry[4], child, snapshot_id, below, plain)
                else:
                    other = _file(child, entry, snapshot_id, below, plain)
            finally:
                os.close(child)
            entry = (name, kind, mode, size, other, xattrs)
        entries.append(entry)
    data = node.encode_node(entries)
    made[node.node_digest(data)] = data
    return node.node_digest(data)


def _file(fd: int, entry: Entry, snapshot_id: str, path: bytes, plain: bool) -> bytes:
    """Return the digest of a file in the other algorithm, once its own is proved."""
    if hasher.hash_quickly(fd, plain=not plain)[0] != entry[4]:
        shown = path.decode("utf-8", "backslashreplace")
        raise PayloadHashMismatch(
            f"'{shown}' in snapshot '{snapshot_id}' is not what was published",
            hint=f"'jvs verify {snapshot_id}' names what differs; another snapshot may hold the file",
            snapshot_id=snapshot_id,
            path=shown,
        )
    return hasher.hash_quickly(fd, plain=plain)[0]
