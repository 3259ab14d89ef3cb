"""Let hooks of this repository run, as they are now

Lets the hooks of these names in `.jvs/hooks` run, or all that are there. Read them first: they run with your rights.
What is remembered, outside of the repository and for you alone, is the repository, its place and the SHA-256 of each
hook; one that changes, and all in a copy of the repository elsewhere, must be allowed again.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, NoSpace, NotFound

RAISES = (*OPENING, NotFound, NoSpace)
SEE_ALSO = ("jvs-hooks-list(1)", "jvs-hooks-deny(1)", "jvs-config(5)", "jvs-threats(7)")
EXAMPLES = (
    ("jvs hooks allow", "all hooks that this repository has now"),
    ("jvs hooks allow pre-snapshot", "one of them"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("hooks allow", __doc__)
    parser.add_argument(
        "hook", metavar="HOOK", nargs="*", help="pre-snapshot, post-snapshot, ...; all when none is named"
    )
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Remember the contents."""
    from jvs.store import hooks

    hooks.check_names(args.hook)
    allowed = [
        {"hook": hook.name, "sha256": hook.digest, "path": str(hook.path)}
        for hook in hooks.allow(cli.open_store(args), args.hook)
    ]
    text = "".join(f"Allowed {item['hook']}, SHA-256 {item['sha256']}\n" for item in allowed)
    return cli.Result({"allowed": allowed}, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
