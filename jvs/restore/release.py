"""Releasing what an operation kept: nobody can undo it any more, or everything is in place again.

What cannot be removed (immutable, of somebody else, in use) is named in a remark, and stops nothing.
Source: jvs-format(5), Undo.
"""

from __future__ import annotations

from jvs import progress
from jvs.engine import registry
from jvs.errors import JvsError
from jvs.fs import durable, listing, paths, removal
from jvs.restore import journal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.engine.space import Freed
    from jvs.fs.rooted import Below
    from jvs.restore.journal import Operation
    from jvs.store.store import Store

NAMED = 5
"""So many entries that could not be removed are named."""


def discard(store: Store, operation_id: str) -> Freed:
    """Remove what an operation kept. `op.json` goes first, so that a crash leaves debris, never a broken promise.

    From there on nothing stops what needs this: what cannot be removed is named in a remark and stays as debris.
    Returns what comes free, without that.
    """
    from jvs.engine import space

    home = store.layout.undo_dir(operation_id)
    freed = space.of_tree(home)
    left = _discard(store, operation_id)
    if left:
        freed.bytes = max(freed.bytes - space.of_tree(home).bytes, 0)
    _name(operation_id, left)
    return freed


def _name(operation_id: str, left: list[tuple[bytes, OSError]]) -> None:
    for path, reason in left[:NAMED]:
        shown = path.decode("utf-8", "backslashreplace")
        progress.remark(f"'{shown}' could not be removed and stays in 'undo/{operation_id}': {reason.strerror}")
    if len(left) > NAMED:
        progress.remark(f"... and {len(left) - NAMED} more could not be removed")


def _discard(store: Store, operation_id: str) -> list[tuple[bytes, OSError]]:
    """Remove what an operation kept; return what could not be removed. Errors: OSError before `op.json` is gone."""
    layout = store.layout
    home = layout.undo_dir(operation_id)
    if paths.is_dir(home):
        durable.unlink(home / "op.json", missing_ok=True)
        durable.fsync_dir(home)  # a crash that lost only this removal would leave a journal without its delta
    left: list[tuple[bytes, OSError]] = []
    try:
        registry.remove_any(home / "worktree", store.settings.engine_options())
        removal.remove_tree(home)
    except (OSError, JvsError):
        left = removal.remove_possible(home)
    durable.fsync_dir(layout.undo)
    return left


def consume(store: Store, record: Operation, by: str) -> None:
    """Retire an operation that was undone: everything it kept is in place again.

    What is left all the same (somebody changed an entry between a crash and its recovery) stays until it is pruned.
    """
    layout = store.layout
    home = layout.undo_dir(record["operation_id"])
    record["undone_by"] = by
    journal.save(layout, record)
    left = False
    for name in listing.names(home):
        if name.startswith("files") and not _remove_empty_directories(home / name):
            left = True
    if not left and not paths.exists(home / "worktree"):
        discard(store, record["operation_id"])


def retire_undone(store: Store, undone: str | None, by: str) -> None:
    """Retire the operation that another one took back, if it took one back. Can be repeated. Durable: yes."""
    if undone is None:
        return
    try:
        consume(store, journal.load(store.layout, undone), by)
    except FileNotFoundError:  # a crash came while it was being cleared away: all it kept is in place
        discard(store, undone)


def sweep(store: Store, operation_id: str) -> None:
    """Remove the directory of an operation that never began, or that was not removed completely.

    What cannot be removed is named in a remark.
    """
    if not paths.exists(store.layout.undo_dir(operation_id) / "op.json"):
        _name(operation_id, _discard(store, operation_id))


def _remove_empty_directories(path: Below) -> bool:
    """Remove the directories that moving everything out of a tree left empty; False when something is still there."""
    if paths.is_dir(path):
        removal.remove_empty(path)
    return not paths.exists(path)
