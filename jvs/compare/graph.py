"""The graph of a history: lines, branches and forks, drawn with characters.

Source: jvs-history(1), --graph.
"""

from __future__ import annotations

import heapq

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator

    from jvs.compare.history import Choice
    from jvs.store.descriptor import Descriptor


def choose(found: dict[str, Descriptor], choice: Choice) -> dict[str, Descriptor]:
    """Return the wanted snapshots, each with its nearest wanted ancestors in a copy, for drawing."""
    kept: dict[str, Descriptor] = {}

    def nearest(snapshot_id: str, start: str | None) -> str | None:
        seen = {snapshot_id}
        while start in found and start not in seen and not choice.fits(found[start]):
            seen.add(start)
            start = found[start]["parent_id"]
        return start if start in found and start not in seen else None

    for snapshot_id, record in found.items():
        if choice.fits(record):
            merged = [nearest(snapshot_id, other) for other in record.get("merged", [])]
            parent = nearest(snapshot_id, record["parent_id"])
            kept[snapshot_id] = {
                **record,
                "parent_id": parent,
                "merged": [other for other in dict.fromkeys(merged) if other is not None and other != parent],
            }
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
    return _after_their_merges(found, result[::-1])


def _after_their_merges(found: dict[str, Descriptor], order: list[str]) -> list[str]:
    """Return an order in which what was merged comes after the snapshot that it was merged into, and else as it was."""
    if not any(found[snapshot_id].get("merged") for snapshot_id in order):
        return order
    rank = {snapshot_id: number for number, snapshot_id in enumerate(order)}
    above = dict.fromkeys(order, 0)
    for snapshot_id in order:
        for parent in _parents(found[snapshot_id], rank):
            above[parent] += 1
    ready = [rank[snapshot_id] for snapshot_id in order if not above[snapshot_id]]
    result: list[str] = []
    while ready:
        here = order[heapq.heappop(ready)]
        result.append(here)
        for parent in _parents(found[here], rank):
            above[parent] -= 1
            if not above[parent]:
                heapq.heappush(ready, rank[parent])
    there = set(result)
    return result + [
        snapshot_id for snapshot_id in order if snapshot_id not in there
    ]  # a forged cycle is shown as well


def _parents(record: Descriptor, known: Container[str]) -> list[str]:
    return [other for other in (record["parent_id"], *record.get("merged", [])) if other is not None and other in known]


def draw(found: dict[str, Descriptor], order: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the rows of a graph: what is drawn, and the id of the snapshot in that row or None.

    Shape: a snapshot is `*`, a collected one `o`; `|/` joins a branch to the line that it left, and below a merge `|\\`
    leads to what was merged.
    """
    waiting: list[str] = []
    drawn: set[str] = set()
    for snapshot_id in order:
        if snapshot_id not in waiting:
            waiting.append(snapshot_id)
        column = waiting.index(snapshot_id)
        while snapshot_id in waiting[column + 1 :]:
            *_, left, other = (here for here, one in enumerate(waiting) if one == snapshot_id)
            yield _join(len(waiting), left, other), None
            waiting.pop(other)
        sign = "o" if found[snapshot_id].get("collected") else "*"
        yield "| " * column + sign + " " + "| " * (len(waiting) - column - 1), snapshot_id
        drawn.add(snapshot_id)
        parents = [other for other in _parents(found[snapshot_id], found) if other not in drawn]
        waiting[column : column + 1] = parents[:1]
        for number, merged in enumerate(parents[1:]):
            yield _part(len(waiting), column + number), None
            waiting.insert(column + number + 1, merged)


def _join(count: int, column: int, other: int) -> str:
    """Return the row in which one of some columns joins another at its left; those at its right move up."""
    cells = [" "] * (2 * count)
    for here in range(other):
        cells[2 * here] = "|"
    cells[2 * column + 1 : 2 * other - 1 : 2] = "_" * len(cells[2 * column + 1 : 2 * other - 1 : 2])
    for here in range(other, count):
        cells[2 * here - 1] = "/"
    return "".join(cells).rstrip()


def _part(count: int, column: int) -> str:
    """Return the row in which a new column comes out of one of some columns; those at its right make place."""
    return "| " * column + "|\\" + " \\" * (count - column - 1)
