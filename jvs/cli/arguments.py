"""Command lines: the parser of every command, and what comes after `--`.

Options of every command are added here. Whatever comes after `--` is an argument, wherever the `--` is.
Source: jvs(1).
"""

from __future__ import annotations

import os

from jvs import __version__
from jvs.errors import PathEscape, UsageError, from_oserror

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence
    from typing import Any, NoReturn

    from jvs.cli import commands
    from jvs.store.store import Store

_PLAIN = "\0"
"""Marks a word that is no option, whatever it looks like; no word of a command line can hold it."""


def make_parser(
    name: str, doc: str | None, *, jsonl: bool = False, cbor: bool = False, zero: bool = False
) -> argparse.ArgumentParser:
    """Return the parser of a command with the options that every command has. No side effects.

    `jsonl`, `cbor` and `zero` add `--jsonl`, `--cbor` and `-z` for commands with long or raw lists.
    """
    import argparse

    from jvs.cli import commands

    _speak_english(argparse)
    lines = (doc or "").strip().split("\n", 1)
    parser: argparse.ArgumentParser = _parser_class(argparse)(
        prog=commands.program_of(name),
        description="\n\n".join(line.strip() for line in lines if line.strip()),
        formatter_class=_formatter_class(argparse),
        allow_abbrev=False,
    )
    parser.register("type", None, lambda word: word.removeprefix(_PLAIN))
    wanted = {commands.EVERY, *(form for form, on in (("jsonl", jsonl), ("cbor", cbor), ("zero", zero)) if on)}
    shared = parser.add_argument_group("options of every command")
    for option in commands.COMMON_OPTIONS:
        if option.form in wanted:
            _add(shared, option)
    shared.add_argument("--version", action="version", version=f"jvs {__version__}")
    return parser


def _add(group: argparse._ArgumentGroup, option: commands.CommonOption) -> None:
    if option.metavar is None:
        group.add_argument(option.name, dest=option.dest, action="store_true", help=option.text)
    elif option.repeatable:
        group.add_argument(option.name, dest=option.dest, metavar=option.metavar, action="append", help=option.text)
    else:
        kind: Any = float if option.number else None
        group.add_argument(option.name, dest=option.dest, metavar=option.metavar, type=kind, help=option.text)


def _parser_class(argparse: Any) -> Any:
    """Return the class of our parsers; here, because importing argparse costs more than the version may."""

    class Parser(argparse.ArgumentParser):  # type: ignore[misc]  # the module is a parameter
        given: Sequence[str] = ()
        """The command line, for the hint about an option of another tool in it."""

        def error(self, message: str) -> NoReturn:
            from jvs.cli import other_words

            message = self._really_required(message.replace(_PLAIN, ""))
            meant = other_words.option(self.prog.removeprefix("jvs "), self.given)
            raise UsageError(message, hint=meant or f"see '{self.prog} --help'")

        def _really_required(self, message: str) -> str:
            """Leave out what may be left out: argparse, looking between options, takes each argument for required."""
            start, required, names = message.partition("arguments are required: ")
            optional = {action.metavar for action in self._actions if action.nargs in ("?", "*")}
            wanted = [name for name in names.split(", ") if name not in optional]
            return start + required + ", ".join(wanted) if required and wanted else message

        def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
            """Let options come between arguments: argparse alone fails there when an argument is optional.

            What does not make it fail it understands in the same way, and sooner.
            """
            self.given = args
            rest = next((action for action in self._actions if action.nargs == argparse.REMAINDER), None)
            if rest is None:
                words = _behind_dashes_plain(args)
                try:
                    found, left = super().parse_known_args(words)
                    if not left:
                        return found
                except UsageError:  # which the other way of looking at it may not be
                    pass
                return self.parse_intermixed_args(words, namespace)
            found = super().parse_args(args, namespace)
            _take_command(self, rest.dest, found)
            return found

        def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
            try:
                return super().parse_known_args(args, namespace)
            except argparse.ArgumentError as error:  # pragma: no cover - argparse turns these into error()
                self.error(str(error))

    return Parser


def _formatter_class(argparse: Any) -> Any:
    """Return the class that writes help: it wraps the description to the screen, paragraph by paragraph."""

    class Formatter(argparse.HelpFormatter):  # type: ignore[misc]  # the module is a parameter
        def __init__(self, prog: str, **more: Any) -> None:
            from jvs.cli import output

            # With a given width, argparse does not import shutil, and with it four compressors, to find it out.
            super().__init__(prog, **{"width": output.help_width(), **more})

        def _set_color(self, *_: Any, **__: Any) -> None:
            """Do without the colours of Python 3.14: to find them it imports dataclasses at every start."""
            self._theme, self._decolor = _NoTheme(), str

        def _fill_text(self, text: str, width: int, indent: str) -> str:
            paragraphs = [_wrap(paragraph, width - len(indent)) for paragraph in text.split("\n\n")]
            return "\n\n".join("\n".join(indent + line for line in lines) for lines in paragraphs)

        def _split_lines(self, text: str, width: int) -> list[str]:
            return _wrap(text, width)

    return Formatter


