"""Receive a stream, and print the ids that are new

Reads a stream from standard input and publishes its snapshots: all of them or none. Prints the id of each that was not
here before, parents first.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, DescriptorCorrupt, Exists, LineageBroken, PayloadHashMismatch

RAISES = tuple(dict.fromkeys((*CHANGING, DescriptorCorrupt, Exists, LineageBroken, PayloadHashMismatch)))
SEE_ALSO = ("jvs-write-stream(1)", "jvs-receive(1)", "jvs-stream(5)")
EXAMPLES = (("jvs-read-stream < base.jvs", "receive what a file holds"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("read-stream", __doc__)


def work(args: argparse.Namespace) -> cli.Result:
    """Receive all of standard input."""
    from jvs.cli import stream_files

    received = stream_files.receive(cli.open_store(args), None)
    return cli.Result(received, "".join(f"{i}\n" for i in received["snapshots"]))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
