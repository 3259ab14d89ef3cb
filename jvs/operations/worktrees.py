"""Making, renaming and removing worktrees.

Source: jvs-worktree(1).
"""

from __future__ import annotations

from jvs import names
from jvs.errors import Exists, JvsError, NameInvalid, UsageError
from jvs.operations import context
from jvs.store import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from jvs.store.store import Store
    from jvs.worktrees.fork import Made
    from jvs.worktrees.move import Removed

    class Forked(Made):
        """A worktree that was made from a snapshot."""

        snapshot_id: str

    class Renamed(TypedDict):
        """A worktree that got another name."""

        old: str
        new: str
        path: str


def fork(
    store: Store,
    name: str | None = None,
    *,
    target: str | None = None,
    worktree: str | None = None,
    verify: bool = False,
    now: Mapping[str, str] | None = None,
) -> Forked:
    """Make a worktree from a snapshot, by default the head of `worktree`; without a name it is `fork-SHORTID`.

    With `now`, the environment for hooks, a snapshot is taken first when something changed.
    Shape: the configuration, with `snapshot_id`, `path`, `engine`, `degraded`.
    Durable: yes. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_EXISTS, E_NAME_INVALID, E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    from jvs.store import refs
    from jvs.worktrees import fork as forking
    from jvs.worktrees import registration

    here = store.worktree_name(worktree)
    if name is not None:
        name = _check_fork_name(store, name, target, here)
        registration.check_free(store, name)
    if now is not None:
        from jvs.operations import snapshots

        taken, _ = snapshots.snapshot(store, here, note=f"fork {name or ''}".strip(), if_changed=True, environment=now)
        target = taken["snapshot_id"]
    snapshot_id = refs.resolve(store, target, here) if target is not None else forking.head(store, here)
    if name is None:
        name = f"fork-{refs.short_id(store.layout, snapshot_id)}"
    with changing.worktree(store, name):
        return {**forking.fork(store, snapshot_id, name, verify=verify), "snapshot_id": snapshot_id}


def _check_fork_name(store: Store, name: str, target: str | None, here: str) -> str:
    """Return a new name. Errors: E_NAME_INVALID, with a hint when it is a snapshot that was meant."""
    from jvs.store import refs

    try:
        return names.check_new_worktree_name(name)
    except NameInvalid as error:
        if target is not None or "\0" in name:
            raise
        try:
            refs.resolve(store, name, here, suggest=False)
        except JvsError:
            raise error from None
        raise NameInvalid(
            f"one word is the name of the new worktree, and '{name}' cannot be one",
            hint=f"name the snapshot with '--at {name}'",
            name=name,
        ) from error


def create(store: Store, name: str, *, target: str | None = None, worktree: str | None = None) -> Made:
    """Make a worktree, empty or from a snapshot. Durable: yes. Errors: as `fork`."""
    from jvs.store import refs
    from jvs.worktrees import fork as forking

    name = names.check_new_worktree_name(name)
    with changing.worktree(store, name):
        snapshot_id = None if target is None else refs.resolve(store, target, store.worktree_name(worktree))
        return forking.create(store, name, snapshot_id)


def rename(store: Store, old: str, new: str) -> Renamed:
    """Rename a worktree. Shape: `old`, `new`, `path`.

    Durable: yes. Errors: E_USAGE for main, E_NOT_FOUND, E_EXISTS, E_NAME_INVALID, E_BUSY, E_IO.
    """
    from jvs.worktrees import move

    old, new = names.check_worktree_name(old), names.check_new_worktree_name(new)
    if old == new:
        raise Exists(f"worktree '{old}' has that name already", hint="choose another name")
    with changing.worktree(store, old):
        move.rename(store, old, new)
    context.prune(store, new)
    return {"old": old, "new": new, "path": str(store.layout.worktree_dir(new))}


def remove(store: Store, name: str, *, discard: bool = False) -> Removed:
    """Remove a worktree; all of it is kept for `undo`, unless `discard`.

    Shape: `name`, `changes` (entries that no snapshot holds, None when unknown), `bytes`, `discarded`, `operation_id`.
    Durable: yes. Errors: E_USAGE for main and from inside, E_NOT_FOUND, E_IO.
    """
    from jvs.worktrees import move

    name = names.check_worktree_name(name)
    if name == store.worktree_here and name != "main":
        raise UsageError(
            f"you are inside worktree '{name}'", hint=f"go elsewhere first: cd '{store.root}'", worktree=name
        )
    with changing.worktree(store, name):
        done = move.remove(store, name, discard=discard)
    context.thin(store, name, done["operation_id"])
    context.prune(store, name)
    return done
