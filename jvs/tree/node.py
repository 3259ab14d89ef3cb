"""The Merkle tree `sha256-tree-2`: entries, nodes, root hash, and comparing two trees where they differ.

In `sha256-tree-1` the digest of a file of any size is the SHA-256 of its content; all else is the same.

Source: jvs-format(5), Tree hash.
"""

from __future__ import annotations

import hashlib
import os

from jvs import canon
from jvs.fs import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

ALGORITHM = "sha256-tree-2"
PLAIN = "sha256-tree-1"
ALGORITHMS = (ALGORITHM, PLAIN)
_TREE_PREFIX = b"jvs-tree-1\0"
_ROOT_PREFIX = b"jvs-root-1\0"

Entry = tuple[bytes, int, int, int, bytes, "dict[bytes, bytes] | None"]
"""Shape: name, kind (`walk.FILE` ...), permission bits, size in bytes, 32-byte digest, covered xattrs or None."""


def is_plain(algorithm: str) -> bool:
    """Answer whether an algorithm takes the SHA-256 of large files as their digests: the one of earlier snapshots."""
    return algorithm == PLAIN


def encode_node(entries: list[Entry]) -> bytes:
    """Return the bytes of a directory node: deterministic CBOR of its entries, which are sorted by name."""
    return canon.cbor_encode([list(entry) for entry in entries])


def node_digest(data: bytes) -> bytes:
    """Return the digest of an encoded directory node."""
    return hashlib.sha256(_TREE_PREFIX + data).digest()


EMPTY_DIGEST = node_digest(b"\x80")


def decode_node(data: bytes) -> list[Entry]:
    """Return the entries of a node that somebody stored.

    Errors: ValueError when it is not a list of well-formed entries in order; a stored node is never trusted.
    """
    value = canon.cbor_decode(data)
    if not isinstance(value, list):
        raise ValueError("a node is a list")
    entries: list[Entry] = []
    last = b""
    for item in value:
        entry = item if _is_usual(item) else _fields(item)
        name = entry[0]
        if name <= last or b"/" in name or name in (b".", b".."):
            raise ValueError("names are out of order or not names")
        last = name
        entries.append(tuple(entry))
    return entries


def decode_proved(data: bytes) -> list[Entry]:
    """Return the entries of a node whose digest leads to a descriptor: whoever wrote that made it well-formed.

    A third of the time of `decode_node`. Errors: ValueError when it is no list of lists of six.
    """
    value = canon.cbor_decode(data)
    if not isinstance(value, list) or not all(type(item) is list and len(item) == 6 for item in value):
        raise ValueError("a node is a list of entries")
    return value


def subdirectories(entries: list[Entry]) -> list[tuple[bytes, bytes]]:
    """Return names and digests of the directories among what `decode_proved` returned.

    Nothing else of it is checked, but these lead somewhere: whoever forged them leads nobody elsewhere. Errors: as
    `decode_node`.
    """
    found = [(entry[0], entry[4]) for entry in entries if entry[1] == listing.DIR]
    for name, digest in found:
        if type(name) is not bytes or type(digest) is not bytes or b"/" in name or name in (b"", b".", b".."):
            raise ValueError("names are out of order or not names")
    return found


def _is_usual(item: Any) -> bool:
    """Answer at once whether an item is an entry without attributes, as nearly all are; of others `_fields` decides."""
    if type(item) is not list or len(item) != 6:
        return False
    name, kind, mode, size, digest, xattrs = item
    return (
        type(name) is bytes
        and type(digest) is bytes
        and len(digest) == 32
        and xattrs is None
        and type(kind) is type(mode) is type(size) is int
        and 0 <= kind <= 6
    )


