"""History: which snapshots a listing shows, in which order, and the text that a person reads.

A listing of one line follows the parents and reads only as many descriptors as it shows.
Source: jvs-history(1); jvs-protocol(7), Lineage.
"""

from __future__ import annotations

from jvs import clock, lineage, refs, terminal, worktree
from jvs.errors import JvsError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from jvs.store import Store
    from jvs.terminal import Terminal

NARROW_COLUMNS = 60
_AGE_COLUMNS = 10
_CHANGE_COLUMNS = 16


class Marks:
    """Where the worktrees are: what a listing says beside some snapshots."""

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

    def describe(self, snapshot_id: str) -> dict[str, Any]:
        """Return the marks of one snapshot. Shape: `is_head`, `is_latest`, `tip_of`, `head_of`."""
        return {
            "is_head": snapshot_id == self.head,
            "is_latest": snapshot_id == self.latest,
            "tip_of": self.tips.get(snapshot_id, []),
            "head_of": self.heads.get(snapshot_id, []),
        }


class Choice:
    """Which snapshots are wanted: `limit` of them, with a tag, with a note or tag that fits a pattern."""

    def __init__(self, *, limit: int | None = None, tags: list[str] | None = None, pattern: str | None = None) -> None:
        if limit is not None and limit < 0:
            raise UsageError(f"-n {limit} is less than nothing", hint="write -n with a whole number")
        self.limit = limit
        self.tags = tags or []
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
        return bool(self.tags) or self._pattern is not None

    def fits(self, record: dict[str, Any]) -> bool:
        """Answer whether a snapshot is wanted."""
        if any(tag not in record["tags"] for tag in self.tags):
            return False
        if self._pattern is None:
            return True
        return any(self._pattern.search(text) for text in (record["note"], *map(str, record["tags"])))

    def take(self, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield what is wanted, and stop as soon as there is enough."""
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


def along_line(store: Store, start: str | None, choice: Choice) -> Iterator[dict[str, Any]]:
    """Yield the snapshots from `start` back to the first, newest first; collected ones have `collected` true.

    Errors: E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT.
    """
    return choice.take(lineage.line(store.layout, start))


def everything(store: Store) -> dict[str, dict[str, Any]]:
    """Read all visible snapshots, and what collections left of their ancestors; damaged ones are left out."""
    found = lineage.all_records(store.layout, tolerant=True)
    missing = [record["parent_id"] for record in found.values()]
    while missing:
        parent = missing.pop()
        if parent is not None and parent not in found:
            stone = lineage.tombstone_of(store.layout, parent)
            if stone is not None:
                found[parent] = stone
                missing.append(stone["parent_id"])
    return found


def newest_first(found: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
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


def _count_children(found: dict[str, dict[str, Any]]) -> dict[str, int]:
    counts = dict.fromkeys(found, 0)
    for record in found.values():
        if record["parent_id"] in counts:
            counts[record["parent_id"]] += 1
    return counts


def choose(found: dict[str, dict[str, Any]], choice: Choice) -> dict[str, dict[str, Any]]:
    """Return the wanted snapshots, each with its nearest wanted ancestor as `parent_id` in a copy, for drawing."""
    kept: dict[str, dict[str, Any]] = {}
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


def drawing_order(found: dict[str, dict[str, Any]], first: str | None) -> list[str]:
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


def draw(found: dict[str, dict[str, Any]], order: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield the rows of a graph: what is drawn, and the id of the snapshot in that row or None.

    Shape: a snapshot is `*`, a collected one `o`; `|/` joins a branch to the line that it left.
    """
    waiting: list[str] = []
    for snapshot_id in order:
        count = sum(1 for other in waiting if other == snapshot_id)
        for _ in range(count - 1):  # branch by branch means that those who wait for one parent stand at the right
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


def show_changes(changes: dict[str, Any] | None) -> str:
    """Return the size of a change: `+12 -3 ~5 1.2 MiB`, `none`, or `?` when it was not known."""
    if changes is None:
        return "?"
    signs = (("+", "added"), ("-", "removed"), ("~", "modified"))
    parts = [f"{sign}{changes[key]}" for sign, key in signs if changes.get(key)]
    if changes.get("bytes"):
        parts.append(terminal.size(changes["bytes"]))
    return " ".join(parts) or "none"


def show_content(payload: dict[str, Any]) -> str:
    """Return what a snapshot holds: `3 files, 1 directory; 1.2 MiB`."""
    kinds = (
        ("files", "file", "files"),
        ("dirs", "directory", "directories"),
        ("symlinks", "link", "links"),
        ("others", "special file", "special files"),
    )
    parts = [terminal.plural(payload[key], one, many) for key, one, many in kinds if payload.get(key)]
    return f"{', '.join(parts) or 'nothing'}; {terminal.size(payload.get('bytes', 0))}"


def first_line(note: str) -> str:
    """Return the first line of a note, fit for one line of a screen."""
    line, _, rest = note.strip("\n").partition("\n")
    return terminal.show_text(line) + (" ..." if rest.strip() else "")


class Writer:
    """Makes the lines of a listing, one snapshot after the other.

    `short` gives the short id of an id. `oneline` leaves out age and size of change.
    """

    def __init__(
        self, marks: Marks, short: Callable[[str], str], screen: Terminal, *, oneline: bool, all: bool
    ) -> None:
        self.marks = marks
        self.short = short
        self.screen = screen
        self.oneline = oneline
        self.all = all

    def line(self, record: dict[str, Any], before: str = "") -> str:
        """Return the line of one snapshot, after what a graph draws before it."""
        paint = self.screen.paint
        snapshot_id = record["snapshot_id"]
        pieces = [(before, ()), (self.short(snapshot_id), ("yellow",)), ("  ", ())]
        if not self.oneline:
            pieces.append((terminal.pad(show_age(record), _AGE_COLUMNS, right=True) + "  ", ("cyan",)))
            if self.screen.width >= NARROW_COLUMNS:
                pieces.append((terminal.pad(show_changes(record.get("changes")), _CHANGE_COLUMNS) + "  ", ("dim",)))
        behind = self._behind(record)
        note = first_line(record["note"]) or "(no note)"
        if self.screen.tty:
            used = sum(terminal.columns(text) for text, _ in (*pieces, *behind))
            note = terminal.cut(note, max(self.screen.width - used, 12))
        pieces.append((note, () if record["note"] else ("dim",)))
        return "".join(paint(text, *colors) if colors else text for text, colors in (*pieces, *behind)).rstrip()

    def _behind(self, record: dict[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
        marks, snapshot_id = self.marks, record["snapshot_id"]
        pieces: list[tuple[str, tuple[str, ...]]] = []
        if record["tags"]:
            pieces.append((f" ({', '.join(terminal.show_text(str(tag)) for tag in record['tags'])})", ("green",)))
        if record.get("collected"):
            pieces.append((" (collected)", ("dim",)))
        if snapshot_id == marks.latest:
            pieces.append((" [HEAD]", ("bold", "cyan")))
        if self.all:
            others = [name for name in marks.tips.get(snapshot_id, []) if name != marks.name]
            pieces += [(f" [{name}]", ("magenta",)) for name in others]
        if snapshot_id == marks.head:
            pieces.append((" you are here" + (" (detached)" if marks.detached else ""), ("bold",)))
        return pieces


def show_age(record: dict[str, Any]) -> str:
    """Return the age of a snapshot, for people."""
    return terminal.age(clock.parse_rfc3339(record["created_at"]))


FIELDS: dict[str, str] = {
    "id": "the full id",
    "short_id": "the shortest unique part of it",
    "parent_id": "the snapshot before, empty for the first",
    "note": "the note, all of it",
    "subject": "the first line of the note",
    "tags": "the tags, with commas between",
    "created_at": "when it was taken, UTC",
    "age": "how long ago that is",
    "worktree": "the worktree that it was taken of",
    "engine": "the engine that took it",
    "actor": "who took it",
    "files": "how many files it holds",
    "dirs": "how many directories",
    "bytes": "the sum of the file sizes",
    "size": "the same, for people",
    "root_hash": "the root hash of its files",
    "added": "how many entries it added",
    "removed": "how many it removed",
    "modified": "how many it changed",
    "changed_bytes": "the size of the files that it added or changed",
    "degraded": "how many things could not be kept",
    "path": "where its files are",
    "collected": "true when a collection took its files",
}
_PLAIN = {
    "id": "snapshot_id",
    "parent_id": "parent_id",
    "note": "note",
    "tags": "tags",
    "created_at": "created_at",
    "worktree": "worktree_name",
    "engine": "engine",
    "actor": "actor",
    "root_hash": "payload_root_hash",
}


def value_of(store: Store, record: dict[str, Any], short: Callable[[str], str]) -> Callable[[str], Any]:
    """Return a function that gives the value of a `--format` field (`FIELDS`) of one snapshot."""
    snapshot_id = record["snapshot_id"]
    changes = record.get("changes") or {}
    computed: dict[str, Callable[[], Any]] = {
        "short_id": lambda: short(snapshot_id),
        "subject": lambda: first_line(record["note"]),
        "age": lambda: show_age(record),
        "size": lambda: terminal.size(record["payload"].get("bytes", 0)),
        "changed_bytes": lambda: changes.get("bytes"),
        "degraded": lambda: len(record["degraded"]),
        "path": lambda: store.layout.payload(snapshot_id),
        "collected": lambda: bool(record.get("collected")),
    }

    def value(field: str) -> Any:
        if field in _PLAIN:
            return record[_PLAIN[field]]
        if field in ("files", "dirs", "bytes"):
            return record["payload"].get(field)
        if field in ("added", "removed", "modified"):
            return changes.get(field)
        return computed[field]()

    return value


def lines_with_format(store: Store, records: Iterable[dict[str, Any]], text: str) -> Iterator[str]:
    """Yield one formatted line for each snapshot. Errors: E_USAGE for unknown fields, at once."""
    from jvs import template

    fill = template.compile_format(text, FIELDS)
    short = refs.ShortIds.among_all(store.layout)
    return (fill(value_of(store, record, short)) for record in records)
