"""Crash jvs at every step on your own storage, and check the promises

Interrupts every operation at every system call that changes something, on the filesystem of DIR, and judges what is
left: nothing may be lost, and the next command must go on. Where it runs as root, --power cuts the power
of a filesystem of its own as well. This takes minutes to hours; --seconds and --sample bound it, and with --journal a
run that was cut off goes on where it stopped. The exit code is 3 when a promise was broken.
"""

from __future__ import annotations

import argparse
import os
import sys

from jvs.cli import run as cli
from jvs.errors import NotFound, UsageError

RAISES = (UsageError, NotFound)
SEE_ALSO = ("jvs-conformance-run(1)", "jvs-protocol(7)", "jvs-threats(7)")
EXAMPLES = (
    ("jvs torture --dir /mnt/jfs --seconds 600", "ten minutes on the storage that you will use"),
    ("jvs torture --only snapshot,restore --sample 20", "some operations, at twenty points each"),
    ("jvs torture --journal verdicts.jsonl", "everything, and the same again to go on with it"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("torture", __doc__)
    parser.add_argument("--dir", metavar="DIR", help="work below DIR (a memory filesystem when there is one)")
    parser.add_argument("--bin", metavar="DIR", help="the directory of the programs to judge (those of this one)")
    parser.add_argument("--only", metavar="NAMES", help="only these operations, with commas between")
    parser.add_argument("--kind", metavar="KINDS", help="only these kinds of interruption, with commas between")
    parser.add_argument("--at", metavar="N", type=int, help="only at this call")
    parser.add_argument("--sample", metavar="N", type=int, help="at most N points of each operation, evenly spread")
    parser.add_argument("--seconds", metavar="N", type=float, help="start no point after N seconds, preparing apart")
    parser.add_argument("--journal", metavar="FILE", help="write every verdict to FILE, and leave out those in it")
    parser.add_argument("-j", "--jobs", metavar="N", type=int, help="run N at a time")
    parser.add_argument("--power", choices=("ext4", "xfs", "btrfs"), help="cut the power of this filesystem (root)")
    parser.add_argument("--list", action="store_true", help="list the operations and the calls of each")
    parser.add_argument("--suite", metavar="DIR", help="the directory of the suite")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Become the suite's program."""
    from jvs.cli import suites

    names = ("dir", "only", "kind", "at", "sample", "seconds", "journal", "jobs", "power", "list", "json")
    options = {
        "--bin": args.bin or suites.programs_next_to(sys.argv[0]),
        **{f"--{name}": getattr(args, name) for name in names},
    }
    words = suites.command(suites.find_program("torture", args.suite), options)
    os.execv(words[0], words)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
