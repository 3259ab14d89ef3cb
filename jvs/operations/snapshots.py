"""Taking snapshots, going back to them, and undoing that.

Source: jvs-snapshot(1), jvs-restore(1), jvs-run(1), jvs-undo(1).
"""

from __future__ import annotations

from jvs import names
from jvs.errors import UsageError, readable
from jvs.operations import context
from jvs.store import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Literal, TypedDict

    from jvs.canon import PathJSON
    from jvs.restore.journal import Operation
    from jvs.restore.plan import RestorePlan
    from jvs.restore.run import Done
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store

    class Changed(PathJSON):
        """One path that a command changed."""

        change: Literal["added", "modified", "removed"]

    class Ran(TypedDict):
        """What became of a command and of the files."""

        exit: int
        worktree: str
        snapshot_id: str
        created: bool
        rolled_back: bool
        after_snapshot_id: str | None
        changes: list[Changed]


def snapshot(
    store: Store,
    worktree: str | None = None,
    *,
    note: str = "",
    tags: Iterable[str] = (),
    meta: Mapping[str, object] | None = None,
    paths: list[bytes] | None = None,
    if_changed: bool = False,
    allow_unreadable: bool = False,
    environment: Mapping[str, str],
) -> tuple[Descriptor, bool]:
    """Take a snapshot; return its descriptor and True. With `if_changed` maybe that of the head, and False.

    Whether something changed is decided under the lock, after the `pre-snapshot` hooks, which may change files.
    Durable: yes. Errors: E_USAGE, E_NAME_INVALID, E_NOT_FOUND, E_DIRTY, E_BUSY, and those of publishing.
    """
    from jvs.publish import run as publishing

    note, tags = names.check_note(note), [names.check_tag(tag) for tag in names.check_listed(tags, "tags")]
    values = names.check_meta(meta or {})
    name = context.worktree(store, worktree, changes=True)
    with context.hooked(store, "snapshot", name, environment, note=note) as facts, changing.worktree(store, name):
        same = _unchanged(store, name, paths) if if_changed else None
        if same is not None:
            return same, False
        made = publishing.publish(
            store, name, note=note, tags=tags, meta=values, paths=paths, allow_unreadable=allow_unreadable
        )
        facts["snapshot_id"] = made["snapshot_id"]
    context.reserve(store)
    return made, True


def _unchanged(store: Store, worktree: str, paths: list[bytes] | None) -> Descriptor | None:
    """Return the head's descriptor when the worktree, or those paths of it, still have its content."""
    from jvs.store import descriptor, worktree_scan

    same = worktree_scan.unchanged_since(store, worktree, paths)
    return descriptor.load(store.layout, same) if same is not None else None


def restore(
    store: Store,
    target: str,
    worktree: str | None = None,
    *,
    paths: list[bytes] | None = None,
    excepted: list[bytes] | None = None,
    forced: str | None = None,
    discard: bool = False,
    environment: Mapping[str, str],
) -> Done:
    """Bring a worktree, or some of its paths, back to a snapshot, but for what `excepted` names.

    `forced`: why, although its checks fail.

    A worktree whose directory was removed gets a new one.

    Durable: yes. Errors: E_USAGE, E_NOT_FOUND, E_AMBIGUOUS, E_DIRTY, E_BUSY, and those of restoring.
    """
    from jvs.fs import paths as fs_paths
    from jvs.restore import run as restoring
    from jvs.store import refs

    if forced is not None and not forced.strip():
        raise UsageError("--force-tampered needs a reason", hint="it is written to the audit log: say why")
    name = names.check_worktree_name(store.worktree_name(worktree))
    if not fs_paths.mode_of(store.layout.worktree_dir(name)):
        with changing.worktree(store, name):
            restoring.make_again(store, name)
    context.worktree(store, name, changes=True)
    with context.hooked(store, "restore", name, environment, target=target) as facts, changing.worktree(store, name):
        as_it_is = forced is not None and names.is_snapshot_id(target)  # whatever its checks say
        snapshot_id = target if as_it_is else refs.resolve(store, target, name)
        done = restoring.restore(
            store, name, snapshot_id, paths=paths, excepted=excepted, forced=forced, discard=discard
        )
        facts["snapshot_id"] = snapshot_id
    context.thin(store, name, done.operation_id)
    context.prune(store, name)
    return done


