"""Marking what a collection must keep, and why: heads, pins, whatever an operation names, and whole lines.

Whatever cannot be read stops the marking: an unreadable record might protect anything.
Source: jvs-mark-live(1), jvs-protocol(7), Collection.
"""

from __future__ import annotations

from jvs import clock
from jvs.errors import LineageBroken
from jvs.gc import pins
from jvs.names import is_snapshot_id
from jvs.store import intent, lineage, refs, tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.store.worktree import HeadField, WorktreeConfig


HEAD, LINEAGE, PIN, INTENT, TRY = "head", "lineage", "pin", "intent", "try"
RETENTION, TAG = "retention", "tag"
HEAD_FIELDS: tuple[HeadField, ...] = ("head_snapshot_id", "latest_snapshot_id", "base_snapshot_id")


class Marks:
    """What a collection must keep, and why. Shape: `reasons` maps ids to (category, sentence) pairs."""

    def __init__(self) -> None:
        self.reasons: dict[str, list[tuple[str, str]]] = {}

    def add(self, snapshot_id: str | None, category: str, sentence: str) -> None:
        """Note one reason to keep a snapshot; the same sentence once."""
        if snapshot_id is not None and (category, sentence) not in self.reasons.setdefault(snapshot_id, []):
            self.reasons[snapshot_id].append((category, sentence))

    def sentences(self, snapshot_id: str) -> list[str]:
        """Return why a snapshot stays."""
        return [sentence for _, sentence in self.reasons.get(snapshot_id, [])]

    def count(self, *categories: str) -> int:
        """Return how many snapshots have a reason of one of these categories."""
        return sum(1 for found in self.reasons.values() if any(category in categories for category, _ in found))


def mark_always(store: Store, marks: Marks, configs: dict[str, WorktreeConfig]) -> None:
    """Mark what no policy thins: heads, latests, bases, pins, and what operations in flight name."""
    for name, config in configs.items():
        for field in HEAD_FIELDS:
            marks.add(config[field], HEAD, f"{field.split('_')[0]} of '{name}'")
        for snapshot_id in config.get("merging", []):
            marks.add(snapshot_id, HEAD, f"merged into '{name}', and in no snapshot yet")
    now = clock.now_ns()
    for pin in pins.list_all(store.layout):
        if not pins.has_expired(pin, now):
            until = f" until {pin['expires_at']}" if pin["expires_at"] else ""
            reason = f": {pin['reason']}" if pin["reason"] else ""
            marks.add(pin["snapshot_id"], PIN, f"pinned{until}{reason}")
    for tried in tries.load_all(store.layout):
        marks.add(tried["snapshot_id"], TRY, f"try {tried['operation_id']} needs it")
    for record in intent.load_all(store.layout):
        if record["operation"] != "gc_run":  # it names what is to go
            for snapshot_id in _ids_in(record):
                marks.add(snapshot_id, INTENT, f"operation {record['operation_id']} needs it")


def _ids_in(value: object) -> Iterator[str]:
    """Yield every snapshot id anywhere in a JSON value."""
    return (text for text in texts_in(value) if is_snapshot_id(text))


def texts_in(value: object) -> Iterator[str]:
    """Yield every text anywhere in a JSON value, keys included."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            stack.extend([*item.keys(), *item.values()])
        elif isinstance(item, list):
            stack.extend(item)


def mark_tagged(marks: Marks, visible: dict[str, Descriptor], in_order: list[str], times: dict[str, int]) -> None:
    """Mark what each tag names: the newest snapshot that has it. `in_order` are ids, children before parents."""
    for tag, snapshot_id in refs.tagged(visible, in_order, times).items():
        marks.add(snapshot_id, TAG, f"tag '{tag}' names it")


def mark_bases(marks: Marks, found: dict[str, Descriptor]) -> None:
    """Mark what partial snapshots that stay lie on: their parents, back to the one that holds all paths."""
    for snapshot_id in list(marks.reasons):
        here, seen = found.get(snapshot_id), set()
        while here is not None and here["partial_paths"] is not None and here["snapshot_id"] not in seen:
            seen.add(here["snapshot_id"])
            if here["parent_id"] in found:
                marks.add(here["parent_id"], LINEAGE, f"the partial snapshot '{here['snapshot_id']}' lies on it")
            here = found.get(here["parent_id"] or "")


def mark_lines(
    marks: Marks, found: dict[str, Descriptor], configs: dict[str, WorktreeConfig], known: dict[str, Descriptor]
) -> None:
    """Mark what keeps lines complete where no policy says otherwise.

    Ancestors of what the worktrees name, and all leaves of worktrees that exist with their ancestors.
    """
    walked: set[str] = set()
    for name, config in configs.items():
        for field in HEAD_FIELDS:
            _mark_ancestors(marks, known, config[field], f"on the line of '{name}'", walked)
    for leaf in lineage.leaves(found):
        name = found[leaf]["worktree_name"]
        if name in configs:
            if leaf not in marks.reasons:
                marks.add(leaf, LINEAGE, f"tip of a line of '{name}'")
            _mark_ancestors(marks, known, leaf, f"on a line of '{name}'", walked)


def _mark_ancestors(
    marks: Marks, known: dict[str, Descriptor], start: str | None, sentence: str, walked: set[str]
) -> None:
    """Walk from a snapshot to the first one, over all parents, or to what was walked before.

    Errors: E_LINEAGE_BROKEN for a missing parent or a cycle of a line.
    """
    stack: list[str | None] = [start]
    while stack:
        here, seen = stack.pop(), set[str]()
        while here is not None and here not in walked:
            record = known.get(here)
            if record is None or here in seen:
                missing = f"snapshot '{here}' on the line of '{start}' is missing"
                raise LineageBroken(
                    missing if record is None else f"cycle in the history of '{start}'",
                    hint="nothing is collected while a line is broken: 'jvs doctor' says what is damaged",
                    snapshot_id=here,
                )
            seen.add(here)
            for other in record.get("merged", []):
                marks.add(other, LINEAGE, f"merged {sentence}")
                stack.append(other)
            here = record["parent_id"]
            if here is not None:
                marks.add(here, LINEAGE, sentence)
        walked |= seen
