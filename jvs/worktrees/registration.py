"""The register of worktrees: which names are free, and where configurations lie.

A worktree is registered (`.jvs/worktrees/NAME/`) only while its directory is there: it is registered last when it is
made, and first taken off the register when it goes. Configurations that are on their way lie in `undo/OP/config`.
Source: jvs-protocol(7), Fork.
"""

from __future__ import annotations

from jvs import canon
from jvs.errors import Exists
from jvs.fs import paths
from jvs.names import check_worktree_name
from jvs.restore import release
from jvs.store import placement, records
from jvs.store.layout import MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.shapes import MoveIntent
    from jvs.store.store import Store


def check_free(store: Store, name: str) -> str:
    """Return the name when nothing is called that. Errors: E_NAME_INVALID, E_EXISTS."""
    name = check_worktree_name(name)
    registered = config_dir(store, name)
    for path in (registered, store.layout.usual_dir(name)):
        if paths.exists(path):
            raise Exists(
                f"there is a worktree '{name}' already"
                if name == MAIN or path == registered
                else f"'{path}' is there already",
                hint="choose another name; 'jvs worktree list' shows the names that are taken",
                name=name,
            )
    return name


def config_dir(store: Store, name: str) -> Below:
    """Return where the configuration of a registered worktree lies."""
    return store.layout.worktree_config(name).parent


def parked(store: Store, operation_id: str) -> Below:
    """Return where the configuration of a worktree lies while the worktree is not registered."""
    return store.layout.undo_dir(operation_id) / "config"


def directory(store: Store, name: str, config: Below) -> Below | None:
    """Return where a worktree is, or belongs, by a configuration that may not be registered.

    None when something else is in its place, which is nobody's to move or to remove.
    """
    try:
        known = canon.decode_object(paths.read_file(config, records.MAX_BYTES))
    except (OSError, canon.BadJSON):
        known = {}
    placed = store.layout.placed_as(name, known)
    if placed is None:
        return store.layout.usual_dir(name)
    return None if placed.state == placement.STRANGE else placed.directory


def retire_undone(store: Store, pending: MoveIntent) -> None:
    """Retire the operation that this one took back, once its record is in the log. Can be repeated. Durable: yes."""
    release.retire_undone(store, pending.get("undoes"), pending["operation_id"])
