"""Plan which snapshots can go

Lists what a collection would take and what it would leave, with the reason for each snapshot, and how much space
comes free, metadata included ('about' where that is an estimate). Removes nothing; it stores the plan, so that 'jvs
gc run --plan-id ID' does exactly this or nothing. Without a policy only lines that no worktree leads to can go. With
one, lines are thinned: heads, latest and base snapshots, pins, and what 'jvs undo' needs stay in any case. The same
repository and policy give the same plan id.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.gc.plan import PlanDocument
    from jvs.ui.terminal import Terminal


RAISES = CHANGING
SEE_ALSO = ("jvs-gc-run(1)", "jvs-gc-pin(1)", "jvs-mark-live(1)", "jvs-config(5)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs gc plan", "what removed worktrees left"),
    ("jvs gc plan --keep-last 10 --keep-daily 14 --keep-tag 'release-*'", "thin the lines"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs.cli import policy

    parser = cli.make_parser("gc plan", __doc__)
    policy.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Make the plan and store it."""
    from jvs.cli import policy
    from jvs.operations import collection

    value = collection.plan(cli.open_store(args), policy.given(args)).as_json()
    return cli.Result(value, lambda terminal: _text(value, terminal))


def _text(value: PlanDocument, terminal: Terminal) -> str:
    from jvs.ui import plan_text
    from jvs.ui.terminal import flow
    from jvs.units import plural, size

    lines = flow(["GC Plan:", value["plan_id"]], terminal.width, 2)
    lines[0] = lines[0].replace("GC Plan:  ", "GC Plan: ")
    for snapshot in value["snapshots"]:
        lines += plan_text.snapshot(snapshot, terminal)
    most = "" if value["exact"] else "about "
    count = plural(value["candidate_count"], "snapshot")
    total = len(value["snapshots"])
    if not value["candidate_count"]:
        last = f"Nothing can go: all of {plural(total, 'snapshot')} are kept."
        return "\n".join([*lines, *_wrapped(last, terminal)]) + "\n"
    lines += _wrapped(f"{count} of {total} can go, freeing {most}{size(value['deletable_bytes_estimate'])}.", terminal)
    command = f"jvs gc run --plan-id {value['plan_id']}"
    said = f"To collect them: {command}"
    if len(said) > terminal.width:  # a command that can be copied, in as many lines as it takes
        broken = command.replace(value["plan_id"], f"\\\n    {value['plan_id']}")
        said = f"To collect them:\n  {command if len(command) + 2 <= terminal.width else broken}"
    return "\n".join([*lines, said]) + "\n"


def _wrapped(text: str, terminal: Terminal) -> list[str]:
    import textwrap

    return textwrap.wrap(text, terminal.width, subsequent_indent="  ")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