def plan_restore(
    store: Store,
    target: str,
    worktree: str | None = None,
    *,
    paths: list[bytes] | None = None,
    excepted: list[bytes] | None = None,
) -> RestorePlan:
    """Return what a restore would do. Writes nothing, and runs no hooks. Errors: as `restore`."""
    from jvs.restore import plan
    from jvs.store import node_store, refs

    name = context.worktree(store, worktree)
    with store.reading():
        snapshot_id = refs.resolve(store, target, name)
        known = node_store.Trees(store)
        found = plan.find_target(store, snapshot_id, known, paths=paths)
        return plan.make(store, name, found, known, excepted=excepted)


def run(
    store: Store,
    command: Callable[[], int],
    label: str,
    worktree: str | None = None,
    *,
    note: str | None = None,
    tags: Iterable[str] = (),
    rollback: bool = False,
    after: bool = False,
    environment: Mapping[str, str],
) -> Ran:
    """Run something between snapshots: `command` does it and returns its exit code, `label` says what it is.

    Errors: as `snapshot` and `restore`, and whatever `command` raises.
    """
    from jvs import canon
    from jvs.compare import diff as comparing

    name, tags = context.worktree(store, worktree, changes=True), names.check_listed(tags, "tags")
    label = readable(label)  # the words of a command may be any bytes

    def keep(text: str) -> tuple[Descriptor, bool]:
        return snapshot(store, name, note=text, tags=tags, if_changed=True, environment=environment)

    before, created = keep(note or f"before: {label}"[:500])
    code = command()
    with store.reading():
        found = comparing.against_files(store, before["snapshot_id"], name, renames=False)
    changes: list[Changed] = [
        {**canon.path_json(c.path), "change": "added" if c.old is None else "removed" if c.new is None else "modified"}
        for c in found.changes
    ]
    rolled_back = bool(changes) and code != 0 and rollback
    if rolled_back:
        restore(store, before["snapshot_id"], name, environment=environment)
    made: Descriptor | None = None
    if after and changes and not rolled_back:
        made, _ = keep(f"after: {label}"[:500])
    return {
        "exit": code,
        "worktree": name,
        "snapshot_id": before["snapshot_id"],
        "created": created,
        "rolled_back": rolled_back,
        "after_snapshot_id": made["snapshot_id"] if made is not None else None,
        "changes": changes,
    }


def undo(
    store: Store, worktree: str | None = None, *, redo: bool = False, operation_id: str | None = None
) -> tuple[Operation, Done | None]:
    """Undo the last operation of a worktree, the last undo (`redo`), or any.

    Returns its journal, and what was done when files were moved.

    Durable: yes. Errors: E_USAGE, E_NOT_FOUND when there is none, E_EXISTS, E_BUSY, E_NO_SPACE, E_IO.
    """
    from jvs.worktrees import undo as undoing

    if redo and operation_id is not None:
        raise UsageError("--redo takes no OPERATION", hint="an operation is named alone: 'jvs undo OPERATION'")
    name = names.check_worktree_name(store.worktree_name(worktree))
    record, done = undoing.undo(store, name, redo=redo, operation_id=operation_id)
    place = undoing.worktree_of(store, record)
    context.thin(store, place, done.operation_id if done is not None else None)
    context.prune(store, place)
    return record, done


def redo(store: Store, worktree: str | None = None) -> tuple[Operation, Done | None]:
    """Undo the last undo, unless something new was done since. Errors: as `undo`."""
    return undo(store, worktree, redo=True)


def operations(store: Store, worktree: str | None = None) -> list[Operation]:
    """Return the journals of what can be undone, newest first.

    Errors: E_NAME_INVALID, E_PARTIAL_SNAPSHOT, E_IO.
    """
    from jvs.worktrees import undo as undoing

    return undoing.operations(store, names.check_worktree_name(store.worktree_name(worktree)))


def forget(
    store: Store, worktree: str | None = None, *, operation_id: str | None = None, older: str | None = None
) -> list[Operation]:
    """Delete what one operation displaced, what those displaced that are `older` (`30d`), or what all did, for good.

    Durable: yes. Returns their journals. Errors: E_USAGE, E_NOT_FOUND, E_BUSY, E_IO, E_NO_SPACE.
    """
    from jvs import units
    from jvs.worktrees import forget as forgetting

    older_ns = None if older is None else units.duration_ns(older, "--older")
    name = names.check_worktree_name(store.worktree_name(worktree))
    return forgetting.forget(store, name, operation_id=operation_id, older_ns=older_ns)
