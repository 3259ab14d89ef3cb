"""The name `.jvs` at the root of a worktree: it belongs to jvs, so that no payload, restore or undo may hold it.

In a repository in place it is the control directory itself. Elsewhere a user may have an entry of that name from before
it was reserved; it is left alone, and a snapshot asks for it to be moved.
Source: jvs-format(5), Worktree configuration.
"""

from __future__ import annotations

from jvs.errors import PathEscape
from jvs.fs import paths
from jvs.store.layout import CONTROL
from jvs.tree.exclusion import RESERVED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvs.store.layout import Layout


def check_worktree(layout: Layout, name: str) -> None:
    """Refuse to snapshot a worktree with a user's own entry `.jvs`: it would be left out. Errors: E_PATH_ESCAPE."""
    if layout.has_reserved(name):
        return
    place = layout.worktree_dir(name) / CONTROL
    if paths.exists(place):
        raise PathEscape(
            f"'{place}' has a name that jvs keeps for itself, and no snapshot can hold it",
            hint="move it elsewhere or give it another name, then take the snapshot",
            path=str(place),
        )


def is_reserved(path: bytes) -> bool:
    """Answer whether a path is, or lies below, what jvs keeps for itself."""
    return path == RESERVED or path.startswith(RESERVED + b"/")


def check_paths(chosen: Iterable[bytes]) -> None:
    """Refuse paths that lead into what jvs keeps for itself. Errors: E_PATH_ESCAPE."""
    for path in chosen:
        if is_reserved(path):
            raise PathEscape(
                f"'{path.decode('utf-8', 'backslashreplace')}' belongs to jvs, and is no part of the worktree",
                hint="name files and directories of your own",
            )
