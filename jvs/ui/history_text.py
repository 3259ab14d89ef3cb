"""What a person reads of a history: one line for each snapshot, fit to the screen, and the last words below them.

Source: jvs-history(1).
"""

from __future__ import annotations

from jvs import clock, units
from jvs.store import refs
from jvs.tree import path_filter
from jvs.ui import terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeGuard

    from jvs.compare.history import Choice, Decorations
    from jvs.store.descriptor import Changes, Descriptor, PathVersion
    from jvs.store.store import Store
    from jvs.tree.builder import Counts
    from jvs.ui.terminal import Terminal

    Piece = tuple[str, tuple[str, ...]]

WIDE_COLUMNS = 60
"""A narrower screen gets no sizes of changes."""
MEDIUM_COLUMNS = 50
"""A narrower one gets no ages either, and shorter words."""
_AGE_COLUMNS = 10
_CHANGE_COLUMNS = 16
_NOTE_COLUMNS = 20


def show_changes(changes: Changes | None) -> str:
    """Return the size of a change: `+12 -3 ~5 1.2 MiB`, `none`, or `?` when it was not known."""
    if not are_counts(changes):
        return "?"
    signs = (("+", changes.get("added")), ("-", changes.get("removed")), ("~", changes.get("modified")))
    parts = [f"{sign}{count}" for sign, count in signs if count]
    if changes.get("bytes"):
        parts.append(units.size(changes["bytes"]))
    return " ".join(parts) or "none"


def are_counts(changes: object) -> TypeGuard[Changes]:
    """Answer whether the changes of a record are numbers: they are a remark, and nothing checks them elsewhere."""
    return isinstance(changes, dict) and all(
        isinstance(count, int) and 0 <= count < 1 << 63 for count in changes.values()
    )


def _change(record: Descriptor) -> str:
    """Return what a snapshot changed; a partial one has no tree of its own to count in."""
    if "path_changes" in record:
        return show_versions(record["path_changes"])
    paths = record.get("partial_paths")
    return show_changes(record.get("changes")) if paths is None else f"only {units.plural(len(paths), 'path')}"


def show_versions(found: list[PathVersion]) -> str:
    """Return what a snapshot did to the paths of a listing: the first change, and the size that it left."""
    first = found[0]
    size = first["size"] if first["size"] is not None else first["old_size"]
    return f"{first['change']} {units.size(size or 0)}"


def show_paths(found: list[PathVersion]) -> str:
    """Return which paths a snapshot changed, for a listing of several."""
    more = f" (+{len(found) - 1} more)" if len(found) > 1 else ""
    return terminal.show_text(found[0]["path"]) + more


def show_content(payload: Counts) -> str:
    """Return what a snapshot holds: `3 files, 1 directory; 1.2 MiB`."""
    kinds = (
        (payload.get("files"), "file", "files"),
        (payload.get("dirs"), "directory", "directories"),
        (payload.get("symlinks"), "link", "links"),
        (payload.get("others"), "special file", "special files"),
    )
    parts = [units.plural(count, one, many) for count, one, many in kinds if count]
    return f"{', '.join(parts) or 'nothing'}; {units.size(payload.get('bytes', 0))}"


def first_line(note: str) -> str:
    """Return the first line of a note, fit for one line of a screen."""
    line, _, rest = note.strip("\n").partition("\n")
    return terminal.show_text(line) + (" ..." if rest.strip() else "")


def show_age(record: Descriptor) -> str:
    """Return the age of a snapshot, for people."""
    return terminal.age(clock.parse_rfc3339(record["created_at"]))


