"""The digest of a file's content, in `sha256-tree-2`: plain SHA-256 up to one leaf, made of the leaves' beyond that.

The leaves of a large file are hashed apart from each other: by several threads, not at all where there is a hole, and
only those that changed when something else proves the others.
Source: jvs-format(5), Tree hash; jvs-engines(7), Speed; lseek(2) SEEK_DATA.
"""

from __future__ import annotations

import errno
import hashlib
import os

from jvs import canon
from jvs.fs.copyfile import CHUNK_BYTES as CHUNK_BYTES
from jvs.fs.copyfile import FIRST_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Entry = tuple[bytes, int, int, int, bytes, Any]

Lists = dict[bytes, tuple[int, bytes]]
"""Digest of a large file -> its size, and the digests of its leaves, one after another."""

LEAF_BYTES = 4 << 20
DIGEST_BYTES = 32
ZERO_LEAF = bytes.fromhex("bb9f8df61474d25e71fa00722318cd387396ca1736605e1248821cc0de3d3af8")
"""The digest of a leaf of zeros."""
NOT_READ: dict[bytes, bytes] = {}
"""Represents attributes that the caller knows better."""
_PREFIX = b"jvs-file-2\0"


def file_digest(size: int, digests: bytes) -> bytes:
    """Return the digest of a file of more than one leaf, by its size and the digests of its leaves."""
    leaves = [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
    return hashlib.sha256(_PREFIX + canon.cbor_encode([size, LEAF_BYTES, leaves])).digest()


def count(size: int) -> int:
    """Return how many leaves a file of some size has."""
    return -(-size // LEAF_BYTES)


def is_list_of(digest: bytes, size: int, digests: bytes) -> bool:
    """Answer whether these are the digests of the leaves of a file with some digest: it proves them."""
    whole = size > LEAF_BYTES and len(digests) == count(size) * DIGEST_BYTES
    return whole and file_digest(size, digests) == digest


def differing_parts(one: tuple[int, bytes], other: tuple[int, bytes]) -> list[tuple[int, int]]:
    """Return which parts of two files differ, by their sizes and leaves: first byte, and the one after the last."""
    parts: list[tuple[int, int]] = []
    longest = max(one[0], other[0])
    for i in range(count(longest)):
        at = slice(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES)
        if one[1][at] == other[1][at]:
            continue
        start, end = i * LEAF_BYTES, min((i + 1) * LEAF_BYTES, longest)
        if parts and parts[-1][1] == start:
            start = parts.pop()[0]
        parts.append((start, end))
    return parts


def changed_bytes(old: Entry, new: Entry, lists: Lists) -> int | None:
    """Return how many bytes of a large file are in leaves that differ; None when its leaves are not known."""
    one, other = ((e[3], e[4]) if e[3] <= LEAF_BYTES else lists.get(e[4]) for e in (old, new))
    if one is None or other is None or max(old[3], new[3]) <= LEAF_BYTES:
        return None
    for entry, listed in ((old, one), (new, other)):
        if entry[3] > LEAF_BYTES and (listed[0] != entry[3] or not is_list_of(entry[4], *listed)):
            return None
    return sum(end - start for start, end in differing_parts(one, other))


def hash_open_file(fd: int, *, plain: bool = False, lists: Lists | None = None) -> tuple[bytes, int]:
    """Return the digest of a file from its start, and the number of bytes read.

    `plain`: SHA-256 of all of it, whatever its size, as `sha256-tree-1` has it. `lists` takes the digests of the
    leaves of a large file. Errors: OSError.
    """
    digest = hashlib.sha256()
    size, room, wanted = 0, LEAF_BYTES, FIRST_BYTES
    digests: list[bytes] = []
    while chunk := os.pread(fd, wanted if plain else min(wanted, room), size):
        wanted = CHUNK_BYTES
        size += len(chunk)
        digest.update(chunk)
        if plain:
            continue
        room -= len(chunk)
        if not room:
            digests.append(digest.digest())
            digest, room = hashlib.sha256(), LEAF_BYTES
    if plain or size < LEAF_BYTES:
        return digest.digest(), size
    if size == LEAF_BYTES:
        return digests[0], size
    if room < LEAF_BYTES:
        digests.append(digest.digest())
    return _noted(size, b"".join(digests), lists), size


def _noted(size: int, digests: bytes, lists: Lists | None) -> bytes:
    digest = file_digest(size, digests)
    if lists is not None:
        lists[digest] = size, digests
    return digest


def hash_range(fd: int, start: int, stop: int, *, holes: bool) -> bytes | None:
    """Return the SHA-256 of a part of a file, or None when the file ends before it does.

    `holes`: the filesystem says truly where nothing was written. Errors: OSError.
    """
    if holes and _is_hole(fd, start, stop):
        return ZERO_LEAF if stop - start == LEAF_BYTES else hashlib.sha256(bytes(stop - start)).digest()
    digest = hashlib.sha256()
    while start < stop:
        chunk = os.pread(fd, min(CHUNK_BYTES, stop - start), start)
        if not chunk:
            return None
        digest.update(chunk)
        start += len(chunk)
    return digest.digest()


def data_from(fd: int, start: int, stop: int) -> tuple[int, int]:
    """Return where the next data in a part of a file begins and ends; both are its end when there is only a hole."""
    try:
        data = min(os.lseek(fd, start, os.SEEK_DATA), stop)
        return data, min(os.lseek(fd, data, os.SEEK_HOLE), stop) if data < stop else stop
    except OSError as error:
        if error.errno != errno.ENXIO:
            raise
        return stop, stop  # or the file became shorter, which whoever reads it notices


def _is_hole(fd: int, start: int, stop: int) -> bool:
    """Answer whether a part of a file within its size holds no data."""
    try:
        return os.lseek(fd, start, os.SEEK_DATA) >= stop
    except OSError as error:
        return error.errno == errno.ENXIO and os.fstat(fd).st_size >= stop
