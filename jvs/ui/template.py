"""`--format`: lines made from fields in braces, with the fields that exist and nothing else.

Source: jvs-history(1), jvs-list-snapshots(1).
"""

from __future__ import annotations

from jvs.errors import UsageError
from jvs.ui import escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

_ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "r": "\r", "e": "\x1b", "\\": "\\"}


def compile_format(text: str, fields: Iterable[str]) -> Callable[[Callable[[str], Any]], str]:
    r"""Return a function that makes a line from a function that knows the fields.

    Shape: `{field}` or `{field:>12}`, `{{` and `}}` for braces, `\n \t \0 \r \e \\`. A line ends with a newline
    unless the format itself ends with one or with `\0`.
    Errors: E_USAGE for a field that does not exist (with the nearest that does), and for what is no format.
    """
    import string

    known = set(fields)
    try:
        pieces = list(string.Formatter().parse(text))
    except ValueError as error:
        raise UsageError(f"the format '{text}' is not valid: {error}", hint="write '{{' for a brace itself") from error
    parts: list[tuple[str, str | None, str]] = []
    for literal, field, spec, conversion in pieces:
        if field is not None:
            _check_field(field, spec or "", conversion, known)
        parts.append((unescape(literal), field, spec or ""))
    end = "" if parts and parts[-1][1] is None and parts[-1][0][-1:] in ("\n", "\0") else "\n"

    def fill(value_of: Callable[[str], Any]) -> str:
        pieces = []
        for literal, field, spec in parts:
            pieces.append(literal)
            if field is not None:
                pieces.append(escape.visible(_shown(value_of(field), field, spec)))
        return escape.Exact("".join(pieces) + end)

    return fill


def unescape(text: str) -> str:
    r"""Return text with `\n`, `\t`, `\0`, `\r`, `\e` and `\\` replaced; other backslashes stay."""
    if "\\" not in text:
        return text
    result, i = [], 0
    while i < len(text):
        if text[i] == "\\" and text[i + 1 : i + 2] in _ESCAPES and i + 1 < len(text):
            result.append(_ESCAPES[text[i + 1]])
            i += 2
        else:
            result.append(text[i])
            i += 1
    return "".join(result)


def _check_field(field: str, spec: str, conversion: str | None, known: set[str]) -> None:
    if field not in known and not (field.startswith("meta.") and "meta" in known):
        import difflib

        near = difflib.get_close_matches(field, sorted(known), n=1)
        hint = f"the fields are {', '.join(sorted(known))}"
        if near:
            hint = f"did you mean '{{{near[0]}}}'? {hint}"
        raise UsageError(f"there is no field '{field}'", hint=hint)
    if conversion is not None or "{" in spec:
        raise UsageError(f"field '{field}' is written in a way that is not known", hint=f"write '{{{field}}}'")
    try:
        if len(spec) > 6:
            raise ValueError("too long")
        format("", spec)
    except ValueError as error:
        raise UsageError(
            f"'{spec}' is no width for the field '{field}'", hint=f"write '{{{field}:<20}}' or '{{{field}:>8}}'"
        ) from error


def _shown(value: Any, field: str, spec: str) -> str:
    if value is None:
        value = ""
    elif isinstance(value, list | tuple):
        value = ",".join(str(item) for item in value)
    elif isinstance(value, bool):
        value = "true" if value else "false"
    return format(str(value), spec)
