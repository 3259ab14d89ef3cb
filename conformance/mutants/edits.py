"""What a mutant is: a wrong program, made from the right one by edits of its files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Drop:
    """Take `lines` lines out of a file of the package, from the only one that holds `text`; `pass` stands there."""

    file: str
    text: str
    lines: int = 1


@dataclass(frozen=True)
class Swap:
    """Put `new` in the place of `old`, which stands in the file once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One wrong program. `judges` are asked in their order; `equivalent` says why none of them can notice."""

    name: str
    what: str
    edits: tuple[Drop | Swap, ...]
    judges: tuple[str, ...]
    equivalent: str = ""
