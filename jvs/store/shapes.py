"""The shapes of records that more than one package reads or writes: the intents, and the pins and annotations in them.

Every other record has its shape in the module that writes it. All of them are for the type checker only: nothing
here runs. Source: jvs-format(5), Intent and Pins; jvs-protocol(7), Intents.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, NotRequired, TypedDict

    from jvs.store.audit import Event

    class Pin(TypedDict):
        """A pin; without `expires_at` it protects until it is removed."""

        snapshot_id: str
        created_at: str
        actor: str
        reason: str | None
        expires_at: str | None

    class Annotation(TypedDict):
        """What was said of a snapshot after it was taken; null: what its descriptor says counts."""

        version: int
        snapshot_id: str
        revision: int
        changed_at: str
        actor: str
        tags: list[str] | None
        note: str | None
        meta: dict[str, str] | None

    class Owner(TypedDict):
        """Who works on an operation; `locked` says that it holds the lock of the operation all the while."""

        pid: int
        started: str
        boot: str
        namespace: str
        host: str
        locked: bool

    class Begun(TypedDict):
        """What the intents of all operations have: `audit` is the event to append, `audit_seq` the record before it."""

        version: int
        operation_id: str
        created_at: str
        owner: Owner
        audit: Event
        audit_seq: int

    class InWorktree(Begun):
        """What the intents of operations on one worktree have, whose lock they need."""

        worktree: str

    class InRepository(Begun):
        """What the intents of operations on the repository have."""

        worktree: None

    class SnapshotIntent(InWorktree):
        """A publication in flight; `operation_id` is the id of the snapshot."""

        operation: Literal["snapshot"]
        snapshot_id: str
        parent_id: str | None
        latest_id: str | None

    class HeadIntent(InWorktree):
        """A head that is moved by plumbing."""

        operation: Literal["head_update"]
        target: str

    class RestoreIntent(InWorktree):
        """A restore, or an undo of one; `undoes` is the operation that is undone."""

        operation: Literal["restore", "undo", "merge", "try"]
        phase: str
        snapshot_id: str | None
        undoes: str | None

    class ForkIntent(InWorktree):
        """A worktree that is made, from a snapshot or empty."""

        operation: Literal["worktree_create", "worktree_fork"]
        snapshot_id: str | None
        undoes: NotRequired[None]
        """Never there: a worktree that is made undoes nothing."""

    class RenameIntent(InWorktree):
        """A worktree that is renamed; `undoes` is the operation that is undone."""

        operation: Literal["worktree_rename"]
        what: Literal["rename"]
        new_name: str
        undoes: str | None

    class RemoveIntent(InWorktree):
        """A worktree that is removed; `undoes` is the operation that is undone."""

        operation: Literal["worktree_remove"]
        what: Literal["remove"]
        new_name: None
        undoes: str | None

    class ReturnIntent(InWorktree):
        """A removed worktree that is given back; `undoes` is its removal."""

        operation: Literal["worktree_remove"]
        what: Literal["give_back"]
        new_name: None
        undoes: str

    class PlaceIntent(InWorktree):
        """A worktree that is moved, or bound to a directory: its configuration names `token` when it has begun."""

        operation: Literal["worktree_move", "worktree_attach"]
        path: str | None
        token: str | None

    MoveIntent = RenameIntent | RemoveIntent | ReturnIntent

    class ForgetIntent(InWorktree):
        """Operations that are removed from `undo/` on request."""

        operation: Literal["undo_forget"]
        operations: list[str]

    class CollectionIntent(InRepository):
        """A collection: `candidates` are to go."""

        operation: Literal["gc_run"]
        plan_id: str
        candidates: list[str]

    class PinIntent(InRepository):
        """A pin that is written or, where `pin` is null, removed."""

        operation: Literal["pin", "unpin"]
        snapshot_id: str
        pin: Pin | None

    class AnnotateIntent(InRepository):
        """Tags, note or facts that a snapshot gets; `annotation` is the whole record as it is to be."""

        operation: Literal["annotate"]
        snapshot_id: str
        annotation: Annotation

    class ReceiveIntent(InRepository):
        """A stream that is received; `snapshots` are those that are new here."""

        operation: Literal["receive"]
        snapshots: list[str]

    class ConfigIntent(InRepository):
        """A change of the repository's settings; `text` is the whole file as it is to be."""

        operation: Literal["config"]
        text: str

    Intent = (
        SnapshotIntent
        | HeadIntent
        | RestoreIntent
        | ForkIntent
        | MoveIntent
        | PlaceIntent
        | ForgetIntent
        | CollectionIntent
        | PinIntent
        | AnnotateIntent
        | ReceiveIntent
        | ConfigIntent
    )
    """`operation` says which one it is."""

    class Particulars(TypedDict, total=False):
        """What the intents of single operations have besides `Begun`."""

        snapshot_id: str | None
        parent_id: str | None
        latest_id: str | None
        target: str
        phase: str
        undoes: str | None
        what: Literal["rename", "remove", "give_back"]
        new_name: str | None
        operations: list[str]
        plan_id: str
        candidates: list[str]
        snapshots: list[str]
        pin: Pin | None
        annotation: Annotation
        text: str
        path: str | None
        token: str | None
