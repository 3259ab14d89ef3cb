"""The leaves of the large files of a snapshot, `snapshots/ID.leaves`: what the next snapshot need not read again.

A list is proved by the digest that it belongs to whenever it is used, so that a file that is missing, damaged or of
somebody else costs time and changes no hash.
Source: jvs-format(5), Leaf lists.
"""

from __future__ import annotations

from jvs import canon
from jvs.fs import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.layout import Layout
    from jvs.tree.leaves import Lists

PREFIX = b"jvs-leaves-1\0"
MOST_BYTES = 1 << 28
"""The lists of 32 TiB of large files; a longer file counts as none."""


def encode(lists: Lists) -> bytes:
    """Return the content of the file."""
    return PREFIX + canon.cbor_encode({digest: [size, digests] for digest, (size, digests) in lists.items()})


def decode(data: bytes) -> Lists:
    """Return the lists in a file, none of them proved yet. Errors: ValueError."""
    if not data.startswith(PREFIX):
        raise ValueError("it does not begin as a leaf list does")
    value = canon.cbor_decode(data[len(PREFIX) :])
    if not isinstance(value, dict):
        raise ValueError("it holds no map")
    lists: Lists = {}
    for digest, item in value.items():
        if not (isinstance(digest, bytes) and isinstance(item, list) and len(item) == 2):
            raise ValueError("a list has a digest, a size and leaves")
        size, digests = item
        if not (isinstance(size, int) and isinstance(digests, bytes)):
            raise ValueError("a list has a size and leaves")
        lists[digest] = size, digests
    return lists


def load(layout: Layout, snapshot_id: str) -> Lists:
    """Return what a snapshot wrote down; nothing when that is missing or cannot be read."""
    try:
        return decode(paths.read_file(layout.leaves(snapshot_id), MOST_BYTES))
    except (OSError, ValueError):
        return {}
