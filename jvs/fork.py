"""Making, renaming and removing worktrees: staged, then renamed into place; nothing removed is lost.

A worktree is registered (`.jvs/worktrees/NAME/`) only while its directory is there: it is registered last when it is
made, and first taken off the register when it goes. Configurations that are on their way lie in `undo/OP/config`.
Source: jvs-protocol(7), Fork.
"""

from __future__ import annotations

import errno
import os

from jvs import (
    audit,
    clock,
    durable,
    engine,
    intent,
    journal,
    lineage,
    locks,
    look,
    observe,
    records,
    refs,
    signs,
    trees,
    worktree,
)
from jvs.errors import Exists, JvsError, NameInvalid, NotFound, PayloadHashMismatch, UsageError, from_oserror
from jvs.layout import MAIN
from jvs.names import check_worktree_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.store import Store


def choose(store: Store, words: list[str], at: str | None, name: str) -> tuple[str, str]:
    """Return (snapshot id, new name) from what was written after `fork`, seen from worktree `name`.

    One word is a snapshot when it answers to exactly one, else the new name; without a name the worktree is called
    `fork-SHORTID`; without a snapshot it is made from the head.
    Errors: E_NOT_FOUND, E_AMBIGUOUS, E_USAGE.
    """
    if len(words) > 2 or (at is not None and len(words) > 1):
        raise UsageError("too many words", hint="jvs worktree fork [TARGET] [NAME] [--at TARGET]")
    if at is not None:
        snapshot_id, rest = refs.resolve(store, at, name), words
    elif len(words) == 2:
        snapshot_id, rest = refs.resolve(store, words[0], name), words[1:]
    else:
        resolved = _resolves(store, words[0], name) if words else None
        snapshot_id, rest = resolved or _head(store, name), [] if resolved else words
    return snapshot_id, rest[0] if rest else f"fork-{refs.short_id(store.layout, snapshot_id)}"


def _resolves(store: Store, word: str, name: str) -> str | None:
    try:
        return refs.resolve(store, word, name)
    except (NotFound, NameInvalid):
        return None
    except JvsError as error:
        if error.name == "E_AMBIGUOUS":
            return None
        raise


def _head(store: Store, name: str) -> str:
    head, _ = store.head_of(name)
    if head is None:
        raise NotFound(f"worktree '{name}' has no snapshot yet", hint="take one with 'jvs snapshot', or name one")
    return head


def _check_free(store: Store, name: str) -> str:
    """Return the name when nothing is called that. Errors: E_NAME_INVALID, E_EXISTS."""
    name = check_worktree_name(name)
    for path in (os.path.dirname(store.layout.worktree_config(name)), store.layout.worktree_dir(name)):
        if os.path.lexists(path):
            raise Exists(
                f"there is a worktree '{name}' already"
                if name == MAIN or path.startswith(store.layout.jvs)
                else f"'{path}' is there already",
                hint="choose another name; 'jvs worktree list' shows the names that are taken",
                name=name,
            )
    return name


