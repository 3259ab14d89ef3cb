"""Canonical JSON and deterministic CBOR, written from the format's description alone (standard library only)."""

from __future__ import annotations

import json
from typing import Any

MAX_DEPTH = 64


class Malformed(ValueError):
    """Bytes that break the format."""


def json_encode(value: Any) -> bytes:
    """Return canonical JSON: sorted keys, no white space, UTF-8, no floats."""
    _refuse_floats(value)
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return text.encode("utf-8")
    except (TypeError, ValueError) as error:
        raise Malformed(str(error)) from error


def _refuse_floats(value: Any, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise Malformed(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, float):
        raise Malformed("a float")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise Malformed("a key that is not text")
            _refuse_floats(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_floats(item, depth + 1)


def _refuse_depth(data: bytes) -> None:
    """Refuse deep nesting before the parser recurses: the parser's own limit depends on its caller."""
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    depth, quoted, escaped = 0, False, False
    for byte in data:
        if quoted:
            quoted, escaped = escaped or byte != 0x22, not escaped and byte == 0x5C
        elif byte == 0x22:
            quoted = True
        elif byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise Malformed("nested too deep")
        elif byte in b"]}":
            depth -= 1


def json_decode(data: bytes) -> Any:
    """Return the value of JSON; duplicate keys, NaN, Infinity, floats, bad UTF-8 and deep nesting are Malformed."""
    _refuse_depth(data)
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_pairs, parse_float=_no_number, parse_constant=_no_number)
    except Malformed:
        raise
    except (ValueError, RecursionError) as error:
        raise Malformed(str(error)) from error
    json_encode(value)  # also finds lone surrogates
    return value


def json_object(data: bytes) -> dict[str, Any]:
    """Return the value of JSON that must be an object."""
    value = json_decode(data)
    if not isinstance(value, dict):
        raise Malformed("not an object")
    return value


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Malformed("a duplicate key")
    return result


def _no_number(text: str) -> Any:
    raise Malformed(f"number {text[:20]}")


def cbor_encode(value: Any) -> bytes:
    """Return deterministic CBOR (RFC 8949 section 4.2.1) of None, booleans, integers, bytes, text, lists and maps."""
    out = bytearray()
    _encode(value, out)
    return bytes(out)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes((major << 5 | number,))
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << (8 * size):
            return bytes((major << 5 | extra,)) + number.to_bytes(size, "big")
    raise Malformed("an integer beyond 64 bits")


def _encode(value: Any, out: bytearray) -> None:
    if value is None:
        out += b"\xf6"
    elif isinstance(value, bool):
        out += b"\xf5" if value else b"\xf4"
    elif isinstance(value, int):
        out += _head(0, value) if value >= 0 else _head(1, -1 - value)
    elif isinstance(value, bytes):
        out += _head(2, len(value)) + value
    elif isinstance(value, str):
        data = value.encode("utf-8")
        out += _head(3, len(data)) + data
    elif isinstance(value, list | tuple):
        out += _head(4, len(value))
        for item in value:
            _encode(item, out)
    elif isinstance(value, dict):
        out += _head(5, len(value))
        for key, item in sorted((cbor_encode(key), item) for key, item in value.items()):
            out += key
            _encode(item, out)
    else:
        raise Malformed(f"no encoding for {type(value).__name__}")


def cbor_decode(data: bytes) -> Any:
    """Return the one value that the bytes hold; what is not deterministic, or has more after it, is Malformed."""
    value, rest = _next(data, 0)
    if rest != len(data):
        raise Malformed("bytes after the value")
    if cbor_encode(value) != data:
        raise Malformed("not deterministic")
    return value


def _next(data: bytes, at: int) -> tuple[Any, int]:
    """Return the value that begins at an offset, and where the next one begins."""
    if at >= len(data):
        raise Malformed("cut off")
    major, number = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        simple = {20: False, 21: True, 22: None}
        if number not in simple:
            raise Malformed("a simple value or float")
        return simple[number], at
    if number >= 24:
        if number > 27:
            raise Malformed("an indefinite length")
        size = 1 << (number - 24)
        number, at = int.from_bytes(data[at : at + size], "big"), at + size
    if major in (0, 1):
        return (number if major == 0 else -1 - number), at
    if major in (2, 3):
        chunk = data[at : at + number]
        if len(chunk) != number:
            raise Malformed("cut off")
        return (chunk if major == 2 else chunk.decode("utf-8")), at + number
    if major == 4:
        items = []
        for _ in range(number):
            item, at = _next(data, at)
            items.append(item)
        return items, at
    if major == 5:
        result = {}
        for _ in range(number):
            key, at = _next(data, at)
            result[key], at = _next(data, at)
        return result, at
    raise Malformed("a tag")