def find(data: bytes, name: bytes) -> Entry | None:
    """Return one entry of a node that somebody stored; a node that does not even hold the name is not taken apart.

    Errors: ValueError as `decode_node`, but only what is asked for is checked.
    """
    if name not in data:
        return None
    value = canon.cbor_decode(data)
    if not isinstance(value, list):
        raise ValueError("a node is a list")
    try:
        return _fields(value[[item[0] for item in value].index(name)])
    except ValueError:
        if any(item[:1] == [name] for item in value):
            raise
        return None
    except (TypeError, IndexError, KeyError) as error:
        raise ValueError("an entry has six fields") from error


def _fields(item: Any) -> Entry:
    if not isinstance(item, list) or len(item) != 6:
        raise ValueError("an entry has six fields")
    name, kind, mode, size, digest, xattrs = item
    if not (isinstance(name, bytes) and isinstance(digest, bytes) and len(digest) == 32):
        raise ValueError("an entry has a name and a digest")
    if not (isinstance(kind, int) and 0 <= kind <= 6 and isinstance(mode, int) and isinstance(size, int)):
        raise ValueError("an entry has kind, mode and size")
    if xattrs is not None and not isinstance(xattrs, dict):
        raise ValueError("xattrs are a map or null")
    return name, kind, mode, size, digest, xattrs


Root = tuple[int, "dict[bytes, bytes] | None", bytes]
"""Shape: permission bits, covered xattrs or None, digest of the root directory's node."""


def encode_root(root: Root) -> bytes:
    """Return the bytes that are hashed to the root hash, without the prefix."""
    return canon.cbor_encode(list(root))


def root_hash(root: Root) -> str:
    """Return the root hash of a tree. Shape: 64 hex digits."""
    return hash_of_root(encode_root(root))


def hash_of_root(data: bytes) -> str:
    """Return the root hash of an encoded root."""
    return hashlib.sha256(_ROOT_PREFIX + data).hexdigest()


def decode_root(data: bytes) -> Root:
    """Return a root that somebody stored. Errors: ValueError."""
    value = canon.cbor_decode(data)
    if not (isinstance(value, list) and len(value) == 3 and isinstance(value[0], int) and isinstance(value[2], bytes)):
        raise ValueError("a root has mode, xattrs and digest")
    return value[0], value[1], value[2]


def special_digest(kind: int, name: bytes, st: os.stat_result, dir_fd: int) -> bytes:
    """Return the digest of what is neither a regular file nor a directory. Errors: OSError."""
    if kind == listing.SYMLINK:
        return hashlib.sha256(os.readlink(name, dir_fd=dir_fd)).digest()
    if kind in (listing.CHAR, listing.BLOCK):
        return hashlib.sha256(b"%d:%d" % (os.major(st.st_rdev), os.minor(st.st_rdev))).digest()
    return hashlib.sha256(b"").digest()


Load = "Callable[[bytes], list[Entry]]"
Change = tuple[bytes, "Entry | None", "Entry | None"]
"""Shape: relative path, the entry before or None, the entry after or None."""


def compare(load: Callable[[bytes], list[Entry]], before: bytes | None, after: bytes | None) -> Iterator[Change]:
    """Yield what differs between two directory digests, sorted by path, descending only where digests differ.

    A directory that exists on one side only is yielded itself, then everything below it. A directory that exists
    on both sides is yielded only when its own mode or xattrs differ. `load` turns a digest into entries.
    """
    yield from _compare(load, b"", before, after)


def _compare(
    load: Callable[[bytes], list[Entry]], path: bytes, before: bytes | None, after: bytes | None
) -> Iterator[Change]:
    if before == after:
        return
    old = {entry[0]: entry for entry in load(before)} if before is not None else {}
    new = {entry[0]: entry for entry in load(after)} if after is not None else {}
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name), new.get(name)
        if a == b:
            continue
        here = listing.relative(path, name)
        a_dir = a[4] if a is not None and a[1] == listing.DIR else None
        b_dir = b[4] if b is not None and b[1] == listing.DIR else None
        if a is None or b is None or a_dir is None or b_dir is None or (a[2], a[5]) != (b[2], b[5]):
            yield here, a, b
        if a_dir is not None or b_dir is not None:
            yield from _compare(load, here, a_dir, b_dir)
