"""Take one setting back to its default

Takes KEY out of the repository's `config.toml`, or with --user out of the user's file. What the other layers say then
counts again. A key that is not there is no error.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken, Busy, NoSpace

RAISES = (*OPENING, NoSpace, Busy, AuditChainBroken)
SEE_ALSO = ("jvs-config-set(1)", "jvs-config-list(1)", "jvs-config(5)")
EXAMPLES = (("jvs config unset snapshot.when_detached", "back to what the user's file or the default says"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("config unset", __doc__)
    parser.add_argument("key", metavar="KEY", help="the setting")
    parser.add_argument("--user", action="store_true", help="change the user's file, not the repository's")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Take one setting out of one file."""
    from jvs.operations import configuration

    store = None if args.user else cli.open_store(args)
    settings = cli.settings_of(args) if store is None else store.settings
    path, changed = configuration.config_unset(store, settings, args.key)
    text = f"Unset {args.key}\n" if changed else f"No change: {args.key} is not set in '{path}'\n"
    return cli.Result({"key": args.key, "file": path, "changed": changed}, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
