"""The command line of torture: the crash matrix, or with --power the cuts of a real filesystem."""

from __future__ import annotations

import argparse
import os
import tempfile

from lib.harness import bin_directory, fast_directory
from lib.scenarios import chosen_from

from torture.matrix import Matrix
from torture.points import KINDS
from torture.powercut import PowerCuts

SUMMARY = "The crash matrix: every operation, interrupted at every system call, and judged before and after recovery."


def make_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = argparse.ArgumentParser(prog="conformance/torture", description=SUMMARY)
    parser.add_argument("--bin", metavar="DIR", help="the directory that holds jvs and jvs-* (that of `jvs` on PATH)")
    parser.add_argument("--dir", metavar="DIR", help="work below DIR (a memory filesystem when there is one)")
    parser.add_argument("--only", metavar="NAMES", default="", help="only these operations, with commas between")
    parser.add_argument("--kind", metavar="KINDS", default="", help=f"only these interruptions: {','.join(KINDS)}")
    parser.add_argument("--at", metavar="N", type=int, help="only at this call")
    parser.add_argument("--sample", metavar="N", type=int, help="at most N points of each operation, evenly spread")
    parser.add_argument("--seconds", metavar="N", type=float, help="start no point after N seconds, preparing apart")
    parser.add_argument("--journal", metavar="FILE", help="write every verdict to FILE, and leave out those in it")
    parser.add_argument("--jobs", metavar="N", type=int, default=2, help="run N at a time (2)")
    parser.add_argument("--power", choices=("ext4", "xfs", "btrfs"), help="cut the power of this filesystem (root)")
    parser.add_argument("--lie", action="store_true", help="with --power: answer syncs undone; cuts must then find it")
    parser.add_argument("--list", action="store_true", help="list the operations and the calls of each")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run from the command line and return the exit status."""
    parser = make_parser()
    args = parser.parse_args(argv)
    bin_dir = bin_directory(parser, args.bin)
    chosen = chosen_from(parser, args.only)
    kinds = tuple(kind for kind in KINDS if not args.kind or kind in args.kind.split(","))
    if not kinds:
        parser.error(f"unknown: {args.kind}")
    directory = tempfile.mkdtemp(prefix="jvs-torture-", dir=args.dir or fast_directory())
    os.chmod(directory, 0o755)
    if args.power:
        return PowerCuts(args, bin_dir, directory).run(chosen)
    return Matrix(args, bin_dir, directory).run(chosen, kinds)
