"""Taking history away from a workspace, whose files stay where they are: to a place of its own, or for good.

To keep it, the configuration of main first says where main is in a way that is right before and after, then the control
directory gets its new name in one step: a crash leaves one of the two. To delete it, it gets another name in one step,
durable, and is removed then. A crash leaves a repository as it was, or none, with what is left of its control
directory: the same command, or `jvs init`, removes that.
Source: jvs-detach(1).
"""

from __future__ import annotations

import os

from jvs import clock, progress
from jvs.engine import registry
from jvs.errors import Exists, PathEscape, UsageError, from_oserror
from jvs.fs import durable, listing, paths, rooted
from jvs.store import changing, init, layout, lineage, placement, pointer, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.engine.options import EngineOptions
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

    class Detached(TypedDict):
        """A workspace whose history is elsewhere now: where its files are, and where that is."""

        repo_root: str
        history: str
        snapshots: int

    class HistoryDeleted(TypedDict):
        """A workspace that has no history any more: where its files are, and how many snapshots were deleted."""

        repo_root: str
        paths: list[str]
        snapshots: int


HISTORY = ".history"
"""What is appended to the name of a workspace for the place of its history."""


def keep_history(store: Store) -> Detached:
    """Move the control directory of a workspace out of it, to `NAME.history` next to it.

    Where it is kept apart already it stays, and only the pointer goes. Durable: yes.
    Errors: E_USAGE for a classic repository, E_EXISTS, E_PATH_ESCAPE (next to it is another filesystem), E_BUSY, E_IO.
    """
    here = store.layout
    if not here.in_place:
        raise UsageError(
            "the history of this repository is next to its files, not in them",
            hint="'jvs detach --delete-history' deletes it; 'main' can be used without it at any time",
        )
    with changing.worktree(store, layout.MAIN, alone=True):
        workspace = here.worktree_dir(layout.MAIN)
        found: Detached = {
            "repo_root": str(workspace),
            "history": store.root,
            "snapshots": len(lineage.published_ids(here)),
        }
        if here.apart:
            store.record("detach", worktree=layout.MAIN, path=store.root)
            try:
                pointer.remove(workspace, worktree.load(here, layout.MAIN).get("token", ""))
            except OSError as error:
                raise from_oserror(error, f"removing the pointer in '{workspace}'") from error
        else:
            place = placement.new_place(store.root + HISTORY)
            _check(store, place)
            found["history"] = str(place)
            _move(store, place)
    store.close()
    return found


def _check(store: Store, place: Below) -> None:
    """Refuse a place that history cannot be moved to. Errors: E_EXISTS, E_PATH_ESCAPE, E_USAGE."""
    shown = str(place)
    outside = [name for name in worktree.names(store.layout) if store.layout.placed(name) is not None]
    if outside:
        raise Exists(
            f"the files of '{outside[0]}' are elsewhere, and lead to '{store.layout.jvs}'",
            hint="bring them back first: 'jvs worktree move NAME', or remove them",
        )
    if paths.exists(place):
        raise Exists(f"'{shown}' is there already", hint="rename it first: history is moved there", path=shown)
    init.check_place(shown, None, named=False)
    if not placement.is_on_mount_of(place, store.layout.control):
        raise PathEscape(
            f"'{shown}' is on another filesystem than '{store.layout.jvs}'",
            hint="'jvs clone' copies a repository to another filesystem; '--delete-history' deletes this one",
        )


def _move(store: Store, place: Below) -> None:
    """Rename the control directory, after the configuration of main has got a way that is right from there, too."""
    here = store.layout
    way = "../" + os.path.basename(store.root)  # from the directory itself, and from what is next to it
    worktree.set_place(here, layout.MAIN, way, pointer.new_token())
    try:
        store.record("detach", worktree=layout.MAIN, path=str(place))
        durable.publish(here.top / layout.CONTROL, place)
    except OSError as error:
        worktree.set_place(here, layout.MAIN, layout.IN_PLACE, None)
        raise from_oserror(error, f"moving '{here.jvs}' to '{place}'") from error


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
