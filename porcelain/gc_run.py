"""Collect the snapshots of a plan

Plans again and compares: when the repository changed since the plan was made, nothing is done. With '--allow-newer' it
may have changed, as it does where others take snapshots all the while, as long as nothing protects any snapshot that
the plan names; only those go then. The candidates are taken out of sight, each wholly, and their files deleted; that
last, long part holds no lock that others need. When it returns 0 every candidate is deleted and its space free. After a
failure or a crash the same command goes on where it stopped. Works on a full disk. The policy options are needed only
for a plan that could not be stored.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, GcPlanMismatch

RAISES = (*CHANGING, GcPlanMismatch)
SEE_ALSO = ("jvs-gc-plan(1)", "jvs-prune-snapshot(1)", "jvs-doctor(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs gc run --plan-id 0123456789abcdef0123456789abcdef", "carry out a plan"),
    (
        "jvs gc run --plan-id 0123456789abcdef0123456789abcdef --allow-newer",
        "the same, although others have taken snapshots since",
    ),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs.cli import policy

    parser = cli.make_parser("gc run", __doc__)
    parser.add_argument("--plan-id", metavar="ID", required=True, help="the plan, as 'jvs gc plan' printed it")
    parser.add_argument(
        "--allow-newer",
        action="store_true",
        help="the repository may have changed since, as long as nothing protects what the plan names",
    )
    policy.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Carry out the plan."""
    from jvs.cli import policy
    from jvs.operations import collection
    from jvs.ui import plan_text

    done = collection.run(cli.open_store(args), args.plan_id, policy.given(args), allow_newer=args.allow_newer)
    return cli.Result(done, plan_text.collected(done) + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
