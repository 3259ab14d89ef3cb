"""Judge an installation by its promises

Runs the black-box suite: numbered checks that know nothing but the programs, each in a directory of its own. It
judges this installation, or with --bin another one, even one in another language. The last line counts what passed,
failed and was skipped; the trees of checks that failed are kept. The exit code is 3 when a check failed.
"""

from __future__ import annotations

import argparse
import os
import sys

from jvs.cli import run as cli
from jvs.errors import NotFound, UsageError

RAISES = (UsageError, NotFound)
SEE_ALSO = ("jvs-conformance-list(1)", "jvs-torture(1)", "jvs-protocol(7)")
EXAMPLES = (
    ("jvs conformance run", "judge this installation"),
    ("jvs conformance run --dir /mnt/jfs --profile release", "on the storage that you will use, with all checks"),
    ("jvs conformance run --bin /opt/other/bin -k snapshot", "some checks on another one"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("conformance run", __doc__)
    parser.add_argument("--profile", choices=("dev", "release"), default="dev", help="dev leaves out what takes long")
    parser.add_argument("--bin", metavar="DIR", help="the directory of the programs to judge (those of this one)")
    parser.add_argument("--dir", metavar="DIR", help="make the repositories below DIR, to judge its filesystem")
    parser.add_argument("-k", "--select", metavar="PATTERN", help="only checks whose name holds PATTERN ('|': or)")
    parser.add_argument("-j", "--jobs", metavar="N", type=int, help="run N at a time")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="for one check")
    parser.add_argument("--keep", action="store_true", help="keep the trees of checks that pass as well")
    parser.add_argument("--suite", metavar="DIR", help="the directory of the suite")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Become the suite's program."""
    from jvs.cli import suites

    options = {
        "--profile": args.profile,
        "--bin": args.bin or suites.programs_next_to(sys.argv[0]),
        "--dir": args.dir,
        "-k": args.select,
        "--jobs": args.jobs,
        "--timeout": args.timeout,
        "--keep": args.keep,
        "--json": args.json,
    }
    words = suites.command(suites.find_program("run", args.suite), options)
    os.execv(words[0], words)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
