"""The state of a worktree, and what changed in it since its head.

Source: jvs-status(1).
"""

from __future__ import annotations

from jvs import canon
from jvs.compare import diff
from jvs.compare.changes import ADDED, MODIFIED, REMOVED
from jvs.errors import JvsError
from jvs.store import exclusion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.compare.changes import ChangeDocument
    from jvs.compare.diff import Diff
    from jvs.store.descriptor import Excluded
    from jvs.store.store import Store

    class StatusCounts(TypedDict):
        """How many changes there are of each kind; a rename counts as both of its halves."""

        added: int
        modified: int
        removed: int

    class StatusDocument(TypedDict):
        """The state of a worktree as `--json` prints it."""

        worktree: str
        head_snapshot_id: str | None
        head_created_at: str | None
        head_note: str | None
        latest_snapshot_id: str | None
        detached: bool
        engine: str
        clean: bool
        added: list[ChangeDocument]
        modified: list[ChangeDocument]
        removed: list[ChangeDocument]
        counts: StatusCounts
        unreadable: list[canon.PathJSON]
        not_captured: list[canon.PathJSON]
        excluded: Excluded | None
        rules_changed: bool


class Status:
    """The state of a worktree, and what changed in it since its head."""

    def __init__(
        self,
        name: str,
        head: str | None,
        latest: str | None,
        engine: str,
        found: Diff,
        excluded: Excluded | None = None,
        *,
        rules_changed: bool = False,
    ) -> None:
        self.name = name
        self.head = head
        self.latest = latest
        self.engine = engine
        self.diff = found
        self.excluded = excluded
        self.rules_changed = rules_changed

    @property
    def detached(self) -> bool:
        """Answer whether the head is not the latest snapshot."""
        return self.head != self.latest

    @property
    def clean(self) -> bool:
        """Answer whether the files are those of the head. What cannot be read cannot be called clean."""
        changed = self.diff.changes or self.diff.unreadable or self.rules_changed
        return self.head is not None and not changed

    def as_json(self) -> StatusDocument:
        """Return the document for `--json`."""
        counts = self.diff.counts()
        return {
            "worktree": self.name,
            "head_snapshot_id": self.head,
            "head_created_at": self.diff.before.time or None,
            "head_note": self.diff.before.note,
            "latest_snapshot_id": self.latest,
            "detached": self.detached,
            "engine": self.engine,
            "clean": self.clean,
            "added": [change.as_json() for change in self.diff.of(ADDED)],
            "modified": [change.as_json() for change in self.diff.of(MODIFIED)],
            "removed": [change.as_json() for change in self.diff.of(REMOVED)],
            "counts": {"added": counts[ADDED], "modified": counts[MODIFIED], "removed": counts[REMOVED]},
            "unreadable": [canon.path_json(path) for path in self.diff.unreadable],
            "not_captured": [canon.path_json(path) for path in self.diff.not_captured],
            "excluded": self.excluded,
            "rules_changed": self.rules_changed,
        }


def look(store: Store, name: str, *, paths: list[bytes] | None = None) -> Status:
    """Look at a worktree. Writes nothing. Errors: E_NOT_FOUND, E_IO, E_PAYLOAD_HASH_MISMATCH."""
    store.require_worktree(name)
    head, latest = store.head_of(name)
    try:
        engine = store.engine(name).name
    except JvsError as error:  # the engine that was asked for does not work here; that must not hide the changes
        if error.name != "E_IO":
            raise
        engine = str(store.settings.get("default_engine"))
    found = diff.against_files(store, head, name, paths=paths, renames=False)
    exclude, record = store.exclusion(name), found.before.record
    excluded = exclusion.describe(store.layout, name, exclude)
    changed = record is not None and not exclusion.same_rules(record, exclude)
    return Status(name, head, latest, engine, found, excluded, rules_changed=changed)
