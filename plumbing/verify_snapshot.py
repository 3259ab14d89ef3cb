"""Check one snapshot: descriptor, marker, every byte

Reads the descriptor, the READY marker and every byte of the payload of TARGET, and compares checksums and root hash.
Prints the id and OK, or the id, the error class and what is wrong, with TABs between; the paths that differ follow.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, PayloadHashMismatch

RAISES = (*NAMING, PayloadHashMismatch)
SEE_ALSO = ("jvs-verify(1)", "jvs-hash-tree(1)", "jvs-format(5)")
EXAMPLES = (("jvs-verify-snapshot HEAD", "check the newest snapshot"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("verify-snapshot", __doc__)
    parser.add_argument("target", metavar="TARGET", help="the snapshot")
    parser.add_argument("--no-payload", action="store_true", help="do not read the files")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=int, default=0, help="read with N threads and processes (all cores)"
    )
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Check one snapshot."""
    from jvs import names
    from jvs.check import verify
    from jvs.store import refs

    store = cli.open_store(args)
    with store.reading():
        is_id = names.is_snapshot_id(args.target) and args.target in verify.candidates(store.layout)
        target = args.target if is_id else refs.resolve(store, args.target)
        report = verify.check_snapshot(store, target, payload=not args.no_payload, jobs=args.jobs)
    verify.remember(store, [report])
    if report.error is None:
        return cli.Result(report.as_json(), f"{target}\tOK\n")
    lines = [f"{target}\t{report.error.name}\t{report.error.message}"]
    lines += [f"{item['what']}\t{item['path']}" for item in report.differences]
    return cli.Result(report.as_json(), "\n".join(lines) + "\n", exit=report.error.exit)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
