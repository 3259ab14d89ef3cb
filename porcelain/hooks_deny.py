"""Let hooks of this repository run no more

Forgets that hooks of these names in `.jvs/hooks` were allowed, or that any were. The files stay as they are. A hook
that was not allowed is no error.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, NoSpace

RAISES = (*OPENING, NoSpace)
SEE_ALSO = ("jvs-hooks-list(1)", "jvs-hooks-allow(1)", "jvs-config(5)")
EXAMPLES = (("jvs hooks deny", "no hook of this repository runs any more"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("hooks deny", __doc__)
    parser.add_argument(
        "hook", metavar="HOOK", nargs="*", help="pre-snapshot, post-snapshot, ...; all when none is named"
    )
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Forget the permissions."""
    from jvs.store import hooks

    hooks.check_names(args.hook)
    denied = hooks.deny(cli.open_store(args), args.hook)
    text = "".join(f"Denied {name}\n" for name in denied) or "No change: none of them was allowed\n"
    return cli.Result({"denied": denied}, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
