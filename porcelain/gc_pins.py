"""List the pins

One line for each: the snapshot, until when, by whom, and why. Pins that have expired are shown as such; they protect
nothing any more.
"""

from __future__ import annotations

import argparse

from jvs import cli
from jvs.errors import IOFailure, NotARepository, PartialSnapshot, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RAISES = (UsageError, IOFailure, NotARepository, PartialSnapshot)
SEE_ALSO = ("jvs-gc-pin(1)", "jvs-gc-unpin(1)", "jvs-gc-plan(1)")
EXAMPLES = (("jvs gc pins", "what is pinned, and why"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("gc pins", __doc__, jsonl=True)


def work(args: argparse.Namespace) -> cli.Result:
    """Read the pins."""
    from jvs import clock, pins

    store = cli.open_store(args)
    now = clock.now_ns()
    found = [{**pin, "expired": pins.has_expired(pin, now)} for pin in pins.list_all(store.layout)]
    return cli.Result({"pins": found, "count": len(found)}, "".join(_line(pin) for pin in found), items=found)


def _line(pin: dict[str, Any]) -> str:
    from jvs.terminal import show_text

    end = "for good" if pin["expires_at"] is None else f"until {pin['expires_at']}"
    state = "expired" if pin["expired"] else end
    return f"{pin['snapshot_id']}  {state}  {show_text(pin['actor'])}  {show_text(pin['reason'] or '')}".rstrip() + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
