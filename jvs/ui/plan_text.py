"""What a person reads of a plan: a line for each snapshot with the reasons, and what was collected.

Source: jvs-gc-plan(1), jvs-gc-auto(1).
"""

from __future__ import annotations

from jvs import clock, units
from jvs.ui.terminal import age, cut, flow, pad, show_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.gc.plan import PlanDocument, PlannedSnapshot
    from jvs.gc.run import Collected
    from jvs.ui.terminal import Terminal

_ALIGNED_COLUMNS = 60


def snapshot(planned: PlannedSnapshot, terminal: Terminal) -> list[str]:
    """Return the lines of one snapshot."""
    word, color = ("keep", "green") if planned["keep"] else ("drop", "red")
    when = age(clock.parse_rfc3339(planned["created_at"]))
    note = cut(show_text(planned["note"]), 30)
    parts = [
        f"  {word}",
        planned["snapshot_id"],
        pad(when, 12) if terminal.width >= _ALIGNED_COLUMNS else when,
        cut(show_text(planned["worktree_name"]), 20),
        *([note] if note else []),
        f"({show_text('; '.join(planned['reasons']))})",
    ]
    first, *more = flow(parts, terminal.width, 8)
    return [first.replace(word, terminal.paint(word, color), 1), *more]


def collected(done: Collected) -> str:
    """Return what was collected, in a sentence without its full stop."""
    text = f"Collected {units.plural(done['collected_count'], 'snapshot')}"
    if done["freed_bytes"]:
        text += f", freeing {'' if done['exact'] else 'about '}{units.size(done['freed_bytes'])}"
    return text


def carried_out(plan: PlanDocument, done: Collected | None, terminal: Terminal) -> str:
    """Return the lines of what goes and the sentence that closes them; `done` is None when it was only planned."""
    lines = [line for one in plan["snapshots"] if not one["keep"] for line in snapshot(one, terminal)]
    if done is not None:
        return "\n".join([*lines, collected(done)]) + "\n"
    if not plan["candidate_count"]:
        return f"Nothing goes: all of {units.plural(len(plan['snapshots']), 'snapshot')} are kept.\n"
    about = "" if plan["estimate_exact"] else "about "
    would = f"{units.plural(plan['candidate_count'], 'snapshot')} would go, freeing {about}"
    return "\n".join([*lines, f"{would}{units.size(plan['deletable_bytes_estimate'])}."]) + "\n"
