"""Write snapshots to a stream, for another repository to receive

Sends the snapshot TARGET (HEAD without one) and its line, oldest first, with tags, notes and dates, to standard output.
With --since or --have only what the other side lacks is sent, and each snapshot as a change of one that is there by
then: of large files only the parts that changed. The files are read as they are; whoever receives them checks every
byte against the hash in the descriptor. With -o the stream goes to a file, and a summary to standard output.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, Busy, CloneIncomplete, NoSpace, PayloadHashMismatch

RAISES = tuple(dict.fromkeys((*NAMING, Busy, NoSpace, CloneIncomplete, PayloadHashMismatch)))
SEE_ALSO = ("jvs-receive(1)", "jvs-write-stream(1)", "jvs-list-snapshots(1)", "jvs-stream(5)")
EXAMPLES = (
    ("jvs send HEAD -o base.jvs", "all of the line of HEAD, into a file"),
    ("jvs send HEAD --since HEAD~1 -o change.jvs", "the last snapshot, for a repository that has the one before"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs.cli import arguments

    parser = cli.make_parser("send", __doc__)
    parser.add_argument("targets", metavar="TARGET", nargs="*", help="what to send (HEAD)")
    arguments.add_stream_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Send what the other side lacks."""
    from jvs.cli import stream_files
    from jvs.ui import stream_text

    sent = stream_files.send(cli.open_store(args), args, args.targets or ["HEAD"])
    return cli.Result(sent, "" if args.output is None else stream_text.sent(sent))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
