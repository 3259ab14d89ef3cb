"""Trying a command on a throwaway copy at the worktree's own path, and what becomes of what it changed.

Source: jvs-try(1).
"""

from __future__ import annotations

from jvs import names, progress
from jvs.errors import JvsError, NotFound, UsageError, from_oserror, readable
from jvs.fs import durable, listing, namespace
from jvs.operations import context, entering
from jvs.operations.throwaway import ThrowawayCopy
from jvs.restore import trying
from jvs.restore.trying import TryOutcome
from jvs.store import changing, tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from jvs.fs.locks import Lock
    from jvs.fs.namespace import Mount
    from jvs.restore.trying import TryChange
    from jvs.store.store import Store
    from jvs.store.tries import Try

    Then = Literal["apply", "keep", "discard", "pending"]
    Command = Callable[[list[Mount], str, dict[str, str]], tuple[int, bool]]
    """Runs a command with some mounts, in a directory, with an environment; returns its status, and whether it was
    killed."""


def run(
    store: Store,
    command: Command,
    words: list[str],
    worktree: str | None = None,
    *,
    then: Then = "pending",
    name: str | None = None,
    current: str,
    environment: Mapping[str, str],
) -> TryOutcome:
    """Run a command on a throwaway copy of a worktree's files, and do with what it changed what `then` says.

    `name` is that of the fork that keeps it. A command that is killed leaves nothing. Errors: those of a snapshot and
    of what `then` asks for; E_IO where the system refuses namespaces.
    """
    from jvs.operations import snapshots
    from jvs.worktrees import registration

    here = context.worktree(store, worktree, changes=True)
    if then == "keep":
        registration.check_free(store, names.check_new_worktree_name(name or ""))
    tries.sweep(store)
    label = readable(" ".join(words))[:500]
    made, _ = snapshots.snapshot(store, here, note=f"before: {label}"[:500], if_changed=True, environment=environment)
    record, lock = _begin(store, here, made["snapshot_id"], label)
    with lock:
        outcome = TryOutcome(record)
        try:
            killed = _run(store, outcome, command, current, environment)
            if killed:
                outcome.state = "discarded"
        except BaseException:
            tries.discard(store, record["operation_id"])
            raise
        if killed or not outcome.changes or then == "discard":
            tries.discard(store, record["operation_id"])
            outcome.state = "discarded" if killed or outcome.changes else "empty"
            return outcome
    _finish(store, outcome, then, name, environment)
    context.prune(store, here)
    return outcome


def _begin(store: Store, name: str, snapshot_id: str, label: str) -> tuple[Try, Lock]:
    """Write down what is tried, while nothing can be collected."""
    from jvs.store import lineage, worktree

    with changing.worktree(store, name):
        lineage.load_visible(store, snapshot_id)
        record = tries.new(name, worktree.identity(worktree.load(store.layout, name)), snapshot_id, label)
        return record, tries.begin(store.layout, record)


def _run(store: Store, outcome: TryOutcome, command: Command, current: str, environment: Mapping[str, str]) -> bool:
    """Run the command, and read what it changed; answer whether it was killed."""
    record = outcome.record
    copy = ThrowawayCopy(store, record)
    try:
        copy.prepare()
    except OSError as error:
        raise from_oserror(error, "making a copy to try on") from error
    seen = entering.Entered(record["worktree"], None, copy.place, copy.mounts)
    seen.directory = entering.directory(copy.payload, copy.place, current)
    outcome.exit, killed = command(seen.mounts, seen.directory, seen.environment(store, environment))
    if killed:
        return True
    record["exit"] = outcome.exit
    try:
        with progress.step("read the changes"):
            copy.collect()
            _note(store, outcome)
    except OSError as error:
        raise from_oserror(error, "reading what the command changed") from error
    return False


def _note(store: Store, outcome: TryOutcome) -> None:
    """Write down what came of a command, durably: from here on the try is pending."""
    from jvs.store import node_store
    from jvs.tree import node

    record, layout = outcome.record, store.layout
    known = node_store.Trees(store)
    root = trying.tree_of(store, record, known)
    outcome.changes = trying.changes(store, record, known, root)
    if not outcome.changes:
        return
    record["root_hash"] = node.root_hash(root)
    record["bytes"] = sum(change.new[3] for change in outcome.changes if change.new and change.new[1] != listing.DIR)
    home = layout.try_dir(record["operation_id"])
    with durable.Barrier(home) as barrier:
        barrier.sync_trees([tries.files(layout, record["operation_id"])], [])
    durable.fsync_dir(home)
    record["state"] = "pending"
    tries.save(layout, record)


def _finish(store: Store, outcome: TryOutcome, then: Then, name: str | None, environment: Mapping[str, str]) -> None:
    """Apply or keep what is pending."""
    if then == "apply":
        _apply(store, outcome, outcome.record["worktree"], environment)
    elif then == "keep":
        assert name is not None
        _keep(store, outcome, name, environment)


