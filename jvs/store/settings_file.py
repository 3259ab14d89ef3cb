"""Writing settings: one key in a TOML file is changed, and everything else stays as it is.

The line of the key is edited where that gives exactly the document that is wanted, so that comments and order stay;
otherwise the whole document is written anew, unknown tables included.
Source: jvs-config(5).
"""

from __future__ import annotations

import os
import re

from jvs.errors import UsageError, from_oserror
from jvs.fs import durable, locks, paths
from jvs.store import audit, changing, write_ahead
from jvs.store.settings import MAX_BYTES, check_key, check_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.store.shapes import ConfigIntent
    from jvs.store.store import Store

_HEADER = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_PAIR = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")
_COMMENT = re.compile(r"""=[^#"']*?(?:(?:"[^"\\]*"|'[^']*')[^#"']*?)*(\s*#.*)$""")


def change_user(path: str, key: str, value: Any) -> bool:
    """Set a key in the user's file, or with None take it away; False when that changes nothing.

    Durable: yes. Errors: E_USAGE, E_IO, E_NO_SPACE, E_BUSY.
    """
    check_key(key, "settings")
    path = os.path.realpath(path)  # a link of the user's own, to where they keep their settings
    try:
        directory = durable.open_directory(os.path.dirname(path), make=True)
        with locks.acquire_directory(directory.here, wait=locks.DEFAULT_WAIT_SECONDS):
            file = directory / os.path.basename(path)
            before = read_text(file)
            after = edit(before, key, value, path)
            if after != before:
                durable.replace_file(file, after.encode("utf-8"))
            return after != before
    except OSError as error:
        raise from_oserror(error, f"writing '{path}'") from error


def change_repository(store: Store, key: str, value: Any) -> bool:
    """Set a key in the repository's file, or with None take it away; False when that changes nothing.

    Durable: the file and its audit record `config`. Errors: E_USAGE, E_IO, E_NO_SPACE, E_BUSY.
    """
    check_key(key, "settings")
    wait, command = store.settings.wait, store.settings.command
    with locks.acquire_repository(store.layout.locks, exclusive=False, wait=wait, command=command):
        changing.recover(store)
        with locks.acquire(store.layout.lock("config"), wait=wait, command=command):
            before = read_text(store.layout.config)
            after = edit(before, key, value, str(store.layout.config))
            if after == before:
                return False
            event = audit.event("config", store.actor, target=key, details={"key": key, "value": value})
            with write_ahead.operation(
                store, "config", None, event, roll_back=lambda _: read_text(store.layout.config) == before, text=after
            ):
                durable.replace_file(store.layout.config, after.encode("utf-8"))
    return True


def recover(store: Store, pending: ConfigIntent) -> str:
    """Complete what a dead process began with the settings; returns what was done, or nothing when its owner lives."""
    with write_ahead.abandoned(store, pending, "config") as dead:
        if not dead:
            return ""
        durable.replace_file(store.layout.config, str(pending["text"]).encode("utf-8"))
        write_ahead.complete(store, pending)
    return f"completed the change of setting {pending['audit']['target']}"


def read_text(path: Below) -> str:
    """Return the text of a settings file; an absent one is empty. Errors: E_USAGE, E_IO."""
    try:
        return paths.read_file(path, MAX_BYTES).decode("utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise UsageError(f"'{path}' is not valid UTF-8", hint="repair or move the file") from error
    except OSError as error:
        raise from_oserror(error, f"reading '{path}'") from error


def edit(text: str, key: str, value: Any, where: str = "settings") -> str:
    """Return TOML text with one key set, or with None taken away, and everything else as it was.

    Errors: E_USAGE for text that is not TOML, and for a value that the key cannot have.
    """
    import tomllib

    if value is not None:
        check_value(key, value, where)
    try:
        before, wanted = tomllib.loads(text), tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"'{where}' is not valid TOML: {error}", hint="repair or move the file") from error
    _put(wanted, key.split("."), value, key, where)
    if wanted == before:
        return text
    for candidate in _candidates(text, key, value):
        try:
            if tomllib.loads(candidate) == wanted:
                return candidate
        except ValueError:
            continue
    import tomli_w

    return tomli_w.dumps(wanted)


def _put(table: dict[str, Any], parts: list[str], value: Any, key: str, where: str) -> None:
    if len(parts) == 1:
        if value is None:
            table.pop(parts[0], None)
        else:
            table[parts[0]] = value
        return
    below = table.get(parts[0])
    if below is None:
        if value is None:
            return
        below = table[parts[0]] = {}
    if not isinstance(below, dict):
        raise UsageError(f"{where}: '{parts[0]}' is not a table", hint=f"edit it by hand to make place for '{key}'")
    _put(below, parts[1:], value, key, where)
    if value is None and not below:
        del table[parts[0]]


def _candidates(text: str, key: str, value: Any) -> list[str]:
    """Return edited texts that may be what is wanted, the most careful first."""
    lines = text.split("\n")
    found, header = _find(lines, key)
    prefix, _, last = key.rpartition(".")
    if found is not None:
        here = lines[found]
        if value is None:
            rest = [*lines[:found], *lines[found + 1 :]]
            return ["\n".join(rest), "\n".join(_without_empty_table(rest, found))]
        start = here[: here.index("=")].rstrip()
        comment = _COMMENT.search(here)
        ends = [comment.group(1), ""] if comment else [""]
        return ["\n".join([*lines[:found], f"{start} = {_toml(value)}{end}", *lines[found + 1 :]]) for end in ends]
    if value is None:
        return []
    if prefix and header is None:
        gap = "" if not text else "\n" if text.endswith("\n") else "\n\n"
        return [f"{text}{gap}[{prefix}]\n{last} = {_toml(value)}\n"]
    if header is not None:
        return ["\n".join([*lines[: header + 1], f"{last} = {_toml(value)}", *lines[header + 1 :]])]
    gap = "\n" if _HEADER.match(lines[0]) else ""
    return [f"{last} = {_toml(value)}\n{gap}{text}"]


def _find(lines: list[str], key: str) -> tuple[int | None, int | None]:
    """Return the line where a key is, and the line of the header of its table."""
    table, header = "", None
    prefix = key.rpartition(".")[0]
    for number, line in enumerate(lines):
        head = _HEADER.match(line)
        if head:
            table = _plain(head.group(1))
            if table == prefix:
                header = number
            continue
        pair = _PAIR.match(line)
        if pair and ".".join(part for part in (table, _plain(pair.group(1))) if part) == key:
            return number, header
    return None, header


def _plain(dotted: str) -> str:
    return ".".join(part.strip().strip("\"'") for part in dotted.split("."))


def _without_empty_table(lines: list[str], at: int) -> list[str]:
    """Take away the header above a line when nothing is below it any more."""
    start = at - 1
    while start >= 0 and not lines[start].strip():
        start -= 1
    return [*lines[:start], *lines[at:]] if start >= 0 and _HEADER.match(lines[start]) else lines


def _toml(value: Any) -> str:
    """Return a value on one line of TOML."""
    import tomli_w

    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return tomli_w.dumps({"k": value})[len("k = ") :].rstrip("\n")
