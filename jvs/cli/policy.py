"""The options of a retention policy, which all commands that plan a collection share.

Source: jvs-gc-plan(1).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

_HELP = {
    "keep_last": ("N", "keep the newest N snapshots of each worktree"),
    "keep_within": ("DURATION", "keep all younger than DURATION (7d, 12h), counted back from the newest"),
    "keep_hourly": ("N", "keep the newest of each of the last N hours that have one"),
    "keep_daily": ("N", "keep the newest of each of the last N days that have one"),
    "keep_weekly": ("N", "keep the newest of each of the last N ISO weeks that have one"),
    "keep_monthly": ("N", "keep the newest of each of the last N months that have one"),
    "keep_yearly": ("N", "keep the newest of each of the last N years that have one"),
    "keep_tag": ("GLOB", "keep those with a tag that fits GLOB; repeatable"),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Give a parser the options of a policy. Errors when parsing: E_USAGE."""
    group = parser.add_argument_group(
        "policy",
        "With any of these, lines are thinned: what no rule keeps goes. Without, the configured 'retention.*'.",
    )
    for rule, (metavar, text) in _HELP.items():
        option = "--" + rule.replace("_", "-")
        if metavar == "N":
            group.add_argument(option, metavar=metavar, type=_count, help=text)
        elif rule == "keep_tag":
            group.add_argument(option, metavar=metavar, action="append", help=text)
        else:
            group.add_argument(option, metavar=metavar, help=text)
    group.add_argument("--drop-tagged", action="store_true", help="let also go what a tag names, the newest with it")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise ValueError(text)
    return int(text)


def given(args: argparse.Namespace) -> dict[str, object]:
    """Return the rules that the options set."""
    return {rule: getattr(args, rule) for rule in (*_HELP, "drop_tagged")}
