"""Plan a collection and carry it out, by a policy or within a budget

Does what 'jvs gc plan' and 'jvs gc run' do, in one call, for timers. By a policy, what no rule keeps goes. With
'--max-bytes' snapshots go, oldest first, until all of them together take no more than that; as long as they take less
none goes. Heads, pins, tags and what the rules of the policy keep stay in any case, also when that is more than the
budget, which is then said. Prints each snapshot that went and why, and how much came free.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, GcPlanMismatch

RAISES = (*CHANGING, GcPlanMismatch)
SEE_ALSO = ("jvs-gc-plan(1)", "jvs-gc-run(1)", "jvs-gc-drop(1)", "jvs-config(5)")
EXAMPLES = (
    ("jvs gc auto --keep-hourly 24 --keep-daily 14", "thin the lines"),
    ("jvs gc auto --max-bytes 20G --keep-last 10", "the oldest go when it is more than 20 GiB; ten of each line stay"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs.cli import policy

    parser = cli.make_parser("gc auto", __doc__)
    parser.add_argument("--max-bytes", metavar="SIZE", help="let the oldest go until the rest takes SIZE (500M, 20G)")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would go, and remove nothing")
    policy.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Plan and collect."""
    from jvs import units
    from jvs.cli import policy
    from jvs.operations import collection
    from jvs.ui import plan_text

    store = cli.open_store(args)
    most = None if args.max_bytes is None else units.parse_size(args.max_bytes, "--max-bytes")
    plan, done = collection.auto(store, policy.given(args), max_bytes=most, dry_run=args.dry_run)
    planned = plan.as_json()
    used, last = None, ""
    if most is not None:
        used = collection.used_bytes(store)
        over = ", which protected ones take" if used > most and not args.dry_run else ""
        last = f"Snapshots take {units.size(used)} of {units.size(most)}{over}.\n"
    value = {**planned, "done": done, "max_bytes": most, "used_bytes": used}
    return cli.Result(value, lambda screen: plan_text.carried_out(planned, done, screen) + last)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
