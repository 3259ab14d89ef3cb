"""List the snapshots of a worktree, newest first

Follows the parents from the newest snapshot of the worktree back to the first one. A line shows short id, age, what
changed (entries added, removed and modified, and the bytes of new content), note and tags; `[HEAD]` stands at the
newest snapshot, `you are here` at the one whose files the worktree holds. --all and --graph show every snapshot,
also those of other worktrees and former tips. What a collection took is shown as `(collected)`.
"""

from __future__ import annotations

import argparse
import os

from jvs import cli
from jvs.errors import READING, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from jvs.history import Choice, Marks
    from jvs.store import Store
    from jvs.terminal import Terminal

RAISES = READING
SEE_ALSO = ("jvs-show(1)", "jvs-diff(1)", "jvs-restore(1)", "jvs-list-snapshots(1)")
EXAMPLES = (
    ("jvs history -n 10", "the ten newest"),
    ("jvs history --graph", "every snapshot, with branches and forks"),
    ("jvs history -g '^epoch' --tag good", "those with a note that begins so, and a tag"),
    ("jvs history --format '{short_id} {size:>10} {subject}'", "lines of your own"),
)
_CHUNK_LINES = 50


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("history", __doc__, jsonl=True)
    parser.add_argument("-n", "--limit", metavar="N", type=int, help="show N of them at most")
    parser.add_argument(
        "--tag", metavar="TAG", action="append", default=[], help="only those with this tag; repeatable"
    )
    parser.add_argument(
        "-g", "--grep", metavar="PATTERN", help="only those with a note or tag that fits this regular expression"
    )
    parser.add_argument("--all", action="store_true", help="every snapshot, of all worktrees, former tips too")
    parser.add_argument("--graph", action="store_true", help="draw branches and forks; shows every snapshot")
    parser.add_argument("--oneline", action="store_true", help="short id, note and tags only")
    parser.add_argument("--format", metavar="F", help="print this for each; fields like {short_id}, {note}, {age}")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Choose the snapshots; text is made only when it is wanted, while it is read."""
    from jvs import history

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    choice = history.Choice(limit=args.limit, tags=args.tag, pattern=args.grep)
    marks = history.Marks(store, name)
    if args.format is not None and args.graph:
        raise UsageError("--format and --graph exclude each other", hint="leave one of them out")
    if args.graph and not (args.json or args.jsonl):
        return cli.Result(None, lambda terminal: _put(_graph(store, choice, marks, args, terminal), terminal))
    if args.all or args.graph:
        records: Iterable[dict[str, Any]] = choice.take(history.newest_first(history.everything(store)))
    else:
        records = history.along_line(store, marks.latest, choice)
    if args.json or args.jsonl:
        found = ({**record, **marks.describe(record["snapshot_id"])} for record in records)
        return cli.Result(None, items=found) if args.jsonl else cli.Result(list(found))
    if args.format is not None:
        lines = history.lines_with_format(store, records, args.format)
        return cli.Result(None, lambda terminal: _put(lines, terminal))
    return cli.Result(None, lambda terminal: _put(_lines(store, records, choice, marks, args, terminal), terminal))


def _lines(
    store: Store,
    records: Iterable[dict[str, Any]],
    choice: Choice,
    marks: Marks,
    args: argparse.Namespace,
    terminal: Terminal,
) -> Iterator[str]:
    from jvs import history, refs

    writer = history.Writer(marks, refs.ShortIds.among_all(store.layout), terminal, oneline=args.oneline, all=args.all)
    count, here = 0, False
    for record in records:
        count += 1
        here = here or record["snapshot_id"] == marks.head
        yield writer.line(record) + "\n"
    yield from _last_words(count, here or args.limit is not None, choice, marks, writer)


def _graph(store: Store, choice: Choice, marks: Marks, args: argparse.Namespace, terminal: Terminal) -> Iterator[str]:
    from jvs import history, refs

    found = history.choose(history.everything(store), choice)
    writer = history.Writer(marks, refs.ShortIds.among_all(store.layout), terminal, oneline=args.oneline, all=True)
    left = choice.limit if choice.limit is not None else len(found)
    for drawn, snapshot_id in history.draw(found, history.drawing_order(found, marks.latest)):
        if left <= 0:
            break
        left -= snapshot_id is not None
        yield (writer.line(found[snapshot_id], drawn) if snapshot_id else drawn.rstrip()) + "\n"
    yield from _last_words(len(found), True, choice, marks, writer)


def _last_words(count: int, here: bool, choice: Choice, marks: Marks, writer: Any) -> Iterator[str]:
    if count == 0 and choice.limit != 0:
        if choice.filters:
            yield "No snapshot fits; 'jvs history --all' looks at every one.\n"
        else:
            yield "No snapshot yet: take one with 'jvs snapshot NOTE'.\n"
    elif marks.detached and marks.head and not here and not choice.filters:
        short = writer.short(marks.head)
        yield f"You are at {short} (detached), which is not on this line: see 'jvs history --all'.\n"


def _put(lines: Iterable[str], terminal: Terminal) -> bytes:
    """Hand text on while it is being made, so that the first page of a long history is there at once.

    Through the pager on a terminal; else in pieces to stdout, and the last piece is returned.
    """
    import sys

    from jvs import durable

    encoding = sys.stdout.encoding or "utf-8"
    chunks = _in_chunks(line.encode(encoding, "backslashreplace") for line in lines)
    if terminal.tty:
        from jvs import terminal as screen

        rest = screen.page_stream(chunks, os.environ)
        if rest is None:
            return b""
        chunks = iter((b"".join(rest),))
    try:
        stdout = sys.stdout.fileno()
    except (OSError, ValueError):  # a program that runs this in its own process put a buffer there
        return b"".join(chunks)
    sys.stdout.flush()
    last = b""
    for chunk in chunks:
        if last:
            durable.write_all(stdout, last)
        last = chunk
    return last


def _in_chunks(lines: Iterable[bytes]) -> Iterator[bytes]:
    chunk: list[bytes] = []
    for line in lines:
        chunk.append(line)
        if len(chunk) >= _CHUNK_LINES:
            yield b"".join(chunk)
            chunk = []
    if chunk:
        yield b"".join(chunk)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