def _begin(
    store: Store, operation: str, name: str, event: dict[str, Any], operation_id: str, **more: Any
) -> dict[str, Any]:
    seq, _ = store.log().tail()
    event["details"]["operation_id"] = operation_id
    pending = intent.new(
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


def _config_dir(store: Store, name: str) -> str:
    return os.path.dirname(store.layout.worktree_config(name))


def _parked(store: Store, operation_id: str) -> str:
    """Return where the configuration of a worktree lies while the worktree is not registered."""
    return os.path.join(store.layout.undo_dir(operation_id), "config")


def _staged(store: Store, operation_id: str) -> str:
    return os.path.join(store.layout.forks, f".jvs-tmp-{operation_id}")


def _end(store: Store, pending: dict[str, Any]) -> None:
    store.log().append(pending["audit"], after_seq=pending["audit_seq"])
    undoes = pending.get("undoes")
    if undoes is not None:
        try:
            journal.consume(store.layout, journal.load(store.layout, undoes), pending["operation_id"])
        except FileNotFoundError:  # a crash came while it was being cleared away: all it kept is in place
            journal.discard(store.layout, undoes)
    intent.clear(store.layout, pending["operation_id"])


# Making


def create(store: Store, name: str, snapshot_id: str | None = None) -> dict[str, Any]:
    """Make a worktree, empty or from a snapshot, whose lock the caller holds. Durable: yes. Errors: as `fork`."""
    return _make(store, name, snapshot_id, "worktree_create", verify=False)


def fork(store: Store, snapshot_id: str, name: str, *, verify: bool = False) -> dict[str, Any]:
    """Make a worktree from a snapshot with the best engine; the caller holds the lock of its name.

    A payload that shows any sign of having been touched is read and checked first; `verify` does so always.
    Durable: yes. Returns the new configuration with `path`, `engine` and `degraded`.
    Errors: E_EXISTS, E_NAME_INVALID, E_NOT_FOUND, E_PAYLOAD_HASH_MISMATCH, E_NO_SPACE, E_IO.
    """
    return _make(store, name, snapshot_id, "worktree_fork", verify=verify)


def _make(store: Store, name: str, snapshot_id: str | None, operation: str, *, verify: bool) -> dict[str, Any]:
    name = _check_free(store, name)
    record = lineage.load_visible(store, snapshot_id) if snapshot_id is not None else None
    if record is not None and (verify or not signs.is_untouched(store, record)):
        trees.Trees(store).rebuild(record)
    event = audit.event(operation, store.actor, target=snapshot_id, worktree=name)
    operation_id = clock.new_operation_id()
    config = worktree.new_config(name, snapshot_id, event["event_id"])
    pending = _begin(store, operation, name, event, operation_id, snapshot_id=snapshot_id)
    try:
        used, degraded = _stage(store, record, _staged(store, operation_id))
        _park_config(store, operation_id, config)
        _publish_staged(store, pending)
    except BaseException as error:
        if not _is_published(store, pending):
            _roll_back(store, pending)
        if isinstance(error, OSError):
            raise from_oserror(error, f"making worktree '{name}'") from error
        raise
    _end(store, pending)
    return {**config, "path": store.layout.worktree_dir(name), "engine": used, "degraded": degraded}


def _stage(store: Store, record: dict[str, Any] | None, staged: str) -> tuple[str, list[dict[str, str]]]:
    """Make the new worktree's files under a temporary name, durable."""
    requested = store.settings.get("default_engine")
    forks = store.layout.forks
    os.makedirs(forks, exist_ok=True)
    with durable.Barrier(forks, each=store.settings.get("durability") == "each") as barrier:
        if record is None:
            maker = engine.best_for(forks, requested)
            maker.make_worktree(staged)
            barrier.sync_trees([staged], [])
            return maker.name, []
        payload = store.layout.payload(record["snapshot_id"])
        maker = engine.pick_for_fork(
            requested,
            payload,
            forks,
            binary=store.settings.get("engine.juicefs.binary"),
            control=store.settings.get("engine.juicefs.control"),
            search_path=store.settings.search_path,
        )
        request = engine.Request(payload, staged, jobs=os.cpu_count() or 1, hash=maker.name == engine.COPY)
        with observe.step("fork"):
            made = maker.fork(request)
        if made.tree is not None and made.tree.root_hash != record["payload_root_hash"]:
            _check_payload(record, payload)
        if not engine.is_committed(made.engine):
            with observe.step("durable"):
                barrier.sync_trees([staged], [])
        return made.engine, made.degraded


def _check_payload(record: dict[str, Any], payload: str) -> None:
    """Tell a snapshot that was tampered with from a copy that could not keep everything."""
    if trees.hash_payload(payload, jobs=os.cpu_count() or 1).root_hash != record["payload_root_hash"]:
        snapshot_id = record["snapshot_id"]
        raise PayloadHashMismatch(
            f"the files of snapshot '{snapshot_id}' are not what was published; no worktree was made",
            hint=f"'jvs verify {snapshot_id}' names what differs; another snapshot may hold the files",
            snapshot_id=snapshot_id,
        )


def _park_config(store: Store, operation_id: str, config: dict[str, Any]) -> None:
    """Write a configuration where nobody reads it yet. Durable: yes."""
    home, parked = store.layout.undo_dir(operation_id), _parked(store, operation_id)
    os.mkdir(home, 0o700)
    os.mkdir(parked, 0o700)
    records.save(os.path.join(parked, "config.json"), config)
    durable.fsync_dir(home)
    durable.fsync_dir(store.layout.undo)


def _publish_staged(store: Store, pending: dict[str, Any]) -> None:
    """Give a staged worktree its name, then register it. Can be repeated. Durable: yes."""
    operation_id, name = pending["operation_id"], pending["worktree"]
    if os.path.lexists(_staged(store, operation_id)):
        durable.publish(_staged(store, operation_id), store.layout.worktree_dir(name))
    if os.path.lexists(_parked(store, operation_id)):
        durable.publish(_parked(store, operation_id), _config_dir(store, name))
    durable.remove_tree(store.layout.undo_dir(operation_id))


def _is_published(store: Store, pending: dict[str, Any]) -> bool:
    """Answer whether a staged worktree has got its name: from then on it is completed, before it is undone."""
    operation_id, name = pending["operation_id"], pending["worktree"]
    if os.path.lexists(_staged(store, operation_id)):
        return False
    known = os.path.lexists(_parked(store, operation_id)) or os.path.lexists(_config_dir(store, name))
    return known and os.path.isdir(store.layout.worktree_dir(name))


def _roll_back(store: Store, pending: dict[str, Any]) -> None:
    operation_id = pending["operation_id"]
    engine.remove_any(_staged(store, operation_id))
    durable.remove_tree(store.layout.undo_dir(operation_id))
    intent.clear(store.layout, operation_id)


# Renaming


def rename(store: Store, old: str, new: str, *, undoes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Rename a worktree whose lock the caller holds; files and directories keep their inodes.

    Durable: yes. Errors: E_USAGE for main, E_EXISTS, E_NAME_INVALID, E_NOT_FOUND, E_BUSY.
    """
    _refuse_main(old, "renamed")
    config = worktree.load(store.layout, old)
    store.require_worktree(old)
    with locks.acquire(store.layout.lock(f"worktree-{check_worktree_name(new)}"), wait=store.settings.wait):
        new = _check_free(store, new)
        details = {"from": old, "to": new}
        event = _event(store, "worktree_rename", new, undoes, details)
        pending, record = _journaled(
            store, "worktree_rename", old, event, undoes, config, details={"new_name": new}, what="rename"
        )
        pending["new_name"] = new
        _guarded(store, pending, record)
    return worktree.load(store.layout, new)


def _event(
    store: Store, operation: str, name: str, undoes: dict[str, Any] | None, details: dict[str, Any]
) -> dict[str, Any]:
    if undoes is not None:
        operation, details = "undo", {**details, "undoes": undoes["operation_id"], "what": operation}
    return audit.event(operation, store.actor, worktree=name, details=details)


def _journaled(
    store: Store,
    kind: str,
    name: str,
    event: dict[str, Any],
    undoes: dict[str, Any] | None,
    config: dict[str, Any],
    *,
    details: dict[str, Any],
    what: str,
    kept_bytes: int = 0,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the intent and the journal of an operation that can be undone."""
    operation_id = clock.new_operation_id()
    details["asked_in"] = store.worktree_name()
    new_name = details.get("new_name")
    more = {"what": what, "new_name": new_name, "undoes": undoes["operation_id"] if undoes else None}
    pending = _begin(store, kind, name, event, operation_id, **more)
    heads = {key: config.get(f"{key}_snapshot_id") for key in ("head", "latest", "base")}
    record = journal.new(
        kind, name, operation_id, seq=pending["audit_seq"], before=heads, after=heads, undoes=undoes, details=details
    )
    record["bytes"] = kept_bytes
    try:
        journal.begin(store.layout, record)
    except BaseException:
        journal.discard(store.layout, operation_id)
        intent.clear(store.layout, operation_id)
        raise
    return pending, record


def _guarded(store: Store, pending: dict[str, Any], record: dict[str, Any]) -> None:
    """Carry out an operation of renames; an error leaves the intent, and the next command goes on from there."""
    try:
        _FORWARD[pending["what"]](store, pending)
    except OSError as error:
        _take_back(store, pending)
        raise from_oserror(error, f"moving worktree '{record['worktree']}'") from error


def _forward_rename(store: Store, pending: dict[str, Any]) -> None:
    """Take the old name off the register, rename, register the new name. Can be repeated."""
    layout, old, new = store.layout, pending["worktree"], pending["new_name"]
    parked = _parked(store, pending["operation_id"])
    if os.path.lexists(_config_dir(store, old)) and not os.path.lexists(parked):
        durable.publish(_config_dir(store, old), parked)
    if os.path.lexists(layout.worktree_dir(old)) and not os.path.lexists(layout.worktree_dir(new)):
        durable.publish(layout.worktree_dir(old), layout.worktree_dir(new))
    if os.path.lexists(parked):
        path = os.path.join(parked, "config.json")
        config = records.load(path, worktree.FIELDS, JvsError)
        records.save(path, {**config, "name": new, "event_id": pending["audit"]["event_id"]})
        durable.publish(parked, _config_dir(store, new))
    _rename_rows(store, old, new)
    _end(store, pending)


def _rename_rows(store: Store, old: str, new: str) -> None:
    """Let what the index knows follow the files: their stamps are what they were."""
    index = store.index()
    rows = [(path, row, node) for path, (row, node) in index.rows(old).items()]
    base = index.base(old)
    index.store(new, rows=rows, base=base, replace=True)
    index.forget(old)


# Removing


def count_changes(store: Store, name: str) -> tuple[int | None, int]:
    """Return how many entries of a worktree no snapshot of its head holds, and how many bytes it has.

    None when that cannot be found out; removing keeps everything in any case.
    """
    from jvs import descriptor, tree

    try:
        found = look.walk_now(store, name)
        head = worktree.load(store.layout, name)["head_snapshot_id"]
        known = trees.Trees(store)
        known.add(found)
        root = known.root(descriptor.load(store.layout, head)) if head is not None else None
        before = root[2] if root is not None else tree.EMPTY_DIGEST
        known._nodes.setdefault(tree.EMPTY_DIGEST, b"\x80")
        return sum(1 for _ in tree.compare(known.load, before, found.digest)), found.bytes
    except JvsError:
        return None, 0


def remove(store: Store, name: str, *, discard: bool = False, undoes: dict[str, Any] | None = None) -> dict[str, Any]:
    """Remove a worktree whose lock the caller holds; the whole of it is kept in `undo/`, unless `discard`.

    Durable: yes. Returns `name`, `changes` (entries that no snapshot holds, or None), `bytes`, `operation_id`.
    Errors: E_USAGE for main, E_NOT_FOUND, E_IO.
    """
    _refuse_main(name, "removed")
    config = worktree.load(store.layout, name)
    changes, size = count_changes(store, name)
    event = _event(store, "worktree_remove", name, undoes, {"changes": changes, "bytes": size, "discard": discard})
    pending, record = _journaled(
        store,
        "worktree_remove",
        name,
        event,
        undoes,
        config,
        details={"gone": True, "changes": changes, "discard": discard},
        what="remove",
        kept_bytes=size,
    )
    _guarded(store, pending, record)
    return {
        "name": name,
        "changes": changes,
        "bytes": size,
        "discarded": discard,
        "operation_id": None if discard else pending["operation_id"],
    }


def _forward_remove(store: Store, pending: dict[str, Any]) -> None:
    """Take the worktree off the register, then move its directory to `undo/`. Can be repeated."""
    layout, name, operation_id = store.layout, pending["worktree"], pending["operation_id"]
    parked, kept = _parked(store, operation_id), os.path.join(layout.undo_dir(operation_id), "worktree")
    if os.path.lexists(_config_dir(store, name)) and not os.path.lexists(parked):
        durable.publish(_config_dir(store, name), parked)
    if os.path.lexists(layout.worktree_dir(name)) and not os.path.lexists(kept):
        durable.publish(layout.worktree_dir(name), kept)
    store.index().forget(name)
    if pending["audit"]["details"].get("discard"):
        store.log().append(pending["audit"], after_seq=pending["audit_seq"])
        journal.discard(layout, operation_id)
    _end(store, pending)


def give_back(store: Store, record: dict[str, Any]) -> dict[str, Any]:
    """Put a removed worktree back where it was; the caller holds the lock of its name. Errors: E_EXISTS."""
    name = record["worktree"]
    _check_free(store, name)
    parked = os.path.join(_parked(store, record["operation_id"]), "config.json")
    config = records.load(parked, worktree.FIELDS, JvsError)
    event = _event(store, "worktree_remove", name, record, {"back": True})
    pending, made = _journaled(
        store, "worktree_remove", name, event, record, config, details={"gone": False}, what="give_back"
    )
    _guarded(store, pending, made)
    return worktree.load(store.layout, name)


def _forward_give_back(store: Store, pending: dict[str, Any]) -> None:
    layout, name, source = store.layout, pending["worktree"], pending["undoes"]
    parked, kept = _parked(store, source), os.path.join(layout.undo_dir(source), "worktree")
    if os.path.lexists(kept) and not os.path.lexists(layout.worktree_dir(name)):
        durable.publish(kept, layout.worktree_dir(name))
    if not os.path.lexists(layout.worktree_dir(name)):  # its directory was missing when it was removed
        engine.best_for(layout.forks).make_worktree(layout.worktree_dir(name))
        durable.fsync_dir(layout.forks)
    if os.path.lexists(parked) and not os.path.lexists(_config_dir(store, name)):
        durable.publish(parked, _config_dir(store, name))
    _end(store, pending)


_FORWARD = {"rename": _forward_rename, "remove": _forward_remove, "give_back": _forward_give_back}


def _take_back(store: Store, pending: dict[str, Any]) -> None:
    """Undo what the first steps of a refused rename or removal did; done steps are left to the next command."""
    layout, operation_id = store.layout, pending["operation_id"]
    if pending["what"] == "give_back":
        if os.path.lexists(layout.worktree_dir(pending["worktree"])):
            return
    else:
        kept = os.path.join(layout.undo_dir(operation_id), "worktree")
        gone = not os.path.lexists(layout.worktree_dir(pending["worktree"]))
        if gone or os.path.lexists(kept):
            return
        if os.path.lexists(_parked(store, operation_id)):
            durable.publish(_parked(store, operation_id), _config_dir(store, pending["worktree"]))
    journal.discard(layout, operation_id)
    intent.clear(layout, operation_id)


def _refuse_main(name: str, what: str) -> None:
    if name == MAIN:
        raise UsageError(
            f"worktree '{MAIN}' cannot be {what}",
            hint="it belongs to the repository; other worktrees can: see 'jvs worktree list'",
        )


# Settling


def settle(store: Store, pending: dict[str, Any]) -> str:
    """Complete or undo what a dead process left of making, renaming or removing a worktree."""
    name, operation_id = pending["worktree"], pending["operation_id"]
    if pending["operation"] in ("worktree_create", "worktree_fork"):
        if not _is_published(store, pending):
            _roll_back(store, pending)
            return f"rolled back the unfinished worktree '{name}'"
        _publish_staged(store, pending)
        _end(store, pending)
        return f"completed the worktree '{name}'"
    verb = {"rename": "rename", "remove": "removal", "give_back": "return"}[pending["what"]]
    try:
        journal.load(store.layout, operation_id)
    except FileNotFoundError:
        if pending["audit"]["details"].get("discard") and not os.path.lexists(_config_dir(store, name)):
            _forward_remove(store, pending)
            return f"completed the {verb} of worktree '{name}'"
        journal.discard(store.layout, operation_id)
        intent.clear(store.layout, operation_id)
        return f"rolled back a {verb} of worktree '{name}' that had not begun"
    try:
        _FORWARD[pending["what"]](store, pending)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            _take_back(store, pending)
        raise from_oserror(error, f"completing the {verb} of worktree '{name}'") from error
    return f"completed the {verb} of worktree '{name}'"
