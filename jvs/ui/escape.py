"""What a terminal would obey, made visible: the last thing that happens to text before it is printed.

Text of commands holds names, notes and records that somebody else may have written. Everything but line ends, tabs and
the colours that jvs itself paints is escaped here, whoever made the text.
Source: ECMA-48 (C0, C1, CSI); Unicode, Bidirectional Algorithm, Explicit Directional Formatting Characters.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re

_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_OBEYED = f"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_BIDI}\ud800-\udfff]"
_OBEYED_BUT_COLORS = rf"(\x1b\[(?:0|[12]|3[1-6])(?:;(?:[12]|3[1-6]))*m)|{_OBEYED}"
_compiled: dict[str, re.Pattern[str]] = {}


class Exact(str):
    """Text whose control characters the user asked for, as in `--format`; what was filled in is escaped already."""

    __slots__ = ()


def visible(text: str, *, colors: bool = False) -> str:
    """Return text in which nothing is left that a terminal obeys, but line ends, tabs and, with `colors`, ours."""
    if isinstance(text, Exact) or _is_harmless(text):
        return text
    if colors:
        return _pattern(_OBEYED_BUT_COLORS).sub(lambda found: found[1] or _escape(found[0]), text)
    return _pattern(_OBEYED).sub(lambda found: _escape(found[0]), text)


def visible_bytes(data: bytes, *, colors: bool = False) -> bytes:
    """Return bytes for a terminal: as `visible`, and what is not UTF-8 as `\\xNN`."""
    return visible(data.decode("utf-8", "backslashreplace"), colors=colors).encode("utf-8", "backslashreplace")


def json_text(text: str) -> str:
    """Return JSON in which no character is left that a terminal obeys; what it says stays the same."""
    if _is_harmless(text):
        return text
    return _pattern(_OBEYED).sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _is_harmless(text: str) -> bool:
    """Answer at once for most texts: nothing that a terminal obeys is printable by the tables of Unicode."""
    return text.replace("\n", "").replace("\t", "").isprintable()


def _pattern(expression: str) -> re.Pattern[str]:
    """Return an expression; compiled when it is first wanted, because that takes a millisecond of each start."""
    if expression not in _compiled:
        import re

        _compiled[expression] = re.compile(expression)
    return _compiled[expression]


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
