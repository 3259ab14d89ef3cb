"""No word of an old dialect comes back: what each was called, in names and in text, has a plain term of the field.

`settle` is recover, decide or finalize; a `stone` is a tombstone; `told` is reported, logged or shown; `beside` is
next to. In text, "is told" stays an ordinary word.
"""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELVES = ("jvs", "plumbing", "porcelain", "conformance", "contrib", "man", "tests")
IN_TEXT = re.compile(r"(?i)settl|\b(?:grave)?stones?\b|\bbeside\b")
IN_NAMES = re.compile(r"(?i)(?:^|_)(?:told|beside|stones?|(?:un)?settle[sd]?|settling)(?:_|$)")
FIXED = {"tests/tree/vectors/trees.json"}
"""Vectors that other programs read as they are."""


def sources() -> list[Path]:
    found = []
    for shelf in SHELVES:
        for path in sorted((ROOT / shelf).rglob("*")):
            if path.is_file() and path.suffix not in (".pyc", ".gz", ".stream", ".svg") and path != Path(__file__):
                found.append(path)
    return found


def names_in(path: Path) -> set[str]:
    with path.open("rb") as file:
        return {token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME}


def problems(path: Path) -> list[str]:
    """Return the words of a source that are of the old dialect."""
    text = path.read_text(encoding="utf-8", errors="replace")
    wrong = [] if str(path.relative_to(ROOT)) in FIXED else IN_TEXT.findall(text)
    if "told" in text and (path.suffix == ".py" or text.startswith("#!/usr/bin/env python")):
        wrong += [name for name in names_in(path) if IN_NAMES.search(name)]
    return wrong


def test_no_word_of_the_old_dialect_is_left():
    wrong = {str(path.relative_to(ROOT)): found for path in sources() if (found := problems(path))}
    assert wrong == {}


@pytest.mark.parametrize(
    "word", ["told", "_told", "is_told", "beside", "stone", "settle_by_run", "unsettled", "Settled"]
)
def test_a_name_of_the_old_dialect_is_noticed(word):
    assert IN_NAMES.search(word)


@pytest.mark.parametrize("word", ["tombstone", "tombstones", "stoned_age", "retold", "besides", "settings"])
def test_other_names_are_not(word):
    assert not IN_NAMES.search(word) and not IN_TEXT.search(word)
