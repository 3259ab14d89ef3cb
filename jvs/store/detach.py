"""Removing the history of a workspace: its files stay where they are, and nothing of jvs is left.

The control directory gets another name in one step, durable, and is removed then. A crash leaves a repository as it
was, or none, with what is left of its control directory: the same command, or `jvs init`, removes that.
Source: jvs-detach(1).
"""

from __future__ import annotations

from jvs import clock, progress
from jvs.engine import registry
from jvs.errors import Exists, from_oserror
from jvs.fs import durable, listing, paths
from jvs.store import changing, init, layout, lineage, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.engine.options import EngineOptions
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

    class HistoryDeleted(TypedDict):
        """A workspace that has no history any more: where its files are, and how many snapshots were deleted."""

        repo_root: str
        paths: list[str]
        snapshots: int


def delete_history(store: Store) -> HistoryDeleted:
    """Delete the control directory: all snapshots, and all that could be undone. The files of all worktrees stay.

    Durable: yes. Errors: E_EXISTS while there are forks inside the control directory, E_BUSY, E_IO.
    """
    here = store.layout
    with changing.worktree(store, layout.MAIN, alone=True):
        names = worktree.names(here)
        if here.in_place and len(names) > 1:
            forks = ", ".join(f"'{name}'" for name in names if name != layout.MAIN)
            raise Exists(
                f"the files of {forks} are inside '{here.jvs}'",
                hint="take what you need of them, then 'jvs worktree remove NAME' for each",
            )
        found: HistoryDeleted = {
            "repo_root": store.root,
            "paths": [str(here.worktree_dir(name)) for name in names],
            "snapshots": len(lineage.published_ids(here)),
        }
        store.close()
        gone = here.top / (init.GONE + clock.random_hex(8))
        try:
            durable.publish(here.top / layout.CONTROL, gone)
        except OSError as error:
            raise from_oserror(error, f"removing '{here.jvs}'") from error
        progress.effect({"operation": "detach"})
    sweep(here.top.here, store.settings.engine_options())
    return found


def sweep(top: Below, options: EngineOptions) -> int:
    """Remove what is left of control directories that were given up; return how many there were. Errors: E_IO."""
    left = [name for name in listing.names(top) if name.startswith(init.GONE) and paths.is_dir(top / name)]
    for name in left:
        registry.remove_any(top / name, options)
    return len(left)
