"""List what differs between two trees

Prints one line for each entry that differs: A, D or M, the mode before and after, the digest before and after (`-`
where there is none), the path, with TABs between. Odd paths are quoted like C text; with -z they are raw. A and B are
snapshots or directories, as in jvs-ls-tree(1). Directories are descended only where their digests differ.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, PayloadHashMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.compare.changes import Change

RAISES = (*NAMING, PayloadHashMismatch)
SEE_ALSO = ("jvs-diff(1)", "jvs-ls-tree(1)", "jvs-hash-tree(1)")
EXAMPLES = (
    ("jvs-diff-tree HEAD~1 HEAD", "what the newest snapshot changed"),
    ("jvs-diff-tree --exit-code ./backup ./data", "two directories, without any repository"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("diff-tree", __doc__, jsonl=True, cbor=True, zero=True)
    parser.add_argument("before", metavar="A", help="a snapshot, or a directory")
    parser.add_argument("after", metavar="B", help="a snapshot, or a directory")
    parser.add_argument("--exit-code", action="store_true", help="exit 3 when something differs")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Compare two trees."""
    from jvs.compare import diff, listing

    forest = listing.Forest(lambda: cli.open_store(args))
    changes = diff.tree_changes(forest.load, forest.find(args.before), forest.find(args.after))
    code = 3 if args.exit_code and changes else 0
    if args.json or args.jsonl:
        value = [{"change": change.what, **change.as_json()} for change in changes]
        return cli.Result(value, items=value, exit=code)
    cbor = [[change.letter.encode(), change.path, change.old, change.new] for change in changes]
    return cli.Result(None, b"".join(_line(change, args.zero) for change in changes), cbor=cbor, exit=code)


def _line(change: Change, zero: bool) -> bytes:
    from jvs.compare.changes import show_mode
    from jvs.ui import terminal

    old, new = change.old, change.new
    fields = [
        change.letter,
        show_mode(old) or "-",
        show_mode(new) or "-",
        old[4].hex() if old is not None else "-",
        new[4].hex() if new is not None else "-",
    ]
    name = change.path + b"\0" if zero else terminal.quote_path(change.path).encode("utf-8") + b"\n"
    return "\t".join(fields).encode() + b"\t" + name


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