def _apply(store: Store, outcome: TryOutcome, name: str, environment: Mapping[str, str]) -> None:
    """Bring a try into a worktree; with conflicts nothing is changed, and it stays pending."""
    from jvs.restore import merging

    record = outcome.record
    with (
        context.hooked(store, "restore", name, environment, target=record["snapshot_id"]) as facts,
        changing.worktree(store, name),
    ):
        planned = trying.plan(store, name, record)
        if planned.conflicts:
            outcome.conflict = merging.complaint(planned.conflicts, name, _hint(record))
            return
        if planned.delta.steps or planned.delta.dirs:
            outcome.operation_id = trying.carry_out(store, name, record, planned).operation_id
        tries.discard(store, record["operation_id"])
        facts["snapshot_id"] = record["snapshot_id"]
    outcome.state = "applied"
    context.thin(store, name, outcome.operation_id)
    context.prune(store, name)


def _hint(record: Try) -> str:
    number = record["operation_id"]
    return f"it stays pending: 'jvs try --keep {number} NAME' makes a fork of it, 'jvs try --discard {number}' drops it"


def _keep(store: Store, outcome: TryOutcome, name: str, environment: Mapping[str, str]) -> None:
    """Make a fork of the snapshot, and bring the try into it."""
    from jvs.operations import worktrees

    worktrees.fork(store, name, target=outcome.record["snapshot_id"], worktree=outcome.record["worktree"])
    _apply(store, outcome, name, environment)
    outcome.state, outcome.fork = "kept", name


def run_quietly(
    store: Store,
    words: list[str],
    worktree: str | None = None,
    *,
    then: Then = "pending",
    name: str | None = None,
    environment: Mapping[str, str],
) -> TryOutcome:
    """Do as `run`, with a command whose output is kept in the outcome. Errors: as `run`, E_NOT_FOUND; E_USAGE."""
    from jvs.operations import programs

    said: list[bytes] = []

    def command(mounts: list[Mount], directory: str, variables: dict[str, str]) -> tuple[int, bool]:
        enter = namespace.prepare(mounts, directory)
        ended = programs.run(words, capture=True, environment=variables, enter=enter, end_all=True)
        said.append(ended.output)
        return ended.status, ended.killed

    if then not in ("pending", "apply", "keep", "discard") or not words:
        raise UsageError(
            "a command, and what becomes of it, are needed", hint="name one of pending, apply, keep and discard"
        )
    outcome = run(store, command, words, worktree, then=then, name=name, current=store.root, environment=environment)
    outcome.output = b"".join(said)
    return outcome


def pending(store: Store) -> list[Try]:
    """Return the records of all tries, oldest first; those that run have the state `running`. Errors: E_IO."""
    tries.sweep(store)
    with store.reading():
        return tries.load_all(store.layout)


def decide(
    store: Store, try_id: str, then: Then, name: str | None = None, *, environment: Mapping[str, str]
) -> TryOutcome:
    """Apply, keep or discard a pending try; its id may be cut short.

    Errors: E_USAGE, E_NOT_FOUND, E_AMBIGUOUS, E_BUSY while its command runs, E_CONFLICT in `conflict`; as `run`.
    """
    from jvs.worktrees import registration

    if then not in ("apply", "keep", "discard"):
        raise UsageError(f"'{then}' does nothing with a try", hint="one of: apply, keep, discard")

    record = tries.load(store.layout, _resolve(store, try_id))
    if then == "keep":
        registration.check_free(store, names.check_new_worktree_name(name or ""))
    outcome = TryOutcome(record)
    outcome.exit = record["exit"] or 0
    with tries.hold(store.layout, record["operation_id"]):
        record = outcome.record = tries.load(store.layout, record["operation_id"])
        if record["state"] != tries.PENDING:
            raise NotFound(f"try '{try_id}' was interrupted and holds nothing", hint="run the command again")
        outcome.changes = _changes(store, record, damaged_ok=then == "discard")
        if then == "discard":
            store.record("try_discard", target=record["snapshot_id"], worktree=record["worktree"], **_facts(record))
            tries.discard(store, record["operation_id"])
            outcome.state = "discarded"
        else:
            _finish(store, outcome, then, name, environment)
    return outcome


def _facts(record: Try) -> dict[str, object]:
    return {"try": record["operation_id"], "bytes": record["bytes"]}


def _changes(store: Store, record: Try, *, damaged_ok: bool) -> list[TryChange]:
    from jvs.store import node_store

    known = node_store.Trees(store)
    try:
        return trying.changes(store, record, known, trying.proved_tree(store, record, known))
    except JvsError:
        if damaged_ok:
            return []
        raise


def _resolve(store: Store, word: str) -> str:
    """Return the id that a word begins. Errors: E_NOT_FOUND, E_AMBIGUOUS."""
    from jvs.errors import Ambiguous
    from jvs.store import refs

    found = [try_id for try_id in tries.ids(store.layout) if try_id == word or refs.has_prefix(try_id, word)]
    if not found:
        raise NotFound(f"there is no try '{word}'", hint="'jvs try --list' shows those that are pending")
    if len(found) > 1:
        raise Ambiguous(f"'{word}' could be any of {len(found)} tries", hint="name one by its id", candidates=found)
    return found[0]
