"""Find and repair what crashes or accidents left

Looks at every control file, lock and line, at the audit chain, and at whatever the next commands would need, and says
"Repository is healthy." or what is wrong: severity, class, path, and the repair that applies. Nothing is written
without a repair option. What a crash left is reported as a warning: the next command recovers it by itself. With
--strict every byte of every snapshot is read as well. Works on repositories that no other command opens. The exit code
is that of the worst finding that is left.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import (
    AuditChainBroken,
    Busy,
    DescriptorCorrupt,
    FormatUnsupported,
    IOFailure,
    LineageBroken,
    NotARepository,
    PartialSnapshot,
    PathEscape,
    PayloadHashMismatch,
    UsageError,
)

RAISES = (
    UsageError,
    IOFailure,
    NotARepository,
    Busy,
    PathEscape,
    FormatUnsupported,
    DescriptorCorrupt,
    PayloadHashMismatch,
    LineageBroken,
    PartialSnapshot,
    AuditChainBroken,
)
SEE_ALSO = ("jvs-verify(1)", "jvs-gc-run(1)", "jvs-list-intents(1)", "jvs-protocol(7)", "jvs-errors(7)")
EXAMPLES = (
    ("jvs doctor", "look"),
    ("jvs doctor --strict", "look, and read every snapshot"),
    ("jvs doctor --repair-runtime", "recover and clean up whatever can be, then check"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("doctor", __doc__, jsonl=True)
    parser.add_argument("--strict", action="store_true", help="read every byte of every snapshot as well")
    parser.add_argument("--repair-runtime", action="store_true", help="do all repairs that apply, then look")
    parser.add_argument("--repair", metavar="ACTION", action="append", default=[], help="do this repair; repeatable")
    parser.add_argument("--repair-list", action="store_true", help="list the repairs and do nothing")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=int, default=0, help="read with N threads and processes (all cores)"
    )
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Repair what was asked for, then look."""
    from jvs.check import doctor
    from jvs.operations import looking
    from jvs.ui import doctor_text, terminal

    if args.repair_list:
        listed = [{"action": action, "what": what} for action, what in doctor.ACTIONS.items()]
        rows = list(doctor.ACTIONS.items())
        return cli.Result(
            listed, lambda screen: "".join(f"{line}\n" for line in terminal.table(rows, screen)), items=listed
        )
    store = looking.open_damaged(cli.here(), cli.settings_of(args))
    actions = list(doctor.RUNTIME) if args.repair_runtime else args.repair
    seen = looking.doctor(store, strict=args.strict, actions=actions, jobs=args.jobs)
    items = [finding.as_json() for finding in seen.findings]
    return cli.Result(seen.as_json(), lambda screen: doctor_text.page(seen, screen), items=items, exit=seen.exit)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
