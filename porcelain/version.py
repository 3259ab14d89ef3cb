"""Print the version

Prints `jvs` and the version; as JSON also the format of repositories that it reads and writes, and the Python below.
"""

from __future__ import annotations

import argparse
import sys

from jvs import __version__
from jvs.cli import run as cli
from jvs.errors import UsageError

RAISES = (UsageError,)
SEE_ALSO = ("jvs(1)", "jvs-info(1)")
EXAMPLES = (("jvs version", "which version is this"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("version", __doc__)


def work(args: argparse.Namespace) -> cli.Result:
    """Say it."""
    from jvs.store import layout

    value = {
        "version": __version__,
        "format_version": layout.FORMAT_VERSION,
        "python": ".".join(map(str, sys.version_info[:3])),
    }
    return cli.Result(value, f"jvs {__version__}\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
