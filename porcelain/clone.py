"""Make a copy of a repository, with its history and an id of its own

SRC is a repository, or a workspace that leads to one; DST is made, and must not be there. It gets every snapshot of
SRC with its id, note, tags, facts, dates and line, the settings of the repository, and main with the files of main's
latest snapshot. It has the layout of SRC: a clone of a repository in place is one in place, with its history in
`DST/.jvs`. SRC is only read, and others may go on working in it.

On the filesystem of SRC nothing is copied that can be shared: payloads are btrfs snapshots, JuiceFS clones or reflinks
where these work, and elsewhere trees whose files are other names of those of SRC. These are the same files: damage to
one is damage in both, so that a copy against failing disks belongs on another disk. There every snapshot is built from
the one before it and hashed, so that what they share stays shared; whether it fits is looked at first.

What is not in any snapshot stays behind: changes since the latest one, what is excluded, and what could be undone. So
do forks, whose snapshots come along ('jvs fork --at ID NAME' makes one again), pins and hooks. The log of the clone
is its own, because the chain of a log begins with the id of its repository; it records which snapshots came, from
where, and the hash of the last record there, to which the log of SRC can be held.

When it returns 0 all of it is durable. Before that nothing is visible at DST; after a crash the same command removes
what was left next to it, and begins anew.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import (
    CHANGING,
    DescriptorCorrupt,
    Exists,
    LineageBroken,
    NameInvalid,
    PartialSnapshot,
    PathEscape,
    PayloadHashMismatch,
)

RAISES = tuple(
    dict.fromkeys(
        (
            *CHANGING,
            *(Exists, NameInvalid, PathEscape, DescriptorCorrupt, LineageBroken, PartialSnapshot, PayloadHashMismatch),
        )
    )
)
SEE_ALSO = ("jvs-init(1)", "jvs-worktree-fork(1)", "jvs-send(1)", "jvs-receive(1)", "jvs-detach(1)")
EXAMPLES = (
    ("jvs clone . ../lab-2", "a second repository, which shares what it can"),
    ("jvs clone ~/project ~/disk/project", "with all of its history, on another disk"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("clone", __doc__)
    parser.add_argument("source", metavar="SRC", help="the repository to copy, or a workspace of it")
    parser.add_argument("path", metavar="DST", help="the directory to make")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Clone the repository."""
    from jvs import units
    from jvs.operations import configuration
    from jvs.ui import terminal

    home = os.environ.get("HOME") or os.path.expanduser("~")
    made = configuration.clone(args.source, args.path, cli.settings_of(args), cli.settings_of(args), home=home)
    came = units.plural(made["snapshots"], "snapshot")
    lines = [
        f"Cloned {terminal.show_text(made['source_root'])} into {terminal.show_text(made['repo_root'])}",
        f"{came} by {made['way']}; main is at {made['head'] or 'no snapshot yet'}",
    ]
    lines += [f"not kept: {lost['path']}: {lost['what']} ({lost['why']})" for lost in made["degraded"][:10]]
    if len(made["degraded"]) > 10:
        lines.append(f"... and {len(made['degraded']) - 10} more; '--json' lists them")
    return cli.Result(made, "\n".join(lines) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
