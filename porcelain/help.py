"""Explain a command, or list them all

Without a command it lists those for daily use; with -a all of them, plumbing included, and the programs on PATH that
are called `jvs-...` and extend jvs. `jvs` alone says the two ways to begin where there is no repository. With a
command it opens its man page, or prints its options where there is no man. With the name of another page, like
`tutorial` or `5 config`, it opens that, or prints it as text where there is no man. A first word that needs a second,
like `gc`, lists these.
"""

from __future__ import annotations

import argparse
import os
import sys

from jvs.cli import dispatch
from jvs.cli import run as cli
from jvs.errors import JvsError, NotARepository, NotFound, UsageError

RAISES = (UsageError, NotFound)
SEE_ALSO = ("jvs(1)", "jvs-tutorial(7)", "jvs-plumbing(7)")
EXAMPLES = (
    ("jvs help restore", "the man page of a command"),
    ("jvs help gc", "what there is to collect with"),
    ("jvs help -a", "everything"),
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
    from jvs.cli import commands, manual, other_words

    words, section = _without_section(args.command)
    if section:
        page = manual.page_of("-".join(words), os.environ.get("MANPATH", ""), section)
        if page is None:
            raise NotFound(f"there is no page '{' '.join(args.command)}'", hint="'jvs help -a' lists the commands")
        return _topic("-".join(words), page, args)
    if not words or words == ["jvs"]:
        rows = manual.overview(os.environ.get("PATH", "") if args.all else None)
        return cli.Result(rows, lambda screen: manual.overview_text(rows, screen), pager=True)
    name = commands.ALIASES.get(" ".join(words), " ".join(words))
    if name in commands.COMMANDS:
        return _explain(name, args)
    if len(words) == 1 and words[0] in commands.first_words():
        rows = manual.second_words(words[0])
        return cli.Result(rows, lambda screen: manual.second_words_text(words[0], rows, screen))
    page = manual.page_of(name.replace(" ", "-"), os.environ.get("MANPATH", ""))
    if page is not None:
        return _topic(name, page, args)
    near = dispatch.near_command(name)
    hint = f"did you mean '{near}'?" if near else "'jvs help -a' lists them all"
    raise NotFound(f"there is no command '{name}'", hint=other_words.command(name) or hint)


def _without_section(words: list[str]) -> tuple[list[str], str]:
    """Return the words of a name, and the section of the manual when it is given: `5 config`, or `jvs-config(5)`."""
    section = ""
    if len(words) > 1 and words[0] in ("1", "5", "7"):
        section, words = words[0], words[1:]
    elif len(words) == 1 and words[0][-3:] in ("(1)", "(5)", "(7)"):
        section, words = words[0][-2], [words[0][:-3]]
    return [word.removeprefix("jvs-") if i == 0 else word for i, word in enumerate(words)], section


def _topic(name: str, page: tuple[str, str], args: argparse.Namespace) -> cli.Result:
    """Open the page of a topic; where there is no man(1), print it as text."""
    from jvs.cli import manual
    from jvs.ui import manual_page

    if not args.json and not args.text:
        _open_page(*page)
    source = manual.source_of(page[0])
    value = {"command": None, "program": None, "summary": None, "topic": name, "help": manual_page.render(source, 80)}
    return cli.Result(value, lambda screen: manual_page.render(source, min(screen.width, 80)), pager=True)


def _explain(name: str, args: argparse.Namespace) -> cli.Result:
    import importlib

    from jvs.cli import commands, manual

    page = None if args.text or args.json else manual.page_of(name.replace(" ", "-"), os.environ.get("MANPATH", ""))
    if page is not None:
        _open_page(*page)
    module = importlib.import_module(commands.module_of(name))
    text = module.build_parser().format_help()
    value = {"command": name, "program": commands.program_of(name), "summary": commands.summary_of(name), "help": text}
    return cli.Result(value, text, pager=True)


def _open_page(path: str, place: str) -> None:
    """Become man(1), when there is one and the page is a file; else come back."""
    if not place:
        return
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        program = os.path.join(directory, "man")
        if directory and os.access(program, os.X_OK):
            sys.stdout.flush()
            page, _, section = os.path.basename(path).removesuffix(".gz").rpartition(".")
            os.execv(program, ["man", "-M", place, section, page])


def begin() -> int:
    """Run `jvs` alone: say how to begin where there is no repository, else list the commands. Status 2."""
    return cli.run(build_parser(), _begin, [])


def _begin(args: argparse.Namespace) -> cli.Result:
    from jvs.cli import manual
    from jvs.store import finding

    try:
        finding.choose(cli.here(), cli.settings_of(args))
    except NotARepository:
        return cli.Result(None, manual.begin_text, exit=2)
    except JvsError:  # it is there, and its own commands say what is wrong with it
        pass
    rows = manual.overview(None)
    return cli.Result(rows, lambda screen: manual.overview_text(rows, screen), exit=2, pager=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
