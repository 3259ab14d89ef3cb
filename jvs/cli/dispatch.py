"""Dispatch of `jvs WORD ...`: find WORD in the table of commands, import that one module, hand over.

Options of every command may come before the word. A word that is not in the table is a program `jvs-WORD` on PATH.
Source: jvs(1).
"""

from __future__ import annotations

import os

from jvs.cli.commands import FLAG_OPTIONS, VALUE_OPTIONS
from jvs.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def run(words: list[str]) -> int:
    """Run the command that some words ask for; without one, show the help. Errors: E_USAGE."""
    before, word, rest = _split(words)
    if word is not None:
        return _dispatch(before, word, rest)
    if not words:
        return _way_in()
    asked = any(option in ("-h", "--help") for option in before)
    return _main_of("help")([]) or (0 if asked else 2)


def _way_in() -> int:
    """Answer `jvs` alone: how to begin where there is no repository, else the commands; status 2 in any case."""
    import importlib

    from jvs.cli import commands

    begin: Callable[[], int] = importlib.import_module(commands.module_of("help")).begin
    return begin()


def _stands_alone(word: str) -> bool:
    """Answer whether a word is an option of every command that brings its value along, or has none."""
    name, equals, _ = word.partition("=")
    if word.startswith("--"):
        return word == "--help" or (name in VALUE_OPTIONS if equals else word in FLAG_OPTIONS)
    return word == "-h" or word in FLAG_OPTIONS or (word[:2] in VALUE_OPTIONS and len(word) > 2)


def _split(words: list[str]) -> tuple[list[str], str | None, list[str]]:
    """Split into options before the command word, the word, and the rest."""
    before: list[str] = []
    i = 0
    while i < len(words):
        word = words[i]
        if word in VALUE_OPTIONS:
            before += words[i : i + 2]
            i += 2
        elif _stands_alone(word):
            before.append(word)
            i += 1
        elif word.startswith("-"):
            raise UsageError(f"unknown option '{word}' before the command", hint="see 'jvs --help'")
        else:
            return before, word, words[i + 1 :]
    return before, None, []


def _dispatch(before: list[str], word: str, rest: list[str]) -> int:
    from jvs.cli import commands

    name = word
    if word in commands.first_words() and word not in commands.ALIASES:
        try:
            middle, second, tail = _split(rest)
        except UsageError as error:
            raise _meant_by_option(word, rest) or error
        wanted = f"{word} {second}" if second else word
        if wanted not in commands.COMMANDS and wanted not in commands.ALIASES:
            return _second_word_missing(word, second, before + middle)
        name, before, rest = wanted, [*before, *middle], tail
    name = commands.ALIASES.get(name, name)
    if name in commands.COMMANDS:
        return _main_of(name)([*before, *rest])
    return _external(word, before, rest)


def _meant_by_option(word: str, rest: list[str]) -> UsageError | None:
    """Return the error for an option of another tool in place of a second word; None where there is none."""
    from jvs.cli import other_words

    hint = other_words.option(word, rest)
    return None if hint is None else UsageError(f"'{word}' needs a second word before its options", hint=hint)


def _second_word_missing(word: str, second: str | None, options: list[str]) -> int:
    from jvs.cli import commands, other_words

    known = [n.split(" ")[1] for n in (*commands.COMMANDS, *commands.ALIASES) if n.startswith(word + " ")]
    if second is None and any(option in ("-h", "--help") for option in options):
        return _main_of("help")([word])
    problem = f"unknown command '{word} {second}'" if second else f"'{word}' needs a second word"
    meant = other_words.command(f"{word} {second}")
    if meant is not None:
        raise UsageError(problem, hint=meant)
    hint = f"one of: {', '.join(sorted(set(known)))}"
    near = nearest(second or "", known)
    raise UsageError(problem, hint=f"did you mean '{word} {near[0]}'? {hint}" if near else hint)


def _main_of(name: str) -> Callable[[list[str]], int]:
    import importlib

    from jvs.cli import commands

    main: Callable[[list[str]], int] = importlib.import_module(commands.module_of(name)).main
    return main


def _external(word: str, before: list[str], rest: list[str]) -> int:
    """Hand an unknown word to `jvs-WORD` on PATH, as git does."""

    program = f"jvs-{word}"
    if "/" not in word:
        for directory in os.environ.get("PATH", "").split(os.pathsep):
            path = os.path.join(directory, program)
            if directory and os.access(path, os.X_OK) and os.path.isfile(path):
                _become(path, [path, *before, *rest])
    raise UsageError(f"unknown command '{word}'", hint=_instead_of(word))


def _instead_of(word: str) -> str:
    from jvs.cli import other_words

    meant = other_words.command(word)
    if meant is not None:
        return meant
    near = near_command(word)
    return (f"did you mean '{near}'? " if near else "") + "'jvs help' lists the commands"


def near_command(word: str) -> str | None:
    """Return the command most like a word: one for every day, before a step of plumbing."""
    from jvs.cli import commands

    daily = [name for name, row in commands.COMMANDS.items() if row[0] == commands.PORCELAIN]
    for names in ((*daily, *commands.ALIASES, *commands.first_words()), commands.COMMANDS):
        near = nearest(word, [*names, *(name.split(" ")[0] for name in names)], 1)
        if near:
            return near[0]
    return None


def _become(path: str, words: list[str]) -> None:
    try:
        os.execv(path, words)
    except OSError as error:
        raise UsageError(
            f"'{path}' cannot be run: {error.strerror}",
            hint="a script begins with '#!' and the path of its interpreter",
        ) from error


def nearest(word: str, known: Iterable[str], most: int = 3) -> list[str]:
    """Return the names most like a word, for 'did you mean'."""
    import difflib

    return difflib.get_close_matches(word, sorted(set(known)), n=most, cutoff=0.6)
