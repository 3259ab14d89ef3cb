"""The graph of a history: lines, branches and forks, drawn with characters.

Source: jvs-history(1), --graph.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.compare.history import Choice
    from jvs.store.descriptor import Descriptor


def choose(found: dict[str, Descriptor], choice: Choice) -> dict[str, Descriptor]:
    """Return the wanted snapshots, each with its nearest wanted ancestor as `parent_id` in a copy, for drawing."""
    kept: dict[str, Descriptor] = {}
    for snapshot_id, record in found.items():
        if not choice.fits(record):
            continue
        parent = record["parent_id"]
        seen = {snapshot_id}
        while parent in found and parent not in seen and not choice.fits(found[parent]):
            seen.add(parent)
            parent = found[parent]["parent_id"]
        kept[snapshot_id] = {**record, "parent_id": parent if parent in found and parent not in seen else None}
    return kept


def drawing_order(found: dict[str, Descriptor], first: str | None) -> list[str]:
    """Return all ids, children before parents, branch by branch; the line of `first` comes before its siblings."""
    preferred: set[str] = set()
    while first in found and first not in preferred:
        preferred.add(first)
        first = found[first]["parent_id"]
    children: dict[str | None, list[str]] = {}
    for snapshot_id, record in found.items():
        parent = record["parent_id"] if record["parent_id"] in found else None
        children.setdefault(parent, []).append(snapshot_id)
    for siblings in children.values():
        siblings.sort(key=lambda i: (i in preferred, i))
    result: list[str] = []
    stack = list(children.get(None, []))[::-1]
    while stack:
        here = stack.pop()
        result.append(here)
        stack.extend(reversed(children.get(here, [])))
    return result[::-1]


def draw(found: dict[str, Descriptor], order: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the rows of a graph: what is drawn, and the id of the snapshot in that row or None.

    Shape: a snapshot is `*`, a collected one `o`; `|/` joins a branch to the line that it left.
    """
    waiting: list[str] = []
    for snapshot_id in order:
        count = sum(1 for other in waiting if other == snapshot_id)
        for _ in range(count - 1):  # branch by branch means that those who wait for one parent are at the right
            yield "| " * (len(waiting) - 2) + "|/", None
            waiting.pop()
        if count == 0:
            waiting.append(snapshot_id)
        sign = "o" if found[snapshot_id].get("collected") else "*"
        column = waiting.index(snapshot_id)
        yield "| " * column + sign + " " + "| " * (len(waiting) - column - 1), snapshot_id
        parent = found[snapshot_id]["parent_id"]
        if parent in found:
            waiting[column] = parent
        else:
            waiting.pop(column)
