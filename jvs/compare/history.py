"""History: which snapshots a listing shows, and in which order.

A listing of one line follows the parents and reads only as many descriptors as it shows.
Source: jvs-history(1); jvs-protocol(7), Lineage.
"""

from __future__ import annotations

from jvs import names
from jvs.errors import JvsError, UsageError
from jvs.store import annotation, lineage, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypedDict, TypeVar

    from jvs.store.descriptor import Descriptor, Summary
    from jvs.store.store import Store
    from jvs.store.summaries import Summaries

    AnySummary = TypeVar("AnySummary", bound=Summary)

    class Labels(TypedDict):
        """What a listing says of one snapshot besides its descriptor: which worktrees are at it."""

        is_head: bool
        is_latest: bool
        tip_of: list[str]
        head_of: list[str]


class Decorations:
    """Where the worktrees are: what a listing says next to some snapshots."""

    def __init__(self, store: Store, name: str) -> None:
        self.name = name
        self.head, self.latest = store.head_of(name)
        self.detached = self.head != self.latest
        self.tips: dict[str, list[str]] = {}
        self.heads: dict[str, list[str]] = {}
        for other in worktree.names(store.layout):
            try:
                head, latest = store.head_of(other)
            except JvsError:  # a damaged worktree must not hide the history of the others; doctor reports it
                continue
            if latest is not None:
                self.tips.setdefault(latest, []).append(other)
            if head is not None:
                self.heads.setdefault(head, []).append(other)

    def describe(self, snapshot_id: str) -> Labels:
        """Return the marks of one snapshot. Shape: `is_head`, `is_latest`, `tip_of`, `head_of`."""
        return {
            "is_head": snapshot_id == self.head,
            "is_latest": snapshot_id == self.latest,
            "tip_of": self.tips.get(snapshot_id, []),
            "head_of": self.heads.get(snapshot_id, []),
        }


