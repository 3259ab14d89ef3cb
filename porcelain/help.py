"""Explain a command, or list them all

Without a command it lists those for daily use; with -a all of them, plumbing included, and the programs on PATH that
are called `jvs-...` and extend jvs. With a command it opens its man page, or prints its options where there is no
man. A first word that needs a second, like `gc`, lists these.
"""

from __future__ import annotations

import argparse
import os
import sys

from jvs import cli, dispatch
from jvs.errors import NotFound, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvs.terminal import Terminal

RAISES = (UsageError, NotFound)
SEE_ALSO = ("jvs(1)", "jvs-tutorial(7)", "jvs-plumbing(7)")
EXAMPLES = (
    ("jvs help restore", "the man page of a command"),
    ("jvs help gc", "what there is to collect with"),
    ("jvs help -a", "everything"),
)
_GLOBAL = (
    ("-C DIR", "work as if started in DIR"),
    ("-c KEY=VALUE", "use this setting for this run"),
    ("--json", "print one JSON document"),
    ("--debug", "show each step with its milliseconds"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("help", __doc__)
    parser.add_argument("command", metavar="COMMAND", nargs="*", help="what to explain")
    parser.add_argument("-a", "--all", action="store_true", help="list plumbing and extensions as well")
    parser.add_argument("-t", "--text", action="store_true", help="print the options instead of opening the man page")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Find what is to be explained."""
    from jvs import commands

    words = [word.removeprefix("jvs-") if i == 0 else word for i, word in enumerate(args.command)]
    if not words or words == ["jvs"]:
        return _overview(args.all)
    name = commands.ALIASES.get(" ".join(words), " ".join(words))
    if name in commands.COMMANDS:
        return _explain(name, args)
    if len(words) == 1 and words[0] in commands.first_words():
        return _second_words(words[0])
    pages = _page_of(name.replace(" ", "-"))
    if pages is not None and not args.json and not args.text:
        _open_page(*pages)
    known = [*commands.COMMANDS, *commands.ALIASES, *commands.first_words()]
    near = dispatch.nearest(name, known, 1)
    hint = f"did you mean '{near[0]}'?" if near else "'jvs help -a' lists them all"
    raise NotFound(f"there is no command '{name}'", hint=hint)


def _overview(everything: bool) -> cli.Result:
    from jvs import commands

    kinds = (commands.PORCELAIN, commands.PLUMBING) if everything else (commands.PORCELAIN,)
    rows = [
        {"command": name, "program": commands.program_of(name), "kind": kind, "group": group, "summary": summary}
        for name, (kind, group, summary) in commands.COMMANDS.items()
        if kind in kinds
    ]
    extensions = _extensions() if everything else []
    rows += [
        {"command": word, "program": f"jvs-{word}", "kind": "extension", "group": "extensions", "summary": path}
        for word, path in extensions
    ]
    return cli.Result(rows, lambda screen: _list(rows, everything, screen), pager=True)


def _extensions() -> list[tuple[str, str]]:
    """Return the programs on PATH that extend jvs: called `jvs-...`, and none of its own."""
    from jvs import commands

    own = {commands.program_of(name) for name in commands.COMMANDS}
    found: dict[str, str] = {}
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        try:
            names = sorted(os.listdir(directory)) if directory else []
        except OSError:  # a directory on PATH that is not there, or not ours to read
            continue
        for name in names:
            path = os.path.join(directory, name)
            if name.startswith("jvs-") and name not in own and os.access(path, os.X_OK) and os.path.isfile(path):
                found.setdefault(name[4:], path)
    return sorted(found.items())


def _list(rows: list[dict[str, str]], everything: bool, screen: Terminal) -> str:
    from jvs import commands

    lines = ["jvs: instant, verifiable versions of whole workspaces", "", "usage: jvs COMMAND [OPTIONS]", ""]
    for group, title in {**commands.GROUPS, "extensions": "Extensions found on PATH"}.items():
        chosen = [row for row in rows if row["group"] == group]
        if not chosen:
            continue
        lines.append(screen.paint(title, "bold"))
        names = [row["program"] if row["kind"] == commands.PLUMBING else row["command"] for row in chosen]
        lines += _rows(zip(names, (row["summary"] for row in chosen), strict=True), screen)
        lines.append("")
    lines.append(screen.paint("Options of every command", "bold"))
    lines += _rows(_GLOBAL, screen)
    lines += ["", "'jvs help COMMAND' explains one; 'man jvs-tutorial' is the way in."]
    if not everything:
        lines.append("'jvs help -a' also lists the plumbing.")
    return "\n".join(lines) + "\n"


def _rows(pairs: Iterable[tuple[str, str]], screen: Terminal) -> list[str]:
    import textwrap

    rows = list(pairs)
    left = max([15, *(len(name) for name, _ in rows)]) + 4
    lines = []
    for name, summary in rows:
        first, *more = textwrap.wrap(summary, max(screen.width - left, 20), break_on_hyphens=False) or [""]
        lines.append(f"  {screen.paint(name, 'green')}{' ' * (left - 2 - len(name))}{first}")
        lines += [" " * left + line for line in more]
    return lines


def _second_words(word: str) -> cli.Result:
    from jvs import commands

    found = {name: commands.ALIASES.get(name, name) for name in (*commands.COMMANDS, *commands.ALIASES)}
    rows = [
        {"command": name, "program": f"jvs {name}", "summary": commands.summary_of(real)}
        for name, real in found.items()
        if name.startswith(word + " ")
    ]

    def text(screen: Terminal) -> str:
        lines = [f"usage: jvs {word} COMMAND [OPTIONS]", ""]
        lines += _rows(((row["command"], row["summary"]) for row in rows), screen)
        return "\n".join([*lines, "", f"'jvs help {word} COMMAND' explains one."]) + "\n"

    return cli.Result(rows, text)


def _explain(name: str, args: argparse.Namespace) -> cli.Result:
    import importlib

    from jvs import commands

    page = None if args.text or args.json else _page_of(name.replace(" ", "-"))
    if page is not None:
        _open_page(*page)
    module = importlib.import_module(commands.module_of(name))
    text = module.build_parser().format_help()
    value = {"command": name, "program": commands.program_of(name), "summary": commands.summary_of(name), "help": text}
    return cli.Result(value, text, pager=True)


def _page_of(name: str) -> tuple[str, str] | None:
    """Return the man page of a command and the directory of the manual, or None when it is not installed."""
    places = [os.path.join(sys.prefix, "share", "man"), os.path.join(os.path.dirname(_package()), "man")]
    places += [place for place in os.environ.get("MANPATH", "").split(os.pathsep) if place]
    for place in places:
        for section in ("1", "7", "5"):
            for page in (f"jvs-{name}", name):
                path = os.path.join(place, f"man{section}", f"{page}.{section}")
                if page.startswith("jvs") and (os.path.isfile(path) or os.path.isfile(path + ".gz")):
                    return path, place
    return None


def _package() -> str:
    import jvs

    return os.path.dirname(os.path.abspath(jvs.__file__))


def _open_page(path: str, place: str) -> None:
    """Become man(1), when there is one; else come back."""
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        program = os.path.join(directory, "man")
        if directory and os.access(program, os.X_OK):
            sys.stdout.flush()
            page, _, section = os.path.basename(path).removesuffix(".gz").rpartition(".")
            os.execv(program, ["man", "-M", place, section, page])


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
