"""What a terminal obeys: the quick answer for texts without any of it is the one of the expression."""

from __future__ import annotations

import re
import sys
import unicodedata

from jvs.ui import escape


def test_nothing_that_is_escaped_is_taken_for_harmless() -> None:
    every = "".join(map(chr, range(sys.maxunicode + 1)))
    obeyed = set(re.findall(escape._OBEYED, every))
    assert {"\x1b", "\x7f", "\x9b", "\u202e", "\ud800", "\r", "\0"} <= obeyed
    assert not any(escape._is_harmless(character) for character in obeyed)
    assert escape._is_harmless("a\tb\nc \u00e4\u4e2d\U0001f600")
    others = (character for character in every[:0x3000] if character not in obeyed)
    assert all(escape.visible(c) == c == escape.visible(c, colors=True) == escape.json_text(c) for c in others)


def test_expressions_are_made_when_they_are_wanted() -> None:
    escape._compiled.clear()
    assert escape.visible("note\n\tand more\n") == "note\n\tand more\n"
    assert escape._compiled == {}
    assert escape.visible("a\x1b[31mb") == "a\\x1b[31mb"
    assert escape.visible("\x1b[31mb\x1b[0m\x07", colors=True) == "\x1b[31mb\x1b[0m\\x07"
    assert escape.json_text('"\x7f"') == '"\\u007f"'
    assert len(escape._compiled) == 2
    assert unicodedata.category("\u202e") == "Cf"
