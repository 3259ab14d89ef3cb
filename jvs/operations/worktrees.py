"""Making, renaming and removing worktrees.

Source: jvs-worktree(1).
"""

from __future__ import annotations

import os

from jvs import names
from jvs.errors import Exists, JvsError, NameInvalid, UsageError
from jvs.operations import context
from jvs.store import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    from jvs.fs.rooted import Below
    from jvs.store.settings import Settings
    from jvs.store.store import Store
    from jvs.worktrees.fork import Made
    from jvs.worktrees.move import Removed

    class Forked(Made):
        """A worktree that was made from a snapshot."""

        snapshot_id: str

    class Placement(TypedDict):
        """A worktree and where its files are."""

        name: str
        path: str

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
    path: str | None = None,
    with_excluded: bool = False,
    copy: bool = False,
) -> Forked:
    """Make a worktree from a snapshot, by default the head of `worktree`; without a name it is `fork-SHORTID`.

    It is made at `path`, or where the setting `worktrees.path` says. With `now`, the environment for hooks, a snapshot
    is taken first when something changed; `with_excluded` brings along what that leaves out.
    With `copy` the path may be on another filesystem.
    Shape: the configuration, with `snapshot_id`, `path`, `engine`, `degraded`.
    Durable: yes. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_EXISTS, E_NAME_INVALID, E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    from jvs.store import refs
    from jvs.worktrees import fork as forking
    from jvs.worktrees import registration

    here = store.worktree_name(worktree)
    if with_excluded and now is None:
        raise UsageError("what is excluded comes along with the files as they are", hint="add --now")
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
    place = _place_of_fork(store, name, path, copied=copy)
    with changing.worktree(store, name):
        excluded_of = here if with_excluded else None
        how: Any = {"excluded_of": excluded_of, "copied": copy}
        made = forking.fork(store, snapshot_id, name, verify=verify, place=place, **how)
        return {**made, "snapshot_id": snapshot_id}


def _place_of_fork(store: Store, name: str, path: str | None, *, copied: bool) -> Below | None:
    """Return where a fork is to be outside of the repository; None for its usual place. Errors: E_USAGE, E_IO."""
    from jvs.store import attaching, placement

    if path is None:
        template: str = store.settings.get("worktrees.path")
        if not template:
            return None
        words = {"{repo}": store.root, "{name}": name, "{control}": str(store.layout.jvs)}
        path = template
        for word, value in words.items():
            path = path.replace(word, value)
        path = os.path.join(store.root, path)
        if path == str(store.layout.usual_dir(name)):
            return None
        placement.make_above(path, store.root)
    place = placement.new_place(path)
    attaching.check_place(store, place, copied=copied)
    return place


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


def move(store: Store, name: str, path: str | None = None) -> Placement:
    """Move a worktree to a path outside of the repository, or back to where worktrees are. Shape: `name`, `path`.

    Durable: yes. Errors: E_USAGE, E_NOT_FOUND, E_EXISTS, E_PATH_ESCAPE, E_BUSY, E_IO.
    """
    from jvs.store import placement
    from jvs.worktrees import elsewhere

    name = names.check_worktree_name(name)
    place = None if path is None else placement.new_place(path)
    with changing.worktree(store, name):
        return {"name": name, "path": str(elsewhere.move(store, name, place))}


def attach(settings: Settings, path: str, name: str | None = None, *, start: str = ".") -> Placement:
    """Bind a directory that was moved or copied by hand, or remember where a repository's own directory leads now.

    The repository is the one that the settings name, that the pointer leads to, or around `start`. `name` says which
    worktree it is where there is no pointer. Shape: `name`, `path`.
    Durable: yes. Errors: E_NOT_A_REPOSITORY, E_USAGE, E_NOT_FOUND, E_PATH_ESCAPE, E_BUSY, E_IO.
    """
    from jvs.store import attaching

    store = attaching.open_for(settings, path, start)
    try:
        return attach_to(store, path, name)
    finally:
        store.close()


def attach_to(store: Store, path: str, name: str | None = None) -> Placement:
    """Do as `attach`, in a repository that is open. Durable, errors: as `attach`."""
    from jvs.store import attaching
    from jvs.worktrees import elsewhere

    if attaching.is_own_directory(store, path):
        store.layout.control.check_writable()  # who may only read it works elsewhere, and needs no memory of it
        attaching.remember(store)
        return {"name": "main", "path": store.root}
    place = attaching.check_is_directory(path)
    name = attaching.which(store, place, name)
    with changing.worktree(store, name):
        elsewhere.attach(store, place, name)
    return {"name": name, "path": str(place)}


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
