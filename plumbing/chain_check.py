"""Check a hash-chained log

Reads the whole log (FILE; without it the audit log of the repository), computes every hash again, and checks order and
canonical form. The repository's log is also held against all descriptors and worktrees: a record that was
dropped, edited, or cut off shows. Prints the number of records and the hash of the last one. A torn last line, as a
crash leaves it, is reported and is no damage.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken

RAISES = (*OPENING, AuditChainBroken)
SEE_ALSO = ("jvs-chain-append(1)", "jvs-verify(1)", "jvs-audit(5)")
EXAMPLES = (
    ("jvs-chain-check", "check the repository's audit log"),
    ("jvs-chain-check deploys.jsonl", "check a log of your own"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("chain-check", __doc__)
    parser.add_argument("file", metavar="FILE", nargs="?", help="the log (the repository's)")
    parser.add_argument("--first-hash", metavar="HASH", help="what the first record must follow (anything)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Check one chain."""
    from jvs.fs import rooted
    from jvs.store import audit_check

    if args.file is not None:
        report = audit_check.check(rooted.at(os.path.abspath(args.file)), args.first_hash)
        problems = report.problems
    else:
        from jvs.check import verify

        store = cli.open_store(args)
        with store.reading():
            report, errors = verify.check_chain(store)
        problems = [error.message for error in errors]
    value = {"records": report.count, "head": report.head, "torn_bytes": report.torn, "problems": problems}
    lines = [f"{report.count}\t{report.head}", *(f"broken\t{problem}" for problem in problems)]
    if report.torn:
        lines.append(f"torn\t{report.torn} bytes after the last record")
    complaint = None
    if problems:
        complaint = AuditChainBroken(
            f"the chain is broken in {len(problems)} places, first: {problems[0]}",
            hint="compare the log with a copy: somebody or something changed it",
        )
    return cli.Result(value, "\n".join(lines) + "\n", complaint=complaint)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
