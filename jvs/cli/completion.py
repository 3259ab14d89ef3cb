"""Completion: what can come after each command, read from its parser, for the scripts of all shells.

Source: jvs-completion(1).
"""

from __future__ import annotations

from jvs.cli import commands
from jvs.store import hooks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

SHELLS = ("bash", "zsh", "fish")
TARGETS, WORKTREES, TAGS, PLANS, KEYS = "targets", "worktrees", "tags", "plans", "keys"
ENGINES, FILES, DIRS, COMMANDS, NOTHING = "engines", "files", "dirs", "commands", "nothing"
_BY_METAVAR = {
    "TARGET": TARGETS,
    "T": TARGETS,
    "FROM": TARGETS,
    "TO": TARGETS,
    "SNAPSHOT": TARGETS,
    "TARGET:PATH": TARGETS,
    "TARGET[:PATH": TARGETS,
    "SNAPSHOT:PATH": TARGETS,
    "TAG": TAGS,
    "KEY": KEYS,
    "ENGINE": ENGINES,
    "DIR": DIRS,
    "STORE": DIRS,
    "SRC": DIRS,
    "DST": DIRS,
    "FILE": FILES,
    "PATH": FILES,
    "P": FILES,
    "WHAT": TARGETS,
    "A": TARGETS,
    "B": TARGETS,
    "COMMAND": COMMANDS,
}
_WORDS: dict[str, tuple[str, ...]] = {"HOOK": hooks.NAMES}
_EXISTING_WORKTREE = (
    "worktree path",
    "worktree rename",
    "worktree remove",
    "with-lock",
    "update-head",
    "check-worktree",
)
_WORKTREE_FIRST = (("merge", "SOURCE"), ("enter", "WORKTREE"))


class Option:
    """One option: its names, what its value is (None: it has none), fixed values, and its help."""

    def __init__(self, names: list[str], kind: str | None, choices: list[str], text: str) -> None:
        self.names = names
        self.kind = kind
        self.choices = choices
        self.text = text


class Shape:
    """What can come after one command."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.options: list[Option] = []
        self.places: list[tuple[str, list[str]]] = []
        self.rest: tuple[str, list[str]] = (NOTHING, [])

    def place(self, index: int) -> tuple[str, list[str]]:
        """Return what the positional argument of that number is."""
        return self.places[index] if index < len(self.places) else self.rest


def shape_of(name: str, parser: argparse.ArgumentParser) -> Shape:
    """Read a parser."""
    shape = Shape(name)
    for action in parser._actions:
        choices = [str(choice) for choice in action.choices or _WORDS.get(str(action.metavar), ())]
        if action.option_strings:
            kind = None if action.nargs == 0 else _kind(name, action)
            shape.options.append(Option(list(action.option_strings), kind, choices, action.help or ""))
        elif action.nargs in ("*", "+", "..."):
            shape.rest = (_kind(name, action), choices)
        else:
            shape.places.append((_kind(name, action), choices))
    return shape


def _kind(name: str, action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    names_worktree = metavar in ("NAME", "OLD", "WORKTREE") and name in _EXISTING_WORKTREE
    if {"-w", "--into"} & set(action.option_strings) or names_worktree or (name, metavar) in _WORKTREE_FIRST:
        return WORKTREES
    if (name, metavar) == ("tag", "NAME"):
        return TAGS
    if "--plan-id" in action.option_strings:
        return PLANS
    if "-c" in action.option_strings:
        return KEYS
    if metavar == "NOTE" or (metavar == "T" and "--tag" in action.option_strings):
        return TAGS if metavar == "T" else NOTHING
    return _BY_METAVAR.get(metavar.strip("[]").split("]")[0], NOTHING)


def quoted(words: Iterable[str]) -> str:
    """Return words as one word of a shell."""
    return "'" + " ".join(words).replace("'", "'\\''") + "'"


def second_words() -> dict[str, list[str]]:
    """Return the words that can come after each first word that needs one."""
    found: dict[str, list[str]] = {}
    for name in (*commands.COMMANDS, *commands.ALIASES):
        first, _, second = name.partition(" ")
        if second:
            found.setdefault(first, []).append(second)
    return found


def first_words() -> list[str]:
    """Return the words that can come after `jvs`."""
    words = [n.split(" ")[0] for n, row in commands.COMMANDS.items() if row[0] == commands.PORCELAIN]
    return sorted({*words, *(name.split(" ")[0] for name in commands.ALIASES)})


def engines() -> list[str]:
    """Return the names of the engines."""
    from jvs.store import settings

    return list(settings.KEYS["default_engine"][2] or ())


def programs() -> list[str]:
    """Return the plumbing commands as programs of their own."""
    return [commands.program_of(name) for name, row in commands.COMMANDS.items() if row[0] == commands.PLUMBING]


def all_names(shapes: list[Shape]) -> list[tuple[str, Shape]]:
    """Return every way to call a command with its shape, aliases included."""
    by_name = {shape.name: shape for shape in shapes}
    pairs = list(by_name.items())
    return pairs + [(alias, by_name[real]) for alias, real in commands.ALIASES.items() if real in by_name]
