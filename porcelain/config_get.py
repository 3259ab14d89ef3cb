"""Print one setting

Prints the value that counts: the last of the default, the user's file, the repository's file, the environment (`JVS_*`)
and `-c`. A list is printed one item on a line; a setting without a value prints nothing.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, NotARepository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.settings import Settings

RAISES = OPENING
SEE_ALSO = ("jvs-config-set(1)", "jvs-config-list(1)", "jvs-config(5)")
EXAMPLES = (
    ("jvs config get snapshot.when_detached", "the value that counts here"),
    ("jvs config get --show-origin durability", "and where it comes from"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("config get", __doc__)
    parser.add_argument("key", metavar="KEY", help="the setting")
    parser.add_argument("--user", action="store_true", help="only what the user's file says")
    parser.add_argument("--show-origin", action="store_true", help="also print where the value comes from")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Look one setting up."""
    from jvs.store import settings

    found = settings_here(args)
    settings.check_key(args.key, "command line")
    if args.user:
        layer = dict(found.layers).get(found.user_file or "", {})
        value, origin = layer.get(args.key), found.user_file or "default"
    else:
        value, origin = found.origin(args.key)
    shown = value if isinstance(value, list) else [] if value is None else [value]
    words = [str(item).lower() if isinstance(item, bool) else str(item) for item in shown]
    if args.show_origin:
        words = [f"{origin}\t{word}" for word in words or [""]]
    return cli.Result({"key": args.key, "value": value, "origin": origin}, "".join(f"{word}\n" for word in words))


def settings_here(args: argparse.Namespace) -> Settings:
    """Return the settings with the repository's file, where there is a repository."""
    try:
        return cli.open_store(args).settings
    except NotARepository:
        return cli.settings_of(args)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
