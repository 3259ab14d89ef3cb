"""List the pins

One line for each: the snapshot, until when, by whom, and why. Pins that have expired are shown as such; they protect
nothing any more.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, PartialSnapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.operations.collection import ListedPin
    from jvs.ui.terminal import Terminal

RAISES = (*OPENING, PartialSnapshot)
SEE_ALSO = ("jvs-gc-pin(1)", "jvs-gc-unpin(1)", "jvs-gc-plan(1)")
EXAMPLES = (("jvs gc pins", "what is pinned, and why"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    return cli.make_parser("gc pins", __doc__, jsonl=True)


def work(args: argparse.Namespace) -> cli.Result:
    """Read the pins."""
    from jvs.operations import collection

    found = collection.pins(cli.open_store(args))
    return cli.Result({"pins": found, "count": len(found)}, lambda terminal: _text(found, terminal), items=found)


def _text(found: list[ListedPin], terminal: Terminal) -> str:
    return "".join(line + "\n" for pin in found for line in _lines(pin, terminal))


def _lines(pin: ListedPin, terminal: Terminal) -> list[str]:
    from jvs.ui.terminal import cut, flow, show_text

    end = "for good" if pin["expires_at"] is None else f"until {pin['expires_at']}"
    parts = [
        pin["snapshot_id"],
        "expired" if pin["expired"] else end,
        cut(show_text(pin["actor"]), 30),
        *([show_text(pin["reason"])] if pin["reason"] else []),
    ]
    return flow(parts, terminal.width, 4)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
