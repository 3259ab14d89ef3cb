r"""List the snapshots of a worktree, newest first

Follows the parents from the newest snapshot of the worktree back to the first one. A line shows short id, age, what
changed (entries added, removed and modified, and the bytes of new content), note and tags; `[HEAD]` is shown at the
newest snapshot, `you are here` at the one whose files the worktree holds. --all and --graph show every snapshot,
also those of other worktrees and former tips. What a collection took is shown as `(collected)`. With FROM the line
begins at that snapshot.

With PATHs (or patterns such as '*.py'), which may be deleted by now, only the snapshots that changed their content are
listed, with what each did: added, changed or removed, and the size. No file is read for that. --meta and --sort choose
and sort by the facts of snapshots, numbers as numbers; those without the fact come last.

Fields of --format: id, short_id, parent_id, note, subject, tags, meta, created_at, age, worktree, engine, actor,
files, dirs, bytes, size, root_hash, added, removed, modified, changed_bytes, degraded, path, collected, verified;
`meta.KEY` is one fact. `{size:>10}` gives a width, `\n`, `\t` and `\0` are as in printf.
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
SEE_ALSO = ("jvs-show(1)", "jvs-diff(1)", "jvs-restore(1)", "jvs-cat(1)", "jvs-meta(1)", "jvs-list-snapshots(1)")
EXAMPLES = (
    ("jvs history -n 10", "the ten newest"),
    ("jvs history --graph", "every snapshot, with branches and forks"),
    ("jvs history -g '^epoch' --tag good", "those with a note that begins so, and a tag"),
    ("jvs history -- src/model.py", "the snapshots that changed a file"),
    ("jvs history LATEST~10 -- '*.toml'", "the same for a pattern, from an older snapshot on"),
    ("jvs history --sort=-accuracy -n 3", "the three with the largest accuracy"),
    ("jvs history --meta host=gpu3 --meta done", "those with this fact, and with one of any value"),
    ("jvs history --format '{short_id} {size:>10} {subject}'", "lines of your own"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("history", __doc__, jsonl=True)
    parser.add_argument("start", metavar="FROM", nargs="?", help="begin at this snapshot (the latest)")
    parser.add_argument("path", metavar="PATH", nargs="*", help="only what changed these paths or patterns, after '--'")
    parser.add_argument("--paths", metavar="P", action="append", default=[], help="only this path; repeatable")
    parser.add_argument("-n", "--limit", metavar="N", type=int, help="show N of them at most")
    parser.add_argument(
        "--tag", metavar="TAG", action="append", default=[], help="only those with this tag; repeatable"
    )
    parser.add_argument(
        "-g", "--grep", metavar="PATTERN", help="only those with a note or tag that fits this regular expression"
    )
    parser.add_argument(
        "--meta", metavar="K=V", action="append", default=[], help="only those with this fact; K: any value; repeatable"
    )
    parser.add_argument("--sort", metavar="[-]K", help="sort by the fact K; with '-' the largest first")
    parser.add_argument("--all", action="store_true", help="every snapshot, of all worktrees, former tips too")
    parser.add_argument("--graph", action="store_true", help="draw branches and forks; shows every snapshot")
    parser.add_argument("--oneline", action="store_true", help="short id, note and tags only")
    parser.add_argument("--format", metavar="F", help="print this for each: '{short_id} {note}'")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Choose the snapshots; text is made only when it is wanted, while it is read."""
    from jvs.compare import history
    from jvs.operations import looking
    from jvs.ui import fields, history_text

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    paths = cli.worktree_paths(store, args.worktree, args.paths)
    _check(args, paths)
    meta = _facts(args.meta)
    choice = history.Choice(limit=args.limit, tags=args.tag, pattern=args.grep, meta=meta, sort=args.sort)
    marks = history.Decorations(store, name)
    if args.graph and not (args.json or args.jsonl):
        return _listing(lambda screen: history_text.graph_lines(store, choice, marks, screen, oneline=args.oneline))
    records = looking.history(
        store,
        name,
        limit=args.limit,
        tags=args.tag,
        pattern=args.grep,
        meta=meta,
        sort=args.sort,
        start=args.start,
        paths=paths,
        everything=args.all or args.graph,
    )
    if args.json or args.jsonl:
        found = ({**record, **marks.describe(record["snapshot_id"])} for record in records)
        return cli.Result(None, items=found) if args.jsonl else cli.Result(list(found))
    if args.format is not None:
        formatted = fields.lines_with_format(store, records, args.format)
        return _listing(lambda screen: formatted)
    more = {"oneline": args.oneline, "all": args.all, "paths": paths}
    return _listing(lambda screen: history_text.lines(store, records, choice, marks, screen, **more))


def _check(args: argparse.Namespace, paths: list[bytes] | None) -> None:
    """Refuse what does not go together. Errors: E_USAGE."""
    if args.path:
        raise UsageError(f"unexpected argument '{args.path[0]}'", hint="put paths after '--': jvs history -- PATH")
    asked = {
        "--format": args.format is not None,
        "--sort": args.sort is not None,
        "PATH": paths is not None,
        "FROM": args.start is not None,
    }
    for word, is_there in asked.items():
        if args.graph and is_there:
            raise UsageError(f"{word} and --graph exclude each other", hint="leave one of them out")


def _facts(words: list[str]) -> dict[str, str | None]:
    """Return the facts that are asked for; None for any value. Errors: E_NAME_INVALID, E_USAGE."""
    from jvs import names

    of_any = names.check_meta({word: "" for word in words if "=" not in word})
    return {**dict.fromkeys(of_any), **names.split_meta(word for word in words if "=" in word)}


def _listing(make: Callable[[Terminal], Iterable[str]]) -> cli.Result:
    return cli.Result(None, lambda screen: cli.put(make(screen), screen))


def main(argv: list[str] | None = None) -> int:
    """Run the command; `-KEY` after `--sort` is no option, and what comes after `--` is a path."""
    import sys

    words = list(sys.argv[1:] if argv is None else argv)
    own = words.index("--") if "--" in words else len(words)
    if "--sort" in words[: own - 1]:
        at = words.index("--sort")
        words[at : at + 2] = [f"--sort={words[at + 1]}"]
    return cli.run(build_parser(), work, cli.with_paths(words))
