"""List the promises that can be checked

Prints the name of each check of the black-box suite, a TAB, and the promise that it checks.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NotFound, UsageError

RAISES = (UsageError, NotFound)
SEE_ALSO = ("jvs-conformance-run(1)", "jvs-protocol(7)")
EXAMPLES = (("jvs conformance list", "what is promised"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("conformance list", __doc__)
    parser.add_argument(
        "--profile", choices=("dev", "release"), default="release", help="dev leaves out what takes long"
    )
    parser.add_argument("-k", "--select", metavar="PATTERN", help="only checks whose name holds PATTERN ('|': or)")
    parser.add_argument("--suite", metavar="DIR", help="the directory of the suite")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Run the suite's program, and hand on what it lists."""
    import json
    import subprocess

    from jvs.cli import suites

    options = {"--list": True, "--profile": args.profile, "-k": args.select, "--json": args.json}
    words = suites.command(suites.find_program("run", args.suite), options)
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    value = json.loads(done.stdout) if args.json and done.returncode == 0 else None
    return cli.Result(value, done.stdout, exit=done.returncode)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
