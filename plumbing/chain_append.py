"""Append a record to a hash-chained log (step 12)

As a filter it appends the audit record of a publish record's intent; appended already is success. Alone, with --log
FILE, it appends an event to any chained log, making the file when it is not there, and prints the record's hash. Reads
only the end of the log; what it wrote is durable when it returns 0.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken, Busy, NoSpace, PartialSnapshot, UsageError

RAISES = (*OPENING, NoSpace, Busy, PartialSnapshot, AuditChainBroken)
SEE_ALSO = ("jvs-chain-check(1)", "jvs-clear-intent(1)", "jvs-audit(5)", "jvs-plumbing(7)")
EXAMPLES = (("jvs-chain-append --log deploys.jsonl deploy --target v2", "keep a tamper-evident log of your own"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("chain-append", __doc__)
    parser.add_argument("operation", metavar="OPERATION", nargs="?", help="what happened (with --log)")
    parser.add_argument("--record", action="store_true", help="filter a publish record from stdin to stdout")
    parser.add_argument("--log", metavar="FILE", help="append to this log")
    parser.add_argument("--first-hash", metavar="HASH", default="0" * 64, help="what the first record follows (zeros)")
    parser.add_argument("--target", metavar="T", help="what it happened to")
    parser.add_argument("--reason", metavar="R", help="why")
    parser.add_argument("--details", metavar="JSON", default="{}", help="a JSON object with more")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Append one event, or do the first half of step 12."""
    if args.record:
        from jvs.cli import pipeline
        from jvs.publish import steps

        return pipeline.record_step(args, steps.chain_append)
    if args.log is None or args.operation is None:
        raise UsageError("name a log and an operation, or use --record", hint="jvs-chain-append --log FILE OPERATION")
    from jvs import canon
    from jvs.fs import durable, paths, rooted
    from jvs.store import audit, records

    if not records.is_hash(args.first_hash):
        raise UsageError(f"--first-hash '{args.first_hash}' is no hash", hint="give 64 lowercase hex digits")
    try:
        details = canon.decode_object(args.details.encode("utf-8"))
    except (canon.BadJSON, UnicodeEncodeError) as error:
        raise UsageError(f"--details: {error}", hint="give a JSON object without floats") from error
    settings = cli.settings_of(args)
    path = rooted.at(os.path.abspath(args.log))
    log = audit.Log(path, first_hash=args.first_hash, lock=path.plus(".lock"), wait=settings.wait)
    if not paths.exists(path):
        try:
            durable.create_file(path, b"", mode=0o666)
        except FileExistsError:  # somebody else began it just now
            pass
    event = audit.event(args.operation, settings.actor, target=args.target, reason=args.reason, details=details)
    record = log.append(event)
    return cli.Result(record, record["record_hash"] + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
