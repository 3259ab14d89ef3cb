"""Bringing a worktree back to a snapshot in place: only what differs is written, and what was there is kept.

The delta is planned and checked against the snapshot's tree before anything changes; then it is journaled, carried
out, made durable, and only then the head moves. A crash leaves the intent, and the next command carries on.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

from jvs import canon, clock, progress, units
from jvs.engine import registry, space
from jvs.errors import StaleHead, from_oserror
from jvs.fs import durable
from jvs.fs import paths as fs_paths
from jvs.restore import apply, journal, plan, release
from jvs.restore.sources import LayeredDir
from jvs.store import audit, intent, mount_check, node_store, placement, reserved, tries, worktree, write_ahead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.restore.delta import Delta
    from jvs.restore.entries import RootedDir
    from jvs.restore.journal import Operation
    from jvs.restore.plan import RestorePlan
    from jvs.store.layout import Layout
    from jvs.store.shapes import RestoreIntent
    from jvs.store.store import Store
    from jvs.store.worktree import WorktreeConfig


def make_again(store: Store, name: str) -> None:
    """Make the directory of a worktree that somebody removed, empty; the caller holds its lock. Durable: yes.

    Errors: E_NOT_FOUND, E_LINEAGE_BROKEN, E_IO, E_NO_SPACE.
    """
    if placement.is_elsewhere(worktree.load(store.layout, name)):
        store.require_worktree(name)  # its disk may be away: nothing is made in its place
    place = store.layout.worktree_dir(name)
    if fs_paths.mode_of(place):
        return
    try:
        registry.best_for(place.parent, None, store.settings.engine_options()).make_worktree(place)
        durable.fsync_dir(place.parent)
    except OSError as error:
        raise from_oserror(error, f"making '{place}' again") from error
    progress.remark(f"the directory of worktree '{name}' was missing, and was made again")


class Done:
    """What a restore or an undo did."""

    def __init__(self, operation_id: str | None, planned: RestorePlan | None, config: WorktreeConfig) -> None:
        self.operation_id = operation_id
        self.plan = planned
        self.config = config
        self.displaced_bytes = 0
        self.discarded = False
        self.freed = space.Freed(0, exact=True)
        self.degraded: list[Loss] = []

    @property
    def detached(self) -> bool:
        """Whether the head is not the latest snapshot."""
        return self.config["head_snapshot_id"] != self.config["latest_snapshot_id"]


def restore(
    store: Store,
    name: str,
    snapshot_id: str,
    *,
    paths: list[bytes] | None = None,
    excepted: list[bytes] | None = None,
    forced: str | None = None,
    discard: bool = False,
) -> Done:
    """Restore a worktree whose lock the caller holds, or only some of its paths.

    `forced` is the reason for restoring a snapshot that fails its checks. `discard` keeps nothing of what is
    displaced. With `paths` the head stays; what `excepted` names stays as it is.
    Durable: yes. Errors: those of `plan.find_target` and `plan.make`; E_NO_SPACE, E_IO, after which all is as
    before, or the next command carries on.
    """
    store.require_worktree(name)
    mount_check.refuse_moving(store, name)
    known = node_store.Trees(store)
    target = plan.find_target(store, snapshot_id, known, paths=paths, forced=forced is not None)
    planned = plan.make(store, name, target, known, excepted=excepted)
    _remark_commits(store, name, planned)
    before = worktree.load(store.layout, name)
    heads = _heads_after(before, snapshot_id, moves=paths is None and not target.forced)
    details: journal.Details = {
        "paths": None if paths is None else [canon.path_json(path) for path in paths],
        **planned.delta.counts(),
    }
    if excepted:
        details["excepted"] = [canon.path_json(path) for path in excepted]
    event = audit.event(
        "restore",
        store.actor,
        target=snapshot_id,
        worktree=name,
        reason=forced,
        details={**details, "forced": target.forced, "discard": discard, "before": _heads(before), "after": heads},
    )
    pending = before.get("merging", [])
    if pending and paths is None:  # the files of a merge that no snapshot holds make way
        details["merging"] = {"before": pending, "after": []}
    if not planned.delta.steps and not planned.delta.dirs and heads == _heads(before) and "merging" not in details:
        store.log().append(event)
        return Done(None, planned, before)
    record = journal.new(
        "restore",
        name,
        clock.new_operation_id(),
        identity=worktree.identity(before),
        before=_heads(before),
        after=heads,
        target=snapshot_id,
        details={"tree_before": planned.before, "discard": discard, **details},
    )
    done = carry_out(store, record, planned.delta, event, operation="restore")
    done.plan = planned
    return done


def _remark_commits(store: Store, name: str, planned: RestorePlan) -> None:
    """Say how many commits go with an older `.git`, and how to keep them."""
    from jvs.restore import git_log

    payload = store.layout.payload(planned.target.snapshot_id)
    count = git_log.commits_since(store.layout.worktree_dir(name), payload, planned.delta)
    if count:
        what = units.plural(count, "commit")
        progress.remark(
            f"{what} in '.git' since that snapshot go to undo: 'jvs undo' brings them back, '--except .git' keeps them"
        )


def _heads(config: WorktreeConfig) -> journal.Heads:
    return {"head": config["head_snapshot_id"], "latest": config["latest_snapshot_id"]}


def _heads_after(config: WorktreeConfig, snapshot_id: str, *, moves: bool) -> journal.Heads:
    """Return head and latest after a restore; a worktree without a line of its own goes on from the target."""
    if not moves:
        return _heads(config)
    return {"head": snapshot_id, "latest": config["latest_snapshot_id"] or snapshot_id}


def carry_out(store: Store, record: Operation, steps: Delta, event: audit.Event, *, operation: str) -> Done:
    """Do what a plan says, from the intent to its removal. Durable: yes; errors: as `restore`."""
    layout, operation_id = store.layout, record["operation_id"]
    event["details"]["operation_id"] = operation_id
    record["bytes"] = sum(step.old[3] for step in steps.steps if step.old is not None)
    applier: apply.Applier | None = None
    freed = space.Freed(0, exact=True)

    def roll_back(_: RestoreIntent) -> bool:
        """Forget an operation that changed nothing, or whose changes were undone; else it goes forward."""
        if applier is not None and not applier.rolled_back:
            return False
        _discard_journal(store, record, keep=applier is not None and applier.kept_aside)
        return True

    with write_ahead.operation(
        store,
        operation,
        record["worktree"],
        event,
        operation_id=operation_id,
        roll_back=roll_back,
        after_audit=lambda _: _retire(store, record, freed),
        phase="apply",
        snapshot_id=record["target"],
        undoes=record["of"],
    ) as pending:
        try:
            journal.begin(layout, record, steps, seq=pending["audit_seq"])
        except OSError as error:
            raise from_oserror(error, "writing the journal") from error
        applier = _applier(store, record, steps)
        with applier:
            _apply(applier, record, resume=False)
        _move_head(store, pending, record)
    return _done(store, record, applier, freed)


def _applier(store: Store, record: Operation, steps: Delta) -> apply.Applier:
    layout, operation_id = store.layout, record["operation_id"]
    if layout.has_reserved(
        record["worktree"]
    ):  # whatever a journal says, the control directory is no part of a worktree
        reserved.check_paths(path for path in (*steps.paths, *(item[0] for item in steps.dirs)))
    applier = apply.Applier(
        steps,
        operation_id,
        layout.worktree_dir(record["worktree"]),
        layout.undo_dir(operation_id),
        _source(layout, record),
        each=store.settings.get("durability") == "each",
        same_inodes=journal.is_original(layout, record),
    )
    applier.note_skipped = lambda skipped: journal.note_skipped(layout, record, skipped)
    return applier


def _source(layout: Layout, record: Operation) -> Below | RootedDir | None:
    """Return where new entries come from: what another operation displaced, the payloads of a merge, or a payload."""
    if record["of"] is not None:
        source = journal.files(layout, record["of"])
    elif "layers" in record["details"]:
        layers = record["details"]["layers"]
        if any("try_id" in layer and not fs_paths.is_dir(tries.files(layout, layer["try_id"])) for layer in layers):
            return None  # it goes last, when all of it is in place
        renamed = {canon.path_from_json(a): canon.path_from_json(b) for a, b in record["details"].get("renamed", [])}
        return LayeredDir.of(layout, layers, renamed)
    else:
        assert record["target"] is not None
        source = layout.payload(record["target"])
    return source if fs_paths.is_dir(source) else None


def _apply(applier: apply.Applier, record: Operation, *, resume: bool) -> None:
    """Carry out the steps of a delta. Errors: E_IO and E_NO_SPACE, saying whether all was put back."""
    try:
        applier.resume() if resume else applier.run()
    except OSError as error:
        what = "and all was put back" if applier.rolled_back else "and the next command carries on"
        raise from_oserror(error, f"restoring was stopped {what}") from error
    for path in applier.skipped:
        shown = path.decode("utf-8", "backslashreplace")
        progress.remark(f"'{shown}' stays as it is: in snapshot '{record['target']}' it is not what was published")


def _done(store: Store, record: Operation, applier: apply.Applier, freed: space.Freed) -> Done:
    done = Done(record["operation_id"], None, worktree.load(store.layout, record["worktree"]))
    done.degraded = applier.losses.as_json()
    done.displaced_bytes = record["bytes"]
    done.freed = freed
    done.discarded = bool(record["details"].get("discard"))
    return done


def _discard_journal(store: Store, record: Operation, *, keep: bool) -> None:
    """Remove the journal of an operation that was rolled back, unless it holds what somebody wrote meanwhile.

    With `keep` somebody wrote to a file while it was in place: that version stays until it is pruned.
    """
    if not keep:
        release.discard(store, record["operation_id"])
        return
    record["undone_by"] = record["operation_id"]
    journal.save(store.layout, record)


def _move_head(store: Store, pending: RestoreIntent, record: Operation) -> None:
    """Move the head to where the restored files come from, and note a merge. Can be repeated. Durable: yes."""
    if "merging" in record["details"]:
        worktree.set_merging(
            store.layout, record["worktree"], record["details"]["merging"]["after"], wait=store.settings.wait
        )
    if record["after"] == record["before"]:
        return
    try:
        worktree.move_head(
            store.layout,
            record["worktree"],
            record["after"]["head"],
            expected=record["before"]["head"],
            latest=record["after"]["latest"],
            event_id=pending["audit"]["event_id"],
            wait=store.settings.wait,
        )
    except StaleHead:
        # Somebody moved it without the lock, by plumbing: the files are restored, and the head is theirs.
        pending["audit"]["details"]["after"] = record["before"]
        progress.remark(f"the head of '{record['worktree']}' was moved meanwhile, and stays where it is")


def _retire(store: Store, record: Operation, freed: space.Freed | None = None) -> None:
    """Release what nobody can undo any more, now that the record is in the log. Can be repeated. Durable: yes."""
    release.retire_undone(store, record["of"], record["operation_id"])
    for layer in record["details"].get("layers", []) if record["of"] is None else ():
        if "try_id" in layer:  # what a try made is in the worktree now
            tries.discard(store, layer["try_id"])
    if record["details"].get("discard"):
        came_free = release.discard(store, record["operation_id"])
        if freed is not None:
            freed.add(came_free)


def recover(store: Store, pending: RestoreIntent) -> str:
    """Carry on with a restore or undo whose owner died; returns what was done, as a sentence."""
    layout, operation_id = store.layout, pending["operation_id"]
    word, name = pending["operation"], pending["worktree"]
    try:
        record = journal.load(layout, operation_id)
    except FileNotFoundError:
        release.discard(store, operation_id)  # it had not begun, or was done and about to discard what it displaced
        intent.clear(layout, operation_id)
        return f"cleared away a {word} of '{name}' that had not begun or was done"
    with _applier(store, record, journal.load_steps(layout, record)) as applier:
        _apply(applier, record, resume=True)
    _move_head(store, pending, record)
    write_ahead.complete(store, pending, lambda _: _retire(store, record))
    return f"completed the {word} of '{name}'"


def apply_directory(source: Below, target: Below, keep: Below) -> tuple[Delta, int, list[Loss]]:
    """Make one directory equal to another, in place, without any repository; both are read whole.

    `keep` is a new directory on the target's filesystem; what is displaced goes below its `files`. A crash leaves
    names that begin with `.jvs-tmp-` and whatever `keep` holds; running it again completes it.
    Returns the delta, the displaced bytes, and what could not be kept. Durable: yes.
    Errors: E_IO, E_NO_SPACE; all is put back then.
    """
    try:
        made = plan.between(source, target)
        durable.make_dir(keep)
        durable.make_dir(keep / "files")
        with apply.Applier(made, clock.new_operation_id(), target, keep, source) as applier:
            applier.run()
            return made, applier.displaced_bytes, applier.losses.as_json()
    except OSError as error:
        raise from_oserror(error, f"making '{target}' equal to '{source}'") from error
