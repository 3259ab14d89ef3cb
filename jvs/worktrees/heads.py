"""Moving the head of a worktree outside of a publication, with a record in the audit log.

Source: jvs-protocol(7), Publish, step 11.
"""

from __future__ import annotations

from jvs import clock
from jvs.store import audit, intent, worktree

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
    seq, _ = store.log().tail()
    operation_id = clock.new_operation_id()
    owner = intent.owner(locked=False)
    pending: HeadIntent = intent.new(
        "head_update", name, operation_id=operation_id, owner=owner, audit=event, audit_seq=seq, target=new
    )
    intent.write(store.layout, pending)
    try:
        config = worktree.move_head(
            store.layout,
            name,
            new,
            expected=expected,
            latest=new,
            event_id=event["event_id"],
            wait=store.settings.wait,
        )
    finally:
        recover(store, pending)
    return config


def recover(store: Store, pending: HeadIntent) -> str:
    """Record a head that was moved outside of a publication, or forget the intent when it was not."""
    name, event = pending["worktree"], pending["audit"]
    moved = worktree.load(store.layout, name).get("event_id") == event["event_id"]
    if moved:
        store.log().append(event, after_seq=pending["audit_seq"])
    intent.clear(store.layout, pending["operation_id"])
    return f"{'recorded' if moved else 'forgot'} a move of the head of '{name}'"
