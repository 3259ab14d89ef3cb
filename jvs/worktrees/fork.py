"""Making worktrees, empty or from a snapshot: staged under a temporary name, then renamed into place.

Source: jvs-protocol(7), Fork.
"""

from __future__ import annotations

from jvs import clock, progress
from jvs.engine import base as engine
from jvs.engine import registry, traits
from jvs.errors import NotFound, PayloadHashMismatch, from_oserror, stands_for
from jvs.fs import durable, paths, removal
from jvs.names import check_snapshot_id
from jvs.store import (
    attaching,
    audit,
    intent,
    lineage,
    node_store,
    placement,
    pointer,
    records,
    tamper_check,
    worktree,
    write_ahead,
)
from jvs.tree import node
from jvs.worktrees import first_rows, registration, staging_away

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.store import tree_check
    from jvs.store.descriptor import Descriptor
    from jvs.store.shapes import ForkIntent
    from jvs.store.store import Store

    Staged = tuple[str, list[Loss], first_rows.FirstRows | None]
    """How a worktree was made, what could not be kept, and what the index may know of it."""

    class Made(worktree.WorktreeFacts):
        """A worktree that was made: its configuration, where it is, how it was made, and what could not be kept."""

        path: str
        engine: str
        degraded: list[Loss]


def head(store: Store, name: str) -> str:
    """Return the head of a worktree. Errors: E_NOT_FOUND when it has no snapshot yet."""
    found, _ = store.head_of(name)
    if found is None:
        raise NotFound(f"worktree '{name}' has no snapshot yet", hint="take one with 'jvs snapshot', or name one")
    return found


def create(store: Store, name: str, snapshot_id: str | None = None) -> Made:
    """Make a worktree, empty or from a snapshot, whose lock the caller holds. Durable: yes. Errors: as `fork`."""
    return _make(store, name, snapshot_id, "worktree_create", verify=False)


def fork(
    store: Store,
    snapshot_id: str,
    name: str,
    *,
    verify: bool = False,
    place: Below | None = None,
    excluded_of: str | None = None,
    copied: bool = False,
) -> Made:
    """Make a worktree from a snapshot with the best engine; the caller holds the lock of its name.

    `place` is one outside of the repository, on its filesystem unless it may be `copied`. `excluded_of` is a worktree
    whose excluded files come along.

    A payload that shows any evidence of having been touched is read and checked first; `verify` does so always.
    Durable: yes. Returns the new configuration with `path`, `engine` and `degraded`.
    Errors: E_EXISTS, E_NAME_INVALID, E_NOT_FOUND, E_PATH_ESCAPE, E_PAYLOAD_HASH_MISMATCH, E_NO_SPACE, E_IO.
    """
    how: Any = {"verify": verify, "place": place, "excluded_of": excluded_of, "copied": copied}
    made = _make(store, name, snapshot_id, "worktree_fork", **how)
    if place is not None:
        attaching.remember(store, place)
    return made


def _make(
    store: Store,
    name: str,
    snapshot_id: str | None,
    operation: str,
    *,
    verify: bool,
    place: Below | None = None,
    excluded_of: str | None = None,
    copied: bool = False,
) -> Made:
    name = registration.check_free(store, name)
    path = None if place is None else attaching.check_place(store, place, copied=copied)
    record = lineage.load_visible(store, snapshot_id) if snapshot_id is not None else None
    if record is not None and verify:
        node_store.Trees(store).rebuild(record)
    operation_id = clock.new_operation_id()
    event = audit.event(
        operation, store.actor, target=snapshot_id, worktree=name, details={"operation_id": operation_id}
    )
    if path is not None:
        event["details"]["path"] = path
    token = None if place is None else pointer.new_token()
    config = worktree.new_config(name, snapshot_id, event["event_id"], path, token)
    with write_ahead.operation(
        store,
        operation,
        name,
        event,
        operation_id=operation_id,
        roll_back=lambda pending: _roll_back(store, pending),
        snapshot_id=snapshot_id,
    ) as pending:
        stands_for(operation_id, lambda _: name)
        try:
            used, degraded, first = _build(store, operation_id, record, config, place, excluded_of)
            _publish_staged(store, pending)
        except OSError as error:
            raise from_oserror(error, f"making worktree '{name}'") from error
        finally:
            stands_for(operation_id, None)
    if first is not None:
        first.remember(config)
    config.pop("token", None)  # it proves where a pointer belongs, and is nobody else's to know
    return {
        **config,
        "path": str(store.layout.usual_dir(name) if place is None else place),
        "engine": used,
        "degraded": degraded,
    }


