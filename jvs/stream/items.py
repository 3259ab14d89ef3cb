"""The items of a stream: deterministic CBOR with a bound on every length, one item after the other.

Nothing is believed before it was read: a length that is announced reserves no memory, and a value has one encoding.
Source: jvs-stream(5); RFC 8742; RFC 8949 section 4.2.1.
"""

from __future__ import annotations

import hashlib
import os

from jvs import canon
from jvs.errors import FormatUnsupported, IOFailure, PartialSnapshot, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Readable(Protocol):
        """What a stream is read from."""

        def read(self, size: int, /) -> bytes | None: ...

    class Writable(Protocol):
        """What a stream is written to."""

        def write(self, data: bytes, /) -> object: ...


MAGIC = "jvs-stream-1"
HEADER, SNAPSHOT, BOUNDARY, END = 0, 1, 2, 3
ENTER, MAKE, LEAVE, REMOVE = 4, 5, 6, 7
SPECIAL, FILE, DATA, ZEROS, FILE_END, LINK = 8, 9, 10, 11, 12, 13
LENGTHS = {
    HEADER: 4,
    SNAPSHOT: 5,
    BOUNDARY: 3,
    END: 2,
    ENTER: 2,
    MAKE: 2,
    LEAVE: 2,
    REMOVE: 2,
    SPECIAL: 5,
    FILE: 5,
    DATA: 3,
    ZEROS: 3,
    FILE_END: 1,
    LINK: 3,
}
"""Kind of an item -> how many values it has, its kind counted."""
DATA_BYTES = 1 << 20
"""The most bytes of a file in one item."""
MOST_BYTES = 16 << 20
"""The longest string of other items: a descriptor with many losses."""
MOST_SNAPSHOTS = 100_000
MOST_ATTRIBUTES = 4096
_CHUNK = 1 << 20
_WORTH_SENDING = 64 << 10
"""Smaller parts are written with what is around them."""
_BLOCK = 4096
"""So much is read ahead: the rest of it is copied when the bytes of a file come."""
_UINT, _NINT, _BYTES, _TEXT, _ARRAY, _MAP, _SIMPLE = 0, 1, 2, 3, 4, 5, 7
_NULL = 22
_LEVELS = 3
_DATA_HEAD = bytes((0x80 | LENGTHS[DATA], DATA))
_CONTENT_PLACE = 2
_NUMBERS = {0x18: 1, 0x19: 2, 0x1A: 4, 0x1B: 8}
"""Head of a number -> how many bytes it has."""
_LONGEST_SHORT = 9
_NOT_SHORT = object()
"""Where the bytes of a file are in their item."""


def damaged(problem: str) -> PartialSnapshot:
    """Return the error for a stream that ends too soon or is not what jvs writes."""
    return PartialSnapshot(
        f"the stream is cut or damaged: {problem}",
        hint="send it again, and compare what arrived with what was sent: nothing was received",
    )


def _cbor_head(major: int, number: int) -> bytes:
    """Return the head of a value in its shortest form."""
    if number < 24:
        return bytes((major << 5 | number,))
    size = 0 if number < 1 << 8 else 1 if number < 1 << 16 else 2 if number < 1 << 32 else 3
    return bytes((major << 5 | 24 + size,)) + number.to_bytes(1 << size, "big")


