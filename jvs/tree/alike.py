"""One name in many nodes of the same directory, which are alike: most snapshots change contents, not names.

The encoding of a node is a skeleton (heads, which say how long what follows is) with contents between (names, digests,
large numbers). Two nodes of the same length and skeleton have their entries at the same places, so that the one that is
asked for is taken from there and the others are not decoded. The answer is that of `node.find`.
Source: jvs-format(5), Tree hash; RFC 8949 section 3.
"""

from __future__ import annotations

from jvs import canon
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.tree.node import Entry

_LEARNING, _GAIN, _MOST_CREDIT = 80, 16, 160
"""Learning a skeleton costs as much as five nodes decoded; where that does not pay, every 80th node is tried."""
_DIGEST_BYTES = 32


class Finder:
    """Finds one name in the nodes of a directory. `learns` off decodes each: the answer is the same."""

    learns = True

    def __init__(self, name: bytes) -> None:
        self.name = name
        self._credit = 0
        self._length = -1
        self._mask = self._skeleton = self._start = self._end = 0

    def find(self, data: bytes) -> Entry | None:
        """Return the entry of the name, or None. Errors: ValueError as `node.find`."""
        if self.name not in data:
            return None
        if len(data) == self._length and int.from_bytes(data, "big") & self._mask == self._skeleton:
            self._credit = min(self._credit + _GAIN, _MOST_CREDIT)
            entry: Entry = tuple(canon.cbor_decode(data[self._start : self._end]))
            if entry[0] == self.name:
                return entry
        found = node.find(data, self.name)
        self._credit += 1
        if self.learns and found is not None and self._credit > 0:
            self._credit -= _LEARNING
            self._length = -1
            try:
                self._learn(data)
            except (ValueError, TypeError, OverflowError):  # not one of ours, but for the entry that was asked for
                pass
        return found

    def _learn(self, data: bytes) -> None:
        """Take over the skeleton of a node, when its encoding is the usual one. Errors: for a node that is not ours."""
        entries = canon.cbor_decode(data)
        skeletons, masks = [_head(0x80, len(entries))], [b"\xff" * len(_head(0x80, len(entries)))]
        made: dict[tuple[int, ...], tuple[bytes, bytes]] = {}
        start, length = 0, len(skeletons[0])
        for name, kind, mode, size, digest, xattrs in entries:
            if xattrs is not None or len(digest) != _DIGEST_BYTES:
                return
            form = (len(name), kind, _head(0, mode)[0], _head(0, size)[0])
            if form not in made:
                made[form] = _pieces(len(name), kind, mode, size)
            if name == self.name and not start:
                start = length
                self._start, self._end = start, start + len(made[form][0])
            skeletons.append(made[form][0])
            masks.append(made[form][1])
            length += len(made[form][0])
        mask, skeleton = int.from_bytes(b"".join(masks), "big"), int.from_bytes(b"".join(skeletons), "big")
        if start and length == len(data) and int.from_bytes(data, "big") & mask == skeleton:
            self._length, self._mask, self._skeleton = length, mask, skeleton


def _pieces(name_bytes: int, kind: int, mode: int, size: int) -> tuple[bytes, bytes]:
    """Return skeleton and mask of an entry without attributes. Shape: contents are zero in both."""
    mode_head, size_head, name_head = _head(0, mode), _head(0, size), _head(0x40, name_bytes)
    parts = (
        (b"\x86" + name_head, name_bytes),
        (_head(0, kind) + mode_head[:1], len(mode_head) - 1),
        (size_head[:1], len(size_head) - 1),
        (_head(0x40, _DIGEST_BYTES), _DIGEST_BYTES),
        (b"\xf6", 0),
    )
    skeleton = b"".join(heads + bytes(count) for heads, count in parts)
    return skeleton, b"".join(b"\xff" * len(heads) + bytes(count) for heads, count in parts)


def _head(major: int, value: int) -> bytes:
    """Return the head of an item, as short as it can be: its major type and a number from 0 to 2^64."""
    if value < 24:
        return bytes((major | value,))
    for more, count in ((24, 1), (25, 2), (26, 4)):
        if value < 1 << 8 * count:
            return bytes((major | more,)) + value.to_bytes(count, "big")
    return bytes((major | 27,)) + value.to_bytes(8, "big")