class Writer:
    """Makes the lines of a listing, one snapshot after the other.

    `short` gives the short id of an id. `oneline` leaves out age and size of change, `all` names the tips of other
    worktrees; `paths` names the path that changed, where it could be one of several; `fact` is shown of each.
    """

    paths = False
    fact: str | None = None

    def __init__(
        self, marks: Decorations, short: Callable[[str], str], screen: Terminal, *, oneline: bool, all: bool
    ) -> None:
        self.marks = marks
        self.short = short
        self.screen = screen
        self.oneline = oneline
        self.all = all
        self.narrow = screen.tty and screen.width < MEDIUM_COLUMNS

    def line(self, record: Descriptor, before: str = "") -> str:
        """Return the line of one snapshot, after what a graph draws before it.

        On a terminal it fits: tags and the names of worktrees are cut before the note is.
        """
        front, labels = self._front(record, before), self._labels(record)
        others, latest, here = self._marks(record["snapshot_id"])
        note = first_line(record["note"]) or "(no note)"
        if self.screen.tty:
            room = max(self.screen.width - _columns([*front, *latest, *here]), 0)
            spare = room - min(terminal.columns(note), _NOTE_COLUMNS)
            others = _cut_pieces(others, spare)
            labels = _cut_pieces(labels, spare - _columns(others))
            note = terminal.cut(note, room - _columns([*others, *labels]))
        pieces = [*front, (note, () if record["note"] else ("dim",)), *labels, *latest, *others, *here]
        if self.screen.tty:
            pieces = _cut_pieces(pieces, self.screen.width)
        return "".join(self.screen.paint(text, *colors) if colors else text for text, colors in pieces).rstrip()

    def _front(self, record: Descriptor, before: str) -> list[Piece]:
        pieces: list[Piece] = [(before, ()), (self.short(record["snapshot_id"]), ("yellow",)), ("  ", ())]
        if self.oneline or self.narrow:
            if "path_changes" in record:
                pieces.append((_change(record) + "  ", ("dim",)))
            return pieces + self._asked(record)
        pieces.append((terminal.pad(show_age(record), _AGE_COLUMNS, right=True) + "  ", ("cyan",)))
        if self.screen.width >= WIDE_COLUMNS:
            pieces.append((terminal.pad(_change(record), _CHANGE_COLUMNS) + "  ", ("dim",)))
        return pieces + self._asked(record)

    def _asked(self, record: Descriptor) -> list[Piece]:
        """Return the path and the fact that a listing is about."""
        pieces: list[Piece] = []
        if self.paths and "path_changes" in record:
            pieces.append((show_paths(record["path_changes"]) + "  ", ("green",)))
        if self.fact is not None:
            value = record.get("meta", {}).get(self.fact)
            pieces.append((f"{self.fact}={'-' if value is None else terminal.show_text(value)}  ", ("cyan",)))
        return pieces

    def _labels(self, record: Descriptor) -> list[Piece]:
        pieces: list[Piece] = []
        if record["tags"]:
            pieces.append((f" ({', '.join(terminal.show_text(str(tag)) for tag in record['tags'])})", ("green",)))
        if record.get("merged"):
            pieces.append((f" [merged {', '.join(self.short(other) for other in record['merged'])}]", ("magenta",)))
        if record.get("collected"):
            pieces.append((" (collected)", ("dim",)))
        return pieces

    def _marks(self, snapshot_id: str) -> tuple[list[Piece], list[Piece], list[Piece]]:
        """Return the tips of other worktrees, whether it is the latest, and whether it is the head."""
        names = self.marks.tips.get(snapshot_id, []) if self.all else []
        others: list[Piece] = [(f" [{name}]", ("magenta",)) for name in names if name != self.marks.name]
        latest: list[Piece] = [(" [HEAD]", ("bold", "cyan"))] if snapshot_id == self.marks.latest else []
        words = (" here" if self.narrow else " you are here") + (" (detached)" if self.marks.detached else "")
        return others, latest, [(words, ("bold",))] if snapshot_id == self.marks.head else []


def _columns(pieces: Iterable[Piece]) -> int:
    return sum(terminal.columns(text) for text, _ in pieces)


def _cut_pieces(pieces: list[Piece], width: int) -> list[Piece]:
    """Return the pieces that fit, the one at the edge cut; one that only dots would be left of goes."""
    kept: list[Piece] = []
    for text, colors in pieces:
        if terminal.columns(text) > width:
            if width > len(" (a..."):
                kept.append((terminal.cut(text, width), colors))
            break
        kept.append((text, colors))
        width -= terminal.columns(text)
    return kept


def lines(
    store: Store,
    records: Iterable[Descriptor],
    choice: Choice,
    marks: Decorations,
    screen: Terminal,
    *,
    oneline: bool = False,
    all: bool = False,
    paths: list[bytes] | None = None,
) -> Iterator[str]:
    """Yield the lines of a listing while the snapshots are read."""
    writer = Writer(marks, refs.ShortIds.among_all(store.layout), screen, oneline=oneline, all=all)
    writer.paths = paths is not None and (len(paths) > 1 or any(path_filter.is_pattern(path) for path in paths))
    writer.fact = choice.sort and choice.sort.removeprefix("-")
    count, here = 0, False
    for record in records:
        count += 1
        here = here or record["snapshot_id"] == marks.head
        yield writer.line(record) + "\n"
    yield from _last_words(count, here or choice.limit is not None, choice, marks, writer)


def graph_lines(
    store: Store, choice: Choice, marks: Decorations, screen: Terminal, *, oneline: bool = False
) -> Iterator[str]:
    """Yield the rows of the graph of every snapshot."""
    from jvs.compare import graph, history

    found = graph.choose(history.everything(store), choice)
    writer = Writer(marks, refs.ShortIds.among_all(store.layout), screen, oneline=oneline, all=True)
    left = choice.limit if choice.limit is not None else len(found)
    for drawn, snapshot_id in graph.draw(found, graph.drawing_order(found, marks.latest)):
        if left <= 0:
            break
        left -= snapshot_id is not None
        row = writer.line(found[snapshot_id], drawn) if snapshot_id else drawn.rstrip()
        yield (row if snapshot_id or not screen.tty else row[: screen.width]) + "\n"
    yield from _last_words(len(found), True, choice, marks, writer)


def _last_words(count: int, here: bool, choice: Choice, marks: Decorations, writer: Writer) -> Iterator[str]:
    words = ""
    if count == 0 and choice.limit != 0:
        words = "No snapshot yet: take one with 'jvs snapshot NOTE'."
        if choice.filters:
            words = "No snapshot fits; 'jvs history --all' looks at every one."
    elif marks.detached and marks.head and not here and not choice.filters:
        short = writer.short(marks.head)
        words = f"You are at {short} (detached), which is not on this line: see 'jvs history --all'."
    if words:
        yield from (line + "\n" for line in terminal.wrap(words, writer.screen))
