"""List the visible snapshots

Prints one line for each, oldest first by id: id, parent (`-` for the first), worktree, time, root hash, files,
bytes, tags, with TABs between. With --format the line is yours, of the fields that jvs-history(1) lists. Damaged
descriptors are left out; `jvs doctor` finds them.
"""

from __future__ import annotations

import argparse

from jvs.cli import run as cli
from jvs.errors import OPENING, PartialSnapshot, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.descriptor import Descriptor

RAISES = (*OPENING, PartialSnapshot)
SEE_ALSO = ("jvs-history(1)", "jvs-resolve(1)", "jvs-cat-descriptor(1)")
EXAMPLES = (
    ("jvs-list-snapshots --format '{id} {note}'", "ids and notes"),
    ("jvs-list-snapshots --ids", "ids alone, without reading any descriptor"),
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("list-snapshots", __doc__, jsonl=True)
    parser.add_argument("--format", metavar="F", help="print this for each; fields like {id}, {note}, {tags}")
    parser.add_argument("--ids", action="store_true", help="ids alone; reads names only")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """List what is visible."""
    from jvs.store import annotation, lineage
    from jvs.ui import escape, fields

    if args.ids and args.format is not None:
        raise UsageError("--ids and --format exclude each other", hint="leave one of them out")
    store = cli.open_store(args)
    if args.ids:
        ids = lineage.visible_ids(store.layout)
        return cli.Result(ids, "".join(f"{i}\n" for i in ids), items=[{"snapshot_id": i} for i in ids])
    found = lineage.all_records(store.layout, tolerant=True)
    overlay = annotation.Overlay(store.layout)
    records = [overlay.over(found[snapshot_id]) for snapshot_id in sorted(found)]
    if args.format is not None:
        text: str = escape.Exact("".join(fields.lines_with_format(store, records, args.format)))
    else:
        text = "".join("\t".join(_fields(record)) + "\n" for record in records)
    return cli.Result(records, text, items=records)


def _fields(record: Descriptor) -> list[str]:
    return [
        record["snapshot_id"],
        record["parent_id"] or "-",
        record["worktree_name"],
        record["created_at"],
        record["payload_root_hash"],
        str(record["payload"].get("files", 0)),
        str(record["payload"].get("bytes", 0)),
        ",".join(map(str, record["tags"])),
    ]


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
