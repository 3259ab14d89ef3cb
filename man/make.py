"""Make the man pages of section 1 from the parsers of the commands, or check that they are up to date.

    python man/make.py            write man/man1/*.1
    python man/make.py --check    change nothing; exit 1 and say what is missing, stale or left over

One page per command (`jvs-snapshot.1`, `jvs-worktree-fork.1`, `jvs-hash-tree.1`), one for each first word that needs
a second (`jvs-gc.1`), and the overview `jvs.1`. Options come from `build_parser()`, EXIT STATUS from `RAISES`,
EXAMPLES and SEE ALSO from the tuples of these names. Sections 5 and 7 are written by hand.
"""

from __future__ import annotations

import os
import sys

os.environ["COLUMNS"] = "9999"  # argparse wraps help to the terminal, and a wrapped line can begin with a dot
os.environ["SOURCE_DATE_EPOCH"] = "1795305600"  # argparse-manpage dates pages it was not given a date for

import argparse
import importlib
import re
from pathlib import Path
from types import ModuleType

from argparse_manpage.manpage import Manpage

from jvs import __version__
from jvs.cli import commands
from jvs.cli import run as cli
from jvs.errors import JvsError

HERE = Path(__file__).resolve().parent
DATE = "2026-11-22"
MANUAL = "jvs Manual"
MACROS = re.compile(r"\.(TH|SH|SS|TP|PP|IP|RS|RE|B|BR|I|nf|fi|ad|br)( |$)")
SPECIAL = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}

ENVIRONMENT = (
    ("HOME", "Where settings and state are when the two XDG variables are not set; never made a repository."),
    ("XDG_CONFIG_HOME", "The settings of the user are in jvs/config.toml below it (~/.config)."),
    (
        "XDG_STATE_HOME",
        "What this user last saw of each audit log, when each snapshot was last verified, and where workspaces lead, "
        "is in jvs/ below it (~/.local/state).",
    ),
    ("JVS_REPO", "The repository to work on, as --repo names it: a directory with .jvs in it, or a control directory."),
    ("JVS_ACTOR", "Who is written into descriptors and audit records, in place of user@host."),
    ("JVS_SNAPSHOT_ENGINE", "The engine to use; the same as JVS_DEFAULT_ENGINE."),
    (
        "JVS_KEY",
        "A value for the setting KEY, written in capitals with dots as underscores: JVS_SNAPSHOT_WHEN_DETACHED.",
    ),
    ("JVS_TRACE", "When set and not 0: each step with its milliseconds on stderr, as with --debug."),
    ("NO_COLOR", "When set: no colour."),
    ("COLUMNS", "The width of the terminal."),
    ("PATH", "Where an unknown word WORD is looked for as the program jvs-WORD, and where juicefs is found."),
)
CONCEPTS = (
    ("worktree", "A directory of yours: main/ of the repository, or a fork below worktrees/. jvs adds nothing to it."),
    ("snapshot", "A whole worktree as it was at one moment; its files are in .jvs/snapshots/ID."),
    ("line", "A snapshot, its parent, the parent of that one, and so on. Each worktree has a line of its own."),
    ("head", "The snapshot that a worktree was last snapshotted as, or restored to."),
    ("latest", "The newest snapshot of a worktree. In command lines it is called LATEST, or HEAD."),
    ("detached", "A worktree whose head is not its latest: it was restored to an older snapshot."),
)
TARGETS = (
    ("ID", "A full id: 1700000000000-0a1b2c3d."),
    ("LATEST, LATEST~N", "The latest snapshot, or the one N steps before it. HEAD and HEAD~N are the same."),
    ("@{AGE}", "The newest one that is at least that old: @{90s}, @{30m}, @{1d12h}, @{1w}."),
    ("PREFIX", "A unique beginning, of 4 characters or more, of an id or of the part behind its dash."),
    ("TAG", "A tag: the newest snapshot that has it."),
    ("NOTE", "A whole note that one snapshot alone has, or the unique beginning of one."),
)
FINDING = """\
The repository is the one around the current directory (-C DIR: around that): going up, the first .jvs counts, the
directory itself or a file that leads to it. A workspace that you used before comes before a .jvs below it, and one
that leads elsewhere than it did is refused (see jvs-threats(7)). --repo DIR, or JVS_REPO, names another: a directory
with .jvs in it, or a control directory.
"""
OVERVIEW = """\
Takes snapshots of whole workspaces: directories with all that is in them, whatever their size, as cheaply as the
filesystem allows. On JuiceFS, btrfs, XFS and other filesystems that share blocks a snapshot copies no data; elsewhere
only what changed is copied.

A snapshot is whole, durable and verifiable, or not there at all: no crash at any instant leaves anything in between.
Nothing that jvs does to a worktree loses bytes that no snapshot holds: jvs undo brings them back.

The commands come in two kinds. The first, called as jvs WORD, are for people; the second, programs of their own
called jvs-WORD, do one step or answer one question each, and are made for pipelines (see jvs-plumbing(7)). Options that
every command has may stand before or behind the word. An unknown word is looked for as the program jvs-WORD on PATH.
"""


