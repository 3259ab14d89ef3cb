"""Print a snapshot's descriptor

Prints the bytes as they are stored: one line of canonical JSON. The SHA-256 of the canonical JSON without
`descriptor_checksum` and `integrity_state` is the checksum, so that anybody can compute it again.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import NAMING

RAISES = NAMING
SEE_ALSO = ("jvs-show(1)", "jvs-resolve(1)", "jvs-list-snapshots(1)", "jvs-format(5)")
EXAMPLES = (
    ("jvs-cat-descriptor HEAD", "the descriptor of the newest snapshot"),
    ("jvs-cat-descriptor --ready HEAD", "its READY marker"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("cat-descriptor", __doc__)
    parser.add_argument("target", metavar="TARGET", help="the snapshot")
    parser.add_argument("--ready", action="store_true", help="print the READY marker instead")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Read one descriptor, or the marker next to its payload."""
    from jvs import canon
    from jvs.store import descriptor, lineage, refs

    store = cli.open_store(args)
    found = refs.resolve(store, args.target)
    value = descriptor.load_ready(store.layout, found) if args.ready else lineage.load_visible(store, found)
    return cli.Result(value, canon.encode(value) + b"\n")


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
