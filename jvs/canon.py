"""Canonical encodings: JSON that is hashed and stored, and the deterministic CBOR of tree nodes.

Source: jvs-format(5); RFC 8949 section 4.2.1.
"""

from __future__ import annotations

import json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, NotRequired, TypedDict

    class PathJSON(TypedDict):
        """A path in a JSON document; `path_b64` holds its bytes when they are not UTF-8."""

        path: str
        path_b64: NotRequired[str]


MAX_DEPTH = 64
MAX_INT_DIGITS = 40


_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_PLAIN = (str, int, bool, type(None))


class BadJSON(ValueError):
    """Text that is not JSON as jvs stores it; the owner of the file turns this into its own error class."""


def encode(value: object) -> bytes:
    """Return the canonical JSON of a value: sorted keys, no white space, UTF-8.

    Errors: BadJSON for floats, keys that are not text, lone surrogates and types JSON does not know.
    """
    _check(value, 0)
    return encode_decoded(value)


def encode_decoded(value: object) -> bytes:
    """Return the canonical JSON of what `decode` returned, in which nothing can be that `encode` refuses.

    Errors: BadJSON.
    """
    try:
        return _ENCODER.encode(value).encode("utf-8")
    except (TypeError, ValueError, UnicodeEncodeError, RecursionError) as error:
        raise BadJSON(str(error)) from error


def _check(value: object, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise BadJSON(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, float):
        raise BadJSON("floats are not stored")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise BadJSON("keys must be text")
            if type(item) not in _PLAIN:  # most values of a record; a call for each costs more than all else
                _check(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth + 1)


def decode(data: bytes) -> Any:
    """Return the value of JSON text, refusing what two readers could read differently.

    Errors: BadJSON for duplicate keys, NaN, Infinity, floats, lone surrogates, integers of more than 40 digits,
    nesting deeper than 64, and text that is not UTF-8.
    """
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH:
        _refuse_depth(data)
    try:
        value = _DECODER.decode(data.decode("utf-8"))
    except BadJSON:
        raise
    except (ValueError, RecursionError) as error:
        raise BadJSON(str(error)) from error
    if b"\\u" in data:
        encode(value)
    return value


def decode_object(data: bytes) -> Any:
    """Return the value of JSON text that must be an object; errors as for `decode`.

    Shape: the caller names the kind of record, when it has checked that it is one.
    """
    value = decode(data)
    if not isinstance(value, dict):
        raise BadJSON("not a JSON object")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise BadJSON("a key appears twice in one object")
    return result


def _refuse_number(text: str) -> Any:
    raise BadJSON(f"number {text[:40]} is not stored")


def _integer(text: str) -> int:
    if len(text) > MAX_INT_DIGITS:
        raise BadJSON("an integer is too long")
    return int(text)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_refuse_number, parse_constant=_refuse_number, parse_int=_integer
)
"""Made once: `json.loads` would make one for each text, which costs as much as a small record."""


def _refuse_depth(data: bytes) -> None:
    """Raise BadJSON when brackets outside of strings nest too deep, before the parser recurses."""
    depth, in_string, escaped = 0, False, False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJSON(f"nested deeper than {MAX_DEPTH}")
        elif byte in b"]}":
            depth -= 1


def cbor_encode(value: object) -> bytes:
    """Return the deterministic CBOR of lists, bytes, integers, None and maps with bytes keys.

    Shape: shortest heads, definite lengths, map keys in bytewise order of their encodings. For bytes keys that is
    the length-first order which cbor2 calls canonical, because the head of a longer string is always greater.
    """
    if "cbor2" not in sys.modules and _short_left[0] > 0:
        try:
            data = b"".join(_short_cbor(value))
        except (_NotShortError, RecursionError):
            pass
        else:
            _short_left[0] -= len(data)
            return data
    import cbor2

    return cbor2.dumps(value, canonical=True)


class _NotShortError(Exception):
    """A value that the library encodes: a long one, or of a type that no node has."""


_short_left = [8 << 10]
"""Bytes that are encoded here before the library is loaded: it starts as slowly as a quarter of all else together
(it imports `typing`), and most commands write a node or two. Zero: everything by the library."""
_MOST_ITEMS = 1_000
_BYTES, _LIST, _MAP = 0x40, 0x80, 0xA0


def _short_cbor(value: object) -> Iterator[bytes]:
    """Yield the pieces of what the library would return. Errors: `_NotShortError`."""
    if value is None:
        yield b"\xf6"
    elif type(value) is bytes:
        yield _head(_BYTES, len(value))
        yield value
    elif type(value) is int:
        yield _head(0x20, -1 - value) if value < 0 else _head(0, value)
    elif isinstance(value, list | tuple) and len(value) <= _MOST_ITEMS:
        yield _head(_LIST, len(value))
        for item in value:
            yield from _short_cbor(item)
    elif type(value) is dict and len(value) <= _MOST_ITEMS and all(type(key) is bytes for key in value):
        yield _head(_MAP, len(value))
        for key in sorted(value, key=lambda key: (len(key), key)):
            yield from _short_cbor(key)
            yield from _short_cbor(value[key])
    else:
        raise _NotShortError


def _head(kind: int, number: int) -> bytes:
    if number < 24:
        return bytes((kind | number,))
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number >> 8 * size == 0:
            return bytes((kind | extra,)) + number.to_bytes(size, "big")
    raise _NotShortError


def cbor_decode(data: bytes) -> Any:
    """Return the value of CBOR data; errors: ValueError."""
    import cbor2

    try:
        return cbor2.loads(data)
    except (cbor2.CBORDecodeError, RecursionError, TypeError) as error:
        raise ValueError(str(error)) from error


def path_json(path: bytes) -> PathJSON:
    """Return a path for JSON: `path`, and `path_b64` next to it when the bytes are not UTF-8."""
    try:
        return {"path": path.decode("utf-8")}
    except UnicodeDecodeError:
        import base64

        return {
            "path": path.decode("utf-8", "backslashreplace"),
            "path_b64": base64.b64encode(path).decode("ascii"),
        }


def path_from_json(record: Mapping[str, Any]) -> bytes:
    """Return the bytes of a path that `path_json` wrote."""
    if "path_b64" in record:
        import base64

        return base64.b64decode(record["path_b64"], validate=True)
    return str(record["path"]).encode("utf-8")
