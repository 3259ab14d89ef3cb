"""Renaming and removing worktrees, and giving removed ones back: each is a few renames; nothing removed is lost.

Source: jvs-protocol(7), Fork.
"""

from __future__ import annotations

import errno

from jvs import clock, progress
from jvs.engine import registry, space
from jvs.errors import JvsError, LineageBroken, UsageError, from_oserror
from jvs.fs import durable, locks, moving, paths
from jvs.names import check_worktree_name
from jvs.restore import belonging, journal, release
from jvs.store import (
    audit,
    intent,
    mount_check,
    node_store,
    placement,
    records,
    worktree,
    worktree_scan,
    write_ahead,
)
from jvs.store.layout import CONTROL, MAIN
from jvs.worktrees import registration, returning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypedDict

    from jvs.fs.rooted import Below
    from jvs.restore.journal import Operation
    from jvs.store.shapes import MoveIntent, RemoveIntent, RenameIntent, ReturnIntent
    from jvs.store.store import Store

    class Removed(TypedDict):
        """A worktree that was removed; `changes` counts the entries that no snapshot holds, null when unknown.

        `bytes` is the size of its files, `freed_bytes` the disk space that came free, an estimate unless `exact`.
        """

        name: str
        changes: int | None
        bytes: int
        freed_bytes: int
        exact: bool
        discarded: bool
        operation_id: str | None


# Renaming


def rename(store: Store, old: str, new: str, *, undoes: Operation | None = None) -> worktree.WorktreeConfig:
    """Rename a worktree whose lock the caller holds; files and directories keep their inodes.

    Durable: yes. Errors: E_USAGE for main, E_EXISTS, E_NAME_INVALID, E_NOT_FOUND, E_BUSY.
    """
    _refuse_main(old, "renamed")
    config = worktree.load(store.layout, old)
    store.require_worktree(old)
    mount_check.refuse(store, old)  # what is excluded moves as well
    mount_check.refuse_moving(store, old)
    registration.check_free(
        store, new
    )  # before its lock, which is the one that the caller holds when it is the old name
    with locks.acquire(store.layout.lock(f"worktree-{check_worktree_name(new)}"), wait=store.settings.wait):
        new = registration.check_free(store, new)
        event = _event(store, "worktree_rename", new, undoes, {"from": old, "to": new})
        _carry_out(store, "worktree_rename", old, event, undoes, config, details={"new_name": new}, what="rename")
    return worktree.load(store.layout, new)


def _move(store: Store, pending: MoveIntent, source: Below, target: Below) -> None:
    """Give a directory another name when that is free. Can be repeated. Durable: yes."""
    halfway = store.layout.undo_dir(pending["operation_id"]) / f"moving-{target.name}"
    moving.publish(source, target, halfway)


def _forward_rename(store: Store, pending: RenameIntent) -> None:
    """Take the old name off the register, rename, register the new name. Can be repeated."""
    layout, old, new = store.layout, pending["worktree"], pending["new_name"]
    parked = registration.parked(store, pending["operation_id"])
    _move(store, pending, registration.config_dir(store, old), parked)
    if not _is_elsewhere(store, parked, registration.config_dir(store, new)):
        _move(store, pending, layout.usual_dir(old), layout.usual_dir(new))
    if paths.exists(parked):
        path = parked / "config.json"
        config: worktree.WorktreeConfig = records.load(path, worktree.FIELDS, LineageBroken)
        named = {"made_as": config["name"], **config, "name": new, "event_id": pending["audit"]["event_id"]}
        records.save(path, named)
        _move(store, pending, parked, registration.config_dir(store, new))
    _rename_rows(store, old, new)


def _is_elsewhere(store: Store, *homes: Below) -> bool:
    """Answer whether the first configuration that is there names a place outside of the repository."""
    for home in homes:
        if paths.exists(home / "config.json"):
            return placement.is_elsewhere(records.load(home / "config.json", worktree.FIELDS, LineageBroken))
    return False


def _rename_rows(store: Store, old: str, new: str) -> None:
    """Let what the index knows follow the files: their stamps are what they were."""
    index = store.index()
    key = store.tree_key(new)
    before = old + key[len(new) :]
    base = index.bound_base(before)
    if base is not None:
        rows = [(path, row, node) for path, (row, node) in index.rows(before, base[2]).items()]
        index.store(key, rows=rows, base=base[:2], plain=base[3], replace=True, algorithm=base[4])
    index.forget(old)


# Removing


