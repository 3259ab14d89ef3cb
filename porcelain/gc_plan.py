"""Plan which snapshots can go

Lists what a collection would take and what it would leave, with the reason for each snapshot, and how many bytes only
the former hold. Removes nothing; it stores the plan, so that 'jvs gc run --plan-id ID' does exactly this or nothing.
Without a policy only lines that no worktree leads to can go. With one, lines are thinned: heads, latest and base
snapshots, pins, and what 'jvs undo' needs stay in any case. The same repository and policy give the same plan id.
"""

from __future__ import annotations

import argparse

from jvs import cli
from jvs.errors import (
    Busy,
    DescriptorCorrupt,
    IOFailure,
    LineageBroken,
    NoSpace,
    NotARepository,
    PartialSnapshot,
    UsageError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.terminal import Terminal

RAISES = (
    UsageError,
    IOFailure,
    NoSpace,
    NotARepository,
    Busy,
    DescriptorCorrupt,
    LineageBroken,
    PartialSnapshot,
)
SEE_ALSO = ("jvs-gc-run(1)", "jvs-gc-pin(1)", "jvs-mark-live(1)", "jvs-config(5)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs gc plan", "what removed worktrees left"),
    ("jvs gc plan --keep-last 10 --keep-daily 14 --keep-tag 'release-*'", "thin the lines"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs import retention

    parser = cli.make_parser("gc plan", __doc__)
    retention.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Make the plan and store it."""
    from jvs import gc_plan, observe, retention

    store = cli.open_store(args)
    policy = retention.Policy.of(store.settings, retention.given(args))
    with store.reading():
        plan = gc_plan.make(store, policy)
        try:
            value = gc_plan.save(store, plan)
        except NoSpace:
            value = plan.as_json()
            observe.remark("the disk is full and the plan was not stored: give 'jvs gc run' the same policy options")
    return cli.Result(value, lambda terminal: _text(value, terminal))


def _text(value: dict[str, Any], terminal: Terminal) -> str:
    from jvs import clock
    from jvs.terminal import age, cut, plural, show_text, size

    lines = [f"GC Plan: {value['plan_id']}"]
    for snapshot in value["snapshots"]:
        word = terminal.paint("keep", "green") if snapshot["keep"] else terminal.paint("drop", "red")
        when = age(clock.parse_rfc3339(snapshot["created_at"]))
        note = cut(show_text(snapshot["note"]), 30)
        why = show_text("; ".join(snapshot["reasons"]))
        lines.append(f"  {word}  {snapshot['snapshot_id']}  {when:<12}  {snapshot['worktree_name']}  {note}  ({why})")
    most = "" if value["estimate_exact"] else "at most "
    count = plural(value["candidate_count"], "snapshot")
    total = len(value["snapshots"])
    if not value["candidate_count"]:
        lines.append(f"Nothing can go: all of {plural(total, 'snapshot')} are kept.")
    else:
        lines.append(f"{count} of {total} can go, freeing {most}{size(value['deletable_bytes_estimate'])}.")
        lines.append(f"To collect them: jvs gc run --plan-id {value['plan_id']}")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
