"""Change one setting

Writes KEY to the repository's `config.toml`, or with --user to the user's file, where it counts in every repository.
Comments, order and everything that jvs does not know stay as they are. The change of a repository is recorded in the
audit log.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken, Busy, NameInvalid, NoSpace

RAISES = (*OPENING, NoSpace, Busy, NameInvalid, AuditChainBroken)
SEE_ALSO = ("jvs-config-get(1)", "jvs-config-unset(1)", "jvs-config(5)")
EXAMPLES = (
    ("jvs config set snapshot.when_detached refuse", "in this repository"),
    ("jvs config set --user default_tags nightly gpu", "a list, for every repository of yours"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("config set", __doc__)
    parser.add_argument("key", metavar="KEY", help="the setting")
    parser.add_argument("value", metavar="VALUE", nargs="+", help="its value; a list takes several")
    parser.add_argument("--user", action="store_true", help="change the user's file, not the repository's")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Check and write one setting."""
    from jvs.operations import configuration
    from jvs.ui import terminal

    store = None if args.user else cli.open_store(args)
    settings = cli.settings_of(args) if store is None else store.settings
    value, path, changed = configuration.config_set(store, settings, args.key, args.value)
    shown = terminal.show_json(value)
    text = f"Set {args.key} = {shown}\n" if changed else f"No change: {args.key} is {shown} already\n"
    return cli.Result({"key": args.key, "value": value, "file": path, "changed": changed}, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
