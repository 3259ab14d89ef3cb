"""What takes the space of a repository, in words. Source: jvs-du(1)."""

from __future__ import annotations

from jvs import clock, units
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.gc.usage import KeptUsage, SnapshotUsage, UsageDocument
    from jvs.ui.terminal import Terminal

_WORDS = (
    "for undo: 'jvs undo --forget' frees it",
    "of pending tries: 'jvs try --discard' frees it",
    "in the trash: 'jvs gc run' and 'jvs gc drop' empty it",
    "for the index",
    "of records",
    "of the audit log",
)


def page(value: UsageDocument, screen: Terminal) -> str:
    """Return the lines of the snapshots, what they free together, and what is kept besides."""
    lines = [line for one in value["snapshots"] for line in _snapshot(one, screen)]
    count, about = len(value["snapshots"]), "" if value["exact"] else "about "
    if count:
        alone = sum(one["exclusive_bytes"] for one in value["snapshots"])
        text = f"{units.plural(count, 'snapshot')}: {about}{units.size(value['exclusive_bytes'])} if all go"
        text += f", {units.size(alone)} if each alone does" if count > 1 else ""
        lines += terminal.wrap(f"{text}.", screen, "", "  ")
    else:
        lines.append("There are no snapshots.")
    lines += [line for text in besides(value) for line in terminal.wrap(f"{text}.", screen, "", "  ")]
    return "\n".join(lines) + "\n"


def besides(value: KeptUsage) -> list[str]:
    """Return a sentence for each thing that is kept besides the snapshots, and takes space."""
    amounts = (
        value["undo_bytes"],
        value["tries_bytes"],
        value["trash_bytes"],
        value["index_bytes"],
        value["records_bytes"],
        value["log_bytes"],
    )
    return [f"{units.size(amount)} {words}" for amount, words in zip(amounts, _WORDS, strict=True) if amount]


def _snapshot(one: SnapshotUsage, screen: Terminal) -> list[str]:
    note = terminal.cut(terminal.show_text(one["note"]), 30)
    kept = one["kept"]
    parts = [
        terminal.pad(units.size(one["exclusive_bytes"]), 11, right=True),
        one["snapshot_id"],
        terminal.age(clock.parse_rfc3339(one["created_at"])),
        f"shares {units.size(one['shared_bytes'])}",
        *([note] if note else []),
        *([f"(kept: {terminal.show_text('; '.join(kept))})"] if kept else []),
    ]
    return terminal.flow(parts, screen.width, 13)
