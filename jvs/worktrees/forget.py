"""Removing operations from `undo/` on request: what they displaced is gone then, and the log says so.

Source: jvs-undo(1), jvs-protocol(7), Undo.
"""

from __future__ import annotations

import contextlib

from jvs import clock, progress, system
from jvs.errors import JvsError, from_oserror
from jvs.fs import paths
from jvs.names import check_snapshot_id
from jvs.restore import belonging, journal, pruning, release
from jvs.store import audit, changing, held, write_ahead
from jvs.worktrees import undo

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.restore.journal import Operation
    from jvs.store.shapes import ForgetIntent
    from jvs.store.store import Store


def forget(store: Store, name: str, *, operation_id: str | None = None, older_ns: int | None = None) -> list[Operation]:
    """Remove one operation of a worktree, those that are older, or all; return their journals, newest first.

    Operations of worktrees that are gone count everywhere: nobody else can name them.
    Durable: yes, with its audit record. Errors: E_NOT_FOUND, E_BUSY, E_IO, E_NO_SPACE.
    """
    with changing.worktree(store, name, alone=True):
        chosen = _choose(store, name, operation_id, older_ns)
        if chosen:
            _carry_out(store, name, chosen)
            with contextlib.suppress(OSError, JvsError):  # the next operation tries again
                held.sweep(store.layout)
    return chosen


def _choose(store: Store, name: str, operation_id: str | None, older_ns: int | None) -> list[Operation]:
    worktrees = belonging.Worktrees(store.layout)
    everything = journal.load_all(store.layout)
    found = [r for r in everything if worktrees.concerns(name, r) or worktrees.owner(r) is None]
    if operation_id is not None:
        return [undo.by_id(found, operation_id, name)]
    if older_ns is None:
        return found
    age_ns = pruning.ages(everything, (clock.now_ns(), system.boot_id(), clock.boottime_ns()))
    return [record for record in found if age_ns[record["operation_id"]] >= older_ns]


def _carry_out(store: Store, name: str, chosen: list[Operation]) -> None:
    ids = [record["operation_id"] for record in chosen]
    details = {"operations": ids, "bytes": sum(record["bytes"] for record in chosen)}
    event = audit.event("undo_forget", store.actor, worktree=name, details=details)
    with write_ahead.operation(
        store,
        "undo_forget",
        name,
        event,
        roll_back=lambda pending: _is_untouched(store, pending),
        write=_written,
        operations=ids,
    ) as pending:
        _discard_all(store, pending)


def _written(write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise from_oserror(error, "writing the record of what is to be forgotten") from error


def _is_untouched(store: Store, pending: ForgetIntent) -> bool:
    """Answer whether all operations are still there, so that nothing has to be completed."""
    return all(paths.exists(store.layout.undo_dir(i) / "op.json") for i in pending["operations"])


def _discard_all(store: Store, pending: ForgetIntent) -> None:
    """Remove the operations. Can be repeated."""
    for operation_id in pending["operations"]:
        try:
            release.discard(store, check_snapshot_id(operation_id))
        except (OSError, JvsError) as error:
            progress.remark(f"operation {operation_id} is forgotten, but what it kept could not be removed: {error}")


def recover(store: Store, pending: ForgetIntent) -> str:
    """Complete what a dead process began to forget; returns what was done, as a sentence."""
    _discard_all(store, pending)
    write_ahead.complete(store, pending)
    return f"completed forgetting {len(pending['operations'])} operations"
