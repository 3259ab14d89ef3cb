"""Moving worktrees to other places, and binding directories that were moved or copied by hand.

The configuration is written first: it names the new place, and until all is done the old one as well, so that the
worktree is found at whichever it is. A recovery renames nothing outside of the repository: it completes what has moved,
and puts the configuration back when nothing has. Source: jvs-protocol(7), Worktrees elsewhere.
"""

from __future__ import annotations

from jvs import clock
from jvs.errors import UsageError, from_oserror
from jvs.fs import durable, paths
from jvs.store import attaching, audit, intent, mount_check, placement, pointer, worktree, write_ahead
from jvs.store.layout import IN_PLACE, MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from jvs.fs.rooted import Below
    from jvs.store.shapes import PlaceIntent
    from jvs.store.store import Store
    from jvs.store.worktree import PlaceBefore, WorktreeConfig


def move(store: Store, name: str, place: Below | None) -> Below:
    """Rename the directory of a worktree, whose lock the caller holds, to a place outside; None: where it belongs.

    Durable: yes. Errors: E_USAGE for main, E_EXISTS, E_PATH_ESCAPE, E_NOT_FOUND, E_IO.
    """
    config = worktree.load(store.layout, name)
    if name == MAIN and not placement.is_elsewhere(config):
        raise UsageError(f"worktree '{MAIN}' is part of its repository", hint="move the directory of the repository")
    source = store.require_worktree(name)
    mount_check.refuse(store, name)
    mount_check.refuse_moving(store, name)
    target = _usual(store, name) if place is None else place
    path = None if place is None else attaching.check_place(store, place)
    if paths.exists(target):
        raise UsageError(f"worktree '{name}' is at '{target}' already", hint="'jvs worktree list' shows the places")
    token = None if path is None else config.get("token") or pointer.new_token()
    event = audit.event("worktree_move", store.actor, worktree=name, details={"to": str(target), "path": path})
    with _operation(store, "worktree_move", name, event, path, token) as pending:
        before: PlaceBefore = {"path": config.get("path"), "token": config.get("token")}
        worktree.set_place(store.layout, name, path, token, was=before)
        try:
            if token is not None:
                _point(store, pending, source, target, leaving=True)
            durable.publish(source, target)
            _arrive(store, pending, target)
        except OSError as error:
            raise from_oserror(error, f"moving worktree '{name}' to '{target}'") from error
    if path is not None:
        attaching.remember(store, target)
    return target


def _usual(store: Store, name: str) -> Below:
    if name == MAIN:
        raise UsageError(f"worktree '{MAIN}' needs a path", hint="jvs worktree move main PATH")
    return store.layout.usual_dir(name)


def attach(store: Store, place: Below, name: str) -> WorktreeConfig:
    """Bind a directory as a worktree, whose lock the caller holds, with a new token: no copy of it is one any more.

    Durable: yes. Errors: E_USAGE for a worktree inside of its repository, E_PATH_ESCAPE, E_IO.
    """
    config = worktree.load(store.layout, name)
    if config.get("path") in (None, IN_PLACE):
        raise UsageError(
            f"worktree '{name}' is inside its repository", hint="'jvs worktree move' moves it elsewhere", worktree=name
        )
    path, token = attaching.check_place(store, place, free=False), pointer.new_token()
    there = pointer.read(place)
    held = there[0]["token"] if there is not None else None
    event = audit.event("worktree_attach", store.actor, worktree=name, details={"to": str(place), "path": path})
    with _operation(store, "worktree_attach", name, event, path, token) as pending:
        try:
            _point(store, pending, place, place, token=held)  # from here on it leads to us: it can be believed
            worktree.set_place(store.layout, name, path, token, was={"path": path, "token": held})
            _arrive(store, pending, place)
        except OSError as error:
            raise from_oserror(error, f"attaching '{place}'") from error
    attaching.remember(store, place)
    return worktree.load(store.layout, name)


def _point(
    store: Store,
    pending: PlaceIntent,
    directory: Below,
    final: Below,
    *,
    leaving: bool = False,
    token: str | None = None,
) -> None:
    """Write the pointer of a directory as it is to be when that is at its final place."""
    way = attaching.way_to_control(store, final)
    moved = attaching.way_to_control(store, directory) if leaving else None
    token = token or pending["token"] or ""
    pointer.write(directory, store.repo_id, way, token, pending["operation_id"], moved=moved)


def _arrive(store: Store, pending: PlaceIntent, target: Below) -> None:
    """Complete what has moved: its pointer, and its configuration. Can be repeated. Durable: yes."""
    name, token = pending["worktree"], pending["token"]
    if token is not None:
        _point(store, pending, target, target)
    else:
        was = worktree.load(store.layout, name).get("was")
        pointer.remove(target, (was["token"] if was is not None else None) or "")
    worktree.set_place(store.layout, name, pending["path"], token)


def _operation(
    store: Store, kind: str, name: str, event: audit.Event, path: str | None, token: str | None
) -> AbstractContextManager[PlaceIntent]:
    return write_ahead.operation(
        store,
        kind,
        name,
        event,
        operation_id=clock.new_operation_id(),
        roll_back=lambda pending: _roll_back(store, pending),
        path=path,
        token=token,
    )


def _roll_back(store: Store, pending: PlaceIntent) -> bool:
    """Put the configuration back when the directory has not moved; False when it has, and is to be completed."""
    name = pending["worktree"]
    worktree.sweep(store.layout, name)
    config = worktree.load(store.layout, name)
    was = config.get("was")
    if was is None:
        untouched = config.get("path") != pending["path"] or config.get("token") != pending["token"]
        if untouched and pending["operation"] == "worktree_attach" and pending["path"] is not None:
            place = placement.at(store.root, pending["path"])
            if paths.is_dir(place):
                pointer.sweep(place, pending["operation_id"])
        return untouched
    if pending["operation"] == "worktree_attach":
        return False
    there = store.layout.place_of(name)
    if store.layout.is_strange(name) or not paths.exists(there):
        return False  # neither is there now: its disk is away, and both stay known
    if _has_arrived(store, pending, there):
        return False
    if was["path"] is None:
        pointer.sweep(there, pending["operation_id"])
        pointer.remove(there, pending["token"] or "")
    elif pending["token"] is not None:
        _point(store, pending, there, there)
    worktree.set_place(store.layout, name, was["path"], was["token"])
    return True


def _has_arrived(store: Store, pending: PlaceIntent, there: Below) -> bool:
    if pending["path"] is None:
        return there == store.layout.usual_dir(pending["worktree"])
    return there == placement.at(store.root, pending["path"])


def recover(store: Store, pending: PlaceIntent) -> str:
    """Complete or undo what a dead process left of moving or attaching a worktree."""
    name = pending["worktree"]
    what = "move" if pending["operation"] == "worktree_move" else "attaching"
    try:
        if _roll_back(store, pending):
            intent.clear(store.layout, pending["operation_id"])
            return f"rolled back the {what} of worktree '{name}'"
        there = store.layout.place_of(name)
        if paths.exists(there) and not store.layout.is_strange(name):
            pointer.sweep(there, pending["operation_id"])
            _arrive(store, pending, there)
    except OSError as error:
        raise from_oserror(error, f"completing the {what} of worktree '{name}'") from error
    write_ahead.complete(store, pending)
    return f"completed the {what} of worktree '{name}'"
