r"""Descriptors as jvs writes nearly all of them, recognised as a whole: for listings that read many.

One regular expression does the checks of all fields, of strict JSON and of its canonical form, so that the checksum can
be made of the bytes as they are. What it does not fit, or what is wrong in any way, is read in the ordinary way, which
also says what is wrong: the answer is the same.
Source: jvs-format(5), Descriptor.
"""

from __future__ import annotations

import hashlib
import json
import re

from jvs import canon
from jvs.store import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_TEXT = rb'"[^"\\\x00-\x1f]*"'
_COUNT = rb"(?:0|[1-9][0-9]{0,17})"
_HASH = rb'"[0-9a-f]{64}"'
_ID = rb'"[0-9]{13}-[0-9a-f]{8}"'
_TIME = rb'"[0-9T:.Z-]{27}"'
_CHANGES = rb'\{"added":N,"bytes":N,"modified":N,(?:"new_bytes":N,)?"removed":N\}'.replace(b"N", _COUNT)
_PAYLOAD = rb'\{"bytes":N,"dirs":N,"files":N,"others":N,"symlinks":N\}'.replace(b"N", _COUNT)
_FIELDS = (
    (b"actor", _TEXT),
    (b"audit_head", _HASH),
    (b"changes", rb"(?:null|" + _CHANGES + rb")"),
    (b"created_at", _TIME),
    (b"degraded", rb"\[\]"),
    (b"descriptor_checksum", _HASH),
    (b"engine", _TEXT),
    (b"excluded", b"null"),
    (b"format", b"2"),
    (b"hash_algorithm", b'"sha256-tree-[12]"'),
    (b"integrity_state", b'"verified"'),
    (b"meta", rb"(?P<meta>\{[^{}\\\x00-\x1f]*\})"),
    (b"note", _TEXT),
    (b"parent_id", b"(?:null|" + _ID + b")"),
    (b"partial_paths", b"null"),
    (b"payload", _PAYLOAD),
    (b"payload_root_hash", _HASH),
    (b"snapshot_id", _ID),
    (b"tags", rb"\[(?:" + _TEXT + b"(?:," + _TEXT + rb")*)?\]"),
    (b"worktree_name", rb'"(?!\.{1,2}")[A-Za-z0-9._][A-Za-z0-9._-]{0,63}"'),
)
_OPTIONAL = (b"changes", b"excluded", b"meta")
_NOT_COVERED = (b"descriptor_checksum", b"integrity_state")
_usual: re.Pattern[bytes] | None = None


def _pattern() -> re.Pattern[bytes]:
    """Return the expression; made when it is first wanted, which takes as long as reading a hundred descriptors."""
    global _usual
    if _usual is None:
        pieces = []
        for number, (key, value) in enumerate(_FIELDS):
            piece = b'"' + key + b'":' + value + (b"," if number < len(_FIELDS) - 1 else b"")
            if key in _NOT_COVERED:
                piece = b"(?P<" + key + b">" + piece + b")"
            pieces.append(b"(?:" + piece + b")?" if key in _OPTIONAL else piece)
        _usual = re.compile(rb"\{" + b"".join(pieces) + rb"\}\n")
    return _usual


def read(data: bytes, snapshot_id: str) -> Any:
    """Return the right descriptor of a snapshot that is in some bytes; None when it takes the ordinary way to tell."""
    found = _pattern().fullmatch(data)
    if found is None:
        return None
    (start, end), (after, rest) = (found.span(key.decode()) for key in _NOT_COVERED)
    covered = data[:start] + data[end:after] + data[rest:-1]
    try:
        record = json.loads(data.decode("utf-8"))
    except ValueError:
        return None
    if hashlib.sha256(covered).hexdigest() != record["descriptor_checksum"] or record["snapshot_id"] != snapshot_id:
        return None
    if not records.is_time(record["created_at"]):
        return None
    meta = found["meta"]
    if meta is not None and meta != b"{}":
        facts = record.get("meta")
        if not records.is_meta(facts) or canon.encode(facts) != meta:
            return None
    return record
