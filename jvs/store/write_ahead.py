"""Write-ahead: an operation is written down before it changes anything, and is forgotten when all of it is done.

The order is the same for every operation, and each step is durable before the next begins:

1. `begin` reads the end of the audit log. A recovery looks for the record only after that `seq`.
2. `begin` writes the intent: from here on the next command notices when the owner dies.
3. The operation acts.
4. `append` writes the audit record, unless one of the same `event_id` is there: a recovery repeats it safely.
5. The intent is removed. That is the commit point: nobody comes back to the operation.

A crash between 2 and 5 leaves the intent, and `jvs.store.recovery` calls the `recover` of the module that wrote it.
An error is handled by `operation`. Publishing, whose steps may be processes of their own, uses the parts.
Source: jvs-protocol(7), Intents.
"""

from __future__ import annotations

import contextlib

from jvs import clock
from jvs.errors import Busy
from jvs.fs import locks, paths
from jvs.store import intent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Unpack

    from jvs.store.audit import AuditRecord, Event
    from jvs.store.shapes import Begun, Owner, Particulars
    from jvs.store.store import Store

LEAVE, COMPLETE = "leave", "complete"
"""What an error leads to when the operation took effect: the next command completes it, or we do at once."""


class NothingDone(Exception):
    """Raised inside `operation` when there was nothing to do: the intent is removed, and no record is written."""


@contextlib.contextmanager
def abandoned(store: Store, pending: Begun, lock: str) -> Iterator[bool]:
    """Hold the lock that an operation holds all the while, and say whether its intent is there though nobody is at it.

    False when its owner lives, or when somebody else has recovered it.
    """
    try:
        held = locks.acquire(store.layout.lock(lock), wait=0, command="recover")
    except Busy:
        yield False
        return
    with held:
        yield paths.exists(store.layout.intent(pending["operation_id"]))


def begin(
    store: Store,
    kind: str,
    worktree: str | None,
    event: Event,
    *,
    operation_id: str,
    owner: Owner,
    **more: Unpack[Particulars],
) -> Any:
    """Write the intent of an operation and return it; `more` is what its recovery needs to know.

    Shape: the caller names its kind of intent (`shapes`). Durable: yes.
    """
    pending = _new(store, kind, worktree, event, operation_id=operation_id, owner=owner, **more)
    intent.write(store.layout, pending)
    return pending


def _new(
    store: Store,
    kind: str,
    worktree: str | None,
    event: Event,
    *,
    operation_id: str,
    owner: Owner,
    **more: Unpack[Particulars],
) -> Any:
    seq, _ = store.log().tail()
    return intent.new(kind, worktree, operation_id=operation_id, owner=owner, audit=event, audit_seq=seq, **more)


def append(store: Store, pending: Begun, **details: Any) -> AuditRecord:
    """Append the audit record of an operation, with details that are known only now; appended already is success.

    Durable: yes. Returns the record.
    """
    event = pending["audit"]
    if details:
        event = {**event, "details": {**event["details"], **details}}
    return store.log().append(event, after_seq=pending["audit_seq"])


def complete(store: Store, pending: Begun, after_audit: Callable[[Any], None] | None = None) -> None:
    """Append the audit record and remove the intent, after `after_audit` did what the record must come before.

    Can be repeated. Durable: yes.
    """
    append(store, pending)
    if after_audit is not None:
        after_audit(pending)
    intent.clear(store.layout, pending["operation_id"])


@contextlib.contextmanager
def operation(
    store: Store,
    kind: str,
    worktree: str | None,
    event: Event,
    *,
    roll_back: Callable[[Any], bool],
    applied: str = LEAVE,
    operation_id: str | None = None,
    locked: bool = True,
    after_audit: Callable[[Any], None] | None = None,
    write: Callable[[Callable[[], None]], None] | None = None,
    **more: Unpack[Particulars],
) -> Iterator[Any]:
    """Carry out the body of the `with` between an intent and its audit record; gives the body the intent.

    After an error in the body, or in writing the intent, `roll_back` is called. It answers True when nothing of the
    operation is left, durably: then the intent is removed. It answers False when the operation took effect: then
    `applied` says whether the intent stays for the next command (LEAVE) or the operation is completed here and now
    (COMPLETE). The error goes on in each case. When `roll_back` itself fails the intent stays, and so it does after
    an error that comes when the body is done.

    `locked` says that the owner holds, all the while, the lock that the recovery of this kind of operation takes.
    `write` is called with the function that writes the intent, to try again on a full disk. `after_audit` is done
    between the record and the removal of the intent. The body may add to `pending["audit"]` what the record is to say
    besides. Durable: on return, the intent's removal too.
    """
    number = operation_id or clock.new_operation_id()
    owner = intent.owner(locked=locked)
    pending = _new(store, kind, worktree, event, operation_id=number, owner=owner, **more)
    try:
        if write is None:
            intent.write(store.layout, pending)
        else:
            write(lambda: intent.write(store.layout, pending))
        yield pending
    except NothingDone:
        intent.clear(store.layout, number)
        return
    except BaseException:
        if roll_back(pending):
            intent.clear(store.layout, number)
        elif applied == COMPLETE:
            complete(store, pending, after_audit)
        raise
    complete(store, pending, after_audit)
