"""List the settings and where they come from

Prints every setting with the value that counts. With --show-origin it also says where that value is set: the default,
the user's file, the repository's file, the environment, or the command line.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, NotARepository

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    from jvs.store.settings import Settings
    from jvs.ui.terminal import Terminal

    class SettingItem(TypedDict):
        """One setting, as `--json` prints it; the value is of the type that the key has."""

        value: Any
        origin: str
        meaning: str


RAISES = OPENING
SEE_ALSO = ("jvs-config-get(1)", "jvs-config-set(1)", "jvs-config(5)")
EXAMPLES = (("jvs config list --show-origin", "everything, and where it is set"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("config list", __doc__)
    parser.add_argument("--user", action="store_true", help="only what the user's file says")
    parser.add_argument("--show-origin", action="store_true", help="also print where each value comes from")
    parser.add_argument("--keys", action="store_true", help="print the names only")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Look every setting up."""
    from jvs.store import settings

    try:
        found: Settings = cli.open_store(args).settings
    except NotARepository:
        found = cli.settings_of(args)
    values: dict[str, SettingItem] = {}
    for key in settings.KEYS:
        value, origin = found.origin(key)
        if args.user:
            layer = dict(found.layers).get(found.user_file or "", {})
            if key not in layer:
                continue
            value, origin = layer[key], found.user_file or ""
        values[key] = {"value": value, "origin": origin, "meaning": settings.KEYS[key][3]}
    if args.keys:
        return cli.Result(list(values), "".join(f"{key}\n" for key in values))
    return cli.Result(values, lambda screen: _text(values, args.show_origin, screen))


def _text(values: dict[str, SettingItem], show_origin: bool, screen: Terminal) -> str:
    from jvs.ui import terminal

    lines = []
    for key, item in values.items():
        name = key if item["origin"] == "default" else screen.paint(key, "bold")
        first, *more = terminal.wrap(_show(item["value"]), screen, f"{key} = ", "  ")
        lines += [first.replace(key, name, 1), *more]
        if show_origin:
            origin = screen.paint("# " + item["origin"], "dim")
            fits = not screen.tty or len((more or [first])[-1]) + len(item["origin"]) + 4 <= screen.width
            lines[-1:] = [f"{lines[-1]}  {origin}"] if fits else [lines[-1], f"  {origin}"]
    return "".join(f"{line}\n" for line in lines)


def _show(value: Any) -> str:
    from jvs.ui import terminal

    return "(not set)" if value is None else terminal.show_json(value)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