class ItemWriter:
    """Writes items, and keeps the hash of all but the bytes of files."""

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def put(self, *values: object) -> None:
        """Write one item. Errors: OSError."""
        data = canon.cbor_encode(list(values))
        self._digest.update(data)
        self._file.write(data)
        self.size_bytes += len(data)

    def put_data(self, at: int, data: bytes) -> None:
        """Write a part of a file. The bytes of files are not in the hash: that of the tree proves them."""
        head = _DATA_HEAD + _cbor_head(_UINT, at) + _cbor_head(_BYTES, len(data))
        self._digest.update(head)
        self._file.write(head)
        self._file.write(data)
        self.size_bytes += len(head) + len(data)

    def put_part(self, fd: int, at: int, size: int) -> None:
        """Write a part of an open file, by the system where the other end is one that it can write to.

        Errors: OSError; E_PARTIAL_SNAPSHOT when the file has less.
        """
        send = getattr(self._file, "send_file", None)
        if send is None or size < _WORTH_SENDING:
            data = os.pread(fd, size, at)
            while 0 < len(data) < size and (more := os.pread(fd, size - len(data), at + len(data))):
                data += more
            if len(data) == size:
                self.put_data(at, data)
                return
        else:
            head = _DATA_HEAD + _cbor_head(_UINT, at) + _cbor_head(_BYTES, size)
            self._digest.update(head)
            self._file.write(head)
            self.size_bytes += len(head) + size
            if send(fd, at, size) == size:
                return
        raise damaged("a file of the snapshot became shorter while it was sent")

    def end(self) -> None:
        """Write the last item, which holds the hash of all others. Errors: OSError."""
        self.put(END, self._digest.digest())


