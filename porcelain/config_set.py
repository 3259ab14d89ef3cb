"""Change one setting

Writes KEY to the repository's `config.toml`, or with --user to the user's file, where it counts in every repository.
Comments, order and everything that jvs does not know stay as they are. The change of a repository is recorded in the
audit log.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken, Busy, NameInvalid, NoSpace, UsageError

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
    from jvs.store import settings, settings_file
    from jvs.ui import terminal

    settings.check_key(args.key, "command line")
    if len(args.value) > 1 and settings.KEYS[args.key][0] != "list":
        raise UsageError(f"'{args.key}' takes one value, not {len(args.value)}", hint="quote a value with blanks")
    value = settings.parse_value(args.key, ",".join(args.value), "command line")
    if args.user:
        path = cli.settings_of(args).user_file
        if path is None:
            raise UsageError("there is no place for the user's file", hint="set HOME or XDG_CONFIG_HOME")
        changed = settings_file.change_user(path, args.key, value)
    else:
        store = cli.open_store(args)
        path = str(store.layout.config)
        settings.check_place(args.key, path)
        changed = settings_file.change_repository(store, args.key, value)
    shown = terminal.show_json(value)
    text = f"Set {args.key} = {shown}\n" if changed else f"No change: {args.key} is {shown} already\n"
    return cli.Result({"key": args.key, "value": value, "file": path, "changed": changed}, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
