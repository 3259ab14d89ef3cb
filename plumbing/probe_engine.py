"""Print which engines work here, and what they cost

Prints one line for each engine, the best first: name, `yes` or `no`, cost, why, with TABs between. A snapshot costs
O(1), O(entries) or O(bytes). Without DIR it asks for the worktree around the current directory; with DIR for clones
of that directory next to it. Leaves nothing.
"""

from __future__ import annotations

import argparse
import os

from jvs.cli import run as cli
from jvs.errors import OPENING, LineageBroken, NotFound

RAISES = (*OPENING, NotFound, LineageBroken)
SEE_ALSO = ("jvs-info(1)", "jvs-clone-tree(1)", "jvs-engines(7)")
EXAMPLES = (
    ("jvs-probe-engine", "for the worktree around you"),
    ("jvs-probe-engine /mnt/data | awk -F'\\t' '$2 == \"yes\" { print $1; exit }'", "the best engine for a place"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("probe-engine", __doc__)
    parser.add_argument("dir", metavar="DIR", nargs="?", help="the directory to clone (the worktree)")
    parser.add_argument("store", metavar="STORE", nargs="?", help="where the clone would be (next to DIR)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Ask every engine."""
    from jvs.engine import registry
    from jvs.fs import rooted

    if args.dir is None:
        store = cli.open_store(args)
        settings, source = store.settings, store.require_worktree(store.worktree_name())
        target = store.layout.snapshots
    else:
        settings = cli.settings_of(args)
        source, target = (os.path.realpath(path) for path in (args.dir, args.store or args.dir))
        for path in (source, target):
            if not os.path.isdir(path):
                raise NotFound(f"'{path}' is not a directory", hint="name a directory that is there")
        source, target = rooted.at(source), rooted.at(target)
    found = registry.probe_all(source, target, settings.engine_options())
    value = [{"engine": p.engine, "works": p.works, "cost": p.cost, "why": p.why, "note": p.note} for p in found]
    text = "".join(f"{p.engine}\t{'yes' if p.works else 'no'}\t{p.cost}\t{p.why}\n" for p in found)
    return cli.Result(value, text)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
