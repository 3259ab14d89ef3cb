"""Check snapshots against their checksums and hashes

Reads every byte of a snapshot again and compares its root hash, counts, descriptor checksum and READY marker with
what was published. Without TARGET it checks the head and says how many others it did not check. With --all it checks
every snapshot, the lines from the worktrees back to the first snapshot, and the audit chain against all of them; what
snapshots share, by hard links or by places on the disk, is read once. --sample and --older-than do all that, but read
the files of some snapshots only. It never uses the index for an answer and writes nothing in the repository; when a
snapshot was last read whole is noted in the user's own state directory, where 'jvs show' finds it. The exit code is
that of the first damage found.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, AuditChainBroken, PayloadHashMismatch, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from jvs.check.verify import SnapshotReportDocument
    from jvs.errors import ErrorFacts
    from jvs.store.store import Store

    class LogFacts(TypedDict):
        """What reading the audit log found; `torn_bytes` are what a crash left after its last record."""

        records: int
        head: str
        torn_bytes: int

    class OneDocument(SnapshotReportDocument):
        """What checking one snapshot found; `not_checked` is the number of the others."""

        not_checked: int

    class VerifyDocument(TypedDict):
        """What checking everything found, as `--json` prints it."""

        healthy: bool
        snapshots: list[SnapshotReportDocument]
        problems: list[ErrorFacts]
        not_checked: int
        read_bytes: int
        payload_bytes: int
        audit: LogFacts


RAISES = (*NAMING, PayloadHashMismatch, AuditChainBroken)
SEE_ALSO = ("jvs-doctor(1)", "jvs-verify-snapshot(1)", "jvs-chain-check(1)", "jvs-threats(7)")
EXAMPLES = (
    ("jvs verify", "check the head"),
    ("jvs verify --all", "check everything, and the audit chain"),
    ("jvs verify --sample 10", "every night another tenth of the files"),
    ("jvs verify baseline --no-payload", "check checksums only, without reading the files"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("verify", __doc__, jsonl=True)
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the snapshot (the head)")
    parser.add_argument("--all", action="store_true", help="every snapshot, all lines, and the audit chain")
    parser.add_argument(
        "--independent", action="store_true", help="with --all: read what snapshots share again for each of them"
    )
    parser.add_argument(
        "--sample",
        metavar="P",
        type=float,
        help="as --all, but read P percent of the snapshots, those not verified for longest",
    )
    parser.add_argument(
        "--older-than", metavar="AGE", help="as --all, but read only what was not verified for that long (7d, 12h)"
    )
    parser.add_argument("--no-payload", action="store_true", help="do not read the files")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=int, default=0, help="read with N threads and processes (all cores)"
    )
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Check one snapshot, or everything."""
    args.all = args.all or args.sample is not None or args.older_than is not None
    if args.all and args.target:
        raise UsageError("--all and a target exclude each other", hint="leave one of them out")
    if args.sample is not None and not 0 < args.sample <= 100:
        raise UsageError(f"--sample {args.sample:g} is no share", hint="give a percentage: more than 0, at most 100")
    if args.independent and not args.all:
        raise UsageError("--independent needs --all", hint="a single snapshot is read whole in any case")
    store = cli.open_store(args)
    return _all(store, args) if args.all else _one(store, args)


def _one(store: Store, args: argparse.Namespace) -> cli.Result:
    from jvs.operations import looking
    from jvs.ui import verify_text

    report = looking.verify(store, args.target, args.worktree, payload=not args.no_payload, jobs=args.jobs)
    others = looking.unchecked(store, report.snapshot_id)
    value: OneDocument = {**report.as_json(), "not_checked": others}
    shown = others if args.target is None else 0
    return cli.Result(
        value,
        lambda screen: verify_text.one(report, screen, payload=not args.no_payload, others=shown),
        exit=report.error.exit if report.error else 0,
    )


def _all(store: Store, args: argparse.Namespace) -> cli.Result:
    from jvs.operations import looking
    from jvs.ui import verify_text

    reports, problems, chain = looking.verify_all(
        store,
        payload=not args.no_payload,
        jobs=args.jobs,
        independent=args.independent,
        sample=args.sample,
        older_than=args.older_than,
    )
    others = looking.unchecked(store, *(report.snapshot_id for report in reports))
    errors = [report.error for report in reports if report.error] + problems
    value: VerifyDocument = {
        "healthy": not errors,
        "snapshots": [report.as_json() for report in reports],
        "problems": [problem.as_json()["error"] for problem in problems],
        "not_checked": others,
        "read_bytes": sum(report.read_bytes for report in reports),
        "payload_bytes": sum(report.payload_bytes for report in reports),
        "audit": {"records": chain.count, "head": chain.head, "torn_bytes": chain.torn},
    }
    items: list[Mapping[str, object]] = [*value["snapshots"]]
    items += [{"problem": error} for error in value["problems"]]
    return cli.Result(
        value,
        lambda screen: verify_text.everything(reports, problems, chain, screen, others=others),
        items=items,
        exit=errors[0].exit if errors else 0,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