class _NoTheme:
    """Stands for a theme of argparse that paints nothing: each of its colours is an empty text."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return ""


def _wrap(text: str, width: int) -> list[str]:
    """Return text in lines, broken between words only: `--no-index` stays whole, unless it is wider than a line.

    What textwrap would do, without the expressions that it compiles at each start.
    """
    lines: list[str] = []
    for word in text.split():
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += " " + word
        else:
            lines += [word[i : i + width] for i in range(0, len(word), max(width, 1))]
    return lines


def _speak_english(argparse: Any) -> None:
    """Leave argparse's own words as they are: a translation would appear among ours, and costs a search on each start.

    The search reads the environment and asks for a catalogue for every heading, and imports locale to do so.
    """
    argparse._ = str


def _behind_dashes_plain(words: list[str]) -> list[str]:
    """Return a command line without its first `--`, with the words after it marked as no options.

    argparse takes `--` as the end of everything when options and arguments come in any order.
    """
    if "--" not in words:
        return words
    i = words.index("--")
    return [*words[:i], *(_PLAIN + word for word in words[i + 1 :])]


def _take_command(parser: argparse.ArgumentParser, name: str, found: argparse.Namespace) -> None:
    """Take `--` away from the command that a command line ends with. Errors: E_USAGE for an option in its place."""
    words = getattr(found, name)
    if words[:1] == ["--"]:
        setattr(found, name, words[1:])
    elif words and words[0].startswith("-"):
        raise UsageError(
            f"'{words[0]}' comes before the command to run",
            hint=f"put options before all arguments, and the command after '--': see '{parser.prog} --help'",
        )


def asks_for_json(words: list[str]) -> bool:
    """Answer whether a command line that may be wrong asks for JSON: then its errors are JSON as well."""
    own = words[: words.index("--")] if "--" in words else words
    return "--json" in own or "--jsonl" in own


def with_paths(argv: list[str] | None) -> list[str] | None:
    """Return arguments in which each word after `--` is a `--paths`: argparse would take it for a positional."""
    if argv is None or "--" not in argv:
        return argv
    i = argv.index("--")
    return [*argv[:i], *(f"--paths={path}" for path in argv[i + 1 :])]


def worktree_paths(
    store: Store, worktree: str | None, words: list[str], *, reserved: bool = False
) -> list[bytes] | None:
    """Return path arguments relative to a worktree; None without any, which means all of it.

    Inside the worktree they are read relative to the current directory, elsewhere relative to the worktree; an
    absolute path must be in the worktree. `.jvs` at its root is refused unless `reserved`. Errors: E_PATH_ESCAPE,
    E_NAME_INVALID.
    """
    if not words:
        return None
    name = store.worktree_name(worktree)
    from jvs.fs import paths
    from jvs.store import reserved as names

    base = os.path.realpath(str(store.layout.worktree_dir(name)))
    current = os.path.realpath(here())
    inside = current if current == base or current.startswith(base + "/") else base
    found = []
    for word in words:
        whole = os.path.normpath(os.path.join(inside, word)) if word else inside
        if whole != base and not whole.startswith(base + "/"):
            raise PathEscape(f"path '{word}' is not in worktree '{name}'", hint=f"name paths below '{base}'")
        relative = os.path.relpath(whole, base)
        found.append(b"/".join(paths.split_relative(os.fsencode("" if relative == "." else relative))))
    if not reserved:
        names.check_paths(found)
    return found


def here() -> str:
    """Return the current directory, with a clear error when it was deleted."""
    try:
        return os.getcwd()
    except OSError as error:
        raise from_oserror(error, "finding the current directory (was it deleted?)") from error


def add_stream_options(parser: argparse.ArgumentParser) -> None:
    """Add what says what the other side has, and where the stream goes."""
    parser.add_argument("--since", metavar="TARGET", help="the other side has this snapshot and its line")
    parser.add_argument(
        "--have", metavar="FILE", help="it has the snapshots in this list ('jvs-list-snapshots --ids'; '-': stdin)"
    )
    parser.add_argument("--only", action="store_true", help="these snapshots alone, not their lines")
    parser.add_argument(
        "-o", "--output", metavar="FILE", help="write the stream to a file, which is whole or not there"
    )
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
