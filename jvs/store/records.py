"""Reading and writing the JSON records of the control plane; each kind states its fields once.

A record that is damaged raises the error class of the file it is in, never a traceback. Unknown fields are
kept. Source: jvs-format(5).
"""

from __future__ import annotations

from jvs import canon, names
from jvs.errors import JvsError, PathEscape, from_oserror
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
    """Answer whether a value is text that UTF-8 can hold."""
    try:
        return isinstance(value, str) and value.encode("utf-8") is not None
    except UnicodeEncodeError:
        return False


def is_text_or_null(value: Any) -> bool:
    """Answer whether a value is text or null."""
    return value is None or is_text(value)


def is_bool(value: Any) -> bool:
    """Answer whether a value is true or false."""
    return isinstance(value, bool)


def is_name(value: Any) -> bool:
    """Answer whether a value is the name of a worktree: nothing else may become part of a path."""
    return isinstance(value, str) and names.is_worktree_name(value)


def is_name_or_null(value: Any) -> bool:
    """Answer whether a value is the name of a worktree or null."""
    return value is None or is_name(value)


def is_uuid(value: Any) -> bool:
    """Answer whether a value is a UUID in lowercase hex digits."""
    return (
        isinstance(value, str)
        and [len(part) for part in value.split("-")] == [8, 4, 4, 4, 12]
        and set(value) <= set("0123456789abcdef-")
    )


def is_path(value: Any) -> bool:
    """Answer whether a value is a path below a directory, as text or as `canon.path_json` writes it."""
    try:
        path = value.encode("utf-8") if isinstance(value, str) else canon.path_from_json(value)
        paths.split_relative(path)
        return isinstance(value, str) or is_text(value.get("path"))
    except (ValueError, TypeError, KeyError, AttributeError, PathEscape):
        return False


def is_step_path(path: Any) -> bool:
    """Answer whether a value is a relative path in the one way it is written: no empty component, `.` or `..`."""
    return (
        isinstance(path, bytes)
        and b"\0" not in path
        and all(part not in (b"", b".", b"..") for part in path.split(b"/"))
    )


