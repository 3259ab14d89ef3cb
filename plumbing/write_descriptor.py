"""Write the descriptor under its temporary name (steps 6 and 7)

Builds the descriptor of a publish record, computes its checksum, writes `descriptors/ID.json.tmp` and makes it
durable. Adds `descriptor` and `descriptor_checksum` to the record.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken, NameInvalid, NoSpace

RAISES = (*OPENING, NoSpace, NameInvalid, AuditChainBroken)
SEE_ALSO = ("jvs-cat-descriptor(1)", "jvs-write-ready(1)", "jvs-format(5)", "jvs-protocol(7)")
EXAMPLES = (("... | jvs-write-descriptor --record --note nightly --tag v2 | ...", "note and tags of a snapshot"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("write-descriptor", __doc__)
    parser.add_argument("--record", action="store_true", required=True, help="filter a publish record")
    parser.add_argument("--note", metavar="N", default="", help="the note")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="a tag; repeatable")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Do steps 6 and 7."""
    from jvs.cli import pipeline
    from jvs.publish import steps

    return pipeline.record_step(args, steps.write_descriptor, note=args.note, tags=args.tag)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
