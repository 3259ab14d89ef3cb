"""What a person reads of a worktree's state, and the short form for scripts.

Source: jvs-status(1).
"""

from __future__ import annotations

from jvs import units
from jvs.compare import changes
from jvs.store import annotation, lineage, refs
from jvs.ui import diff_text, history_text, terminal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.compare.changes import Folded
    from jvs.compare.status import Status
    from jvs.store.descriptor import Excluded
    from jvs.store.layout import Layout
    from jvs.ui.terminal import Terminal

_FIRST_ROWS = 12
_NAMED = 5


def short(found: Status, screen: Terminal, *, zero: bool, plain: bool) -> bytes:
    """Return a letter and a path for each change; `zero` gives raw names, `plain` no colour."""
    rows = [(item.letter, item.path + (b"/" if item.is_dir else b"")) for item in found.diff.changes]
    rows += [("?", path) for path in found.diff.unreadable]
    parts = []
    for letter, path in rows:
        if zero:
            parts.append(letter.encode() + b" " + path + b"\0")
            continue
        shown = letter if plain else screen.paint(letter, diff_text.COLORS.get(letter, "red"))
        parts.append(f"{shown} {terminal.quote_path(path)}\n".encode())
    return b"".join(parts)


def long(layout: Layout, found: Status, screen: Terminal) -> str:
    """Return the state of the worktree and what changed in it, fit to the screen."""
    lines = [*_where(layout, found, screen), f"Engine: {found.engine}"]
    if found.excluded is not None:
        lines += terminal.wrap(f"Excluded: {show_excluded(found.excluded)}", screen, "", "  ")
    folded = changes.fold(found.diff.changes)
    if found.head is None:
        lines += ["", *_first(folded, screen)]
    elif found.diff.changes:
        lines += ["", "Changed since:"]
        lines += [_row(item, screen) for item in folded]
        lines += ["", diff_text.summary(found.diff.counts())]
    elif found.clean:
        lines.append("Clean: nothing changed since.")
    if found.rules_changed:
        lines += ["", "The rules for what is excluded changed since."]
    if found.diff.not_captured:
        lines += ["", "Excluded now, and no longer captured:"]
        lines += [f"     {_fit(terminal.show_path(path), screen, 5)}" for path in found.diff.not_captured[:_FIRST_ROWS]]
        if len(found.diff.not_captured) > _FIRST_ROWS:
            lines.append(f"     ... and {len(found.diff.not_captured) - _FIRST_ROWS} more")
    if found.diff.unreadable:
        lines += ["", "Cannot be read:"]
        lines += [f"  ?  {_fit(terminal.show_path(path), screen, 5)}" for path in found.diff.unreadable]
    return "\n".join(lines) + "\n"


def show_excluded(excluded: Excluded) -> str:
    """Return in a few words what rules leave out: the entries of the root, and how many rules there are."""
    top = [terminal.show_text(item["path"]) for item in excluded["top"][:_NAMED]]
    more = f" and {excluded['entries'] - len(top)} more" if excluded["entries"] > len(top) else ""
    count = len(excluded["rules"]) + excluded["caches"]
    rules = units.plural(count, "rule")
    return f"{', '.join(top)}{more} ({rules})" if top else f"nothing at the top ({rules})"


def _where(layout: Layout, found: Status, screen: Terminal) -> list[str]:
    if found.head is None:
        return [f"Worktree {screen.paint(found.name, 'bold')}: no snapshot yet"]
    record = annotation.shown(layout, lineage.load_any(layout, found.head))
    short_id = refs.ShortIds.among_all(layout)
    state = screen.paint(" (detached)", "bold", "red") if found.detached else ""
    at = screen.paint(short_id(found.head), "yellow")
    name, when = terminal.cut(found.name, screen.width - 9), history_text.show_age(record)
    lines = [f"Worktree {screen.paint(name, 'bold')} at {at}{state}, {when}"]
    if screen.tty and len(f"Worktree {name} at 0123456, {when}") + 11 * found.detached > screen.width:
        lines = [f"Worktree {screen.paint(name, 'bold')}", f"  at {at}{state}, {when}"]
    note = history_text.first_line(record["note"])
    if note:
        lines.append(f"  {terminal.cut(note, screen.width - 2)}")
    if found.detached and found.latest is not None:
        lines += terminal.wrap(f"The newest snapshot of this line is {short_id(found.latest)}:", screen)
        words = "'jvs restore LATEST' returns to it, 'jvs fork NAME' goes on elsewhere."
        lines += terminal.wrap(words, screen, "  ", "  ")
    return lines


def _row(item: Folded, screen: Terminal) -> str:
    letter = item.change.letter
    if item.change.is_dir and letter != "M":
        detail = f"{units.plural(item.files, 'file')}, {units.size(item.bytes)}" if item.files else "empty"
    else:
        detail = diff_text.show_sizes(item.change)
    room = max(screen.width - terminal.columns(detail) - 9, diff_text.LEAST_COLUMNS) if screen.tty else None
    shown = diff_text.show_change(item.change, room)
    return f"  {screen.paint(letter, diff_text.COLORS[letter])}  {shown}  {screen.paint(f'({detail})', 'dim')}"


def _fit(path: str, screen: Terminal, used: int) -> str:
    return terminal.cut_left(path, max(screen.width - used, diff_text.LEAST_COLUMNS)) if screen.tty else path


def _first(folded: list[Folded], screen: Terminal) -> list[str]:
    """Say what the first snapshot would hold."""
    if not folded:
        return terminal.wrap("There are no files yet: put some here, then 'jvs snapshot NOTE' keeps them.", screen)
    files, size = sum(item.files for item in folded), sum(item.bytes for item in folded)
    lines = [f"The first snapshot would hold {units.plural(files, 'file')}, {units.size(size)}:"]
    lines += [_row(item, screen) for item in folded[:_FIRST_ROWS]]
    if len(folded) > _FIRST_ROWS:
        lines.append(f"  ... and {len(folded) - _FIRST_ROWS} more: 'jvs status -s' lists them")
    return [*lines, "", "Take it with 'jvs snapshot NOTE'."]