def nullable(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a check that lets null pass as well."""
    return lambda value: value is None or fits(value)


def each(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Return a check for lists of which each item passes a check."""
    return lambda value: isinstance(value, list) and all(map(fits, value))


def shaped(required: Fields, optional: Fields | None = None) -> Callable[[Any], bool]:
    """Return a check for objects that have some fields, and may have others; what is not named may be anything."""

    def fits(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and all(key in value and check(value[key]) for key, check in required.items())
            and all(check(value[key]) for key, check in (optional or {}).items() if key in value)
        )

    return fits


def one_of(*values: object) -> Callable[[Any], bool]:
    """Return a check for a few values."""
    return lambda value: any(type(value) is type(known) and value == known for known in values)


def is_id(value: Any) -> bool:
    """Answer whether a value is a snapshot id."""
    return isinstance(value, str) and names.is_snapshot_id(value)


def is_id_or_null(value: Any) -> bool:
    """Answer whether a value is a snapshot id or null."""
    return value is None or is_id(value)


def is_hash(value: Any) -> bool:
    """Answer whether a value is 64 lowercase hex digits."""
    return isinstance(value, str) and len(value) == 64 and not value.strip("0123456789abcdef")


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


def is_pin(value: Any) -> bool:
    """Answer whether a value is a pin."""
    return _PIN(value)


def is_annotation(value: Any) -> bool:
    """Answer whether a value is what was said of a snapshot later."""
    return _ANNOTATION(value)


def is_meta(value: Any) -> bool:
    """Answer whether a value is the facts of a snapshot: texts by key."""
    return isinstance(value, dict) and all(names.is_meta_key(key) and is_text(item) for key, item in value.items())


def is_event(value: Any) -> bool:
    """Answer whether a value is an audit event, complete but for its place in the chain."""
    return isinstance(value, dict) and (
        all(is_text(value.get(key)) for key in ("event_id", "timestamp", "operation", "actor"))
        and all(key in value and is_text_or_null(value[key]) for key in ("target", "worktree", "reason"))
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


PIN_FIELDS: Fields = {
    "snapshot_id": is_id,
    "created_at": is_time,
    "actor": is_text,
    "reason": is_text_or_null,
    "expires_at": nullable(is_time),
}
_PIN = shaped(PIN_FIELDS)
ANNOTATION_FIELDS: Fields = {
    "version": one_of(1),
    "snapshot_id": is_id,
    "revision": is_count,
    "changed_at": is_time,
    "actor": is_text,
    "tags": nullable(each(is_text)),
    "note": is_text_or_null,
    "meta": nullable(is_meta),
}
_ANNOTATION = shaped(ANNOTATION_FIELDS)


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


def parse(data: bytes, path: Below, fields: Fields, error: type[JvsError], optional: Fields | None = None) -> Any:
    """Return the object in a record's bytes when every field is there and of its type; errors: `error`.

    Shape: the caller names the kind of record, whose `FIELDS` were checked.
    """
    try:
        value = canon.decode_object(data)
    except canon.BadJSON as bad:
        raise error(f"'{_short(path)}' is damaged: {bad}", hint=DAMAGED_HINT, path=str(path)) from bad
    return check(value, path, fields, error, optional)


def check(
    value: Mapping[str, object],
    path: Below,
    fields: Fields,
    error: type[JvsError],
    optional: Fields | None = None,
) -> Any:
    """Return a record when every field is there and of its type, and those that may be missing; errors: `error`."""
    for key, fits in fields.items():
        if key not in value or not fits(value[key]):
            problem = "is missing" if key not in value else "is not valid"
            raise error(f"'{_short(path)}' is damaged: '{key}' {problem}", hint=DAMAGED_HINT, path=str(path))
    if optional is not None:
        present: Fields = {key: fits for key, fits in optional.items() if key in value}
        check(value, path, present, error)
    return value


def _short(path: Below) -> str:
    """Return the last two names of a record's path: enough to find it below `.jvs`."""
    return "/".join(str(path).split("/")[-2:])


def load(path: Below, fields: Fields, error: type[JvsError], optional: Fields | None = None) -> Any:
    """Read and check one record. Shape: as for `parse`. Errors: FileNotFoundError; `error` when damaged; E_IO."""
    return parse(read_as(path, error), path, fields, error, optional)


def read_as(path: Below, error: type[JvsError]) -> bytes:
    """Return the bytes of a record. Errors: FileNotFoundError; `error` when it is no file; E_IO."""
    try:
        return read(path)
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


def load_of(snapshot_id: str, path: Below, fields: Fields, error: type[JvsError], *, kind: str, hint: str) -> Any:
    """Read the record of a `kind` that is named after its snapshot. Errors: as `load`; `error` for another's record."""
    found = load(path, fields, error)
    if found["snapshot_id"] != snapshot_id:
        problem = f"{kind} '{snapshot_id}' is damaged: it is that of '{found['snapshot_id']}'"
        raise error(problem, hint=hint, path=str(path))
    return found


def save(path: Below, record: Mapping[str, object]) -> None:
    """Replace a record in one step. Durable: yes."""
    durable.replace_file(path, canon.encode(record) + b"\n")


def is_metadata(value: Any) -> bool:
    """Answer whether a value is the metadata of an entry: mode, owner, times, attributes and perhaps its kind."""
    return (
        isinstance(value, list)
        and len(value) in (6, 7)
        and all(isinstance(item, int) and not isinstance(item, bool) and abs(item) < 1 << 63 for item in value[:5])
        and 0 <= value[0] <= 0o7777
        and 0 <= value[1] < 1 << 32
        and 0 <= value[2] < 1 << 32
        and (value[5] is None or are_attributes(value[5]))
        and (len(value) == 6 or value[6] in range(len(listing.KIND_NAMES)))
    )


def are_attributes(value: Any) -> bool:
    """Answer whether a value is extended attributes: names and values as bytes."""
    return isinstance(value, dict) and all(
        isinstance(name, bytes) and b"\0" not in name and isinstance(item, bytes) for name, item in value.items()
    )
