"""Take one setting back to its default

Takes KEY out of the repository's `config.toml`, or with --user out of the user's file. What the other layers say then
counts again. A key that is not there is no error.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, AuditChainBroken, Busy, NoSpace, UsageError

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
    from jvs.store import settings, settings_file

    settings.check_key(args.key, "command line")
    if args.user:
        path = cli.settings_of(args).user_file
        if path is None:
            raise UsageError("there is no place for the user's file", hint="set HOME or XDG_CONFIG_HOME")
        changed = settings_file.change_user(path, args.key, None)
    else:
        store = cli.open_store(args)
        path = str(store.layout.config)
        changed = settings_file.change_repository(store, args.key, None)
    text = f"Unset {args.key}\n" if changed else f"No change: {args.key} is not set in '{path}'\n"
    return cli.Result({"key": args.key, "file": path, "changed": changed}, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
