"""List the snapshots that a collection must keep, and why

Prints the id of each snapshot that is protected and its reasons, with TABs between: what 'jvs gc plan' keeps with the
same policy options. With --candidates it prints what may go instead. Writes nothing; whatever cannot be read is an
error, because it might protect something.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import READING, Busy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    class Reasoned(TypedDict):
        """A snapshot that stays or can go, and why."""

        snapshot_id: str
        reasons: list[str]


RAISES = (*READING, Busy)
SEE_ALSO = ("jvs-gc-plan(1)", "jvs-prune-snapshot(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs-mark-live | cut -f1", "the ids of all protected snapshots"),
    ("jvs-mark-live --candidates --keep-last 5 | xargs -n1 jvs-prune-snapshot --keep-last 5", "a collection by hand"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs.cli import policy

    parser = cli.make_parser("mark-live", __doc__, jsonl=True)
    parser.add_argument("--candidates", action="store_true", help="print the ids that may go instead")
    policy.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Find what is protected."""
    from jvs.cli import policy
    from jvs.gc import plan as gc_plan
    from jvs.gc import retention
    from jvs.ui.terminal import show_text

    store = cli.open_store(args)
    rules = retention.Policy.of(store.settings, policy.given(args))
    with store.reading():
        plan = gc_plan.make(store, rules, estimate=False)
    if args.candidates:
        dropped: list[Reasoned] = [{"snapshot_id": i, "reasons": [plan.why_dropped(i)]} for i in plan.candidates]
        return cli.Result(dropped, "".join(i + "\n" for i in plan.candidates), items=dropped)
    found: list[Reasoned] = [{"snapshot_id": i, "reasons": plan.marks.sentences(i)} for i in sorted(plan.marks.reasons)]
    lines = ["\t".join([item["snapshot_id"], *map(show_text, item["reasons"])]) + "\n" for item in found]
    return cli.Result(found, "".join(lines), items=found)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