def count_changes(store: Store, name: str) -> tuple[int | None, int]:
    """Return how many entries of a worktree no snapshot of its head holds, and how many bytes it has.

    None when that cannot be found out; removing keeps everything in any case.
    """
    from jvs.store import descriptor
    from jvs.tree import node as tree_node

    try:
        head = worktree.load(store.layout, name)["head_snapshot_id"]
        record = descriptor.load(store.layout, head) if head is not None else None
        plain = record is not None and tree_node.is_plain(record["hash_algorithm"])
        found = worktree_scan.walk_now(store, name, plain=plain)
        known = node_store.Trees(store)
        known.add(found)
        root = known.root(record) if record is not None else None
        before = root[2] if root is not None else tree_node.EMPTY_DIGEST
        known._nodes.setdefault(tree_node.EMPTY_DIGEST, b"\x80")
        return sum(1 for _ in tree_node.compare(known.load, before, found.digest)), found.bytes
    except JvsError:
        return None, 0


def remove(store: Store, name: str, *, discard: bool = False, undoes: Operation | None = None) -> Removed:
    """Remove a worktree whose lock the caller holds; the whole of it is kept in `undo/`, unless `discard`.

    Durable: yes. Returns `name`, `changes` (entries that no snapshot holds, or None), `bytes`, `freed_bytes`, `exact`,
    `operation_id`.
    Errors: E_USAGE for main, E_NOT_FOUND, E_IO.
    """
    _refuse_main(name, "removed")
    config = worktree.load(store.layout, name)
    mount_check.refuse(store, name)  # what is excluded moves as well
    mount_check.refuse_moving(store, name)
    there = store.layout.worktree_dir(name)
    if placement.is_elsewhere(config) and not (discard or paths.exists(there)):
        store.require_worktree(name)  # its disk may be away: it is given up by an explicit word only
    changes, size = count_changes(store, name)
    event = _event(store, "worktree_remove", name, undoes, {"changes": changes, "bytes": size, "discard": discard})
    freed = space.Freed(0, exact=True)
    operation_id = _carry_out(
        store,
        "worktree_remove",
        name,
        event,
        undoes,
        config,
        details={"gone": True, "changes": changes, "discard": discard},
        what="remove",
        kept_bytes=size,
        freed=freed,
    )
    return {
        "name": name,
        "changes": changes,
        "bytes": size,
        "freed_bytes": freed.bytes,
        "exact": freed.exact,
        "discarded": discard,
        "operation_id": None if discard else operation_id,
    }


def _forward_remove(store: Store, pending: RemoveIntent) -> None:
    """Take the worktree off the register, then move its directory to `undo/`. Can be repeated."""
    layout, name, operation_id = store.layout, pending["worktree"], pending["operation_id"]
    parked, kept = registration.parked(store, operation_id), layout.undo_dir(operation_id) / "worktree"
    _move(store, pending, registration.config_dir(store, name), parked)
    there = registration.directory(store, name, parked / "config.json")
    if there is not None and paths.exists(there) and not placement.is_on_mount_of(there, layout.control):
        left = moving.carry(there, kept, last=CONTROL)
        if left:
            progress.remark(f"{len(left)} entries in '{there}' could not be removed: {left[0][1].strerror}")
    elif there is not None:
        _move(store, pending, there, kept)
    store.index().forget(name)


def give_back(store: Store, record: Operation) -> worktree.WorktreeConfig:
    """Put a removed worktree back where it was; the caller holds the lock of its name. Errors: E_EXISTS."""
    name = record["worktree"]
    registration.check_free(store, name)
    parked = registration.parked(store, record["operation_id"]) / "config.json"
    config: worktree.WorktreeConfig = records.load(parked, worktree.FIELDS, LineageBroken)
    details: audit.Details = {"back": True}
    left = returning.heads_left(store, config)
    if left:
        details.update(base=left.pop("base"), after=left)
    event = _event(store, "worktree_remove", name, record, details)
    _carry_out(store, "worktree_remove", name, event, record, config, details={"gone": False}, what="give_back")
    return worktree.load(store.layout, name)


def _forward_give_back(store: Store, pending: ReturnIntent) -> None:
    layout, name, source = store.layout, pending["worktree"], pending["undoes"]
    parked, kept = registration.parked(store, source), layout.undo_dir(source) / "worktree"
    returning.move_heads(pending, parked / "config.json")
    place = returning.place_back(store, name, kept, parked / "config.json")
    _move(store, pending, kept, place)
    if not paths.exists(place):  # its directory was missing when it was removed
        registry.best_for(place.parent, None, store.settings.engine_options()).make_worktree(place)
        durable.fsync_dir(place.parent)
    _move(store, pending, parked, registration.config_dir(store, name))


# What they have in common


_FORWARD: dict[str, Callable[[Store, Any], None]] = {
    "rename": _forward_rename,
    "remove": _forward_remove,
    "give_back": _forward_give_back,
}


