"""Run a command that sees a fork at main's own path

Forks of real projects break on absolute paths: what '.venv/bin/pip', a build directory or an absolute link names is in
main. CMD, or a shell, sees the worktree WORKTREE at the path of main instead, and everything that it writes there goes
into that fork; main is neither seen nor changed. WORKTREE may be a snapshot: then it is seen read-only. Without it, it
is the fork around the current directory. CMD begins in the directory of the same name below what it sees.

Only CMD and what it starts see this, in a mount namespace of their own, for which users other than root get a user
namespace: they keep their uid there, and 'sudo' does not work. The control directory '.jvs' is covered by an empty
directory, and jvs finds no repository: against accidents; it is no security boundary. Directories that are excluded in
main, and that the fork has not ('jvs fork --with-excluded' makes one that has), are seen in it as throwaway copies:
what CMD changes in them is told and not kept. With a snapshot they are not seen. While a snapshot is seen, collections
wait. Where the system refuses namespaces, nothing is run. The exit status is that of CMD, or 128 plus the number of the
signal that ended it.
With --json a report is the only thing on stdout, and what CMD prints goes to stderr.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import NAMING, Busy, UsageError

RAISES = (*NAMING, Busy)
SEE_ALSO = ("jvs-worktree-fork(1)", "jvs-merge(1)", "jvs-run(1)", "jvs-agents(7)")
EXAMPLES = (
    ("jvs enter experiment", "work in a shell in which the fork is at main's path"),
    ("jvs enter experiment -- .venv/bin/pip install .", "install into the fork's environment, not into main's"),
    ("jvs enter HEAD~1 -- ls -l", "look at an older state, read-only"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("enter", __doc__)
    parser.add_argument("-w", "--worktree", metavar="NAME", help="show it at the path of this worktree (main)")
    parser.add_argument("what", metavar="WORKTREE", nargs="?", help="the worktree, or a snapshot (the one around you)")
    parser.add_argument("words", metavar="CMD", nargs="*", help="the command, after '--' (a shell)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Run the command, or a shell, in a namespace; say afterwards what it saw, for programs."""
    from jvs import progress
    from jvs.fs import namespace
    from jvs.operations import entering, programs

    if args.words and not args.command:
        raise UsageError(f"unexpected argument '{args.words[0]}'", hint="put the command after '--'")
    words = args.command or [os.environ.get("SHELL") or "/bin/sh"]
    store = cli.open_store(args)
    current = os.path.realpath(cli.here())
    with entering.entered(store, args.what, args.worktree, current=current) as seen:
        if not args.command:
            shown = f"'{seen.worktree}'" if seen.worktree else f"snapshot '{seen.snapshot_id}', read-only,"
            progress.remark(f"{shown} is at '{seen.at}' in this shell; 'exit' leaves it")
        enter = namespace.prepare(seen.mounts, seen.directory)
        environment = seen.environment(store, os.environ)
        code = programs.run(words, quiet=args.json, environment=environment, enter=enter).status
        value = {
            "worktree": seen.worktree,
            "snapshot_id": seen.snapshot_id,
            "shown_at": seen.at,
            "command": words,
            "exit": code,
        }
    return cli.Result(value, exit=code)


def main(argv: list[str] | None = None) -> int:
    """Run the command; all that comes after '--' is CMD."""
    parser = build_parser()
    words, command = cli.with_command(argv)
    parser.set_defaults(command=command)
    return cli.run(parser, work, words)
