"""The register of worktrees: which names are free, where configurations lie, how a change of it begins and ends.

A worktree is registered (`.jvs/worktrees/NAME/`) only while its directory is there: it is registered last when it is
made, and first taken off the register when it goes. Configurations that are on their way lie in `undo/OP/config`.
Source: jvs-protocol(7), Fork.
"""

from __future__ import annotations

from jvs.errors import Exists
from jvs.fs import paths
from jvs.names import check_worktree_name
from jvs.restore import journal
from jvs.store import intent
from jvs.store.layout import MAIN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Unpack

    from jvs.fs.rooted import Below
    from jvs.store.audit import Event
    from jvs.store.shapes import ForkIntent, MoveIntent, Particulars
    from jvs.store.store import Store


def check_free(store: Store, name: str) -> str:
    """Return the name when nothing is called that. Errors: E_NAME_INVALID, E_EXISTS."""
    name = check_worktree_name(name)
    registered = config_dir(store, name)
    for path in (registered, store.layout.worktree_dir(name)):
        if paths.exists(path):
            raise Exists(
                f"there is a worktree '{name}' already"
                if name == MAIN or path == registered
                else f"'{path}' is there already",
                hint="choose another name; 'jvs worktree list' shows the names that are taken",
                name=name,
            )
    return name


def begin(store: Store, operation: str, name: str, event: Event, operation_id: str, **more: Unpack[Particulars]) -> Any:
    """Write the intent of an operation and return it. Durable: yes."""
    seq, _ = store.log().tail()
    event["details"]["operation_id"] = operation_id
    pending: ForkIntent | MoveIntent = intent.new(
        operation,
        name,
        operation_id=operation_id,
        owner=intent.owner(locked=True),
        audit=event,
        audit_seq=seq,
        **more,
    )
    intent.write(store.layout, pending)
    return pending


def config_dir(store: Store, name: str) -> Below:
    """Return where the configuration of a registered worktree lies."""
    return store.layout.worktree_config(name).parent


def parked(store: Store, operation_id: str) -> Below:
    """Return where the configuration of a worktree lies while the worktree is not registered."""
    return store.layout.undo_dir(operation_id) / "config"


def end(store: Store, pending: ForkIntent | MoveIntent) -> None:
    """Append the audit record, retire what was taken back, remove the intent. Can be repeated. Durable: yes."""
    store.log().append(pending["audit"], after_seq=pending["audit_seq"])
    undoes = pending.get("undoes")
    if undoes is not None:
        try:
            journal.consume(store, journal.load(store.layout, undoes), pending["operation_id"])
        except FileNotFoundError:  # a crash came while it was being cleared away: all it kept is in place
            journal.discard(store, undoes)
    intent.clear(store.layout, pending["operation_id"])
