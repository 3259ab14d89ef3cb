"""The rules for names that jvs itself gives out: worktrees, tags, snapshot and operation ids.

Names of the user's files are bytes and follow no rule but the filesystem's.
"""

from __future__ import annotations

import unicodedata

from jvs.errors import NameInvalid, UsageError, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeVar

    Word = TypeVar("Word")

_ALLOWED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
_HEX = frozenset("0123456789abcdef")
_RULE = "use 1 to 64 of A-Z a-z 0-9 . _ - and do not start with '-'"
MAX_NOTE_BYTES = 1 << 20
MAX_META_BYTES = 4 << 10
LATEST = ("HEAD", "LATEST")
"""What a target calls the latest snapshot of a worktree."""


def check_worktree_name(name: str) -> str:
    """Return the name in NFC, or raise.

    Errors: E_NAME_INVALID for anything but 1 to 64 of `[A-Za-z0-9._-]`, for `.` and `..` and for a leading `-`.
    """
    return _check(name, "worktree name")


def is_worktree_name(text: str) -> bool:
    """Answer whether text is a name that a worktree can have."""
    return 1 <= len(text) <= 64 and text not in (".", "..") and not text.startswith("-") and _ALLOWED.issuperset(text)


def check_new_worktree_name(name: str) -> str:
    """Return the name that a worktree is to get, in NFC.

    Errors: as above; E_NAME_INVALID for what names the latest, and for a leading dot: such directories are taken for
    hidden files. Worktrees that have such a name already can be worked in, renamed and removed.
    """
    name = _check_not_latest(check_worktree_name(name), "worktree name")
    if name.startswith("."):
        raise NameInvalid(f"worktree name '{name}' begins with a dot", hint="choose another name", name=name)
    return name


def check_tag(tag: str) -> str:
    """Return the tag in NFC, or raise E_NAME_INVALID; the same rule as for a new worktree."""
    return _check_not_latest(_check(tag, "tag"), "tag")


def is_meta_key(text: object) -> bool:
    """Answer whether a value is a key that a fact of a snapshot can have."""
    return isinstance(text, str) and is_worktree_name(text)


def check_meta(values: Mapping[str, object]) -> dict[str, str]:
    """Return facts of a snapshot as texts by key; numbers are written as Python writes them.

    Errors: E_NAME_INVALID for a key, by the rule of worktree names; E_USAGE for a value that is no text or number, is
    not valid UTF-8, holds NUL or is longer than 4 KiB.
    """
    return {_check(str(key), "key"): _check_meta_value(key, value) for key, value in values.items()}


def _check_meta_value(key: str, value: object) -> str:
    if not isinstance(value, str | int | float):
        raise UsageError(f"the value of '{key}' is neither text nor number", hint="write it as text")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    try:
        size = len(text.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UsageError(f"the value of '{key}' is not valid UTF-8", hint="write it as UTF-8 text") from error
    if "\0" in text:
        raise UsageError(f"the value of '{key}' holds a NUL character", hint="write it as text")
    if size > MAX_META_BYTES:
        raise UsageError(
            f"the value of '{key}' is {size} bytes long, more than {MAX_META_BYTES}",
            hint="put long texts into the note or into a file in the worktree",
        )
    return text


def split_meta(words: Iterable[str]) -> dict[str, str]:
    """Return `KEY=VALUE` words as values by key. Errors: E_USAGE for a word without '='; as `check_meta`."""
    found = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise UsageError(f"'{readable(word)}' is not KEY=VALUE", hint="write a key, '=' and its value: loss=0.12")
        found[key] = value
    return check_meta(found)


def _check_not_latest(name: str, what: str) -> str:
    if name in LATEST:
        raise NameInvalid(f"{what} '{name}' is reserved for the latest snapshot", hint="choose another name", name=name)
    return name


def _check(name: str, what: str) -> str:
    name = unicodedata.normalize("NFC", name)
    if not is_worktree_name(name):
        shown = readable(name if len(name) <= 80 else name[:77] + "...")
        shown = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in shown)
        raise NameInvalid(f"{what} '{shown}' is not allowed", hint=_RULE, name=shown)
    return name


def check_listed(words: Iterable[Word], what: str) -> list[Word]:
    """Return words as a list. Errors: E_USAGE for one text, of which each letter would be taken for a word."""
    if isinstance(words, str | bytes):
        raise UsageError(f"{what}: a list is needed, not the text {words!r}", hint=f"write {what}=[{words!r}]")
    return list(words)


def is_snapshot_id(text: str) -> bool:
    """Answer whether text is `<13 digits>-<8 lowercase hex>`."""
    return len(text) == 22 and text[13] == "-" and text.isascii() and text[:13].isdigit() and _HEX.issuperset(text[14:])


def check_snapshot_id(text: object) -> str:
    """Return text when it is a snapshot id, else raise E_NAME_INVALID: nothing else may become part of a path."""
    if not isinstance(text, str) or not is_snapshot_id(text):
        raise NameInvalid(
            f"'{str(text)[:80]}' is not a snapshot id",
            hint="ids look like 1700000000000-0a1b2c3d; see 'jvs history'",
        )
    return text


def is_operation_id(text: str) -> bool:
    """Answer whether text is an operation id; they share the shape of snapshot ids."""
    return is_snapshot_id(text)


def check_note(note: str) -> str:
    """Return the note, or raise E_USAGE when it is no UTF-8 text, holds NUL, or is longer than 1 MiB."""
    try:
        size = len(note.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise UsageError("the note is not valid UTF-8", hint="write the note as UTF-8 text") from error
    if "\0" in note:
        raise UsageError("the note holds a NUL character", hint="write the note as text")
    if size > MAX_NOTE_BYTES:
        raise UsageError(
            f"the note is {size} bytes long, more than {MAX_NOTE_BYTES}",
            hint="put long texts into a file in the worktree",
        )
    return note
