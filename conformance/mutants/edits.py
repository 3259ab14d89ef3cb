"""What a mutant is: a wrong program, made from the right one by edits of its files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Drop:
    """Replace `lines` lines of a file of the package by `pass`, from the only one that contains `text`."""

    file: str
    text: str
    lines: int = 1


@dataclass(frozen=True)
class Swap:
    """Replace `old`, which is in the file once, by `new`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One wrong program. `judges` are asked in their order; `equivalent` is the reason why none of them can notice."""

    name: str
    what: str
    edits: tuple[Drop | Swap, ...]
    judges: tuple[str, ...]
    equivalent: str = ""
