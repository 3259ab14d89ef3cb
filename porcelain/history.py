"""List the snapshots of a worktree, newest first

Follows the parents from the newest snapshot of the worktree back to the first one. A line shows short id, age, what
changed (entries added, removed and modified, and the bytes of new content), note and tags; `[HEAD]` is shown at the
newest snapshot, `you are here` at the one whose files the worktree holds. --all and --graph show every snapshot,
also those of other worktrees and former tips. What a collection took is shown as `(collected)`.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import READING, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jvs.ui.terminal import Terminal

RAISES = READING
SEE_ALSO = ("jvs-show(1)", "jvs-diff(1)", "jvs-restore(1)", "jvs-list-snapshots(1)")
EXAMPLES = (
    ("jvs history -n 10", "the ten newest"),
    ("jvs history --graph", "every snapshot, with branches and forks"),
    ("jvs history -g '^epoch' --tag good", "those with a note that begins so, and a tag"),
    ("jvs history --format '{short_id} {size:>10} {subject}'", "lines of your own"),
)


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
    from jvs.compare import history
    from jvs.operations import looking
    from jvs.ui import fields, history_text

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    choice = history.Choice(limit=args.limit, tags=args.tag, pattern=args.grep)
    marks = history.Decorations(store, name)
    if args.format is not None and args.graph:
        raise UsageError("--format and --graph exclude each other", hint="leave one of them out")
    if args.graph and not (args.json or args.jsonl):
        return _listing(lambda screen: history_text.graph_lines(store, choice, marks, screen, oneline=args.oneline))
    records = looking.history(
        store, name, limit=args.limit, tags=args.tag, pattern=args.grep, everything=args.all or args.graph
    )
    if args.json or args.jsonl:
        found = ({**record, **marks.describe(record["snapshot_id"])} for record in records)
        return cli.Result(None, items=found) if args.jsonl else cli.Result(list(found))
    if args.format is not None:
        formatted = fields.lines_with_format(store, records, args.format)
        return _listing(lambda screen: formatted)
    more = {"oneline": args.oneline, "all": args.all}
    return _listing(lambda screen: history_text.lines(store, records, choice, marks, screen, **more))


def _listing(make: Callable[[Terminal], Iterable[str]]) -> cli.Result:
    return cli.Result(None, lambda screen: cli.put(make(screen), screen))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
