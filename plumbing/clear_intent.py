"""Remove the intent: the operation is done (step 12)

Removes `intents/ID.json` of a publish record, or of the operation OP, and makes that durable. This is the commit
point: from here on everybody sees the snapshot. Not being there is success.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, NameInvalid, UsageError

RAISES = (*OPENING, NameInvalid)
SEE_ALSO = ("jvs-write-intent(1)", "jvs-list-intents(1)", "jvs-protocol(7)")
EXAMPLES = (("... | jvs-clear-intent --record", "this step in a pipeline"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("clear-intent", __doc__)
    parser.add_argument("operation", metavar="OP", nargs="?", help="the operation")
    parser.add_argument("--record", action="store_true", help="filter a publish record")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Do this step."""
    if args.record:
        from jvs.cli import pipeline
        from jvs.publish import steps

        return pipeline.record_step(args, steps.clear_intent)
    if args.operation is None:
        raise UsageError("name an operation, or use --record", hint="'jvs-list-intents' lists them")
    from jvs.store import intent

    intent.clear(cli.open_store(args).layout, args.operation)
    return cli.Result({"operation_id": args.operation})


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
