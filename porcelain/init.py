"""Make a repository for a new or an existing workspace

Makes NAME with three directories: `NAME/main` for your files, `NAME/worktrees` for forks, and `NAME/.jvs`, which
holds the snapshots and is readable by you alone. With --from DIR the content of DIR is cloned into main, and DIR
stays as it is; a DIR with a '.jvs' in it is refused. Where the filesystem is btrfs, main becomes a subvolume, so that
a snapshot takes the same time whatever the number of files. When it returns 0 the repository is durable; after a
crash it is there completely or not at all, and running the command again is all that is needed.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import Exists, IOFailure, NameInvalid, NoSpace, PathEscape, UsageError

RAISES = (UsageError, IOFailure, NoSpace, Exists, NameInvalid, PathEscape)
SEE_ALSO = ("jvs-snapshot(1)", "jvs-info(1)", "jvs-engines(7)", "jvs-tutorial(7)")
EXAMPLES = (
    ("jvs init lab", "make a repository; work in lab/main"),
    ("jvs init game --from assets", "begin with a clone of an existing directory"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("init", __doc__)
    parser.add_argument("name", metavar="NAME", help="the directory to make; its last part follows the rule for names")
    parser.add_argument("--from", dest="source", metavar="DIR", help="begin with a clone of DIR")
    parser.add_argument("--engine", metavar="ENGINE", help="clone with this engine (with --from)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Make the repository."""
    from jvs.operations import configuration

    made = configuration.init(
        args.name, cli.settings_of(args), source=args.source, home=os.environ.get("HOME") or os.path.expanduser("~")
    )
    lines = [f"Initialized JVS repository in {made['repo_root']}", f"engine: {made['engine']}; your files: main/"]
    lines += [f"not kept: {lost['path']}: {lost['what']} ({lost['why']})" for lost in made["degraded"][:10]]
    if len(made["degraded"]) > 10:
        lines.append(f"... and {len(made['degraded']) - 10} more; see the init record in the audit log")
    return cli.Result(made, "\n".join(lines) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