class ItemReader:
    """Reads items, and checks the bounds of each and the hash of all but the bytes of files.

    What was read ahead lies in `_buffer`: it was taken up to `_at`, and hashed up to `_mark`.
    """

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._left = 0
        self._is_content = False
        self._buffer = b""
        self._at = self._mark = 0

    def _read(self, size: int) -> bytes:
        try:
            part = self._file.read(size)
        except OSError as error:
            raise from_oserror(error, "reading the stream") from error
        if not part:
            raise damaged("it ends in the middle")
        return part

    def _fill(self) -> None:
        """Read more; what was not hashed yet stays."""
        self._buffer = self._buffer[self._mark :] + self._read(_BLOCK)
        self._at -= self._mark
        self._mark = 0

    def _take(self, size: int, *, hashed: bool = True) -> bytes | bytearray:
        """Return the next bytes."""
        if size > _BLOCK:
            return self._take_many(size, hashed=hashed)
        while self._at + size > len(self._buffer):
            self._fill()
        if not hashed:
            self._hash()
        start = self._at
        self._at += size
        if not hashed:
            self._mark = self._at
        return self._buffer[start : self._at]

    def _take_many(self, size: int, *, hashed: bool) -> bytes | bytearray:
        """Return more bytes than are read ahead: memory is taken as they come, and not before."""
        self._hash()
        parts = [self._buffer[self._at : self._at + size]]
        self._buffer, self._at, self._mark = self._buffer[self._at + size :], 0, 0
        read_into = getattr(self._file, "readinto", None)
        if not hashed and size <= _CHUNK and read_into is not None:
            return self._fill_up(bytearray(size), parts[0], read_into)
        size -= len(parts[0])
        while size > 0:
            parts.append(self._read(min(size, _CHUNK)))
            size -= len(parts[-1])
        data = b"".join(parts) if parts[0] or len(parts) > 2 else parts[1]
        if hashed:
            self._digest.update(data)
        return data

    def _fill_up(self, data: bytearray, first: bytes, read_into: Callable[[memoryview], int | None]) -> bytearray:
        """Fill a buffer with what was read already and then what comes, without copying that once more."""
        data[: len(first)] = first
        view = memoryview(data)[len(first) :]
        while view:
            try:
                count = read_into(view)
            except OSError as error:
                raise from_oserror(error, "reading the stream") from error
            if not count:
                raise damaged("it ends in the middle")
            view = view[count:]
        return data

    def _hash(self) -> None:
        """Hash what was taken since the last time."""
        self._digest.update(memoryview(self._buffer)[self._mark : self._at])
        self._mark = self._at

    def header(self) -> list[Any]:
        """Read the first item. Errors: E_FORMAT_UNSUPPORTED when this is no stream, or one of a newer version."""
        head = self._take(1)
        start = b"" if head != b"\x84" else self._take(2)
        if start != b"\x00\x6c":  # the kind of the item, and a text of twelve bytes
            raise _no_stream()
        magic = self._take(len(MAGIC))
        if magic != MAGIC.encode():
            raise _no_stream()
        self._left = 2 * MOST_SNAPSHOTS * 32
        return [HEADER, MAGIC, self._value(1), self._value(1)]

    def item(self) -> list[Any]:
        """Read one item: its kind and its values. Errors: E_PARTIAL_SNAPSHOT, E_IO."""
        self._hash()
        self._left = MOST_BYTES
        found: list[Any] = self._value(0)
        kind = found[0] if isinstance(found, list) and found else HEADER
        if type(kind) is not int or kind == HEADER or LENGTHS.get(kind) != len(found):
            raise damaged("an item is of no known kind")
        if found[0] == END:
            if found[1] != self._digest.digest():  # an end is short: nothing of it is hashed yet
                raise damaged("its hash is not that of its items")
            self._finish()
        return found

    def _finish(self) -> None:
        try:
            more = self._buffer[self._at :] or self._file.read(1)
        except OSError as error:
            raise from_oserror(error, "reading the stream") from error
        if more:
            raise damaged("something comes after its end")

    def _value(self, level: int) -> Any:
        """Read one value of bounded size and depth, in the one encoding that there is."""
        head = self._take(1)[0]
        major, info = head >> 5, head & 31
        if major == _SIMPLE:
            if info != _NULL:
                raise damaged("a value is of a kind that no item has")
            return None
        number = self._number(info)
        if major == _UINT:
            return number
        if major == _NINT:
            return -1 - number
        if major in (_BYTES, _TEXT):
            self._spend(number)
            data = self._take(number, hashed=not self._is_content)
            return data if major == _BYTES else _text(data)
        if level >= _LEVELS or major not in (_ARRAY, _MAP):
            raise damaged("its values nest too deep, or are of a kind that no item has")
        return self._list(number, level) if major == _ARRAY else self._map(number, level)

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise damaged("an item is larger than any may be")

    def _number(self, info: int) -> int:
        if info < 24:
            return info
        if info > 27:
            raise damaged("a length is not given")
        size = 1 << (info - 24)
        number = int.from_bytes(self._take(size), "big")
        if number < (24 if size == 1 else 1 << (4 * size)):
            raise damaged("a number is not in its shortest form")
        return number

    def _list(self, count: int, level: int) -> list[Any]:
        if count > MOST_SNAPSHOTS:
            raise damaged("a list is longer than any may be")
        self._spend(16 * count)
        found: list[Any] = []
        for place in range(count):
            value = self._short()
            if value is _NOT_SHORT:
                self._is_content = level == 0 and place == _CONTENT_PLACE and found[0] == DATA
                value = self._value(level + 1)
                self._is_content = False
            found.append(value)
        return found

    def _short(self) -> Any:
        """Return the next value when it is a number that was read already; most values are."""
        buffer, at = self._buffer, self._at
        if at + _LONGEST_SHORT > len(buffer):
            return _NOT_SHORT
        head = buffer[at]
        if head < 24:
            self._at = at + 1
            return head
        if head in _NUMBERS:
            size = _NUMBERS[head]
            number = int.from_bytes(buffer[at + 1 : at + 1 + size], "big")
            if number < (24 if size == 1 else 1 << (4 * size)):
                return _NOT_SHORT  # and refused there
            self._at = at + 1 + size
            return number
        return _NOT_SHORT

    def _map(self, count: int, level: int) -> dict[bytes, bytes]:
        if count > MOST_ATTRIBUTES:
            raise damaged("a map is longer than any may be")
        found: dict[bytes, bytes] = {}
        last: tuple[int, bytes] = (-1, b"")
        for _ in range(count):
            key, value = self._value(level + 1), self._value(level + 1)
            if not isinstance(key, bytes) or not isinstance(value, bytes) or (len(key), key) <= last:
                raise damaged("a map is not one of bytes, in order")
            last = len(key), key
            found[key] = value
        return found


def _text(data: bytes | bytearray) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise damaged("a text is not UTF-8") from error


def _no_stream() -> FormatUnsupported:
    return FormatUnsupported(
        "this is not a stream that this version of jvs can read",
        hint="'jvs send' writes streams; a newer one may need a newer jvs on this side",
    )


def writing(error: OSError) -> IOFailure:
    """Return the error for a stream that could not be written."""
    found = from_oserror(error, "writing the stream")
    assert isinstance(found, IOFailure)
    return found
