"""The manual: the commands in groups, extensions on PATH, and where the page of a command is.

Source: jvs-help(1).
"""

from __future__ import annotations

import os
import sys

from jvs.cli import commands
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.ui.terminal import Terminal

_GLOBAL = (
    ("-C DIR", "work as if started in DIR"),
    ("-c KEY=VALUE", "use this setting for this run"),
    ("--json", "print one JSON document"),
    ("--debug", "show each step with its milliseconds"),
)
_TERM_COLUMNS = 15


def overview(path: str | None) -> list[dict[str, str]]:
    """Return a row for each command; with the value of PATH also the plumbing, and what extends jvs there."""
    kinds = (commands.PORCELAIN,) if path is None else (commands.PORCELAIN, commands.PLUMBING)
    rows = [
        {"command": name, "program": commands.program_of(name), "kind": kind, "group": group, "summary": summary}
        for name, (kind, group, summary) in commands.COMMANDS.items()
        if kind in kinds
    ]
    rows += [
        {"command": word, "program": f"jvs-{word}", "kind": "extension", "group": "extensions", "summary": found}
        for word, found in extensions(path or "")
    ]
    return rows


def extensions(path: str) -> list[tuple[str, str]]:
    """Return the programs on PATH that extend jvs: called `jvs-...`, and none of its own."""
    own = {commands.program_of(name) for name in commands.COMMANDS}
    found: dict[str, str] = {}
    for directory in path.split(os.pathsep):
        try:
            names = sorted(os.listdir(directory)) if directory else []
        except OSError:  # a directory on PATH that is not there, or not ours to read
            continue
        for name in names:
            program = os.path.join(directory, name)
            if name.startswith("jvs-") and name not in own and os.access(program, os.X_OK) and os.path.isfile(program):
                found.setdefault(name[4:], program)
    return sorted(found.items())


def overview_text(rows: list[dict[str, str]], screen: Terminal) -> str:
    """Return the rows of `overview` group by group, fit to the screen."""
    lines = terminal.wrap("jvs: instant, verifiable versions of whole workspaces", screen)
    lines += ["", "usage: jvs COMMAND [OPTIONS]", ""]
    for group, title in {**commands.GROUPS, "extensions": "Extensions found on PATH"}.items():
        chosen = [row for row in rows if row["group"] == group]
        if not chosen:
            continue
        lines.append(screen.paint(title, "bold"))
        names = [row["program"] if row["kind"] == commands.PLUMBING else row["command"] for row in chosen]
        lines += _table(list(zip(names, (row["summary"] for row in chosen), strict=True)), screen)
        lines.append("")
    lines.append(screen.paint("Options of every command", "bold"))
    lines += [*_table(list(_GLOBAL), screen), ""]
    lines += terminal.wrap("'jvs help COMMAND' explains one; 'jvs help tutorial' is the way in.", screen)
    if all(row["kind"] == commands.PORCELAIN for row in rows):
        lines += terminal.wrap("'jvs help -a' also lists the plumbing.", screen)
    return "\n".join(lines) + "\n"


def begin_text(screen: Terminal) -> str:
    """Return the two ways to begin, for where there is no repository."""
    rows = [
        ("jvs init", "keep snapshots of this directory, where it is"),
        ("jvs init NAME", "make a new directory for it; your files go into NAME/main"),
    ]
    lines = ["There is no repository here. Two ways to begin:", "", *_table(rows, screen), ""]
    lines += terminal.wrap("'jvs help' lists the commands, 'jvs help tutorial' is a first session.", screen)
    return "\n".join(lines) + "\n"


def _table(rows: list[tuple[str, str]], screen: Terminal) -> list[str]:
    return terminal.table(rows, screen, least=_TERM_COLUMNS, color="green", always=True)


def second_words(word: str) -> list[dict[str, str]]:
    """Return a row for each command, or other name of one, that begins with a word."""
    found = {name: commands.ALIASES.get(name, name) for name in (*commands.COMMANDS, *commands.ALIASES)}
    return [
        {"command": name, "program": f"jvs {name}", "summary": commands.summary_of(real)}
        for name, real in found.items()
        if name.startswith(word + " ")
    ]


def second_words_text(word: str, rows: list[dict[str, str]], screen: Terminal) -> str:
    """Return the rows of `second_words`, fit to the screen."""
    lines = [f"usage: jvs {word} COMMAND [OPTIONS]", ""]
    lines += _table([(row["command"], row["summary"]) for row in rows], screen)
    return "\n".join([*lines, "", f"'jvs help {word} COMMAND' explains one."]) + "\n"


def source_of(path: str) -> str:
    """Return the source of a page, whether it is compressed or not. Errors: OSError."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except NotADirectoryError:
        data = _Packed().get(path)
    if path.endswith(".gz"):
        import gzip

        data = gzip.decompress(data)
    return data.decode("utf-8", "replace")


def page_of(name: str, manpath: str, sections: str = "175") -> tuple[str, str] | None:
    """Return the man page of a command or topic and the directory of the manual, or None when it is not installed.

    `manpath` is the value of MANPATH; the manual that belongs to this installation goes before it. The directory of
    a page that is packed into one file with the program is empty: man(1) cannot read it.
    """
    package = os.path.dirname(os.path.dirname(os.path.abspath(commands.__file__)))
    places = [os.path.join(sys.prefix, "share", "man"), os.path.join(os.path.dirname(package), "man")]
    places += [place for place in manpath.split(os.pathsep) if place]
    pages = [f"man{s}/{page}.{s}" for s in sections for page in (f"jvs-{name}", name) if page.startswith("jvs")]
    packed = _Packed()
    for page in pages:
        if packed.has(os.path.join(packed.root, page)):
            return os.path.join(packed.root, page), ""
    for place in places:
        for page in pages:
            path = os.path.join(place, page)
            if os.path.isfile(path) or os.path.isfile(path + ".gz"):
                return path, place
    return None


class _Packed:
    """The manual in the one file that also holds the program (jvs.pyz)."""

    def __init__(self) -> None:
        self._loader = commands.__spec__.loader
        self.root = os.path.join(getattr(self._loader, "archive", ""), "share", "man")

    def has(self, path: str) -> bool:
        """Answer whether a page is in it."""
        try:
            return hasattr(self._loader, "archive") and bool(self.get(path))
        except OSError:
            return False

    def get(self, path: str) -> bytes:
        """Return the bytes of a page. Errors: OSError."""
        data: bytes = self._loader.get_data(path)  # type: ignore[union-attr]  # a loader of files has it
        return data