class Choice:
    """Which snapshots are wanted, and in which order: `limit` of them, with a tag, with facts (None: whatever their
    value), with a note or tag that fits a pattern; sorted by a fact (`-KEY`: the largest first).
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        tags: list[str] | None = None,
        pattern: str | None = None,
        meta: dict[str, str | None] | None = None,
        sort: str | None = None,
    ) -> None:
        if limit is not None and limit < 0:
            raise UsageError(f"-n {limit} is less than nothing", hint="write -n with a whole number")
        self.limit = limit
        self.tags = tags or []
        self.meta = meta or {}
        self.sort = sort
        if sort is not None and not names.is_meta_key(sort.removeprefix("-")):
            raise UsageError(f"--sort '{sort}' is not the key of a fact", hint="write --sort loss, or --sort=-accuracy")
        self._pattern: re.Pattern[str] | None = None
        if pattern is None:
            return
        import re

        try:
            self._pattern = re.compile(pattern)
        except re.error as error:
            raise UsageError(
                f"'{pattern}' is not a pattern: {error}",
                hint="write a regular expression; '\\' takes special meaning away",
            ) from error

    @property
    def filters(self) -> bool:
        """Answer whether anything but the number is limited."""
        return bool(self.tags or self.meta) or self._pattern is not None

    @property
    def reads_more(self) -> bool:
        """Answer whether more snapshots are looked at than are shown."""
        return self.filters or (self.sort is not None and self.limit is not None)

    def fits(self, record: Summary) -> bool:
        """Answer whether a snapshot is wanted."""
        tags = record["tags"]
        for tag in self.tags:
            if tag not in tags:
                return False
        if self.meta and not self._has_facts(record.get("meta", {})):
            return False
        if self._pattern is None or self._pattern.search(record["note"]):
            return True
        return bool(tags) and any(map(self._pattern.search, map(str, tags)))

    def _has_facts(self, has: dict[str, str]) -> bool:
        return all(key in has and value in (None, has[key]) for key, value in self.meta.items())

    def take(self, records: Iterable[AnySummary]) -> Iterator[AnySummary]:
        """Yield what is wanted, and stop as soon as there is enough; sorting reads all of them first."""
        if self.sort is not None:
            yield from sorted_by(self.sort, filter(self.fits, records))[: self.limit]
            return
        left = self.limit
        if left == 0:
            return
        for record in records:
            if self.fits(record):
                yield record
                if left is not None:
                    left -= 1
                    if left == 0:
                        return


def sorted_by(key: str, records: Iterable[AnySummary]) -> list[AnySummary]:
    """Return snapshots by a fact: numbers as numbers, then texts, and those without it last; `-KEY` turns it round.

    What is equal stays in the order in which it came.
    """
    backwards, key = key.startswith("-"), key.removeprefix("-")
    numbers: list[tuple[float, AnySummary]] = []
    texts: list[tuple[str, AnySummary]] = []
    without: list[AnySummary] = []
    for record in records:
        value = _meta(record).get(key)
        if value is None:
            without.append(record)
            continue
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if number == number:
            numbers.append((number, record))
        else:
            texts.append((value, record))
    numbers.sort(key=lambda pair: pair[0], reverse=backwards)
    texts.sort(key=lambda pair: pair[0], reverse=backwards)
    return [record for _, record in numbers] + [record for _, record in texts] + without


def _meta(record: Summary) -> dict[str, str]:
    return record.get("meta", {})


def along_line(store: Store, start: str | None, choice: Choice) -> Iterator[Descriptor]:
    """Yield the snapshots from `start` back to the first, newest first; collected ones have `collected` true.

    Errors: E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT.
    """
    if choice.reads_more:
        return _chosen(store, choice, lambda known: known.line(start))
    overlay = annotation.Overlay(store.layout)
    return choice.take(overlay.over(record) for record in lineage.line(store.layout, start))


def of_all(store: Store, choice: Choice) -> Iterator[Descriptor]:
    """Yield all snapshots, the newest first, children before their parents; damaged ones are left out."""
    if choice.reads_more:
        return _chosen(
            store,
            choice,
            lambda known: newest_first(_with_collected(store, known.of_visible(lineage.visible_ids(store.layout)))),
        )
    return choice.take(newest_first(everything(store)))


def _chosen(store: Store, choice: Choice, records: Callable[[Summaries], Iterable[Summary]]) -> Iterator[Descriptor]:
    """Yield what is chosen by what the index knows, read and checked as anything that is shown."""
    from jvs.store import summaries

    with summaries.Summaries(store) as known:
        for found in choice.take(records(known)):
            record = known.complete(found)
            if choice.fits(record):  # somebody may have said something else of it meanwhile
                yield record


def everything(store: Store) -> dict[str, Descriptor]:
    """Read all visible snapshots, and what collections left of their ancestors; damaged ones are left out."""
    overlay = annotation.Overlay(store.layout)
    found = _with_collected(store, lineage.all_records(store.layout, tolerant=True))
    return {snapshot_id: overlay.over(record) for snapshot_id, record in found.items()}


def _with_collected(store: Store, found: dict[str, AnySummary]) -> dict[str, AnySummary]:
    """Add what collections left of the ancestors of some snapshots."""
    missing = [record["parent_id"] for record in found.values()]
    while missing:
        parent = missing.pop()
        if parent is not None and parent not in found:
            tombstone = lineage.tombstone_of(store.layout, parent)
            if tombstone is not None:
                found[parent] = tombstone  # type: ignore[assignment]
                missing.append(tombstone["parent_id"])
    return found


def newest_first(found: dict[str, AnySummary]) -> list[AnySummary]:
    """Return all snapshots, children always before their parents, and the newest of unrelated ones first."""
    import heapq

    waiting = _count_children(found)
    heap = [_Newest(snapshot_id) for snapshot_id in found if not waiting[snapshot_id]]
    heapq.heapify(heap)
    result = []
    while heap:
        snapshot_id = heapq.heappop(heap).snapshot_id
        result.append(found[snapshot_id])
        parent = found[snapshot_id]["parent_id"]
        if parent in waiting:
            waiting[parent] -= 1
            if not waiting[parent]:
                heapq.heappush(heap, _Newest(parent))
    if len(result) < len(found):  # a circle, which only a forged descriptor makes; doctor names it
        shown = {record["snapshot_id"] for record in result}
        result += [found[i] for i in sorted(found, reverse=True) if i not in shown]
    return result


class _Newest:
    """Orders a heap by id, which begins with the time, from the newest to the oldest."""

    __slots__ = ("snapshot_id",)

    def __init__(self, snapshot_id: str) -> None:
        self.snapshot_id = snapshot_id

    def __lt__(self, other: _Newest) -> bool:
        return self.snapshot_id > other.snapshot_id


def _count_children(found: Mapping[str, Summary]) -> dict[str, int]:
    counts = dict.fromkeys(found, 0)
    for record in found.values():
        if record["parent_id"] in counts:
            counts[record["parent_id"]] += 1
    return counts
