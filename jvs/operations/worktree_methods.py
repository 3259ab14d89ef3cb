"""The methods of `Repository` that make, move and remove worktrees.

Source: jvs-worktree(1).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.operations.worktrees import Forked
    from jvs.store.store import Store
    from jvs.worktrees.fork import Made
    from jvs.worktrees.move import Removed

Path = str | os.PathLike[str]


class WorktreeMethods:
    """What a repository does with its worktrees; `jvs.repository.Repository` has these methods."""

    _store: Store

    def fork(self, target: str, name: str, *, verify: bool = False, path: Path | None = None) -> Forked:
        """Make a worktree from a snapshot; return its configuration with `snapshot_id`, `path`, `engine`, `degraded`.

        It is made at `path`, outside of the repository, or where the setting `worktrees.path` says. Durable: yes.
        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_EXISTS, E_NAME_INVALID, E_PATH_ESCAPE, E_PAYLOAD_HASH_MISMATCH, E_IO.
        """
        from jvs.operations import worktrees

        place = None if path is None else os.fspath(path)
        return worktrees.fork(self._store, name, target=target, verify=verify, path=place)

    def create(self, name: str) -> Made:
        """Make an empty worktree. Durable: yes. Errors: E_EXISTS, E_NAME_INVALID, E_IO."""
        from jvs.operations import worktrees

        return worktrees.create(self._store, name)

    def rename(self, old: str, new: str) -> None:
        """Rename a worktree. Durable: yes. Errors: E_USAGE for main, E_NOT_FOUND, E_EXISTS, E_NAME_INVALID."""
        from jvs.operations import worktrees

        worktrees.rename(self._store, old, new)

    def move(self, name: str, path: Path | None = None) -> str:
        """Move a worktree to a path outside of the repository, or back; return where it is now.

        Durable: yes. Errors: E_USAGE for main, E_NOT_FOUND, E_EXISTS, E_PATH_ESCAPE, E_IO.
        """
        from jvs.operations import worktrees

        return worktrees.move(self._store, name, None if path is None else os.fspath(path))["path"]

    def remove(self, name: str, *, discard: bool = False) -> Removed:
        """Remove a worktree; all of it is kept for `undo` unless `discard`.

        Shape: `name`, `changes` (entries that no snapshot holds, None when unknown), `bytes`, `operation_id`.
        Durable: yes. Errors: E_USAGE for main and for the worktree that was opened, E_NOT_FOUND, E_IO.
        """
        from jvs.operations import worktrees

        return worktrees.remove(self._store, name, discard=discard)
