"""Trying a command on a throwaway copy at the worktree's own path, and what becomes of what it changed.

Source: jvs-try(1).
"""

from __future__ import annotations

import os

from jvs import names, progress
from jvs.errors import JvsError, NotFound, UsageError, from_oserror, readable
from jvs.fs import durable, listing, namespace, overlay, paths, removal
from jvs.operations import context, entering
from jvs.operations.excluded_copies import ExcludedCopies
from jvs.restore import trying
from jvs.restore.trying import TryOutcome
from jvs.store import changing, tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Literal

    from jvs.fs.locks import Lock
    from jvs.fs.losses import Losses
    from jvs.fs.namespace import Mount
    from jvs.fs.rooted import Below
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
    copy = _Copy(store, record)
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


class _Copy:
    """What a command works on in place of a worktree: an overlay over a snapshot, or a clone of it."""

    def __init__(self, store: Store, record: Try) -> None:
        self.store = store
        self.record = record
        self.home = store.layout.try_dir(record["operation_id"])
        self.files = self.home / tries.FILES
        self.payload = str(store.layout.payload(record["snapshot_id"]))
        self.place = str(store.layout.worktree_dir(record["worktree"]))
        self.mounts: list[Mount] = []
        self.upper = self.work = self.files
        self._elsewhere = False
        self._excluded: ExcludedCopies | None = None

    def prepare(self) -> None:
        """Find out what the system allows, and make it. Errors: E_IO where it allows nothing; OSError."""
        if os.geteuid() == 0 or not self._has_groups():
            for place in (self.home, None):
                if self._overlay(place):
                    return
        refused = namespace.refusal()
        if refused is not None:
            raise namespace.refused(refused)
        self._clone()

    def _has_groups(self) -> bool:
        """Answer whether the snapshot may have files with several names, at once where the index knows."""
        index = self.store.index()
        base = index.bound_base(self.store.tree_key(self.record["worktree"]))
        if base is not None and base[0] == self.record["snapshot_id"]:
            return not base[3]
        fd = paths.open_dir(self.store.layout.payload(self.record["snapshot_id"]))
        try:
            return bool(overlay.link_groups(fd))
        finally:
            os.close(fd)

    def _overlay(self, home: Below | None) -> bool:
        """Make an overlay whose upper layer is in a directory (None: a temporary one); False where that is refused."""
        if home is None:
            home = tries.make_elsewhere(self.record["operation_id"])
        upper, work = home / tries.FILES, home / tries.WORK
        for place in (upper, work):
            durable.make_dir(place)
        excluded = ExcludedCopies(self.store, self.record["worktree"], home)
        others = excluded.prepare(upper)
        overlay.make_like(upper, self.store.layout.payload(self.record["snapshot_id"]))
        layers = namespace.Layers(
            [self.payload], self.place, namespace.overlay_options(), upper=str(upper), work=str(work)
        )
        mounts: list[Mount] = [*entering.covers(self.store.layout, self.place), layers, *others]
        if namespace.refusal(mounts) is not None:
            excluded.remove(None)
            for place in (upper, work):
                removal.remove_tree(place)
            return False
        self._excluded = excluded
        self.upper, self.work, self.mounts = upper, work, mounts
        self._elsewhere = home != self.home
        return True

    def _clone(self) -> None:
        """Clone the snapshot, which works everywhere, and costs what a fork costs."""
        from jvs.engine import base as engine
        from jvs.engine import registry

        self.record["kind"] = "clone"
        source, options = self.store.layout.payload(self.record["snapshot_id"]), self.store.settings.engine_options()
        maker = registry.pick_for_fork(self.store.settings.get("default_engine"), source, self.home, options)
        maker.fork(engine.Request(source, self.files, jobs=os.cpu_count() or 1, hash=False, frozen=True))
        tries.save(self.store.layout, self.record)
        self.mounts = entering.shown(self.store.layout, str(self.files), self.place, writable=True)

    def collect(self) -> None:
        """Make a plain tree of what the command left, in the directory of the try. Errors: OSError, E_IO."""
        if self._excluded is not None:
            for name in self._excluded.remove(self.upper):
                shown = name.decode("utf-8", "backslashreplace")
                progress.remark(f"'{shown}' is excluded: what changed in it is not kept")
        self._leave_out(self.upper if self.mounts and self.record["kind"] == tries.OVERLAY else self.files)
        if self.record["kind"] == tries.CLONE:
            return
        lower = self.store.layout.payload(self.record["snapshot_id"])
        found = overlay.read(self.upper)
        groups = self._link_groups() if found.linked or (found.redirected and self._has_groups()) else []
        losses = overlay.make_plain(self.upper, lower, found)
        overlay.join_groups(self.upper, lower, groups)
        removal.remove_tree(self.work)
        self._tell(losses)
        if self._elsewhere:
            self._bring_home()
        tries.write_delta(self.store.layout, self.record, found.whole, found.removed)

    def _link_groups(self) -> list[list[bytes]]:
        """Return the groups of names of one file that the command left, as the overlay shows them."""
        return overlay.decode_groups(namespace.inside(self.mounts, lambda: overlay.encode_groups(self.place)))

    def _leave_out(self, place: Below) -> None:
        """Remove what is excluded: it is in no snapshot, and is not applied."""
        from jvs.engine import left_out

        gone: list[bytes] = []

        def remove(above: int, path: bytes) -> None:
            gone.append(path)
            removal.remove_tree(path.rpartition(b"/")[2], dir_fd=above)

        left_out.remove(place, self.store.exclusion(self.record["worktree"]), remove)
        if gone:
            shown = ", ".join(f"'{path.decode('utf-8', 'backslashreplace')}'" for path in gone[:5])
            more = f" and {len(gone) - 5} more" if len(gone) > 5 else ""
            progress.remark(f"what CMD wrote to excluded paths is not kept: {shown}{more}")

    def _tell(self, losses: Losses) -> None:
        for loss in losses.as_json()[:5]:
            progress.remark(f"'{loss['path']}': {loss['what']} could not be kept: {loss['why']}")

    def _bring_home(self) -> None:
        """Copy what a command left in a temporary directory into the directory of the try."""
        from jvs.engine import base as engine
        from jvs.engine import registry

        options = self.store.settings.engine_options()
        maker = registry.pick_for_fork(None, self.upper, self.home, options)
        maker.fork(engine.Request(self.upper, self.files, jobs=os.cpu_count() or 1, hash=False))
        tries.remove_elsewhere(self.store, self.record["operation_id"])


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
        ended = programs.run(words, capture=True, environment=variables, enter=enter)
        said.append(ended.output)
        return ended.status, ended.killed

    if then not in ("pending", "apply", "keep", "discard") or not words:
        raise UsageError("a command, and what becomes of it, are needed", hint="pending, apply, keep or discard")
    outcome = run(store, command, words, worktree, then=then, name=name, current=store.root, environment=environment)
    outcome.output = b"".join(said)
    return outcome


def pending(store: Store) -> list[Try]:
    """Return the records of all tries, oldest first; those that run have the state `running`. Errors: E_IO."""
    tries.sweep(store)
    with store.reading():
        return tries.load_all(store.layout)


def settle(
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
