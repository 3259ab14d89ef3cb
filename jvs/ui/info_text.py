"""What a repository is: its engine and what that costs, how much there is of what; as facts and as text.

Source: jvs-info(1).
"""

from __future__ import annotations

from jvs import units
from jvs.engine import registry
from jvs.errors import JvsError
from jvs.store import exclusion, intent, layout, lineage, worktree
from jvs.ui import history_text, status_text, terminal, usage_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypedDict

    from jvs.gc.usage import KeptUsage
    from jvs.store.descriptor import Excluded
    from jvs.store.store import Store
    from jvs.tree.builder import Counts
    from jvs.ui.terminal import Terminal

    class ProbeFacts(TypedDict):
        """Whether an engine works in a worktree, what it costs there, or why it does not work."""

        engine: str
        works: bool
        cost: str
        why: str
        note: str

    class EngineFacts(TypedDict):
        """The engine of a worktree; without a cost it was asked for and does not work there."""

        snapshot_engine: str
        engine_cost: str | None
        engines: list[ProbeFacts]

    class NewestFacts(TypedDict):
        """The newest snapshot of a worktree, and what it holds."""

        snapshot_id: str
        created_at: str
        payload: Counts

    class SizeFacts(TypedDict):
        """Bytes that all snapshots show, new when they were taken, and of all else; null when nobody asked."""

        apparent_bytes: int | None
        changed_bytes: int | None
        besides: KeptUsage | None

    class AuditFacts(TypedDict):
        """How long the audit log is, and its last hash; null when it is damaged."""

        audit_records: int | None
        audit_head: str | None

    class InfoDocument(EngineFacts, SizeFacts, AuditFacts):
        """What is known about a repository, as `jvs info --json` prints it."""

        repo_root: str
        layout: Literal["in place", "classic", "apart"]
        repo_id: str
        format_version: int
        total_snapshots: int
        total_worktrees: int
        excluded: Excluded | None
        worktrees: list[str]
        operations_in_flight: int
        newest: NewestFacts | None


_COSTS = {
    "O(1)": "O(1): the same for any number and size of files",
    "O(entries)": "O(entries): grows with the number of files, not with their size",
    "O(bytes)": "O(bytes): grows with the bytes that are new or changed, which are copied",
}
_LAYOUTS = {
    "apart": "apart: a directory elsewhere is main, snapshots and forks are in the control directory",
    "in place": "in place: the directory itself is main, snapshots and forks are in .jvs",
    "classic": "classic: your files are in main, forks in worktrees, snapshots in .jvs",
}
_INDENT = " " * 12
_NAMED_WORKTREES = 5


def facts(store: Store, name: str, *, sizes: bool = False) -> InfoDocument:
    """Return all that is known about a repository, seen from a worktree.

    Its cost does not grow with the number of snapshots but for one listing; `sizes` reads every descriptor.
    """
    names = worktree.names(store.layout)
    return {
        "repo_root": store.root,
        "layout": "apart" if store.layout.apart else "in place" if store.layout.in_place else "classic",
        "repo_id": store.repo_id,
        "format_version": layout.FORMAT_VERSION,
        **_engine(store, name),
        "excluded": exclusion.describe(store.layout, name, store.exclusion(name)),
        "total_snapshots": len(lineage.visible_ids(store.layout)),
        "total_worktrees": len(names),
        "worktrees": names,
        "operations_in_flight": len(intent.list_ids(store.layout)),
        "newest": _newest(store, name),
        **_sizes(store, wanted=sizes),
        **_audit(store),
    }


def _engine(store: Store, name: str) -> EngineFacts:
    directory = store.require_worktree(name)
    probes = registry.probe_all(directory, store.layout.snapshots, store.settings.engine_options())
    wanted = store.settings.get("default_engine")
    usable = [probe for probe in probes if probe.works and wanted in (None, "auto", probe.engine)]
    return {
        "snapshot_engine": usable[0].engine if usable else wanted,
        "engine_cost": usable[0].cost if usable else None,
        "engines": [
            {"engine": p.engine, "works": p.works, "cost": p.cost, "why": p.why, "note": p.note} for p in probes
        ],
    }


def _newest(store: Store, name: str) -> NewestFacts | None:
    """Return what the newest snapshot of a worktree holds, or None when there is none that can be read."""
    try:
        _, latest = store.head_of(name)
        record = lineage.load_any(store.layout, latest) if latest is not None else None
    except JvsError:  # said by verify and doctor; here it must not hide all the rest
        return None
    if record is None:
        return None
    return {"snapshot_id": record["snapshot_id"], "created_at": record["created_at"], "payload": record["payload"]}


