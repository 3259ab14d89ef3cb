"""Stop keeping snapshots of a workspace, and keep its files

The files stay where they are, and the directory is as if jvs had never been there. The history of a repository in place
is moved next to it, to `NAME.history`, with its forks; one that is kept apart stays where it is, and the file `.jvs`
goes. It can still be read there ('jvs --repo NAME.history history'), and 'jvs --repo NAME.history worktree attach NAME
main' takes the detachment back. A repository of 'jvs init NAME' has its history next to main already.

With --delete-history the repository is removed for good: all snapshots, all records, and what could be undone. The
files of all worktrees stay where they are, and nothing of jvs is left. It also removes what 'rm -rf' cannot: the
read-only snapshots of btrfs. Forks of a repository in place lie inside '.jvs': they have to be removed first.

When it returns 0 that is done. After a crash the repository is as it was, or it is done; what is left of a history that
was to be deleted the same command removes.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Exists, NotARepository, PathEscape, UsageError

RAISES = tuple(dict.fromkeys((*CHANGING, Exists, PathEscape, UsageError)))
SEE_ALSO = ("jvs-init(1)", "jvs-worktree-remove(1)", "jvs-gc-run(1)")
EXAMPLES = (
    ("jvs -C ~/project detach", "stop, and keep history in ~/project.history"),
    ("jvs detach --delete-history", "remove the repository, keep the files"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("detach", __doc__)
    parser.add_argument("--delete-history", action="store_true", help="delete all snapshots and records for good")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Remove the repository, or what a crash left of it."""
    from jvs import units
    from jvs.operations import configuration
    from jvs.ui import terminal

    try:
        store = cli.open_store(args)
    except NotARepository:
        left = 0 if not args.delete_history else configuration.finish_detaching(cli.here(), cli.settings_of(args))
        if not left:
            raise
        return cli.Result({"repo_root": cli.here(), "paths": [], "snapshots": None}, "Removed what was left\n")
    if not args.delete_history:
        kept = configuration.detach_keeping(store)
        place, workspace = terminal.show_text(kept["history"]), terminal.show_text(kept["repo_root"])
        text = f"Detached {workspace}; its history is in {place}, with {units.plural(kept['snapshots'], 'snapshot')}\n"
        text += f"to take it back: jvs --repo '{place}' worktree attach '{workspace}' main\n"
        return cli.Result(kept, text)
    done = configuration.detach(store)
    lines = [f"Deleted {units.plural(done['snapshots'], 'snapshot')} of {terminal.show_text(done['repo_root'])}"]
    lines += [f"your files: {terminal.show_text(path)}" for path in done["paths"]]
    return cli.Result(done, "\n".join(lines) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
