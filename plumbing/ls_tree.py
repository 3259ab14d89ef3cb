"""List what a snapshot or directory holds

Prints one line for each entry, sorted by the bytes of the names: mode, kind, digest, size, path, with TABs between.
Odd paths are quoted like C text; with -z they are raw. The digest of a file is the SHA-256 of its content; that of a
file of more than 4 MiB is made of the digests of its leaves, see jvs-format(5), unless the snapshot is of
`sha256-tree-1`: in JSON, `algorithm` says which. WHAT is a snapshot as in jvs-resolve(1), `SNAPSHOT:PATH` for one of
its directories or files, or a directory: write `./NAME` for a directory that is called like a snapshot. Of a snapshot
no file is read, but with --sha256sum those of more than 4 MiB are; of a directory every byte is.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING, PayloadHashMismatch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.tree.node import Entry

RAISES = (*NAMING, PayloadHashMismatch)
SEE_ALSO = ("jvs-diff-tree(1)", "jvs-hash-tree(1)", "jvs-resolve(1)", "sha256sum(1)")
EXAMPLES = (
    ("jvs-ls-tree -r HEAD", "everything in the newest snapshot"),
    ("jvs-ls-tree HEAD:src", "one directory of it; paths begin there"),
    ("jvs-ls-tree --sha256sum HEAD | (cd main && sha256sum -c --quiet)", "hold files against a snapshot"),
    ("jvs-ls-tree ./dataset", "a directory, without any repository"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("ls-tree", __doc__, jsonl=True, cbor=True, zero=True)
    parser.add_argument("what", metavar="WHAT", help="a snapshot, SNAPSHOT:PATH, or a directory")
    parser.add_argument("-r", "--recursive", action="store_true", help="also what lies in subdirectories")
    parser.add_argument("--sha256sum", action="store_true", help="all files, in lines that 'sha256sum -c' takes")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """List one tree."""
    from functools import partial

    from jvs.compare import contents, listing
    from jvs.fs import listing as fs_listing

    forest = listing.Forest(lambda: cli.open_store(args))
    hashed: Callable[[bytes, Entry], Entry] = forest.with_sha256
    recursive = args.recursive or args.sha256sum
    if ":" in args.what and "/" not in args.what.partition(":")[0]:
        store = cli.open_store(args)
        held, found = contents.listed(store, args.what, recursive=recursive)
        forest.plain = contents.is_plain(held)
        hashed = partial(contents.with_sha256, store, held)
    else:
        found = list(listing.entries(forest.load, forest.find(args.what)[2], recursive=recursive))
    if args.sha256sum:
        found = [(path, hashed(path, entry)) for path, entry in found if entry[1] == fs_listing.FILE]
        text = b"".join(listing.sha256sum_line(path, entry[4], zero=args.zero) for path, entry in found)
    else:
        text = b"".join(_line(path, entry, args.zero) for path, entry in found)
    if not (args.json or args.jsonl):
        return cli.Result(None, text, cbor=[[path, *entry[1:]] for path, entry in found])
    plain = bool(forest.plain) or args.sha256sum
    value = [listing.entry_json(path, entry, plain=plain) for path, entry in found]
    return cli.Result(value, items=value)


def _line(path: bytes, entry: Entry, zero: bool) -> bytes:
    from jvs.fs import listing as fs_listing
    from jvs.ui import terminal

    fields = f"{entry[2]:04o}\t{fs_listing.KIND_NAMES[entry[1]]}\t{entry[4].hex()}\t{entry[3]}\t".encode()
    return fields + (path + b"\0" if zero else terminal.quote_path(path).encode("utf-8") + b"\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
