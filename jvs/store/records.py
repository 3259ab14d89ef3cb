"""Reading and writing the JSON records of the control plane; each kind states its fields once.

A record that is damaged raises the error class of the file it is in, never a traceback. Unknown fields are
kept. Source: jvs-format(5).
"""

from __future__ import annotations

from jvs import canon
from jvs.errors import JvsError, from_oserror
from jvs.fs import durable, listing, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from jvs.fs.rooted import Below

    Fields = Mapping[str, Callable[[Any], bool]]
    """Shape: key of a record -> whether its value is of the right type."""

MAX_BYTES = 64 << 20
DAMAGED_HINT = "'jvs doctor' says what can be repaired; a copy of the repository may hold the file as it was"


def is_text(value: Any) -> bool:
    """Answer whether a value is text."""
    return isinstance(value, str)


def is_text_or_null(value: Any) -> bool:
    """Answer whether a value is text or null."""
    return value is None or isinstance(value, str)


def is_id(value: Any) -> bool:
    """Answer whether a value is a snapshot id."""
    from jvs.names import is_snapshot_id

    return isinstance(value, str) and is_snapshot_id(value)


def is_id_or_null(value: Any) -> bool:
    """Answer whether a value is a snapshot id or null."""
    return value is None or is_id(value)


def is_hash(value: Any) -> bool:
    """Answer whether a value is 64 lowercase hex digits."""
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def is_list(value: Any) -> bool:
    """Answer whether a value is a list."""
    return isinstance(value, list)


def is_list_or_null(value: Any) -> bool:
    """Answer whether a value is a list or null."""
    return value is None or isinstance(value, list)


def is_object(value: Any) -> bool:
    """Answer whether a value is an object."""
    return isinstance(value, dict)


def is_null(value: Any) -> bool:
    """Answer whether a value is null."""
    return value is None


def are_ids(value: Any) -> bool:
    """Answer whether a value is a list of snapshot ids."""
    return isinstance(value, list) and all(is_id(item) for item in value)


def is_event(value: Any) -> bool:
    """Answer whether a value is an audit event, complete but for its place in the chain."""
    return isinstance(value, dict) and (
        all(isinstance(value.get(key), str) for key in ("event_id", "timestamp", "operation", "actor"))
        and all(key in value for key in ("target", "worktree", "reason"))
        and isinstance(value.get("details"), dict)
    )


def is_count(value: Any) -> bool:
    """Answer whether a value is a whole number from 0 to 2^63."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def is_time(value: Any) -> bool:
    """Answer whether a value is a time as `clock.rfc3339` writes it."""
    from jvs import clock

    try:
        return isinstance(value, str) and clock.parse_rfc3339(value) is not None
    except ValueError:
        return False


def read(path: Below) -> bytes:
    """Return the bytes of a control file.

    A name that was just replaced through another mount of a JuiceFS volume can look absent for a second; listing
    the directory brings it back. Errors: FileNotFoundError; OSError.
    """
    try:
        return paths.read_file(path, MAX_BYTES)
    except FileNotFoundError:
        try:
            present = path.name in listing.names(path.parent)
        except OSError:
            present = False
        if not present:
            raise
        return paths.read_file(path, MAX_BYTES)


def parse(data: bytes, path: Below, fields: Fields, error: type[JvsError]) -> Any:
    """Return the object in a record's bytes when every field is there and of its type; errors: `error`.

    Shape: the caller names the kind of record, whose `FIELDS` were checked.
    """
    try:
        value = canon.decode_object(data)
    except canon.BadJSON as bad:
        raise error(f"'{_short(path)}' is damaged: {bad}", hint=DAMAGED_HINT, path=str(path)) from bad
    return check(value, path, fields, error)


def check(value: Mapping[str, object], path: Below, fields: Fields, error: type[JvsError]) -> Any:
    """Return a record when every field is there and of its type; errors: `error`."""
    for key, fits in fields.items():
        if key not in value or not fits(value[key]):
            problem = "is missing" if key not in value else "is not valid"
            raise error(f"'{_short(path)}' is damaged: '{key}' {problem}", hint=DAMAGED_HINT, path=str(path))
    return value


def _short(path: Below) -> str:
    """Return the last two names of a record's path: enough to find it below `.jvs`."""
    return "/".join(str(path).split("/")[-2:])


def load(path: Below, fields: Fields, error: type[JvsError]) -> Any:
    """Read and check one record. Shape: as for `parse`. Errors: FileNotFoundError; `error` when damaged; E_IO."""
    try:
        data = read(path)
    except FileNotFoundError:
        raise
    except IsADirectoryError as bad:
        raise error(f"'{path}' is a directory", hint="'jvs doctor' says what can be repaired", path=str(path)) from bad
    except OSError as bad:
        if bad.errno in (22, 40, 27):  # EINVAL: not a regular file; ELOOP: a link; EFBIG
            raise error(
                f"'{path}' is not a regular file", hint="'jvs doctor' says what can be repaired", path=str(path)
            ) from bad
        raise from_oserror(bad, f"reading '{path}'") from bad
    return parse(data, path, fields, error)


def save(path: Below, record: Mapping[str, object]) -> None:
    """Replace a record in one step. Durable: yes."""
    durable.replace_file(path, canon.encode(record) + b"\n")
