"""Show one snapshot

Prints every field of the descriptor, what changed against the parent, and where the files are: below `path` they can
be read like any others. A snapshot is hashed before it is published; whether it is still complete only 'jvs verify'
can tell, and when it last did so for this user is shown. Without TARGET it shows the head, the snapshot whose files
the worktree holds.
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
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("show", __doc__)
    parser.add_argument("target", metavar="TARGET", nargs="?", help="the snapshot (the head)")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Read one descriptor, and what is known about the snapshot next to it."""
    from jvs.compare import history
    from jvs.store import annotation, lineage, refs, verified
    from jvs.ui import show_text

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
