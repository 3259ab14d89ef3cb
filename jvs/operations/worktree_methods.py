"""The methods of `Repository` that make, move and remove worktrees, and try commands on copies of them.

Source: jvs-worktree(1), jvs-try(1).
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from jvs.operations.trying import Then
    from jvs.operations.worktrees import Forked
    from jvs.restore.trying import TryOutcome
    from jvs.store.store import Store
    from jvs.store.tries import Try
    from jvs.worktrees.fork import Made
    from jvs.worktrees.move import Removed

Path = str | os.PathLike[str]


class WorktreeMethods:
    """What a repository does with its worktrees; `jvs.repository.Repository` has these methods."""

    _store: Store
    _environment: dict[str, str]

    def fork(
        self,
        target: str | None,
        name: str,
        *,
        verify: bool = False,
        path: Path | None = None,
        now: bool = False,
        with_excluded: bool = False,
        copy: bool = False,
    ) -> Forked:
        """Make a worktree from a snapshot; return its configuration with `snapshot_id`, `path`, `engine`, `degraded`.

        Without a target it is the head, or with `now` the files as they are; `with_excluded` brings along what is
        excluded. It is made at `path`, outside of the repository, or where the setting `worktrees.path` says;
        with `copy` that may be another filesystem. Durable: yes.
        Errors: E_NOT_FOUND, E_AMBIGUOUS, E_EXISTS, E_NAME_INVALID, E_PATH_ESCAPE, E_PAYLOAD_HASH_MISMATCH, E_IO.
        """
        from jvs.operations import worktrees

        place = None if path is None else os.fspath(path)
        environment = self._environment if now else None
        how: Any = {"verify": verify, "path": place, "now": environment, "with_excluded": with_excluded, "copy": copy}
        return worktrees.fork(self._store, name, target=target, **how)

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

    def attach(self, path: Path, name: str | None = None) -> str:
        """Bind a directory that was moved or copied by hand as a worktree of this repository; return where it is.

        `name` says which worktree it is where no pointer does. Durable: yes.
        Errors: E_USAGE, E_NOT_FOUND, E_PATH_ESCAPE, E_BUSY, E_IO.
        """
        from jvs.operations import worktrees

        return worktrees.attach_to(self._store, os.fspath(path), name)["path"]

    def remove(self, name: str, *, discard: bool = False) -> Removed:
        """Remove a worktree; all of it is kept for `undo` unless `discard`.

        Shape: `name`, `changes` (entries that no snapshot holds, None when unknown), `bytes`, `operation_id`.
        Durable: yes. Errors: E_USAGE for main and for the worktree that was opened, E_NOT_FOUND, E_IO.
        """
        from jvs.operations import worktrees

        return worktrees.remove(self._store, name, discard=discard)

    def try_command(
        self,
        command: Iterable[str] = (),
        *,
        try_id: str | None = None,
        then: Then = "pending",
        name: str | None = None,
        worktree: str | None = None,
    ) -> TryOutcome:
        """Run a command on a throwaway copy at the worktree's own path, or deal with a pending try.

        `then` is `pending`, `apply`, `discard`, or `keep` with the `name` of a new fork. What it printed is in
        `output`. Errors: E_CONFLICT when nothing was applied, and it is pending; as `snapshot`, `fork`, `restore`.
        """
        from jvs.operations import trying

        store, env = self._store, self._environment
        if try_id is not None:
            return trying.decide(store, try_id, then, name, environment=env).or_conflict()
        done = trying.run_quietly(store, list(command), worktree, then=then, name=name, environment=env)
        return done.or_conflict()

    def tries(self) -> list[Try]:
        """Return the tries that are pending or run, oldest first."""
        from jvs.operations import trying

        return trying.pending(self._store)
