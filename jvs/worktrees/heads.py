"""Moving the head of a worktree outside of a publication, with a record in the audit log.

Source: jvs-protocol(7), Publish, step 11.
"""

from __future__ import annotations

from jvs.store import audit, intent, worktree, write_ahead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.store.shapes import HeadIntent
    from jvs.store.store import Store


def set_head(store: Store, name: str, new: str, old: str | None) -> worktree.WorktreeConfig:
    """Set head and latest of a worktree outside of a publication, and say so in the audit log.

    `old` is what the head must be: an id, `-` for none, None for anything. Durable: yes.
    Errors: E_STALE_HEAD, E_NOT_FOUND, E_BUSY.
    """
    seen = worktree.load(store.layout, name)["head_snapshot_id"]
    expected = seen if old is None else None if old == "-" else old
    event = audit.event("head_update", store.actor, target=new, worktree=name, details={"old": expected, "new": new})
    with write_ahead.operation(
        store,
        "head_update",
        name,
        event,
        roll_back=lambda pending: not _is_moved(store, pending),
        applied=write_ahead.COMPLETE,  # our process may live on, and while it does nobody would recover this
        locked=False,
        target=new,
    ) as pending:
        config = worktree.move_head(
            store.layout,
            name,
            new,
            expected=expected,
            latest=new,
            event_id=event["event_id"],
            wait=store.settings.wait,
        )
        if not _is_moved(store, pending):  # it was there already
            raise write_ahead.NothingDone
    return config


def _is_moved(store: Store, pending: HeadIntent) -> bool:
    config = worktree.load(store.layout, pending["worktree"])
    return config.get("event_id") == pending["audit"]["event_id"]


def recover(store: Store, pending: HeadIntent) -> str:
    """Record a head that was moved outside of a publication, or forget the intent when it was not."""
    name = pending["worktree"]
    if not _is_moved(store, pending):
        intent.clear(store.layout, pending["operation_id"])
        return f"forgot a move of the head of '{name}'"
    write_ahead.complete(store, pending)
    return f"recorded a move of the head of '{name}'"
