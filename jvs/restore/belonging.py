"""Which worktree an operation belongs to: the one it was done in, whatever that is called now, and no other.

A worktree is known by its identity (`store.worktree.identity`), which a rename keeps and a later worktree of the same
name does not have. Journals of the first version carry none: they belong to the worktree of their name, when that was
made before them.
Source: jvs-undo(1), jvs-format(5), Undo.
"""

from __future__ import annotations

from jvs.errors import JvsError
from jvs.store import worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.restore.journal import Operation
    from jvs.store.layout import Layout


class Worktrees:
    """The worktrees that there are, read when asked for; one that cannot be read owns what bears its name."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._read: dict[str, worktree.WorktreeConfig | None] = {}
        self._names: list[str] | None = None

    def _config(self, name: str) -> worktree.WorktreeConfig | None:
        if name not in self._read:
            try:
                self._read[name] = worktree.load(self._layout, name)
            except (JvsError, OSError):
                self._read[name] = None
        return self._read[name]

    def _all(self) -> list[str]:
        if self._names is None:
            self._names = worktree.names(self._layout)
        return self._names

    def identity(self, name: str) -> str | None:
        """Return the identity of a worktree; None when it is not there or cannot be read."""
        config = self._config(name)
        return None if config is None else worktree.identity(config)

    def owns(self, name: str, record: Operation) -> bool:
        """Answer whether an operation was done in the worktree that has this name now."""
        config = self._config(name)
        if config is None:
            return False
        if record["identity"] is not None:
            return bool(record["identity"] == worktree.identity(config))
        names = (record["worktree"], record["details"].get("new_name"))
        return name in names and bool(record["created_at"] >= config["created_at"])

    def owner(self, record: Operation) -> str | None:
        """Return the present name of the worktree that an operation was done in; None when it is gone."""
        for name in (record["details"].get("new_name"), record["worktree"]):
            if name in self._all() and self.owns(name, record):
                return str(name)
        for name in self._all():
            if self.owns(name, record):
                return name
        name = record["worktree"]
        return name if name in self._all() and self._config(name) is None else None

    def concerns(self, name: str, record: Operation) -> bool:
        """Answer whether an operation counts among those of a worktree.

        Renames and removals also count where they were asked for; and a removed worktree has no place of its own any
        more, so its removal counts everywhere.
        """
        if self.owns(name, record):
            return True
        if record["kind"] == "restore":
            return False
        if record["kind"] == "worktree_remove" and self.owner(record) is None:
            return True
        asked = record["details"].get("asked_in")
        return asked is not None and asked in (self.identity(name), name)
