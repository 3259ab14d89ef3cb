"""Run a command while holding a worktree's lock

Takes the lock of WORKTREE, recovers what dead operations left there, runs CMD with its arguments, and releases it when
CMD has ended: like flock(1), for pipelines of plumbing commands. The exit code is that of CMD, or 128 plus the number
of the signal that ended it.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import READING, Busy, NotFound, UsageError

RAISES = (*READING, Busy)
SEE_ALSO = ("jvs-update-head(1)", "jvs-write-intent(1)", "jvs-plumbing(7)")
EXAMPLES = (("jvs-with-lock main -- make data", "let nobody take a snapshot while a build runs"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("with-lock", __doc__)
    parser.add_argument("worktree", metavar="WORKTREE", help="the worktree")
    parser.add_argument("words", metavar="CMD", nargs=argparse.REMAINDER, help="the command, after '--'")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Hold the lock around one command."""
    import subprocess

    from jvs.store import changing

    words = args.words
    if not words:
        raise UsageError("name a command to run", hint="jvs-with-lock WORKTREE -- CMD ...")
    store = cli.open_store(args)
    store.require_worktree(args.worktree)
    with changing.worktree(store, args.worktree):
        try:
            code = subprocess.run(words, check=False).returncode
        except OSError as error:
            raise NotFound(f"'{words[0]}' cannot be run: {error.strerror}", hint="check its name and PATH") from error
    return cli.Result(exit=128 - code if code < 0 else code)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
