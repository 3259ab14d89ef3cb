"""Which worktree a pointer belongs to, and whether it may be used: it is the very one, and there is no copy of it.

Source: jvs-format(5), Pointer; jvs-threats(7), A workspace that others can write.
"""

from __future__ import annotations

from jvs.errors import JvsError, PathEscape
from jvs.store import finding, placement, pointer, remembered, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.finding import Found
    from jvs.store.layout import Layout
    from jvs.store.placement import Placed
    from jvs.store.settings import Settings


def check(layout: Layout, settings: Settings, repo_id: str, found: Found) -> str | None:
    """Refuse a workspace that is not what it was, and return the worktree that its pointer belongs to, if it has one.

    Errors: E_PATH_ESCAPE: it leads elsewhere than it did, was moved by hand, is a copy, or has a copy.
    """
    finding.check_memory(found, repo_id)
    here, way = found.here, found.pointer
    if way is None or here is None:
        return None
    name = by_token(layout, way["token"])
    if name is None or way["repo_id"] != repo_id:
        raise _refuse(layout, here, f"no worktree of '{layout.root}' has the token of the pointer in '{here}'")
    placed = layout.placed(name)
    if placed is None or placed.state != placement.BOUND:
        raise _refuse(layout, here, f"worktree '{name}' was moved to '{here}' without jvs")
    if not placement.is_same_directory(placed.directory, here):
        _note_copy(settings, repo_id, placed, here)
        raise _refuse(layout, here, f"'{here}' and '{placed.directory}' both say that they are worktree '{name}'")
    other = found.known["other"] if found.known is not None else None
    if other is not None and _has_token(other, way["token"]):
        raise _refuse(layout, here, f"'{here}' and '{other}' both say that they are worktree '{name}'")
    return name


def _refuse(layout: Layout, here: str, problem: str) -> PathEscape:
    return PathEscape(
        problem, hint=f"use jvs --repo '{layout.root}' worktree attach '{here}' in the one that it is", path=here
    )


def _note_copy(settings: Settings, repo_id: str, placed: Placed, copy: str) -> None:
    """Remember that there are two directories with one token, so that the first one is refused as well."""
    own = str(placed.directory)
    remembered.remember(settings, own, repo_id, remembered.POINTER, other=copy)


def _has_token(path: str, token: str) -> bool:
    found = pointer.read_in(path)
    return found is not None and found["token"] == token


def by_token(layout: Layout, token: str) -> str | None:
    """Return the worktree whose configuration has a token, or had it before what is being done to it."""
    for name in worktree.names(layout):
        try:
            config = worktree.load(layout, name)
        except JvsError:
            continue
        was = config.get("was")
        if token == config.get("token") or (was is not None and token == was["token"]):
            return name
    return None
