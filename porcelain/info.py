"""Show the repository, its engine and what that costs

Says where the repository is, which engine takes snapshots here and how its cost grows, why the better ones do not
work, how many snapshots and worktrees there are, what the newest snapshot of the worktree holds, and the head of the
audit log. Snapshots are counted by their names. --sizes reads every descriptor and adds up what all snapshots show,
and how much of it was new or changed when it was taken.
"""

from __future__ import annotations

import argparse

from jvs import cli
from jvs.errors import READING, JvsError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.store import Store
    from jvs.terminal import Terminal

RAISES = READING
SEE_ALSO = ("jvs-status(1)", "jvs-probe-engine(1)", "jvs-engines(7)", "jvs-audit(5)")
EXAMPLES = (
    ("jvs info", "what is this repository, and what does a snapshot cost here"),
    ("jvs info --sizes", "and how much all snapshots hold"),
)
_COSTS = {
    "O(1)": "O(1): the same for any number and size of files",
    "O(entries)": "O(entries): grows with the number of files, not with their size",
    "O(bytes)": "O(bytes): every byte is copied",
}


def build_parser() -> argparse.ArgumentParser:
    """Return the parser."""
    parser = cli.make_parser("info", __doc__)
    parser.add_argument("--sizes", action="store_true", help="add up the sizes of all snapshots: reads each descriptor")
    parser.add_argument("-w", "--worktree", metavar="NAME", help="the worktree (the one around you, or main)")
    return parser


def work(args: argparse.Namespace) -> cli.Result:
    """Collect the facts."""
    from jvs import intent, layout, lineage, worktree

    store = cli.open_store(args)
    name = store.worktree_name(args.worktree)
    names = worktree.names(store.layout)
    value: dict[str, Any] = {
        "repo_root": store.root,
        "repo_id": store.repo_id,
        "format_version": layout.FORMAT_VERSION,
        **_engine(store, name),
        "total_snapshots": len(lineage.visible_ids(store.layout)),
        "total_worktrees": len(names),
        "worktrees": names,
        "operations_in_flight": len(intent.list_ids(store.layout)),
        "newest": _newest(store, name),
        **_sizes(store, wanted=args.sizes),
        **_audit(store),
    }
    return cli.Result(value, lambda screen: _text(value, screen))


def _engine(store: Store, name: str) -> dict[str, Any]:
    from jvs import engine

    directory = store.require_worktree(name)
    probes = engine.probe_all(directory, store.layout.snapshots, **store.settings.engine_options())
    wanted = store.settings.get("default_engine")
    usable = [probe for probe in probes if probe.works and wanted in (None, "auto", probe.engine)]
    return {
        "snapshot_engine": usable[0].engine if usable else wanted,
        "engine_cost": usable[0].cost if usable else None,
        "engines": [
            {"engine": p.engine, "works": p.works, "cost": p.cost, "why": p.why, "note": p.note} for p in probes
        ],
    }


def _newest(store: Store, name: str) -> dict[str, Any] | None:
    """Return what the newest snapshot of a worktree holds, or None when there is none that can be read."""
    from jvs import lineage

    try:
        _, latest = store.head_of(name)
        record = lineage.load_any(store.layout, latest) if latest is not None else None
    except JvsError:  # said by verify and doctor; here it must not hide all the rest
        return None
    return record and {"snapshot_id": latest, "created_at": record["created_at"], "payload": record["payload"]}


def _sizes(store: Store, *, wanted: bool) -> dict[str, int | None]:
    """Units: bytes. `changed_bytes` counts a snapshot whole when it is not known what it changed."""
    from jvs import lineage

    if not wanted:
        return {"apparent_bytes": None, "changed_bytes": None}
    apparent = changed = 0
    for record in lineage.all_records(store.layout, tolerant=True).values():
        size, changes = record["payload"].get("bytes", 0), record.get("changes")
        apparent += size
        changed += changes.get("bytes", 0) if isinstance(changes, dict) else size
    return {"apparent_bytes": apparent, "changed_bytes": changed}


def _audit(store: Store) -> dict[str, Any]:
    try:
        seq, head = store.log().tail()
    except (JvsError, OSError):  # said by verify and doctor; here it must not hide all the rest
        return {"audit_records": None, "audit_head": None}
    return {"audit_records": seq, "audit_head": head}


def _text(value: dict[str, Any], screen: Terminal) -> str:
    from jvs import history, terminal

    engine, cost = value["snapshot_engine"], value["engine_cost"]
    lines = [
        f"Repository: {screen.paint(value['repo_root'], 'bold')}",
        f"Id:         {value['repo_id']}",
        f"Format:     {value['format_version']}",
        f"Engine:     {screen.paint(str(engine), 'green' if cost else 'red')}",
        f"Cost:       {_COSTS.get(cost, cost) if cost else 'it was asked for, and does not work here'}",
    ]
    for item in value["engines"]:
        if item["engine"] == engine and item["works"]:
            if item["note"]:
                lines.append(f"            {item['note']}")
            break
        lines.append(f"            not {item['engine']}: {item['why'] or 'another one was asked for'}")
    lines.append(f"Worktrees:  {value['total_worktrees']} ({', '.join(value['worktrees'][:5])}{_more(value)})")
    lines.append(f"Snapshots:  {value['total_snapshots']}")
    if value["newest"]:
        lines.append(f"            the newest holds {history.show_content(value['newest']['payload'])}")
    if value["apparent_bytes"] is not None:
        lines.append(f"            all of them show {terminal.size(value['apparent_bytes'])}")
        lines.append(f"            of which {terminal.size(value['changed_bytes'])} were new content")
    if value["operations_in_flight"]:
        lines.append(f"In flight:  {value['operations_in_flight']}; 'jvs-list-intents' shows who is at work")
    if value["audit_head"] is None:
        lines.append(f"Audit log:  {screen.paint('damaged', 'red')}; 'jvs verify --all' says how")
    else:
        lines += [f"Audit log:  {terminal.plural(value['audit_records'], 'record')}", f"  head {value['audit_head']}"]
    return "\n".join(lines) + "\n"


def _more(value: dict[str, Any]) -> str:
    return ", ..." if len(value["worktrees"]) > 5 else ""


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    return cli.run(build_parser(), work, argv)
