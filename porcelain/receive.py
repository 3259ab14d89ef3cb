"""Receive the snapshots of a stream

Reads what 'jvs send' wrote, from FILE or standard input. Each snapshot is built on the one that it was sent as a change
of, so that what they share is shared here too, hashed, and compared with its descriptor. All snapshots of the stream
become visible in one moment, or none of them does: after an error nothing is left, and the stream may be received
again. Ids, notes, tags and dates stay, and so does the line; worktrees do not move: 'jvs restore' brings one to a
snapshot that was received.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, DescriptorCorrupt, Exists, LineageBroken, PayloadHashMismatch

RAISES = tuple(dict.fromkeys((*CHANGING, DescriptorCorrupt, Exists, LineageBroken, PayloadHashMismatch)))
SEE_ALSO = ("jvs-send(1)", "jvs-read-stream(1)", "jvs-restore(1)", "jvs-verify(1)", "jvs-stream(5)")
EXAMPLES = (("jvs receive base.jvs", "receive from a file"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("receive", __doc__)
    parser.add_argument("file", metavar="FILE", nargs="?", help="the stream (standard input)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Receive all of a stream."""
    from jvs.cli import stream_files
    from jvs.ui import stream_text

    received = stream_files.receive(cli.open_store(args), args.file)
    return cli.Result(received, stream_text.received(received))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
