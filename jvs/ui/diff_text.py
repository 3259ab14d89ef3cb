"""What a person reads of a difference: the list of changes, bars that fit the screen, and names for scripts.

Source: jvs-diff(1).
"""

from __future__ import annotations

from jvs import units
from jvs.compare.changes import MODIFIED, RENAMED
from jvs.fs import listing
from jvs.ui import history_text, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jvs.compare.changes import Change
    from jvs.compare.diff import Diff, Side
    from jvs.ui.terminal import Terminal

NARROW_COLUMNS = 60
LEAST_COLUMNS = 12
"""A path is never cut to less."""
COLORS = {"A": "green", "D": "red", "M": "yellow", "R": "magenta"}
_BAR_COLORS = {"+": "green", "-": "red", "~": "yellow"}
_ARROW = " -> "


def show_change(change: Change, width: int | None = None) -> str:
    """Return the path of a change for people; a directory ends with a slash, a rename shows both paths.

    With a width in columns the beginnings of the paths are cut off where they do not fit.
    """
    text = terminal.show_path(change.path) + ("/" if change.is_dir and change.path != b"." else "")
    if change.what != RENAMED:
        return text if width is None else terminal.cut_left(text, width)
    old = terminal.show_path(change.old_path)
    if width is None or terminal.columns(old) + len(_ARROW) + terminal.columns(text) <= width:
        return old + _ARROW + text
    each = (width - len(_ARROW)) // 2
    spare = max(each - terminal.columns(old), 0)
    text = terminal.cut_left(text, each + spare)
    return terminal.cut_left(old, width - len(_ARROW) - terminal.columns(text)) + _ARROW + text


def overview(found: Diff, short: Callable[[str], str], screen: Terminal, *, stat: bool = False) -> str:
    """Return both sides, each change on a line of its own (or with a bar), and how many there are."""
    lines = [f"From {_side(found.before, short, screen)}", f"To   {_side(found.after, short, screen)}", ""]
    lines += stat_lines(found, screen) if stat else (_row(change, screen) for change in found.changes)
    lines += [f"?  {terminal.show_path(path)}  cannot be read" for path in found.unreadable]
    if found.changes or found.unreadable:
        lines.append("")
    lines.append(summary(found.counts()))
    return "\n".join(lines) + "\n"


def _side(side: Side, short: Callable[[str], str], screen: Terminal) -> str:
    if side.record is None:
        return "the files now" if side.directory else "nothing"
    begin = f"{short(side.record['snapshot_id'])} ({history_text.show_age(side.record)}) "
    note = history_text.first_line(side.record["note"])
    return (begin + terminal.cut(note, max(screen.width - len(begin) - 5, LEAST_COLUMNS))).rstrip()


def _row(change: Change, screen: Terminal) -> str:
    quiet = change.letter != "M" and (change.is_dir or (change.letter == "R" and not change.how()))
    detail = "" if quiet else f"({show_sizes(change)})"
    room = max(screen.width - terminal.columns(detail) - 5, LEAST_COLUMNS) if screen.tty else None
    letter = screen.paint(change.letter, COLORS[change.letter])
    return f"{letter}  {show_change(change, room)}  {screen.paint(detail, 'dim')}".rstrip()


def names(changes: list[Change], *, zero: bool, letters: bool) -> bytes:
    """Names for scripts: quoted lines, or raw names with NUL after each; a rename gives both, the old one first."""
    end = b"\0" if zero else b"\n"
    between = b"\0" if zero else b"\t"
    parts = []
    for change in changes:
        both = letters and change.what == RENAMED
        paths = [change.old_path, change.path] if both else [change.path]
        shown = paths if zero else [terminal.quote_path(path).encode("utf-8") for path in paths]
        parts.append(between.join([change.letter.encode(), *shown] if letters else shown) + end)
    return b"".join(parts)


def touched(change: Change) -> dict[str, int]:
    """Return the bytes that a change added (`+`), removed (`-`) and wrote anew (`~`), as far as sizes tell."""
    old = change.old[3] if change.old is not None and change.old[1] == listing.FILE else 0
    new = change.new[3] if change.new is not None and change.new[1] == listing.FILE else 0
    same = change.old is not None and change.new is not None and change.old[4] == change.new[4]
    if change.is_dir or same:
        return {}
    return {"~": min(old, new), "+": max(new - old, 0), "-": max(old - new, 0)}


def show_sizes(change: Change) -> str:
    """Return what happened to the size: `1.0 KiB`, `1.0 KiB -> 2.0 KiB`, or what else of the entry changed."""
    old, new = change.old, change.new
    if change.is_dir and change.what != MODIFIED:
        return "directory"
    if old is None or new is None:
        entry = change.entry
        return units.size(entry[3]) if entry[1] == listing.FILE else listing.KIND_NAMES[entry[1]]
    how = change.how()
    if "kind" in how:
        return f"{listing.KIND_NAMES[old[1]]} -> {listing.KIND_NAMES[new[1]]}"
    if "content" in how and new[1] == listing.FILE:
        sizes = [units.size(old[3]), units.size(new[3])]
        text = sizes[1] if sizes[0] == sizes[1] else " -> ".join(sizes)
        return text if change.changed_bytes is None else f"{units.size(change.changed_bytes)} of {text} changed"
    if "mode" in how:
        return f"mode {old[2]:04o} -> {new[2]:04o}"
    return ", ".join(how) or "moved"


def stat_lines(found: Diff, screen: Terminal) -> Iterator[str]:
    """Yield a line with a bar for each change; the longest bar fills what the screen leaves."""
    rows = [(change, show_sizes(change), touched(change)) for change in found.changes]
    if not rows:
        return
    if screen.width < NARROW_COLUMNS:
        rows = [(change, sizes.rsplit(" -> ")[-1], counts) for change, sizes, counts in rows]
    size_width = max(terminal.columns(sizes) for _, sizes, _ in rows)
    bar_width = max(min(screen.width // 4, 40), 4)
    name_width = max(terminal.columns(show_change(change)) for change, _, _ in rows)
    name_width = max(min(name_width, screen.width - size_width - bar_width - 5), 4)
    most = max(sum(counts.values()) for _, _, counts in rows) or 1
    for change, sizes, counts in rows:
        shown = terminal.pad(show_change(change, name_width), name_width)
        signs = bar(counts, most, bar_width, screen)
        yield f" {shown} | {terminal.pad(sizes, size_width, right=True)} {signs}".rstrip()


def bar(counts: dict[str, int], most: int, width: int, screen: Terminal) -> str:
    """Return a bar of signs, in proportion to `most`; whatever is not nothing shows at least one sign."""
    lengths = {sign: max(round(count * width / most), 1) for sign, count in counts.items() if count}
    while sum(lengths.values()) > width and max(lengths.values()) > 1:
        longest = max(lengths, key=lambda sign: lengths[sign])
        lengths[longest] -= 1
    return "".join(screen.paint(sign * length, _BAR_COLORS[sign]) for sign, length in lengths.items())


def summary(counts: dict[str, int]) -> str:
    """Return `1 added, 2 modified`, or `no differences`."""
    return ", ".join(f"{count} {what}" for what, count in counts.items() if count) or "no differences"
