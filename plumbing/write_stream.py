"""Write snapshots as a stream

Writes the snapshots, parents first, to standard output: the line of each SNAPSHOT, without what --since and --have say
that the other side has; with --only those that are named and nothing else. Reads, and changes nothing.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, Busy, CloneIncomplete, NoSpace, PayloadHashMismatch

RAISES = tuple(dict.fromkeys((*NAMING, Busy, NoSpace, CloneIncomplete, PayloadHashMismatch)))
SEE_ALSO = ("jvs-read-stream(1)", "jvs-send(1)", "jvs-stream(5)")
EXAMPLES = (("jvs-write-stream --only HEAD -o one.jvs", "one snapshot and nothing else"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs.cli import arguments

    parser = cli.make_parser("write-stream", __doc__)
    parser.add_argument("targets", metavar="SNAPSHOT", nargs="+", help="what to write")
    arguments.add_stream_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Write the stream; with -o print the ids that it holds."""
    from jvs.cli import stream_files

    sent = stream_files.send(cli.open_store(args), args, args.targets)
    return cli.Result(sent, "" if args.output is None else "".join(f"{i}\n" for i in sent["snapshots"]))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