def escape(text: str) -> str:
    """Return text as roff shows it unchanged; a leading dot is protected."""
    text = "".join(SPECIAL.get(character, character) for character in text)
    return "\\&" + text if text.startswith(".") else text


def prose(text: str) -> str:
    """Return paragraphs of a docstring as roff; what stands in backticks becomes bold, references to pages too."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        pieces = re.split(r"`([^`]*)`", " ".join(paragraph.split()))
        marked = [f"\\fB{escape(p)}\\fR" if i % 2 else escape(p).replace("\\&", "", i) for i, p in enumerate(pieces)]
        joined = "".join(marked)
        paragraphs.append(re.sub(r"\b(jvs[a-z\\-]*)\((\d)\)", r"\\fB\1\\fR(\2)", joined))
    return "\n.PP\n".join(paragraphs)


def tagged(pairs: list[tuple[str, str]] | tuple[tuple[str, str], ...]) -> str:
    """Return a list of terms with their meanings."""
    return "\n".join(f".TP\n\\fB{escape(term)}\\fR\n{prose(text)}" for term, text in pairs)


def references(names: list[str]) -> str:
    """Return the content of SEE ALSO, sections in order."""
    ordered = sorted(set(names), key=lambda name: (name[-2], name))
    lines = []
    for i, name in enumerate(ordered):
        page, section = name[:-3], name[-3:]
        lines.append(f".BR {escape(page)} {section}" + ("," if i < len(ordered) - 1 else ""))
    return "\n".join(lines)


def page_name(name: str) -> str:
    """Return the page of a command or first word: `jvs-worktree-fork`."""
    return "jvs-" + name.replace(" ", "-")


def finish(manpage: Manpage) -> str:
    """Return the page as text, with what argparse-manpage leaves unprotected protected."""
    lines = []
    for line in str(manpage).splitlines():
        if line.startswith(".TH "):
            lines.append(line.replace(DATE.replace("-", "\\-"), DATE))
        elif MACROS.match(line):
            lines.append(line)
        elif line.strip():
            plain = "".join(SPECIAL[c] if c in "'`^~" else c for c in line)
            lines.append("\\&" + plain if plain.startswith(".") else plain)
    return ".\\\" Made by man/make.py from the command's parser: edit that instead.\n" + "\n".join(lines) + "\n"


def start_page(parser: argparse.ArgumentParser, name: str, summary: str) -> Manpage:
    """Return a page with its head, for a parser whose description is given as a section of its own."""
    parser.description = None
    parser._positionals.title = "arguments"
    data = {
        "date": DATE,
        "description": summary,
        "manual_title": MANUAL,
        "project_name": "jvs",
        "version": __version__,
    }
    manpage = Manpage(parser, _data=data)
    manpage.prog = name
    manpage.source = f"jvs {__version__}"
    manpage._data = {}
    return manpage


def synopsis(parser: argparse.ArgumentParser, shared: set[int], programs: list[str]) -> str:
    """Return one line of usage per way to call a command; the options that all commands have are not repeated."""
    own = [action for action in parser._actions if id(action) not in shared and "--help" not in action.option_strings]
    lines = []
    for program in programs:
        formatter = argparse.HelpFormatter(prog=program, width=9999)
        formatter.add_usage(None, own, parser._mutually_exclusive_groups, prefix="")
        usage = " ".join(formatter.format_help().split())
        rest = usage.removeprefix(program).strip()
        words = [escape(word) for word in ("[COMMON OPTION]...", rest) if word]
        lines.append(f"\\fB{escape(program)}\\fR {' '.join(words)}")
    return ".ad l\n" + "\n.br\n".join(lines) + "\n.ad b"


def shared_actions(parser: argparse.ArgumentParser) -> set[int]:
    """Return the actions of the group of options that every command has."""
    for group in parser._action_groups:
        if group.title == "options of every command":
            group.title = "common options"
            return {id(action) for action in group._group_actions}
    return set()


def exit_status(raises: tuple[type[JvsError], ...]) -> str:
    """Return the content of EXIT STATUS from the classes that a command raises."""
    lines = [("0", "Done; what was promised is durable.")]
    for error in sorted(set(raises), key=lambda e: (e.exit, e.name)):
        meaning = (error.__doc__ or "").strip().split("\n")[0]
        lines.append((f"{error.exit}  {error.name}", meaning))
    lines.append(("128+N", "Signal N ended it; what was begun is rolled back."))
    return tagged(lines) + "\n.PP\nCauses and cures are in \\fBjvs\\-errors\\fR(7)."


def examples(pairs: tuple[tuple[str, str], ...]) -> str:
    """Return the content of EXAMPLES: what it does, then the line."""
    parts = []
    for command, meaning in pairs:
        sentence = meaning[:1].upper() + meaning[1:]
        parts.append(f"{prose(sentence)}:\n.PP\n.RS 4\n.nf\n\\fB{escape(command)}\\fR\n.fi\n.RE")
    return "\n.PP\n".join(parts)


def programs_of(name: str) -> list[str]:
    """Return how a command is called: its own name first, then its aliases."""
    return [commands.program_of(name), *(f"jvs {a}" for a, target in commands.ALIASES.items() if target == name)]


def command_page(name: str, module: ModuleType) -> str:
    """Return the page of one command."""
    parser = module.build_parser()
    shared = shared_actions(parser)
    usage = synopsis(parser, shared, programs_of(name))
    described = (module.__doc__ or "").strip().split("\n", 1)
    page = start_page(parser, page_name(name), commands.summary_of(name))
    page.add_section("synopsis", "=", usage)
    page.add_section("description", "=", prose(described[1] if len(described) > 1 else described[0] + "."))
    page.add_section("exit status", "=", exit_status(module.RAISES))
    if module.EXAMPLES:
        page.add_section("examples", "=", examples(module.EXAMPLES))
    page.add_section("see also", "=", references(["jvs(1)", *module.SEE_ALSO]))
    return finish(page)


def word_page(word: str) -> str:
    """Return the page of a first word: the commands that it leads to."""
    names = [name for name in commands.COMMANDS if name.startswith(word + " ")]
    also = [a.split(" ")[0] for a, target in commands.ALIASES.items() if target in names and " " in a]
    page = start_page(bare_parser(f"jvs {word}"), page_name(word), f"Commands of 'jvs {word}'")
    page.add_section("synopsis", "=", f"\\fBjvs {escape(word)}\\fR COMMAND [OPTION]... [ARGUMENT]...")
    text = "Each of these commands has a page of its own."
    same = sorted({a for a in also if a != word})
    if same:
        text += " " + " ".join(f"`jvs {a}` leads to them too." for a in same)
    page.add_section("description", "=", prose(text) + "\n" + command_list(names))
    page.add_section("see also", "=", references(["jvs(1)", *(f"{page_name(n)}(1)" for n in names)]))
    return finish(page)


def bare_parser(program: str) -> argparse.ArgumentParser:
    """Return a parser without options."""
    return argparse.ArgumentParser(prog=program, add_help=False)


def command_list(names: list[str]) -> str:
    """Return the commands with their summaries, each with a reference to its page."""
    return "\n".join(f".TP\n.BR {escape(page_name(n))} (1)\n{prose(commands.summary_of(n))}." for n in names)


def overview_page() -> str:
    """Return jvs(1): all commands by group, and what they have in common."""
    parser = cli.make_parser("help", "", jsonl=True, cbor=True, zero=True)
    parser.prog = "jvs"
    shared_actions(parser)
    page = start_page(parser, "jvs", "instant, verifiable versions of whole workspaces")
    page.add_section("synopsis", "=", "\\fBjvs\\fR [COMMON OPTION]... WORD [ARGUMENT]...")
    page.add_section("description", "=", prose(OVERVIEW))
    for kind, heading in ((commands.PORCELAIN, "commands for people"), (commands.PLUMBING, "commands for pipelines")):
        page.add_section(heading, "=", grouped(kind))
    page.add_section("other names", "=", aliases())
    page.add_section("finding the repository", "=", prose(FINDING))
    page.add_section("words", "=", tagged(CONCEPTS))
    page.add_section(
        "naming a snapshot",
        "=",
        prose("Where a command takes a TARGET, these are tried in order. More than one match is an error, not a guess.")
        + "\n"
        + tagged(TARGETS),
    )
    page.add_section("environment", "=", tagged(ENVIRONMENT))
    page.add_section("exit status", "=", overview_exits())
    page.add_section("see also", "=", references(hand_written()))
    return finish(page)


def grouped(kind: str) -> str:
    """Return the commands of one kind under the headings of their groups."""
    parts = []
    for group, title in commands.GROUPS.items():
        names = [n for n, row in commands.COMMANDS.items() if row[0] == kind and row[1] == group]
        if names:
            parts.append(f".SS {title}\n{command_list(names)}")
    return "\n".join(parts)


def aliases() -> str:
    """Return the other names of commands."""
    pairs = [(f"jvs {alias}", f"The same as `jvs {target}`.") for alias, target in commands.ALIASES.items()]
    return tagged(pairs)


def overview_exits() -> str:
    """Return the exit statuses that are the same for all commands."""
    return (
        tagged(
            (
                ("0", "Done; what was promised is durable."),
                ("2", "The command line or a setting is wrong."),
                ("3", "It ran to the end and the answer is no."),
                ("70", "A bug in jvs."),
                ("128+N", "Signal N ended it."),
                ("others", "One for each kind of failure: see jvs-errors(7)."),
            )
        )
        + "\n.PP\n"
        + prose("An error is one line on stderr, `COMMAND: E_CLASS: message`, and a line that begins with `hint:`.")
    )


def hand_written() -> list[str]:
    """Return the pages of sections 5 and 7."""
    found = []
    for section in ("5", "7"):
        found += [f"{path.stem}({section})" for path in sorted((HERE / f"man{section}").glob(f"*.{section}"))]
    return found


def make_pages() -> tuple[dict[str, str], list[str]]:
    """Return the pages by file name, and what is missing, as sentences."""
    pages = {"jvs.1": overview_page()}
    missing = []
    for word in sorted({name.split(" ")[0] for name in commands.COMMANDS if " " in name}):
        pages[f"{page_name(word)}.1"] = word_page(word)
    for name in commands.COMMANDS:
        try:
            module = importlib.import_module(commands.module_of(name))
        except ModuleNotFoundError as error:
            missing.append(f"{name}: there is no module '{error.name}'")
            continue
        lacking = [n for n in ("build_parser", "RAISES", "SEE_ALSO", "EXAMPLES") if not hasattr(module, n)]
        if lacking:
            missing.append(f"{name}: '{commands.module_of(name)}' has no {', '.join(lacking)}")
            continue
        pages[f"{page_name(name)}.1"] = command_page(name, module)
    return pages, missing


def check(pages: dict[str, str], directory: Path) -> list[str]:
    """Return how the pages on disk differ from those that were just made."""
    problems = []
    for file, text in sorted(pages.items()):
        path = directory / file
        if not path.exists():
            problems.append(f"{file}: is not there")
        elif path.read_text(encoding="utf-8") != text:
            problems.append(f"{file}: is not what the parser says now")
    problems += [f"{p.name}: belongs to no command" for p in sorted(directory.glob("*.1")) if p.name not in pages]
    return problems


def write(pages: dict[str, str], directory: Path) -> None:
    """Write all pages, and remove those that belong to no command."""
    directory.mkdir(exist_ok=True)
    for file, text in pages.items():
        (directory / file).write_text(text, encoding="utf-8")
    for path in directory.glob("*.1"):
        if path.name not in pages:
            path.unlink()


def main(argv: list[str] | None = None) -> int:
    """Write or check the pages; 1 when something is missing or stale."""
    parser = argparse.ArgumentParser(description="Make the man pages of section 1.")
    parser.add_argument("--check", action="store_true", help="change nothing, compare with what is there")
    args = parser.parse_args(argv)
    pages, missing = make_pages()
    if not args.check:
        write(pages, HERE / "man1")
        print(f"{len(pages)} pages")
        for sentence in missing:
            print(f"left out: {sentence}", file=sys.stderr)
        return 0
    problems = missing + check(pages, HERE / "man1")
    for sentence in problems:
        print(sentence, file=sys.stderr)
    if problems:
        print(f"{len(problems)} problems; 'python man/make.py' writes the pages", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
