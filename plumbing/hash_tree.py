"""Print the root hash of a directory (step 4)

Reads DIR (or, with --record, the payload that a publish record names) and prints its `sha256-tree-2` root hash: 64 hex
digits that change when any byte, name, mode, link target or covered attribute below DIR does. Alone it reads every
byte, `.jvs` at the root too unless --skip-root-control is given, and writes nothing. As a filter it proves the clone
complete, keeps the tree nodes in the index, and adds `payload_root_hash` and `payload` to the record.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, CloneIncomplete, UsageError

ALGORITHMS = ("sha256-tree-2", "sha256-tree-1")
RAISES = (*OPENING, CloneIncomplete)
SEE_ALSO = ("jvs-clone-tree(1)", "jvs-ls-tree(1)", "jvs-verify-snapshot(1)", "jvs-format(5)")
EXAMPLES = (("jvs-hash-tree dataset", "print the root hash of a directory"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("hash-tree", __doc__)
    parser.add_argument("dir", metavar="DIR", nargs="?", help="the directory to hash")
    parser.add_argument("--record", action="store_true", help="filter a publish record from stdin to stdout")
    parser.add_argument("--skip-root-control", action="store_true", help="leave '.jvs' at the root of DIR out")
    parser.add_argument(
        "-j", "--jobs", metavar="N", type=int, default=0, help="read with N threads and processes (all cores)"
    )
    parser.add_argument(
        "--algorithm",
        choices=ALGORITHMS,
        default=ALGORITHMS[0],
        help="the tree hash (%(default)s, that of new snapshots)",
    )
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Hash one directory, or do step 4 for a record."""
    if args.record:
        from jvs.cli import pipeline
        from jvs.publish import steps

        return pipeline.record_step(args, steps.hash_tree)
    if args.dir is None:
        raise UsageError("name a directory, or use --record", hint="jvs-hash-tree DIR")
    from jvs.check import verify
    from jvs.fs import rooted
    from jvs.tree.exclusion import Exclusion

    plain, exclude = args.algorithm == ALGORITHMS[1], Exclusion() if args.skip_root_control else None
    found = verify.hash_directory(rooted.at(args.dir), jobs=args.jobs, plain=plain, exclude=exclude)
    value = {"root_hash": found.root_hash, "hash_algorithm": args.algorithm, "payload": found.payload()}
    return cli.Result(value, found.root_hash + "\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
