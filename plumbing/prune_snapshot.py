"""Remove one snapshot that nothing protects

Marks the snapshot with a tombstone, takes it out of sight, deletes its files and records that in the audit log: a
collection of one. A snapshot that 'jvs-mark-live' lists with the same policy options is refused. Prints the id of
what went.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import CHANGING, GcPlanMismatch

RAISES = (*CHANGING, GcPlanMismatch)
SEE_ALSO = ("jvs-mark-live(1)", "jvs-gc-run(1)", "jvs-protocol(7)")
EXAMPLES = (("jvs-prune-snapshot 1700000000000-0a1b2c3d", "collect one snapshot"),)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    from jvs.cli import policy

    parser = cli.make_parser("prune-snapshot", __doc__)
    parser.add_argument("snapshot_id", metavar="ID", help="the full id of the snapshot")
    policy.add_options(parser)
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Collect one snapshot."""
    from jvs import names
    from jvs.cli import policy
    from jvs.gc import retention
    from jvs.gc import run as gc

    snapshot_id = names.check_snapshot_id(args.snapshot_id)
    store = cli.open_store(args)
    rules = retention.Policy.of(store.settings, policy.given(args))
    done = gc.prune(store, snapshot_id, rules)
    return cli.Result(done, "".join(i + "\n" for i in done["collected"]))


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
