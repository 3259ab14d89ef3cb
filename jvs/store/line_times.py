"""When snapshots were taken, as far as their line lets that be known: a clock that was wrong once moves no other.

The order of a line comes from `parent_id` and is certain; `created_at` is what a clock said. A time that is ahead of
now, or out of order on its line, is drawn between those of its neighbours, which keep theirs.
Source: jvs-gc-plan(1), jvs-protocol(7), Lineage.
"""

from __future__ import annotations

import bisect

from jvs import clock
from jvs.store import lineage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvs.store.descriptor import Summary


def trusted(known: Mapping[str, Summary], now_ns: int) -> dict[str, int]:
    """Return the time of each snapshot, by id: never ahead of now, never before its parent's.

    `known` are descriptors, those of collected snapshots too, so that lines lead through them.
    Units: nanoseconds since 1970.
    """
    found: dict[str, int] = {}
    for tip in lineage.order(known):
        if tip not in found:
            path = _new_part(known, tip, found)
            floor = found.get(known[path[-1]]["parent_id"] or "", 0)
            said = [min(clock.parse_rfc3339(known[i]["created_at"]), now_ns) for i in reversed(path)]
            found.update(zip(reversed(path), _in_order(said, floor), strict=True))
    return found


def _new_part(known: Mapping[str, Summary], tip: str, found: dict[str, int]) -> list[str]:
    """Return a line from its tip back to the first snapshot, or to one whose time is known; a cycle ends it too."""
    path, seen = [tip], {tip}
    while True:
        parent = known[path[-1]]["parent_id"]
        if parent is None or parent not in known or parent in found or parent in seen:
            return path
        path.append(parent)
        seen.add(parent)


def _in_order(oldest_first: list[int], floor: int) -> list[int]:
    """Keep the most times that can be right together, and draw the others between them.

    Where either of two could be wrong, the later snapshot is trusted.
    """
    believed = set(_longest_rising(oldest_first))
    ceiling, result = max(oldest_first), list(oldest_first)
    for i in reversed(range(len(result))):
        ceiling = oldest_first[i] if i in believed else ceiling
        result[i] = min(oldest_first[i], ceiling)
    for i, time in enumerate(result):
        floor = result[i] = max(floor, time)
    return result


def _longest_rising(values: list[int]) -> list[int]:
    """Return the places of the longest part that never falls; of several, the one whose end comes last."""
    tails: list[int] = []
    places: list[int] = []
    before: list[int] = []
    for place, value in enumerate(values):
        at = bisect.bisect_right(tails, value)
        before.append(places[at - 1] if at else -1)
        tails[at : at + 1], places[at : at + 1] = [value], [place]
    here, found = places[-1], []
    while here >= 0:
        found.append(here)
        here = before[here]
    return found[::-1]
