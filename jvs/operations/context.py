"""What is the same around every operation: which worktree it is about, hooks, and pruning what cannot be undone.

This package is the one layer under the commands, the Python API and the MCP server: one function per thing that a
person can do. Each resolves names, runs hooks, takes the locks, recovers what dead operations left, does its work,
prunes what can be undone no longer, and returns values; whoever calls, the same happens. The environment that hooks
get is a parameter, for the library reads none. `worktree` is the worktree to work on; None means the one that the
store was opened in, or main. `paths` are bytes relative to that worktree.
Source: jvs-config(5), HOOKS.
"""

from __future__ import annotations

import contextlib
import os

from jvs import names
from jvs.errors import Busy, UsageError
from jvs.fs import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jvs.store.store import Store


def worktree(store: Store, name: str | None, *, changes: bool = False) -> str:
    """Return the name of a worktree whose directory is there.

    Who is about to change it (`changes`) waits for those who are making, renaming or removing it, and recovers what
    they left when they died. Errors: E_NOT_FOUND, E_NAME_INVALID, E_BUSY, E_IO.
    """
    name = names.check_worktree_name(store.worktree_name(name))
    try:
        store.require_worktree(name)
    except Busy:
        if not changes:
            raise
        from jvs.store import changing

        with changing.worktree(store, name):
            store.require_worktree(name)
    return name


def whole_payload(store: Store, snapshot_id: str, *, hint: str) -> str:
    """Return the directory of a snapshot that holds all of a worktree. Errors: E_USAGE for a partial one."""
    from jvs.store import lineage

    if lineage.load_visible(store, snapshot_id)["partial_paths"] is not None:
        raise UsageError(f"snapshot '{snapshot_id}' holds only some paths: no directory is all of it", hint=hint)
    return str(store.layout.payload(snapshot_id))


@contextlib.contextmanager
def hooked(
    store: Store, what: str, name: str, environment: Mapping[str, str], **facts: str
) -> Iterator[dict[str, str]]:
    """Run the `pre-` hooks, and the `post-` hooks when the block has put the `snapshot_id` of what it did in place.

    No lock is held meanwhile, so that hooks may use jvs. Errors: E_DIRTY when a `pre-` hook refuses.
    """
    _run_hooks(store, f"pre-{what}", name, environment, facts)
    yield facts
    if "snapshot_id" in facts:
        _run_hooks(store, f"post-{what}", name, environment, facts)


def _run_hooks(store: Store, hook: str, name: str, environment: Mapping[str, str], facts: dict[str, str]) -> None:
    """Run the hooks of a name. Where nobody has any, nothing of them is loaded. Errors: E_DIRTY."""
    user = store.settings.user_file
    theirs = user is not None and os.path.isdir(os.path.join(os.path.dirname(user), "hooks"))
    if theirs or paths.exists(store.layout.hooks):
        from jvs.store import hooks

        hooks.run(store, hook, name, environment, **facts)


def reserve(store: Store) -> None:
    """Make the reserve that a collection on a full disk begins with, unless it is there."""
    if not paths.exists(store.layout.reserve):
        from jvs.store import reserve as reserving

        reserving.fill(store.layout)


def thin(store: Store, name: str, operation_id: str | None) -> None:
    """Keep nothing twice of what an operation displaced; what fails stays."""
    from jvs.restore import thinning

    if operation_id is not None:
        thinning.thin(store, name, operation_id)


def prune(store: Store, name: str) -> None:
    """Delete what is kept for operations that can be undone no longer; what fails is left for the next time."""
    from jvs.restore import pruning

    pruning.prune(store, name)
