"""Print what a snapshot holds at a path

Prints the bytes of the file PATH of SNAPSHOT, or where a symbolic link leads to, after checking them against the hash
in the snapshot's tree. With -t the kind is printed instead (file, dir, symlink, fifo, socket, char, block), with -s
the size in bytes, with -d the digest; for these no file is read. PATH begins at the top of the worktree.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, PathEscape, PayloadHashMismatch

RAISES = tuple(dict.fromkeys((*NAMING, PayloadHashMismatch, PathEscape)))
SEE_ALSO = ("jvs-ls-tree(1)", "jvs-cat(1)", "jvs-resolve(1)")
EXAMPLES = (
    ("jvs-cat-file HEAD:src/model.py", "the content of a file"),
    ("jvs-cat-file -s HEAD:data.bin", "its size, without reading it"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("cat-file", __doc__)
    parser.add_argument("what", metavar="SNAPSHOT:PATH", help="a snapshot, and a path in it")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("-t", "--type", action="store_true", help="print the kind")
    which.add_argument("-s", "--size", action="store_true", help="print the size in bytes")
    which.add_argument("-d", "--digest", action="store_true", help="print the digest")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Prove the content and print it, or say what the tree says of it."""
    from jvs.cli import contents
    from jvs.compare import listing
    from jvs.operations import looking

    store = cli.open_store(args)
    target, path = contents.target_and_path(store, args.what, None, relative=False)
    held = looking.find(store, target, path)
    value = listing.entry_json(held.path, held.entry)
    if args.type or args.size or args.digest:
        word = value["kind"] if args.type else value["size"] if args.size else value["digest"]
        return cli.Result(value, f"{word}\n")
    if args.json:
        return cli.Result(value)
    return contents.print_file(store, args.what, None, relative=False)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