def _build(
    store: Store,
    operation_id: str,
    record: Descriptor | None,
    config: worktree.WorktreeConfig,
    place: Below | None,
    excluded_of: str | None,
) -> Staged:
    """Make a worktree's files, and give them their name when they are outside; its configuration waits in `undo/`."""
    _make_home(store, operation_id)
    if place is None:
        made = _stage(store, record, _staged(store, operation_id), excluded_of)
        _park_config(store, operation_id, config)
        return made
    token, away = config["token"], not placement.is_on_mount_of(place, store.layout.control)
    if away:
        _park_config(store, operation_id, config)
        staged = staging_away.make(store, place, operation_id, token)
    else:
        staged = _staged_outside(store, operation_id)
    made = _stage(store, record, staged, excluded_of)
    pointer.write(staged, store.repo_id, attaching.way_to_control(store, place), token, operation_id)
    if not away:
        _park_config(store, operation_id, config)
    durable.publish(staged, place)
    return made


def _stage(store: Store, record: Descriptor | None, staged: Below, excluded_of: str | None) -> Staged:
    """Make the new worktree's files under a temporary name, durable; return how, and what the index may know then."""
    requested, options = store.settings.get("default_engine"), store.settings.engine_options()
    forks = staged.parent
    if not paths.exists(forks):
        durable.make_dir(forks, mode=0o777)
    with durable.Barrier(forks, each=store.settings.get("durability") == "each") as barrier:
        if record is None:
            maker = registry.best_for(forks, requested, options)
            maker.make_worktree(staged)
            barrier.sync_trees([staged], [])
            return maker.name, [], None
        payload = store.layout.payload(record["snapshot_id"])
        maker = registry.pick_for_fork(requested, payload, forks, options)
        with progress.step("fork"):
            made, parts = _clone(store, record, maker, staged)
        if excluded_of is not None:
            from jvs.worktrees import left_behind

            with progress.step("excluded"):
                made.degraded += left_behind.bring(store, excluded_of, staged)
        if excluded_of is not None or not traits.is_committed(made.engine):
            with progress.step("durable"):
                barrier.sync_trees([staged], [])
        if excluded_of is not None:  # the directories hold more than the snapshot says
            return made.engine, made.degraded, None
        first = first_rows.FirstRows(store, record)
        first.take(staged, made, parts)
        return made.engine, made.degraded, first


def _clone(
    store: Store, record: Descriptor, maker: engine.Engine, staged: Below
) -> tuple[engine.Cloned, list[tree_check.Counted] | None]:
    """Clone a payload, which is read and checked when it shows any evidence of having been touched.

    An engine that copies bytes reads and hashes all of them. One that shares blocks walks through the payload, and
    evidence is looked for on the way; then the directories are returned, with their nodes. For others it is before.
    """
    payload, jobs = store.layout.payload(record["snapshot_id"]), store.settings.jobs()
    hashes = maker.name == engine.COPY
    request = engine.Request(payload, staged, jobs=jobs, hash=hashes, frozen=True)
    request.plain = node.is_plain(record["hash_algorithm"])
    if maker.name in (engine.COPY, engine.REFLINK):  # what clones by one call has no use for it
        request.source_is_plain = _is_plain(store, record["snapshot_id"])
    watch = tamper_check.watch(store, record) if maker.name == engine.REFLINK else None
    if watch is None and not hashes and not tamper_check.is_untouched(store, record):
        node_store.Trees(store).rebuild(record)
    request.watch = None if watch is None else watch.look
    made = maker.fork(request)
    if watch is not None and not watch.is_untouched():
        registry.remove_any(staged, store.settings.engine_options())
        node_store.Trees(store).rebuild(record)
        request.watch = None
        return maker.fork(request), None
    if hashes and (made.tree is None or made.tree.root_hash != record["payload_root_hash"]):
        _check_payload(record, payload, jobs)
    return made, None if watch is None else watch.parts


