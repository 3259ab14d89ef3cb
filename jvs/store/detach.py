"""Removing the history of a workspace: its files stay where they are, and nothing of jvs is left.

The control directory gets another name in one step, durable, and is removed then. A crash leaves a repository as it
was, or none, with what is left of its control directory: the same command, or `jvs init`, removes that.
Source: jvs-detach(1).
"""

from __future__ import annotations

from jvs import clock, progress
from jvs.engine import registry
from jvs.errors import Exists, from_oserror
from jvs.fs import durable, listing, paths, rooted
from jvs.store import changing, init, layout, lineage, pointer, worktree

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
        outside = [(placed.directory, name) for name in names if (placed := here.placed(name)) is not None]
        inside = [name for name in names if here.in_place and name not in (layout.MAIN, *(n for _, n in outside))]
        if inside:
            forks = ", ".join(f"'{name}'" for name in inside)
            raise Exists(
                f"the files of {forks} are inside '{here.jvs}'",
                hint="take what you need of them, then 'jvs worktree remove NAME' for each",
            )
        found: HistoryDeleted = {
            "repo_root": store.root,
            "paths": [str(here.place_of(name)) for name in names],
            "snapshots": len(lineage.published_ids(here)),
        }
        tokens = [worktree.load(here, name).get("token", "") for _, name in outside]
        store.close()
        control = rooted.at(store.root) if here.apart else here.top / layout.CONTROL
        try:
            durable.publish(control, control.parent / (init.GONE + clock.random_hex(8)))
            for (directory, _), token in zip(outside, tokens, strict=True):
                if paths.is_dir(directory):
                    pointer.remove(directory, token)
        except OSError as error:
            raise from_oserror(error, f"removing '{here.jvs}'") from error
        progress.effect({"operation": "detach"})
    sweep(control.parent, store.settings.engine_options())
    return found


def sweep(top: Below, options: EngineOptions) -> int:
    """Remove what is left of control directories that were given up; return how many there were. Errors: E_IO."""
    left = [name for name in listing.names(top) if name.startswith(init.GONE) and paths.is_dir(top / name)]
    for name in left:
        registry.remove_any(top / name, options)
    return len(left)
