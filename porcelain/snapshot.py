"""Take a snapshot of a worktree

Publishes the files of the worktree around the current directory (main, elsewhere in the repository) as a new
snapshot, and prints its id. When it returns 0 the snapshot is complete, durable and visible; on any failure, and after
a crash at any instant, it is not visible at all and the next command cleans up by itself. The files are not touched,
not even their access times. What '.jvsignore' and the setting 'exclude' name is left out. NOTE is a remark for `jvs
history`; `-` reads it from stdin.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import CHANGING, CloneIncomplete, Detached, Dirty, PayloadHashMismatch, UsageError

RAISES = (*CHANGING, Detached, Dirty, PayloadHashMismatch, CloneIncomplete)
SEE_ALSO = ("jvs-history(1)", "jvs-restore(1)", "jvs-verify(1)", "jvs-config(5)", "jvs-engines(7)")
EXAMPLES = (
    ('jvs snapshot "before training"', "snapshot with a note"),
    ("jvs snapshot --tag baseline --tag v1 start", "with tags"),
    ("jvs snapshot --meta loss=0.12 --meta epoch=40", "with facts that 'jvs history' sorts by"),
    ("jvs snapshot models -- models", "only the directory models, with a note"),
    ("jvs snapshot --if-changed", "do nothing when nothing changed"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("snapshot", __doc__)
    parser.add_argument("note", metavar="NOTE", nargs="?", help="a remark; '-' reads it from stdin")
    parser.add_argument("-F", "--file", metavar="FILE", help="read the note from FILE ('-': stdin)")
    parser.add_argument("-m", "--message", metavar="NOTE", help="the note, as an option")
    parser.add_argument("-t", "--tag", metavar="TAG", action="append", default=[], help="give it this tag; repeatable")
    parser.add_argument(
        "--meta", metavar="K=V", action="append", default=[], help="give it this fact, such as loss=0.12; repeatable"
    )
    parser.add_argument("--if-changed", action="store_true", help="take none when nothing differs from the head")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    parser.add_argument("--engine", metavar="ENGINE", help="use this engine, or fail")
    parser.add_argument("--allow-unreadable", action="store_true", help="leave out what cannot be read, and say so")
    parser.add_argument("--paths", metavar="P", action="append", default=[], help="only this path; repeatable")
    parser.add_argument("path", metavar="PATH", nargs="*", help="only these paths, after '--': a partial snapshot")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Publish, or say that nothing changed."""
    from jvs import names
    from jvs.operations import snapshots
    from jvs.ui import created_text

    if args.path:
        raise UsageError(
            f"unexpected argument '{args.path[0]}' after the note",
            hint="quote a note of several words; put paths after '--'",
        )
    note = _note_of(args)
    store = cli.open_store(args)
    made, created = snapshots.snapshot(
        store,
        args.worktree,
        note=note,
        tags=args.tag,
        meta=names.split_meta(args.meta),
        paths=cli.worktree_paths(store, args.worktree, args.paths),
        if_changed=args.if_changed,
        allow_unreadable=args.allow_unreadable,
        environment=os.environ,
    )
    if not created:
        same = made["snapshot_id"]
        return cli.Result({"snapshot_id": same, "changed": False}, f"No changes since {same}\n")
    return cli.Result(made, lambda screen: created_text.created(made, screen))


def _note_of(args: argparse.Namespace) -> str:
    given = [value for value in (args.note, args.message, args.file) if value is not None]
    if len(given) > 1:
        raise UsageError("more than one note was given", hint="give it as an argument, with -m, or with -F FILE")
    if args.file is not None and args.file != "-":
        try:
            with open(args.file, "rb") as file:
                data = file.read()
        except OSError as error:
            raise UsageError(f"-F '{args.file}': {error.strerror}", hint="name a file with the note") from error
    elif "-" in (args.file, args.note):
        data = cli.read_stdin()
    else:
        return args.note or args.message or ""
    try:
        return data.decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UsageError("the note is not valid UTF-8", hint="write the note as UTF-8 text") from error


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, cli.with_paths(argv))
