"""Make a directory equal to a tree, writing only what differs

Reads SOURCE and TARGET whole, and turns TARGET into a copy of SOURCE in place: what does not differ keeps inode and
times, and directories that both have stay. Works anywhere, without a repository. Prints one line for each entry that
changed: added, modified or removed, TAB, path. What is displaced goes to DIR/files when --keep names a new directory on
the filesystem of TARGET, else it is discarded, and how many bytes went is said on stderr. Durable when it returns 0.
A TARGET with a repository's `.jvs` in it is refused: that would be displaced as well.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CloneIncomplete, Exists, IOFailure, NoSpace, PathEscape, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below

RAISES = (UsageError, IOFailure, NoSpace, Exists, PathEscape, CloneIncomplete)
SEE_ALSO = ("jvs-restore(1)", "jvs-diff-tree(1)", "jvs-clone-tree(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs-apply-tree .jvs/snapshots/ID /srv/app --keep /srv/app.before", "deploy a snapshot's files elsewhere"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("apply-tree", __doc__, zero=True)
    parser.add_argument("source", metavar="SOURCE", help="the directory that is wanted")
    parser.add_argument("target", metavar="TARGET", help="the directory that changes")
    parser.add_argument("--keep", metavar="DIR", help="put what is displaced here; must not exist yet")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Apply."""
    import os

    from jvs import clock, progress
    from jvs.engine.base import check_target
    from jvs.fs import removal, rooted
    from jvs.restore import run as restore
    from jvs.restore.plan import RestorePlan, RestoreTarget
    from jvs.ui.terminal import show_path

    for path in (args.source, args.target):
        if not os.path.isdir(path):
            raise UsageError(f"'{path}' is not a directory", hint="name two directories: SOURCE and TARGET")
    target = rooted.at(os.path.realpath(args.target))
    _refuse_repository(target)
    keep = rooted.at(args.keep) if args.keep else target.parent / f".jvs-kept-{clock.new_operation_id()}"
    check_target(keep)
    made, size, degraded = restore.apply_directory(rooted.at(os.path.realpath(args.source)), target, keep)
    if args.keep is None:
        removal.remove_tree(keep)
        if size:
            progress.remark(f"discarded {size} bytes")
    changes = RestorePlan(RestoreTarget("", (0, None, b""), None), made, "").changes()
    lines = []
    for step, change in zip(made.steps, changes, strict=True):
        if args.zero:
            lines.append(change["change"].encode() + b"\t" + step.path + b"\0")
        else:
            lines.append(f"{change['change']}\t{show_path(step.path)}\n".encode())
    return cli.Result({"changes": changes, "displaced_bytes": size, "degraded": degraded}, b"".join(lines))


def _refuse_repository(target: Below) -> None:
    """Refuse to displace the control directory of a repository in place. Errors: E_PATH_ESCAPE."""
    from jvs.fs import paths
    from jvs.store import layout

    if paths.exists(target / layout.CONTROL / "format_version"):
        raise PathEscape(
            f"'{target}' is a repository in place, whose '.jvs' would be displaced",
            hint="'jvs restore' changes its files, or name a directory below it",
        )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
