"""Finding the repository that a command works on: the one that is named, or the one around a directory.

Going up, the first `.jvs` counts: the control directory itself, or a pointer to one elsewhere. A root that the user's
own memory knows comes before any `.jvs` below it, which whoever works in the workspace may have made; and a root that
leads elsewhere than it did is refused. Source: jvs(1), Finding the repository; jvs-threats(7).
"""

from __future__ import annotations

import os

from jvs.errors import NotARepository, PathEscape
from jvs.store import locating, pointer, remembered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.pointer import Pointer
    from jvs.store.remembered import KnownRoot
    from jvs.store.settings import Settings


class Found:
    """A repository: `root` is its directory, `here` the workspace whose `.jvs` led to it, `pointer` what that says.

    `pointer` is None for a `.jvs` that is the control directory itself; `known` is what the user remembers of `here`.
    """

    __slots__ = ("here", "known", "pointer", "root")

    def __init__(
        self, root: str, here: str | None = None, way: Pointer | None = None, known: KnownRoot | None = None
    ) -> None:
        self.root = root
        self.here = here
        self.pointer = way
        self.known = known

    @property
    def kind(self) -> str:
        """What the memory calls such a root."""
        return remembered.DIRECTORY if self.pointer is None else remembered.POINTER


def find(start: str, settings: Settings) -> Found:
    """Return the repository at or above a directory.

    Errors: E_NOT_A_REPOSITORY; E_PATH_ESCAPE when `.jvs` is a symbolic link.
    """
    link, first = None, None
    here = os.path.realpath(start)
    while True:
        kind = locating.kind_at(here)
        if kind == locating.LINK:
            link = link or here
        elif kind:
            way = pointer.read_in(here) if kind == locating.FILE else None
            if kind != locating.FILE or way is not None:
                known = remembered.lookup(settings, here)
                first = first if first is not None and known is None else (here, way, known)
                if known is not None:
                    break
        else:
            apart = locating.control_around_fork(here)
            if apart is not None and first is None:
                first = (apart, None, remembered.lookup(settings, apart))
        if first is None:
            locating.check_sight(here, settings.inside)
        parent = os.path.dirname(here)
        if parent == here:
            break
        here = parent
    if first is None:
        raise locating.not_found(start, link)
    here, way, known = first
    return Found(here if way is None else _lead(here, way), here, way, known)


def _lead(here: str, way: Pointer) -> str:
    """Return the directory of the repository that a pointer leads to. Errors: E_NOT_A_REPOSITORY."""
    control = os.path.realpath(os.path.join(here, way["control"]))
    root = _root_of(control)
    if root is None and "moved" in way:
        root = _root_of(os.path.realpath(os.path.join(here, way["moved"])))
    if root is None:
        raise NotARepository(
            f"'{here}' belongs to a repository whose control directory '{control}' is not there",
            hint=f"mount its disk; if it was moved: jvs --repo WHERE worktree attach '{here}'",
            path=here,
        )
    return root


def _root_of(control: str) -> str | None:
    """Return what a repository is called whose control directory is at a path; None when none is there."""
    if not locating.is_control_at(control):
        return None
    return os.path.dirname(control) if os.path.basename(control) == locating.CONTROL else control


def named(path: str) -> Found:
    """Return the repository in a directory that was named: one with `.jvs` in it, or a control directory itself.

    Errors: E_NOT_A_REPOSITORY; E_PATH_ESCAPE when `.jvs` is a symbolic link.
    """
    here = os.path.realpath(path)
    kind = locating.kind_at(here)
    if kind == locating.DIRECTORY:
        return Found(here)
    way = pointer.read_in(here) if kind == locating.FILE else None
    if way is not None:
        return Found(_lead(here, way))
    root = _root_of(here)
    if root is not None:
        return Found(root)
    if kind == locating.LINK:
        raise locating.not_found(path, here)
    raise NotARepository(
        f"'{path}' is not a jvs repository", hint="name a directory with '.jvs' in it, or a control directory"
    )


def choose(start: str, settings: Settings) -> Found:
    """Return the repository that the settings name, else that at or above a directory. Errors: as `named`, `find`."""
    return find(start, settings) if settings.repository is None else named(settings.repository)


def workspace_around(path: str) -> str | None:
    """Return the workspace with a pointer that a path lies in, or is; None when it lies in none."""
    here = path
    while True:
        if locating.kind_at(here) == locating.FILE and pointer.read_in(here) is not None:
            return here
        if here == os.path.dirname(here):
            return None
        here = os.path.dirname(here)


def check_memory(found: Found, repo_id: str) -> None:
    """Refuse a workspace that leads to another repository, or in another way, than it did. Errors: E_PATH_ESCAPE."""
    known = found.known
    if found.here is None or known is None or (known["repo_id"] == repo_id and known["kind"] == found.kind):
        return
    raise PathEscape(
        f"'{found.here}' is not what it was: its '.jvs' was a {known['kind']} of repository {known['repo_id']}, and is"
        f" a {found.kind} of {repo_id}",
        hint=f"if that is right: jvs worktree attach '{found.here}'; 'jvs help threats' says why jvs asks",
        path=found.here,
    )
