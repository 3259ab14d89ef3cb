"""Check snapshots against their checksums and hashes

Reads every byte of a snapshot again and compares its root hash, counts, descriptor checksum and READY marker with
what was published. Without TARGET it checks the head. With --all it checks every snapshot, the lines from the
worktrees back to the first snapshot, and the audit chain against all of them. It never uses the index for an answer
and writes nothing. The exit code is that of the first damage found.
"""

from __future__ import annotations

import argparse

from jvs import cli
from jvs.errors import NAMING, AuditChainBroken, NotFound, PayloadHashMismatch, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store import Store
    from jvs.terminal import Terminal
    from jvs.verify import SnapshotReport

RAISES = (*NAMING, PayloadHashMismatch, AuditChainBroken)
SEE_ALSO = ("jvs-doctor(1)", "jvs-verify-snapshot(1)", "jvs-chain-check(1)", "jvs-threats(7)")
EXAMPLES = (
    ("jvs verify", "check the head"),
    ("jvs verify --all", "check everything, and the audit chain"),
    ("jvs verify baseline --no-payload", "check checksums only, without reading the files"),
)
SHOWN_DIFFERENCES = 20


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("verify", __doc__, jsonl=True)
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the snapshot (the head)")
    parser.add_argument("--all", action="store_true", help="every snapshot, all lines, and the audit chain")
    parser.add_argument("--no-payload", action="store_true", help="do not read the files")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=int, default=0, help="hash big files in N threads (all cores)"
    )
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Check one snapshot, or everything."""
    if args.all and args.target:
        raise UsageError("--all and a target exclude each other", hint="leave one of them out")
    store = cli.open_store(args)
    with store.reading():
        return _all(store, args) if args.all else _one(store, args)


def _one(store: Store, args: argparse.Namespace) -> cli.Result:
    from jvs import refs, verify

    name = store.worktree_name(args.worktree)
    if args.target is None:
        target, _ = store.head_of(name)
        if target is None:
            raise NotFound(f"worktree '{name}' has no snapshot yet", hint="take one with 'jvs snapshot'")
    else:
        target = args.target if _is_candidate(store, args.target) else refs.resolve(store, args.target, name)
    report = verify.check_snapshot(store, target, payload=not args.no_payload, jobs=args.jobs)

    def text(terminal: Terminal) -> str:
        return "\n".join([*_lines(report, terminal), *_truths(report, not args.no_payload)]) + "\n"

    return cli.Result(report.as_json(), text, exit=report.error.exit if report.error else 0)


def _is_candidate(store: Store, target: str) -> bool:
    """A full id is checked even when it is too damaged to be resolved."""
    from jvs import names, verify

    return names.is_snapshot_id(target) and target in verify.candidates(store.layout)


def _all(store: Store, args: argparse.Namespace) -> cli.Result:
    from jvs import verify

    reports, problems, chain = verify.check_all(store, payload=not args.no_payload, jobs=args.jobs)
    errors = [report.error for report in reports if report.error] + problems
    value = {
        "healthy": not errors,
        "snapshots": [report.as_json() for report in reports],
        "problems": [problem.as_json()["error"] for problem in problems],
        "audit": {"records": chain.count, "head": chain.head, "torn_bytes": chain.torn},
    }
    items = [report.as_json() for report in reports]
    items += [{"problem": problem.as_json()["error"]} for problem in problems]

    def text(terminal: Terminal) -> str:
        lines = [line for report in reports for line in _lines(report, terminal)]
        lines += [f"{terminal.paint(problem.name, 'red')}: {problem.message}" for problem in problems]
        if chain.torn:
            lines.append(
                f"audit log: a torn last line of {chain.torn} bytes, left by a crash; the next command mends it"
            )
        good = sum(1 for report in reports if not report.error)
        chain_word = "broken" if any(p.name == AuditChainBroken.name for p in problems) else "whole"
        lines.append(f"{good} of {len(reports)} snapshots OK; audit chain of {chain.count} records is {chain_word}")
        return "\n".join(lines) + "\n"

    return cli.Result(value, text, items=items, exit=errors[0].exit if errors else 0)


def _lines(report: SnapshotReport, terminal: Terminal) -> list[str]:
    if report.error is None:
        return [f"{report.snapshot_id}  {terminal.paint('OK', 'green')}"]
    word = terminal.paint("TAMPERED", "red")
    lines = [f"{report.snapshot_id}  {word}  {report.error.name}: {report.error.message}"]
    lines += [f"  {item['what']}: {item['path']}" for item in report.differences[:SHOWN_DIFFERENCES]]
    if len(report.differences) > SHOWN_DIFFERENCES:
        lines.append(f"  ... and {len(report.differences) - SHOWN_DIFFERENCES} more; '--json' lists them")
    return lines


def _truths(report: SnapshotReport, payload: bool) -> list[str]:
    lines = [f"Checksum: {str(bool(report.checksum_valid)).lower()}"]
    if payload:
        lines.append(f"Payload hash: {str(bool(report.payload_hash_valid)).lower()}")
    return lines


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