def _refuse_main(name: str, what: str) -> None:
    if name == MAIN:
        raise UsageError(
            f"worktree '{MAIN}' cannot be {what}",
            hint="it belongs to the repository; other worktrees can: see 'jvs worktree list'",
        )


def _event(store: Store, operation: str, name: str, undoes: Operation | None, details: audit.Details) -> audit.Event:
    if undoes is not None:
        operation, details = "undo", {**details, "undoes": undoes["operation_id"], "what": operation}
    return audit.event(operation, store.actor, worktree=name, details=details)


def _carry_out(
    store: Store,
    kind: journal.Kind,
    name: str,
    event: audit.Event,
    undoes: Operation | None,
    config: worktree.WorktreeConfig,
    *,
    details: journal.Details,
    what: Literal["rename", "remove", "give_back"],
    kept_bytes: int = 0,
    freed: space.Freed | None = None,
) -> str:
    """Carry out an operation of renames between its journal and its record; return its id.

    What it discards is measured and added to `freed`.
    """
    operation_id = clock.new_operation_id()
    event["details"]["operation_id"] = operation_id
    details["asked_in"] = belonging.Worktrees(store.layout).identity(store.worktree_name())
    heads: journal.Heads = {
        "head": config["head_snapshot_id"],
        "latest": config["latest_snapshot_id"],
        "base": config["base_snapshot_id"],
    }
    record = journal.new(
        kind,
        name,
        operation_id,
        identity=worktree.identity(config),
        before=heads,
        after=heads,
        undoes=undoes,
        details=details,
    )
    record["bytes"] = kept_bytes
    with write_ahead.operation(
        store,
        kind,
        name,
        event,
        operation_id=operation_id,
        roll_back=lambda pending: _roll_back(store, pending),
        after_audit=lambda pending: _finish(store, pending, freed),
        what=what,
        new_name=details.get("new_name"),
        undoes=undoes["operation_id"] if undoes else None,
    ) as pending:
        journal.begin(store.layout, record, seq=pending["audit_seq"])
        try:
            _FORWARD[what](store, pending)
        except OSError as error:
            raise from_oserror(error, f"moving worktree '{name}'") from error
    return operation_id


def _finish(store: Store, pending: MoveIntent, freed: space.Freed | None = None) -> None:
    """Release what nobody can undo any more, now that the record is in the log. Can be repeated. Durable: yes."""
    if pending["what"] == "remove" and pending["audit"]["details"].get("discard"):
        came_free = release.discard(store, pending["operation_id"])
        if freed is not None:
            freed.add(came_free)
    registration.retire_undone(store, pending)


def _roll_back(store: Store, pending: MoveIntent) -> bool:
    """Undo the first half of an operation that was refused; False when its directory has moved: it goes forward."""
    layout, operation_id = store.layout, pending["operation_id"]
    if pending["what"] == "give_back":
        parked = registration.parked(store, pending["undoes"]) / "config.json"
        there = registration.directory(store, pending["worktree"], parked)
        if not paths.exists(parked) or there is None or paths.exists(there):
            return False
    else:
        parked, home = registration.parked(store, operation_id), registration.config_dir(store, pending["worktree"])
        config = next((one / "config.json" for one in (parked, home) if paths.exists(one)), home / "config.json")
        there = registration.directory(store, pending["worktree"], config)
        gone = there is None or not paths.exists(there)
        begun = paths.exists(parked) or not paths.exists(home)
        if paths.exists(layout.undo_dir(operation_id) / "worktree") or (gone and begun):
            return False
        if paths.exists(parked):
            _move(store, pending, parked, home)
    release.discard(store, operation_id)
    return True


def recover(store: Store, pending: MoveIntent) -> str:
    """Complete or undo what a dead process left of renaming or removing a worktree."""
    name, operation_id = pending["worktree"], pending["operation_id"]
    verb = {"rename": "rename", "remove": "removal", "give_back": "return"}[pending["what"]]
    try:
        journal.load(store.layout, operation_id)
    except FileNotFoundError:
        discarded = pending["what"] == "remove" and pending["audit"]["details"].get("discard")
        if not discarded or paths.exists(registration.config_dir(store, name)):
            release.discard(store, operation_id)
            intent.clear(store.layout, operation_id)
            return f"rolled back a {verb} of worktree '{name}' that had not begun"
    try:
        _FORWARD[pending["what"]](store, pending)
        write_ahead.complete(store, pending, lambda pending: _finish(store, pending))
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and _roll_back(store, pending):
            intent.clear(store.layout, operation_id)
        raise from_oserror(error, f"completing the {verb} of worktree '{name}'") from error
    return f"completed the {verb} of worktree '{name}'"
