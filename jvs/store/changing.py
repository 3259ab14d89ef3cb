"""Changing a repository: its locks are held, and what dead operations left is recovered before anything new begins.

Source: jvs-protocol(7), Locks and Recovery.
"""

from __future__ import annotations

import contextlib

from jvs import progress
from jvs.errors import JvsError
from jvs.fs import listing, locks, paths
from jvs.store import mount_check

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.store.store import Store


@contextlib.contextmanager
def worktree(store: Store, name: str, *, alone: bool = False) -> Iterator[None]:
    """Hold the locks of a change to one worktree, after recovering what dead operations left.

    `alone` takes the repository lock exclusively.
    Errors: E_BUSY naming the holder; E_PATH_ESCAPE when something is mounted inside the worktree or `.jvs`; those of
    the recovery.
    """
    wait, command = store.settings.wait, store.settings.command
    mount_check.refuse(store)  # before the locks, which are files below `.jvs`
    with (
        locks.acquire_repository(store.layout.locks, exclusive=alone, wait=wait, command=command),
        locks.acquire(store.layout.lock(f"worktree-{name}"), wait=wait, command=command),
        store.same_exclusion(name),
    ):
        mount_check.refuse(store, name, exclude=store.known_exclusion(name))
        if recover(store, name):  # a restore that was completed now may have brought other rules
            store.read_exclusion_again(name)
            mount_check.refuse(store, name, exclude=store.known_exclusion(name))
        yield
        _remember(store)


def recover(store: Store, held: str | None = None) -> list[str]:
    """Complete or undo what dead operations left; `held` is the worktree whose lock we hold. Returns what was done."""
    if held is None:
        mount_check.refuse(store)
    if paths.exists(store.layout.tries):
        _sweep_tries(store)
    if not listing.names(store.layout.intents):
        return []
    mount_check.refuse_pending(store)
    from jvs.store import recovery

    done = recovery.recover_all(store, held)
    for sentence in done:
        progress.remark(sentence)
    return done


def _sweep_tries(store: Store) -> None:
    """Remove what tries left that died while they ran; what cannot be removed is left for the next time."""
    from jvs.store import tries

    with contextlib.suppress(OSError, JvsError):
        for try_id in tries.sweep(store):
            progress.remark(f"removed what the try '{try_id}' left, which was interrupted")


def _remember(store: Store) -> None:
    """Note outside of the repository where its directory leads and, when the user wants that, how far the log goes."""
    if not store.is_remembered:
        from jvs.store import remembered

        name = store.worktree_here
        placed = store.layout.placed(name) if name is not None else None
        kind = remembered.DIRECTORY if placed is None else remembered.POINTER
        remembered.remember(
            store.settings, store.root if placed is None else str(placed.directory), store.repo_id, kind
        )
        store.is_remembered = True
    if store.settings.get("audit.remember"):
        from jvs.store import anchor

        anchor.remember(store, *store.log().tail())
