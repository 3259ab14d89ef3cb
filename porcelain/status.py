"""Show where the worktree is and what changed since

Compares the files of the worktree with the snapshot that it was last brought to (its head). Directories and files
that did not change since are recognised by their stamps and not read. Writes nothing below the worktree. Before the
first snapshot everything counts as added. The exit code is 0 either way; with --exit-code it is 3 when something
changed.
"""

from __future__ import annotations

import argparse

from jvs import cli
from jvs.errors import READING, PayloadHashMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.diff import Folded, Status
    from jvs.store import Store
    from jvs.terminal import Terminal

RAISES = (*READING, PayloadHashMismatch)
SEE_ALSO = ("jvs-diff(1)", "jvs-snapshot(1)", "jvs-restore(1)", "jvs-history(1)")
EXAMPLES = (
    ("jvs status", "where am I, and what changed"),
    ("jvs status -s", "one line for each path"),
    ("jvs status --porcelain -z", "the same for scripts, raw names"),
)
_COLORS = {"A": "green", "D": "red", "M": "yellow"}
_FIRST_ROWS = 12


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("status", __doc__, zero=True)
    parser.add_argument("path", metavar="PATH", nargs="*", help="only these paths and what lies below them")
    parser.add_argument("-s", "--short", action="store_true", help="a letter (A, M, D) and a path on each line")
    parser.add_argument("--porcelain", action="store_true", help="as --short, in a form that never changes, no colour")
    parser.add_argument("--exit-code", action="store_true", help="exit 3 when something changed")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Look at the worktree."""
    from jvs import diff

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    store.require_worktree(name)
    paths = cli.worktree_paths(store, name, args.path) if args.path else None
    with store.reading():
        found = diff.status(store, name, paths=paths)
    code = 3 if args.exit_code and not found.clean else 0
    if args.short or args.porcelain or args.zero:
        return cli.Result(found.as_json(), lambda screen: _short(found, args, screen), exit=code, pager=args.short)
    return cli.Result(found.as_json(), lambda screen: _long(store, found, screen), exit=code, pager=True)


def _short(found: Status, args: argparse.Namespace, screen: Terminal) -> bytes:
    from jvs import terminal

    rows = [(change.letter, change.path + (b"/" if change.is_dir else b"")) for change in found.diff.changes]
    rows += [("?", path) for path in found.diff.unreadable]
    parts = []
    for letter, path in rows:
        if args.zero:
            parts.append(letter.encode() + b" " + path + b"\0")
            continue
        shown = letter if args.porcelain else screen.paint(letter, _COLORS.get(letter, "red"))
        parts.append(f"{shown} {terminal.quote_path(path)}\n".encode())
    return b"".join(parts)


def _long(store: Store, found: Status, screen: Terminal) -> str:
    from jvs import diff, patch, terminal

    lines = [*_where(store, found, screen), f"Engine: {found.engine}"]
    folded = diff.fold(found.diff.changes)
    if found.head is None:
        lines += ["", *_first(folded, screen)]
    elif found.diff.changes:
        lines += ["", "Changed since:"]
        lines += [_row(item, screen) for item in folded]
        lines += ["", patch.summary(found.diff.counts())]
    elif found.clean:
        lines.append("Clean: nothing changed since.")
    if found.diff.unreadable:
        lines += ["", "Cannot be read:"]
        lines += [f"  ?  {terminal.show_path(path)}" for path in found.diff.unreadable]
    return "\n".join(lines) + "\n"


def _where(store: Store, found: Status, screen: Terminal) -> list[str]:
    from jvs import history, lineage, refs, terminal

    name = screen.paint(found.name, "bold")
    if found.head is None:
        return [f"Worktree {name}: no snapshot yet"]
    record = lineage.load_any(store.layout, found.head)
    short = screen.paint(refs.short_id(store.layout, found.head), "yellow")
    state = screen.paint(" (detached)", "bold", "red") if found.detached else ""
    lines = [f"Worktree {name} at {short}{state}, {history.show_age(record)}"]
    note = history.first_line(record["note"])
    if note:
        lines.append(f"  {terminal.cut(note, screen.width - 2)}")
    if found.detached and found.latest is not None:
        latest = refs.short_id(store.layout, found.latest)
        lines += [
            f"The newest snapshot of this line is {latest}:",
            "  'jvs restore HEAD' returns to it, 'jvs fork NAME' goes on elsewhere.",
        ]
    return lines


def _row(item: Folded, screen: Terminal) -> str:
    from jvs import patch, terminal

    change = item.change
    letter = screen.paint(change.letter, _COLORS[change.letter])
    if change.is_dir and change.letter != "M":
        detail = f"{terminal.plural(item.files, 'file')}, {terminal.size(item.bytes)}" if item.files else "empty"
    else:
        detail = patch.show_sizes(change)
    shown = patch.show_change(change)
    if screen.tty:
        shown = terminal.cut_left(shown, max(screen.width - terminal.columns(detail) - 9, 12))
    return f"  {letter}  {shown}  {screen.paint(f'({detail})', 'dim')}"


def _first(folded: list[Folded], screen: Terminal) -> list[str]:
    """Say what the first snapshot would hold."""
    from jvs import terminal

    if not folded:
        return ["There are no files yet."]
    files, size = sum(item.files for item in folded), sum(item.bytes for item in folded)
    lines = [f"The first snapshot would hold {terminal.plural(files, 'file')}, {terminal.size(size)}:"]
    lines += [_row(item, screen) for item in folded[:_FIRST_ROWS]]
    if len(folded) > _FIRST_ROWS:
        lines.append(f"  ... and {len(folded) - _FIRST_ROWS} more: 'jvs status -s' lists them")
    return [*lines, "", "Take it with 'jvs snapshot NOTE'."]


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
