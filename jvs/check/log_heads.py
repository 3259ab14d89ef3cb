"""What the audit log says of the worktrees: at which event each one is, and at which snapshots.

A configuration that somebody put back, or edited, agrees with the snapshots that are there; only the log can tell.
Source: jvs-audit(5); jvs-format(5), Worktree configuration.
"""

from __future__ import annotations

from jvs.errors import JvsError
from jvs.store import worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jvs.store.audit import AuditRecord
    from jvs.store.store import Store

    Heads = tuple[object, object]


class Place:
    """Where a worktree is: the event that moved it last, and its head and latest.

    `event_id` is None where the log does not tell: two snapshots were published on one parent without the lock.
    """

    def __init__(self, event_id: str | None, heads: Heads) -> None:
        self.event_id = event_id
        self.heads = heads


class Replay:
    """Follows the log. Shape: `places` maps the worktrees that there are after the last record to where they are."""

    def __init__(self, log: Sequence[AuditRecord]) -> None:
        self.places: dict[str, Place] = {}
        self._removed: dict[object, Place] = {}
        """What was removed, by the operation that did it: its undo brings it back as it was."""
        acts: dict[str, Callable[[AuditRecord, str], None]] = {
            "init": self._begin,
            "clone": self._restore,
            "worktree_create": self._begin,
            "worktree_fork": self._begin,
            "head_update": self._begin,
            "snapshot": self._snapshot,
            "restore": self._restore,
            "undo": self._undo,
            "worktree_rename": self._rename,
            "worktree_remove": self._remove,
        }
        for record in log:
            act = acts.get(record["operation"])
            if act is not None and record["worktree"] is not None:
                act(record, record["worktree"])

    def _begin(self, record: AuditRecord, name: str) -> None:
        self.places[name] = Place(record["event_id"], (record["target"], record["target"]))

    def _snapshot(self, record: AuditRecord, name: str) -> None:
        was = self.places.get(name)
        self._begin(record, name)
        if was is not None and was.event_id is not None and was.heads[0] != record["details"].get("parent_id"):
            self.places[name].event_id = None

    def _restore(self, record: AuditRecord, name: str) -> None:
        """Follow a restore or the undo of one; that of single paths moves no head."""
        before, after = record["details"].get("before"), record["details"].get("after")
        if not isinstance(before, dict) or not isinstance(after, dict):
            self.places.pop(name, None)
        elif before != after:
            self.places[name] = Place(record["event_id"], (after.get("head"), after.get("latest")))

    def _undo(self, record: AuditRecord, name: str) -> None:
        details = record["details"]
        if details.get("what") == "worktree_rename":
            self._rename(record, name)
        elif details.get("what") != "worktree_remove":
            self._restore(record, name)
        elif "back" not in details:
            self._remove(record, name)
        elif details.get("undoes") in self._removed:
            self.places[name] = self._removed.pop(details.get("undoes"))
            after = details.get("after")
            if isinstance(after, dict):  # a collection took what it was at
                self.places[name] = Place(record["event_id"], (after.get("head"), after.get("latest")))

    def _rename(self, record: AuditRecord, name: str) -> None:
        if "from" in record["details"] and record["details"]["from"] in self.places:
            was = self.places.pop(record["details"]["from"])
            self.places[name] = Place(record["event_id"], was.heads)

    def _remove(self, record: AuditRecord, name: str) -> None:
        was = self.places.pop(name, None)
        if was is not None:
            self._removed[record["details"].get("operation_id")] = was


def find_moved(store: Store, log: Sequence[AuditRecord]) -> dict[str, str]:
    """Return a sentence for each worktree that is not where the log says that it was moved last.

    A configuration is written before its record. So one that is read after the log is as far as the log, or is at an
    event that the log does not hold: somebody is at work, or was when the system died; or the log was cut, which is
    found elsewhere.
    """
    known = {record["event_id"] for record in log}
    moved = {}
    for name, place in Replay(log).places.items():
        try:
            config = worktree.load(store.layout, name)
        except JvsError:
            continue  # it is reported as itself, or was removed since the log was read
        event_id = config.get("event_id")
        if place.event_id is None or event_id is None or event_id not in known:
            continue
        if (event_id, (config["head_snapshot_id"], config["latest_snapshot_id"])) != (place.event_id, place.heads):
            moved[name] = f"worktree '{name}' is not where the log says that it was moved last"
    return moved
