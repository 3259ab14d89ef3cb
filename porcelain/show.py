r"""Show one snapshot

Prints every field of the descriptor, what changed against the parent, and where the files are: below `path` they can
be read like any others. A snapshot is hashed before it is published; whether it is still complete only 'jvs verify'
can tell, and when it last did so for this user is shown. Without TARGET it shows the head, the snapshot whose files
the worktree holds.

Fields of --format: id, short_id, parent_id, note, subject, tags, meta, created_at, age, worktree, engine, actor,
files, dirs, bytes, size, root_hash, added, removed, modified, changed_bytes, degraded, path, collected, verified;
`meta.KEY` is one fact. `{size:>10}` gives a width, `\n`, `\t` and `\0` are as in printf.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.ui.show_text import SnapshotDocument

RAISES = NAMING
SEE_ALSO = ("jvs-history(1)", "jvs-cat-descriptor(1)", "jvs-ls-tree(1)", "jvs-format(5)")
EXAMPLES = (
    ("jvs show", "the snapshot that the files are at"),
    ("jvs show baseline --json", "a tagged one, for machines"),
    ("jvs show HEAD~1 --format '{path}'", "one field of it, for scripts"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("show", __doc__)
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the snapshot (the head)")
    parser.add_argument("--format", metavar="F", help="print this alone: '{id} {path}'")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Read one descriptor, and what is known about the snapshot next to it."""
    from jvs.compare import history
    from jvs.store import annotation, lineage, refs, verified
    from jvs.ui import escape, fields, show_text

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    marks = history.Decorations(store, name)
    if args.target is not None:
        target = refs.resolve(store, args.target, name)
    elif marks.head is not None:
        target = marks.head
    else:
        raise refs.no_snapshot(name)
    record = annotation.shown(store.layout, lineage.load_visible(store, target))
    if args.format is not None and not args.json:
        return cli.Result(text=escape.Exact("".join(fields.lines_with_format(store, [record], args.format))))
    value: SnapshotDocument = {
        **record,
        "short_id": refs.short_id(store.layout, target),
        "path": str(store.layout.payload(target)),
        **marks.describe(target),
        "last_verified": verified.recall(store).get(target),
    }
    return cli.Result(value, lambda screen: show_text.page(value, screen), pager=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
