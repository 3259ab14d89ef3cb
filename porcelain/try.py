"""Run a command on a throwaway copy, and decide then what becomes of it

CMD sees a copy of the worktree at the worktree's own path, and works in it as if it were the worktree, which does not
change. A snapshot is taken first when something changed. At the end what CMD changed is shown, what it removed first
and in full. It stays pending, until it is applied, kept as a fork, or discarded; with --apply, --keep or --discard this
is done at once.

The copy costs nothing: it is an overlay over the snapshot, so that only what CMD changes is written. Where the system
allows no overlay, or files have several names and you are not root, it is a clone by the best engine, which costs what
a fork costs. The control directory is out of sight, and jvs in CMD finds no repository (see jvs-enter(1)). Excluded
directories of the worktree are seen as throwaway copies of their own (those deep in a tree of more than 50,000 entries
are not looked for); what CMD writes to them, and to other excluded paths, is told and not kept. What is mounted in them
is seen read-only.

Applying goes by what changed since that snapshot, as a merge does: where the worktree was changed differently at the
same path meanwhile, nothing is changed, and the try stays pending. 'jvs undo' takes it back. A CMD that is killed
leaves nothing. What CMD left running in the background is ended before its changes are read. Pending tries protect
their snapshot; they go as what 'jvs undo' keeps does, when they are old and many.

The status is that of CMD; 125 when jvs failed before CMD ran; 7 when CMD ended with 0 and what it changed could not be
applied. With --json a report is the only thing on stdout, and what CMD prints goes to stderr.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import (
    CHANGING,
    Ambiguous,
    CloneIncomplete,
    Conflict,
    Dirty,
    Exists,
    JvsError,
    PayloadHashMismatch,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.namespace import Mount
    from jvs.operations.trying import Then
    from jvs.restore.trying import TryOutcome
    from jvs.store.store import Store

RAISES = (*CHANGING, Conflict, Ambiguous, Dirty, Exists, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-run(1)", "jvs-enter(1)", "jvs-merge(1)", "jvs-undo(1)", "jvs-agents(7)")
EXAMPLES = (
    ("jvs try -- make clean all", "see what a command does, and change nothing"),
    ("jvs try --apply -- ./migrate.sh", "apply what it changed when it is done"),
    ("jvs try --list", "list what is pending"),
    ("jvs try --apply 1795885977737", "apply a pending try, by the beginning of its id"),
    ("jvs try --keep 1795885977737 migrated", "make a fork of it"),
)
BEFORE_COMMAND = 125


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("try", __doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--apply", action="store_true", help="bring what CMD, or the try ID, changed into the worktree")
    what.add_argument("--keep", action="store_true", help="make the fork NAME of it")
    what.add_argument("--discard", action="store_true", help="drop it")
    what.add_argument("--list", action="store_true", help="list the tries that are pending or run")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    parser.add_argument("which", metavar="ID", nargs="?", help="a pending try; with --keep and CMD: NAME")
    parser.add_argument("name", metavar="NAME", nargs="?", help="the name of the fork")
    parser.add_argument("words", metavar="CMD", nargs="*", help="the command, after '--'")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Run a command and deal with what it changed, deal with a pending try, or list them."""
    from jvs.operations import trying
    from jvs.ui import try_text

    then = _then(args)
    if args.list:
        store = cli.open_store(args)
        found = trying.pending(store)
        return cli.Result(try_text.listed(found), lambda screen: try_text.listing(store, found))
    if not args.command:
        store = cli.open_store(args)
        outcome = trying.decide(store, args.which, then, args.name, environment=os.environ)
    else:
        store, outcome = _run(args, then)
    code = outcome.exit if args.command else 0
    value = try_text.facts(outcome, args.command)
    text = None if outcome.conflict is None or code else outcome.conflict
    return cli.Result(value, lambda screen: try_text.report(store, outcome, screen), exit=code, complaint=text)


def _then(args: argparse.Namespace) -> Then:
    """Return what becomes of a try, as the options and arguments say. Errors: E_USAGE."""
    then: Then = "apply" if args.apply else "keep" if args.keep else "discard" if args.discard else "pending"
    usage = "jvs try [--apply|--keep NAME|--discard] -- CMD, or --apply ID, --keep ID NAME, --discard ID, --list"
    given = [word for word in (args.which, args.name, *args.words) if word is not None]
    if args.command:
        wanted = 1 if then == "keep" else 0
    else:
        wanted = 0 if args.list else 2 if then == "keep" else 1
        if then == "pending" and not args.list:
            raise UsageError("name a command to run, after '--'", hint=usage)
    if len(given) != wanted or (args.list and args.command):
        raise UsageError("these options and arguments do not go together", hint=usage)
    return then


def _run(args: argparse.Namespace, then: Then) -> tuple[Store, TryOutcome]:
    """Run the command; whatever fails before it runs ends with 125."""
    from jvs.fs import namespace
    from jvs.operations import programs, trying

    began = False

    def command(mounts: list[Mount], directory: str, environment: dict[str, str]) -> tuple[int, bool]:
        nonlocal began
        enter = namespace.prepare(mounts, directory)
        ended = programs.run(args.command, quiet=args.json, environment=environment, enter=enter, end_all=True)
        began = True
        return ended.status, ended.killed

    try:
        store = cli.open_store(args)
        outcome = trying.run(
            store,
            command,
            args.command,
            args.worktree,
            then=then,
            name=args.which,
            current=os.path.realpath(cli.here()),
            environment=os.environ,
        )
    except JvsError as error:
        if not began:
            error.exit = BEFORE_COMMAND
        raise
    return store, outcome


def main(argv: list[str] | None = None) -> int:
    """Run the command; all that comes after '--' is CMD."""
    parser = build_parser()
    words, command = cli.with_command(argv)
    parser.set_defaults(command=command)
    return cli.run(parser, work, words)
