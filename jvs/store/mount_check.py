"""Mounts are not ours: what would capture, move or remove one is refused before anything changes.

The mount table says what is mounted where, bind mounts of the same filesystem and of single files included, which no
device number shows. Something that is mounted later, while a command runs, stops removals by RESOLVE_NO_XDEV or EBUSY.
Source: jvs-threats(7), Mounts; proc(5), /proc/pid/mountinfo.
"""

from __future__ import annotations

import os

from jvs.errors import JvsError, PathEscape
from jvs.fs import mounts
from jvs.names import check_worktree_name, is_operation_id
from jvs.store import intent
from jvs.store.layout import MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.store import Store
    from jvs.tree.exclusion import Exclusion

_MOST_NAMED = 5


def refuse(store: Store, name: str | None = None, *, exclude: Exclusion | None = None) -> None:
    """Refuse to change anything while something is mounted inside `.jvs` or inside a worktree.

    `.jvs` or the worktree itself may be a mount, and what is mounted in the directory of one operation that can be
    undone stops only that one: see `refuse_undoing`. What `exclude` leaves out of the worktree is not touched.
    Errors: E_PATH_ESCAPE naming the mounts.
    """
    points, control, kept = _points(), str(store.layout.jvs) + "/", str(store.layout.undo) + "/"
    found = [point for point in points if point.startswith(control)]
    if name is not None:
        root = str(store.layout.place_of(name))
        inside = [p for p in points if p.startswith(root + "/") and not p.startswith(control)]
        found += inside if exclude is None else exclude.points(inside, root)
    _refuse([p for p in found if not (p.startswith(kept) and is_operation_id(p[len(kept) :].partition("/")[0]))])


def refuse_undoing(store: Store, operation_id: str) -> None:
    """Refuse to move what an operation displaced while something is mounted in it. Errors: E_PATH_ESCAPE."""
    place = str(store.layout.undo_dir(operation_id))
    _refuse([point for point in _points() if point == place or point.startswith(place + "/")])


def refuse_pending(store: Store) -> None:
    """Refuse to recover while something is mounted inside `.jvs` or a worktree that a dead operation was about.

    Errors: E_PATH_ESCAPE naming the mounts.
    """
    refuse(store)
    for operation_id in intent.list_ids(store.layout):
        try:
            name = intent.load(store.layout, operation_id)["worktree"]
            if name is not None:
                check_worktree_name(name)
            exclude = store.exclusion(name) if name is not None else None
        except (JvsError, OSError):  # reported, and dealt with, by whoever recovers
            continue
        refuse(store, name, exclude=exclude)


def refuse_moving(store: Store, name: str) -> None:
    """Refuse to move files between a worktree and `.jvs` when one of the two is a mount of its own: no rename leads
    from one mount to another. Errors: E_PATH_ESCAPE naming the mounts.
    """
    places = {str(store.layout.jvs)}
    if (
        not store.layout.in_place or store.layout.placed(name) is not None or name != MAIN
    ):  # else `.jvs` is inside the worktree, on whatever that is mounted
        places |= {str(store.layout.place_of(name)), str(store.layout.forks)}
    _refuse([point for point in _points() if point in places])


def _points() -> list[str]:
    return [mount.point for mount in mounts.all_mounts()]


def _refuse(found: list[str]) -> None:
    if not found:
        return
    unique = sorted(set(found))
    named = ", ".join(f"'{point}'" for point in unique[:_MOST_NAMED])
    more = f" and {len(unique) - _MOST_NAMED} more" if len(unique) > _MOST_NAMED else ""
    raise PathEscape(
        f"mounted inside the repository: {named}{more}",
        hint="unmount it, exclude it ('.jvsignore'), or mount it elsewhere: jvs neither captures nor moves nor removes"
        " what is mounted",
        mounts=[os.fsencode(point).decode("utf-8", "backslashreplace") for point in unique],
    )
