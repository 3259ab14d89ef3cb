"""Write the READY marker next to the payload (step 8)

Writes `snapshots/ID.READY` with what payload and descriptor must agree on, and makes it durable.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, NoSpace

RAISES = (*OPENING, NoSpace)
SEE_ALSO = ("jvs-rename-ready(1)", "jvs-format(5)", "jvs-protocol(7)")
EXAMPLES = (("... | jvs-write-ready --record | ...", "this step in a pipeline"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("write-ready", __doc__)
    parser.add_argument("--record", action="store_true", required=True, help="filter a publish record")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Do this step."""
    from jvs.cli import pipeline
    from jvs.publish import steps

    return pipeline.record_step(args, steps.write_ready)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
