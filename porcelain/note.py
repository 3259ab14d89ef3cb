"""Give a snapshot another note

The note replaces the one that TARGET was taken with, in every listing and as a TARGET; the snapshot and its checksum
stay as they are, and the audit log says who wrote what. TEXT may be `-` to read it from stdin. Without TEXT the note is
printed.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, Ambiguous, UsageError

RAISES = (*CHANGING, Ambiguous)
SEE_ALSO = ("jvs-tag(1)", "jvs-meta(1)", "jvs-history(1)", "jvs-show(1)", "jvs-format(5)")
EXAMPLES = (
    ("jvs note LATEST 'the run that converged'", "say later what a snapshot is"),
    ("jvs note LATEST", "print its note"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("note", __doc__)
    parser.add_argument("target", metavar="TARGET", help="the snapshot")
    parser.add_argument("text", metavar="TEXT", nargs="?", help="its note from now on; '-' reads it from stdin")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="LATEST is that of this worktree")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Change the note, or print it."""
    from jvs.operations import annotating
    from jvs.ui import annotation_text

    store = cli.open_store(args)
    if args.text is None:
        record = annotating.shown(store, args.target, args.worktree)
        return cli.Result(annotation_text.note_facts(record), record["note"] + "\n" if record["note"] else "")
    text = _from_stdin() if args.text == "-" else args.text
    record = annotating.note(store, args.target, text, args.worktree)
    return cli.Result(annotation_text.note_facts(record), annotation_text.note(record))


def _from_stdin() -> str:
    try:
        return cli.read_stdin().decode("utf-8").rstrip("\n")
    except UnicodeDecodeError as error:
        raise UsageError("the note is not valid UTF-8", hint="write the note as UTF-8 text") from error


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