def _is_plain(store: Store, snapshot_id: str) -> bool:
    """Answer whether a payload is known to have no hard-link groups: its files may have names in other payloads."""
    index = store.index()
    bases = [index.bound_base(tree) for tree in index.trees_of(snapshot_id)]
    return any(base is not None and base[0] == snapshot_id and base[3] for base in bases)


def _check_payload(record: Descriptor, payload: Below, jobs: int) -> None:
    """Tell a snapshot that was tampered with from a copy that could not keep everything."""
    plain = node.is_plain(record["hash_algorithm"])
    found = node_store.hash_payload(payload, jobs=jobs, plain=plain)
    if found.root_hash != record["payload_root_hash"]:
        snapshot_id = record["snapshot_id"]
        raise PayloadHashMismatch(
            f"the files of snapshot '{snapshot_id}' are not what was published; no worktree was made",
            hint=f"'jvs verify {snapshot_id}' names what differs; another snapshot may hold the files",
            snapshot_id=snapshot_id,
        )


def _staged(store: Store, operation_id: str) -> Below:
    return store.layout.forks / f".jvs-tmp-{check_snapshot_id(operation_id)}"


def _staged_outside(store: Store, operation_id: str) -> Below:
    """Return where a worktree is made that is to be outside: inside, so that a crash leaves nothing there."""
    return store.layout.undo_dir(operation_id) / "worktree"


def _make_home(store: Store, operation_id: str) -> None:
    durable.make_dir(store.layout.undo_dir(operation_id))
    durable.fsync_dir(store.layout.undo)


def _park_config(store: Store, operation_id: str, config: worktree.WorktreeConfig) -> None:
    """Write a configuration where nobody reads it yet. Durable: yes."""
    home, parked = store.layout.undo_dir(operation_id), registration.parked(store, operation_id)
    durable.make_dir(parked)
    records.save(parked / "config.json", config)
    durable.fsync_dir(home)


def _publish_staged(store: Store, pending: ForkIntent) -> None:
    """Give a staged worktree its name, then register it. Can be repeated. Durable: yes."""
    operation_id, name = pending["operation_id"], pending["worktree"]
    staging_away.remove(store, operation_id)
    if paths.exists(_staged(store, operation_id)):
        durable.publish(_staged(store, operation_id), store.layout.usual_dir(name))
    if paths.exists(registration.parked(store, operation_id)):
        durable.publish(registration.parked(store, operation_id), registration.config_dir(store, name))
    removal.remove_tree(store.layout.undo_dir(operation_id))
    durable.fsync_dir(store.layout.undo)  # or a crash brings the directory back when no intent names it any more


def _is_published(store: Store, pending: ForkIntent) -> bool:
    """Answer whether a staged worktree has got its name: from then on it is completed, before it is undone."""
    operation_id, name = pending["operation_id"], pending["worktree"]
    if paths.exists(_staged(store, operation_id)) or paths.exists(_staged_outside(store, operation_id)):
        return False
    if staging_away.is_begun(store, operation_id):
        return False
    homes = (registration.parked(store, operation_id), registration.config_dir(store, name))
    config = next((home / "config.json" for home in homes if paths.exists(home)), None)
    there = registration.directory(store, name, config) if config is not None else None
    return there is not None and paths.is_dir(there)


def _roll_back(store: Store, pending: ForkIntent) -> bool:
    """Remove what was made of a worktree, for good; False when it has its name already."""
    if _is_published(store, pending):
        return False
    operation_id = pending["operation_id"]
    for staged in (_staged(store, operation_id), _staged_outside(store, operation_id)):
        registry.remove_any(staged, store.settings.engine_options())
    staging_away.remove(store, operation_id)
    removal.remove_tree(store.layout.undo_dir(operation_id))
    durable.fsync_dir(store.layout.forks)  # a crash after the intent's end must not bring either of them back
    durable.fsync_dir(store.layout.undo)
    return True


def recover(store: Store, pending: ForkIntent) -> str:
    """Complete or undo what a dead process left of making a worktree."""
    name = pending["worktree"]
    if _roll_back(store, pending):
        intent.clear(store.layout, pending["operation_id"])
        return f"rolled back the unfinished worktree '{name}'"
    _publish_staged(store, pending)
    write_ahead.complete(store, pending)
    return f"completed the worktree '{name}'"