def _sizes(store: Store, *, wanted: bool) -> SizeFacts:
    """Units: bytes. `changed_bytes` counts a snapshot whole when it is not known what it changed."""
    if not wanted:
        return {"apparent_bytes": None, "changed_bytes": None, "besides": None}
    apparent = changed = 0
    for record in lineage.all_records(store.layout, tolerant=True).values():
        size, changes = record["payload"].get("bytes", 0), record.get("changes")
        apparent += size
        changed += changes.get("bytes", 0) if history_text.are_counts(changes) else size
    from jvs.gc import usage

    return {"apparent_bytes": apparent, "changed_bytes": changed, "besides": usage.besides(store.layout)}


def _audit(store: Store) -> AuditFacts:
    try:
        seq, head = store.log().tail()
    except (JvsError, OSError):  # said by verify and doctor; here it must not hide all the rest
        return {"audit_records": None, "audit_head": None}
    return {"audit_records": seq, "audit_head": head}


def page(value: InfoDocument, screen: Terminal) -> str:
    """Return the facts for a person, fit to the screen."""
    rows = [
        ("Repository", terminal.show_text(value["repo_root"])),
        ("Layout", _LAYOUTS[value["layout"]]),
        ("Id", value["repo_id"]),
        ("Format", str(value["format_version"])),
        ("Engine", str(value["snapshot_engine"])),
        ("Cost", _cost(value)),
        *(("", words) for words in _engines(value)),
        *([("Excluded", status_text.show_excluded(value["excluded"]))] if value["excluded"] else []),
        ("Worktrees", _worktrees(value)),
        ("Snapshots", str(value["total_snapshots"])),
    ]
    if value["newest"]:
        rows.append(("Newest", history_text.show_content(value["newest"]["payload"])))
    if value["apparent_bytes"] is not None and value["changed_bytes"] is not None:
        changed = units.size(value["changed_bytes"])
        rows.append(("Sizes", f"all show {units.size(value['apparent_bytes'])}, {changed} of it new when taken"))
    if value["besides"] is not None:
        rows += [("Besides" if not i else "", line) for i, line in enumerate(usage_text.besides(value["besides"]))]
    if value["operations_in_flight"]:
        rows.append(("In flight", f"{value['operations_in_flight']}; 'jvs-list-intents' shows who is at work"))
    rows.append(("Audit log", _log(value)))
    if value["audit_head"] is not None:
        rows.append(("Audit head", value["audit_head"]))
    colors = {
        "Repository": "bold",
        "Engine": "green" if value["engine_cost"] else "red",
        "Audit log": "" if value["audit_head"] else "red",
    }
    lines = []
    for label, words in rows:
        front = f"{label}:" if label else ""
        if label == "Repository":  # a path is never broken: it is there to be copied
            shown = [_INDENT + words]
        else:
            shown = terminal.wrap(words, screen, _INDENT, _INDENT)
        color = colors.get(label, "")
        body = [screen.paint(line[len(_INDENT) :], color) if color else line[len(_INDENT) :] for line in shown]
        lines += [f"{front:<12}{body[0]}", *(_INDENT + line for line in body[1:])]
    return "\n".join(lines) + "\n"


def _cost(value: InfoDocument) -> str:
    cost = value["engine_cost"]
    return _COSTS.get(cost, cost) if cost else "it was asked for, and does not work here"


def _engines(value: InfoDocument) -> list[str]:
    """Say why not a better engine, for each that is better."""
    words: list[str] = []
    for item in value["engines"]:
        if item["engine"] == value["snapshot_engine"] and item["works"]:
            return [*words, item["note"]] if item["note"] else words
        words.append(f"not {item['engine']}: {item['why'] or 'another one was asked for'}")
    return words


def _worktrees(value: InfoDocument) -> str:
    more = ", ..." if len(value["worktrees"]) > _NAMED_WORKTREES else ""
    return f"{value['total_worktrees']} ({', '.join(value['worktrees'][:_NAMED_WORKTREES])}{more})"


def _log(value: InfoDocument) -> str:
    if value["audit_head"] is None or value["audit_records"] is None:
        return "damaged; 'jvs verify --all' says how"
    return units.plural(value["audit_records"], "record")
