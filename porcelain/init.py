"""Make a repository for a new or an existing workspace

Without NAME the current directory becomes the workspace, where it is (--here DIR: that directory). No file of it is
moved, copied or opened, and shells and editors go on working in it. All that comes to it is the directory `.jvs`, which
holds the snapshots, and forks below `.jvs/forks`; it is readable by you alone. What a first snapshot will hold is
printed.

With --control C history is in the directory C, which is made, outside of the workspace and on the same filesystem,
and all that comes to the workspace is a file `.jvs` that leads there: who sees the workspace alone, as a sandbox may,
cannot reach it.

With NAME a new directory is made with three directories in it: `NAME/main` for your files, `NAME/worktrees` for forks,
and `NAME/.jvs`. With --from DIR the content of DIR is cloned into main, and DIR stays as it is; a DIR with a '.jvs' in
it is refused. Where the filesystem is btrfs, main becomes a subvolume, so that a snapshot takes the same time whatever
the number of files.

When it returns 0 the repository is durable; after a crash it is there completely or not at all, and running the
command again is all that is needed.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import Exists, IOFailure, NameInvalid, NoSpace, PathEscape, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.init_in_place import Captured

RAISES = (UsageError, IOFailure, NoSpace, Exists, NameInvalid, PathEscape)
SEE_ALSO = ("jvs-snapshot(1)", "jvs-info(1)", "jvs-engines(7)", "jvs-tutorial(7)")
EXAMPLES = (
    ("jvs init", "keep snapshots of the current directory"),
    ("jvs init --here ~/project", "of another directory"),
    ("jvs init --here ~/project --control ~/project.history", "with its history elsewhere"),
    ("jvs init lab", "make a new directory for it; work in lab/main"),
    ("jvs init game --from assets", "begin with a clone of an existing directory"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("init", __doc__)
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="the directory to make; its last part follows the rule for names"
    )
    parser.add_argument(
        "--here", metavar="DIR", nargs="?", const=".", help="make DIR itself the workspace (the current directory)"
    )
    parser.add_argument("--control", metavar="C", help="keep history in C, outside of the workspace, instead of .jvs")
    parser.add_argument("--from", dest="source", metavar="DIR", help="begin with a clone of DIR")
    parser.add_argument("--engine", metavar="ENGINE", help="clone with this engine (with --from)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Make the repository."""
    from jvs.operations import configuration

    if args.repo is not None:
        raise UsageError(
            "--repo names a repository that is there",
            hint="'jvs init NAME' makes a new one; 'jvs init --here DIR --control C' keeps the history of DIR in C",
        )
    home = os.environ.get("HOME") or os.path.expanduser("~")
    if args.name is None or args.here is not None or args.control is not None:
        return _init_here(args, home)
    made = configuration.init(args.name, cli.settings_of(args), source=args.source, home=home)
    lines = [f"Initialized JVS repository in {made['repo_root']}", f"engine: {made['engine']}; your files: main/"]
    lines += [f"not kept: {lost['path']}: {lost['what']} ({lost['why']})" for lost in made["degraded"][:10]]
    if len(made["degraded"]) > 10:
        lines.append(f"... and {len(made['degraded']) - 10} more; see the init record in the audit log")
    return cli.Result(made, "\n".join(lines) + "\n")


def _init_here(args: argparse.Namespace, home: str) -> cli.Result:
    """Make a repository in place."""
    from jvs import units
    from jvs.operations import configuration

    if args.control is not None and (args.name is not None or args.source is not None):
        raise UsageError("--control takes a workspace where it is", hint="jvs init --here DIR --control C")
    if args.name is not None or args.source is not None:
        other = f"'{args.name}'" if args.name is not None else "--from"
        raise UsageError(
            f"--here and {other} do not go together" if args.here else f"{other} needs a NAME",
            hint="'jvs init --here DIR' takes a directory as it is, 'jvs init NAME [--from DIR]' makes a new one",
        )
    made = configuration.init_here(args.here or ".", cli.settings_of(args), home=home, control=args.control)
    kept = ".jvs" if args.control is None else made["repo_root"]
    captures = made["captures"]
    count = units.plural(captures["entries"], "entry", "entries")
    lines = [
        f"Initialized JVS repository in {made['repo_root']}",
        f"engine: {made['engine']}; your files stay where they are, snapshots are kept in {kept}",
        f"'jvs snapshot NOTE' takes the first one: {count}, {units.size(captures['bytes'])}; {_excluded(captures)}",
    ]
    return cli.Result(made, "\n".join(lines) + "\n")


def _excluded(captures: Captured) -> str:
    """Say what a first snapshot will not hold."""
    from jvs.ui import terminal

    left_out = captures["excluded"]
    if not left_out:
        return "nothing is excluded"
    named = ", ".join(terminal.show_text(path) for path in left_out[:5])
    return f"excluded: {named}" + (f" and {len(left_out) - 5} more" if len(left_out) > 5 else "")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
