"""Where worktrees may be outside of their repository, and which directory a user binds as which worktree.

Source: jvs-format(5), Pointer; jvs-worktree-attach(1).
"""

from __future__ import annotations

import os

from jvs import progress
from jvs.errors import Exists, JvsError, NotARepository, NotFound, PathEscape, UsageError
from jvs.fs import paths
from jvs.names import check_worktree_name
from jvs.store import binding, finding, locating, placement, pointer, remembered, worktree
from jvs.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.settings import Settings


def way_to_control(store: Store, place: Below) -> str:
    """Return the path of the control directory from a worktree, as its pointer says it."""
    return placement.way(str(place), os.path.realpath(str(store.layout.jvs)))


def way_from_root(store: Store, place: Below) -> str:
    """Return the path of a place from the repository's directory, as a configuration says it.

    Errors: E_PATH_ESCAPE when the place is in the repository.
    """
    path = placement.way(store.root, str(place))
    if not pointer.is_way(path):
        raise PathEscape(
            f"'{place}' is inside the repository '{store.root}'", hint="choose a place outside of it", path=str(place)
        )
    return path


def check_place(store: Store, place: Below, *, free: bool = True, copied: bool = False) -> str:
    """Check that a worktree can be at a place outside of the repository; return its path from there.

    Errors: E_EXISTS when something is there (`free`); E_PATH_ESCAPE inside or around the repository or a worktree, and
    on another filesystem, unless the worktree is to be copied there.
    """
    shown, control = str(place), os.path.realpath(str(store.layout.jvs))
    path = way_from_root(store, place)
    if free and paths.exists(place):
        raise Exists(f"'{shown}' is there already", hint="choose another path", path=shown)
    inner = next((root for root in _roots(store, place) if _inside(shown, root) or _inside(root, shown)), None)
    if inner is not None or _inside(control, shown):
        raise PathEscape(
            f"'{shown}' and '{inner or control}' lie in each other",
            hint="choose a path next to it: worktrees do not lie in each other",
            path=shown,
        )
    _refuse_inside_another(shown)
    if not copied and not placement.is_on_mount_of(place, store.layout.control):
        raise PathEscape(
            f"'{shown}' is on another filesystem than '{store.layout.jvs}'",
            hint="choose a path on that filesystem; 'jvs fork --copy --path' makes a fork on another one, at more cost",
            path=shown,
        )
    return path


def _roots(store: Store, place: Below) -> list[str]:
    """Return where the other worktrees are."""
    found = []
    for name in worktree.names(store.layout):
        placed = store.layout.placed(name)
        directory = store.layout.usual_dir(name) if placed is None else placed.directory
        if directory != place:
            found.append(os.path.realpath(str(directory)))
    return found


def _inside(path: str, directory: str) -> bool:
    return (path + "/").startswith(directory.rstrip("/") + "/")


def _refuse_inside_another(path: str) -> None:
    """Refuse a place inside the workspace of any repository. Errors: E_PATH_ESCAPE."""
    above = os.path.dirname(path)
    try:
        around = finding.workspace_around(above) or locating.find_root(above)
    except JvsError:
        return
    raise PathEscape(f"'{path}' is inside the workspace '{around}'", hint="choose a path outside of it", path=path)


def remember(store: Store, place: Below | None = None) -> None:
    """Note in the user's memory what a root leads to: a worktree elsewhere, or the repository's own directory."""
    if place is None:
        root, kind = store.root, remembered.DIRECTORY
    else:
        root, kind = os.path.realpath(str(place)), remembered.POINTER
    if not remembered.is_on(store.settings):
        progress.remark(
            "there is no home: nothing outside remembers where this workspace leads, so nothing notices a change"
        )
        return
    remembered.remember(store.settings, root, store.repo_id, kind)


def is_remembered(store: Store, place: Below) -> bool:
    """Answer whether the user's own memory says that a place belongs to this repository."""
    known = remembered.lookup(store.settings, str(place))
    return known is not None and known["kind"] == remembered.POINTER and known["repo_id"] == store.repo_id


def check_is_directory(path: str) -> Below:
    """Return the place of a directory that a person named, links resolved. Errors: E_USAGE, E_IO."""
    place = placement.new_place(os.path.realpath(path))
    if not paths.is_dir(place):
        raise UsageError(f"'{path}' is not a directory", hint="name the directory with the files of the worktree")
    return place


def open_for(settings: Settings, path: str, start: str) -> Store:
    """Open the repository that a directory is to be attached to, whatever is remembered of it.

    It is the one that the settings name, that the directory leads to, or around `start`.
    Errors: E_NOT_A_REPOSITORY, E_PATH_ESCAPE, E_FORMAT_UNSUPPORTED.
    """
    if settings.repository is not None:
        return Store.open_found(finding.named(settings.repository), settings)
    try:
        return Store.open_found(finding.named(path), settings)
    except NotARepository:
        return Store.open_found(finding.find(start, settings), settings)


def is_own_directory(store: Store, path: str) -> bool:
    """Answer whether a path is the directory with the control directory in it, which needs no pointer."""
    return os.path.realpath(path) == store.root and not store.layout.apart


def which(store: Store, place: Below, name: str | None) -> str:
    """Return the worktree that a directory is: by its pointer, or as it was said. Errors: E_NOT_FOUND, E_USAGE."""
    found = pointer.read(place)
    known = binding.by_token(store.layout, found[0]["token"]) if found is not None else None
    if known is None and name is None:
        raise NotFound(
            f"nothing in '{place}' says which worktree of '{store.root}' it is",
            hint=f"name it: jvs --repo '{store.root}' worktree attach '{place}' NAME",
            path=str(place),
        )
    if known is not None and name is not None and known != name:
        raise UsageError(f"'{place}' is worktree '{known}', not '{name}'", hint="leave the name out")
    return check_worktree_name(known or name or "")
