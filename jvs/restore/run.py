"""Bringing a worktree back to a snapshot in place: only what differs is written, and what was there is kept.

The delta is planned and checked against the snapshot's tree before anything changes; then it is journaled, carried
out, made durable, and only then the head moves. A crash leaves the intent, and the next command carries on.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

from jvs import canon, clock, progress
from jvs.errors import StaleHead, from_oserror
from jvs.fs import durable
from jvs.fs import paths as fs_paths
from jvs.restore import apply, journal, plan
from jvs.store import audit, intent, mount_check, node_store, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.restore.delta import Delta
    from jvs.restore.journal import Operation
    from jvs.restore.plan import Plan
    from jvs.store.shapes import RestoreIntent
    from jvs.store.store import Store
    from jvs.store.worktree import WorktreeConfig


class Done:
    """What a restore or an undo did."""

    def __init__(self, operation_id: str | None, planned: Plan | None, config: WorktreeConfig) -> None:
        self.operation_id = operation_id
        self.plan = planned
        self.config = config
        self.displaced_bytes = 0
        self.discarded = False
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
    forced: str | None = None,
    discard: bool = False,
) -> Done:
    """Restore a worktree whose lock the caller holds, or only some of its paths.

    `forced` is the reason for restoring a snapshot that fails its checks. `discard` keeps nothing of what is
    displaced. With `paths` the head stays.
    Durable: yes. Errors: those of `plan.find_target` and `plan.make`; E_NO_SPACE, E_IO, after which all is as
    before, or the next command carries on.
    """
    store.require_worktree(name)
    mount_check.refuse_moving(store, name)
    known = node_store.Trees(store)
    target = plan.find_target(store, snapshot_id, known, paths=paths, forced=forced is not None)
    planned = plan.make(store, name, target, known)
    before = worktree.load(store.layout, name)
    heads = _heads_after(before, snapshot_id, moves=paths is None and not target.forced)
    details: journal.Details = {
        "paths": None if paths is None else [canon.path_json(path) for path in paths],
        **planned.delta.counts(),
    }
    event = audit.event(
        "restore",
        store.actor,
        target=snapshot_id,
        worktree=name,
        reason=forced,
        details={**details, "forced": target.forced, "discard": discard, "before": _heads(before), "after": heads},
    )
    if not planned.delta.steps and not planned.delta.dirs and heads == _heads(before):
        store.log().append(event)
        return Done(None, planned, before)
    seq, _ = store.log().tail()
    record = journal.new(
        "restore",
        name,
        clock.new_operation_id(),
        identity=worktree.identity(before),
        seq=seq,
        before=_heads(before),
        after=heads,
        target=snapshot_id,
        details={"tree_before": planned.before, "discard": discard, **details},
    )
    done = carry_out(store, record, planned.delta, event, operation="restore")
    done.plan = planned
    return done


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
    pending: RestoreIntent = intent.new(
        operation,
        record["worktree"],
        operation_id=operation_id,
        owner=intent.owner(locked=True),
        audit=event,
        audit_seq=record["seq"],
        phase="apply",
        snapshot_id=record["target"],
        undoes=record["of"],
    )
    intent.write(layout, pending)
    try:
        journal.begin(layout, record, steps)
    except BaseException as error:
        _give_up(store, operation_id)
        if isinstance(error, OSError):
            raise from_oserror(error, "writing the journal") from error
        raise
    return _apply(store, pending, record, steps, resume=False)


def _apply(store: Store, pending: RestoreIntent, record: Operation, steps: Delta, *, resume: bool) -> Done:
    layout, operation_id = store.layout, record["operation_id"]
    if record["of"] is not None:
        source = journal.files(layout, record["of"])
    else:
        assert record["target"] is not None
        source = layout.payload(record["target"])
    applier = apply.Applier(
        steps,
        operation_id,
        layout.worktree_dir(record["worktree"]),
        layout.undo_dir(operation_id),
        source if fs_paths.is_dir(source) else None,
        each=store.settings.get("durability") == "each",
    )
    applier.note_skipped = lambda skipped: journal.note_skipped(layout, record, skipped)
    with applier:
        try:
            applier.resume() if resume else applier.run()
        except BaseException as error:
            if applier.rolled_back:
                _give_up(store, operation_id, record if applier.kept_aside else None)
            if isinstance(error, OSError):
                what = "and all was put back" if applier.rolled_back else "and the next command carries on"
                raise from_oserror(error, f"restoring was stopped {what}") from error
            raise
    for path in applier.skipped:
        shown = path.decode("utf-8", "backslashreplace")
        progress.remark(f"'{shown}' stays as it is: in snapshot '{record['target']}' it is not what was published")
    done = Done(operation_id, None, _finish(store, pending, record))
    done.degraded = applier.losses.as_json()
    done.displaced_bytes = record["bytes"]
    done.discarded = bool(record["details"].get("discard"))
    return done


def _give_up(store: Store, operation_id: str, kept: Operation | None = None) -> None:
    """Forget an operation that changed nothing, or whose changes were taken back. The intent goes last."""
    if kept is None:
        journal.discard(store, operation_id)
    else:  # somebody wrote to a file while it was in place: that version stays until it is pruned
        kept["undone_by"] = operation_id
        journal.save(store.layout, kept)
    intent.clear(store.layout, operation_id)


def _finish(store: Store, pending: RestoreIntent, record: Operation) -> WorktreeConfig:
    """Move the head, append the audit record, retire what was taken back, remove the intent. Can be repeated."""
    layout, name = store.layout, record["worktree"]
    if record["after"] != record["before"]:
        try:
            worktree.move_head(
                layout,
                name,
                record["after"]["head"],
                expected=record["before"]["head"],
                latest=record["after"]["latest"],
                event_id=pending["audit"]["event_id"],
                wait=store.settings.wait,
            )
        except StaleHead:
            # Somebody moved it without the lock, by plumbing: the files are restored, and the head is theirs.
            progress.remark(f"the head of '{name}' was moved meanwhile, and stays where it is")
    store.log().append(pending["audit"], after_seq=pending["audit_seq"])
    if record["of"] is not None:
        try:
            journal.consume(store, journal.load(layout, record["of"]), record["operation_id"])
        except FileNotFoundError:  # a crash came while it was being cleared away: all it kept is in place
            journal.discard(store, record["of"])
    if record["details"].get("discard"):
        journal.discard(store, record["operation_id"])
    intent.clear(layout, record["operation_id"])
    return worktree.load(layout, name)


def recover(store: Store, pending: RestoreIntent) -> str:
    """Carry on with a restore or undo whose owner died; returns what was done, as a sentence."""
    layout, operation_id = store.layout, pending["operation_id"]
    word, name = pending["operation"], pending["worktree"]
    try:
        record = journal.load(layout, operation_id)
    except FileNotFoundError:
        _give_up(store, operation_id)  # it had not begun, or was done and about to discard what it displaced
        return f"cleared away a {word} of '{name}' that had not begun or was done"
    steps = journal.load_steps(layout, record)
    _apply(store, pending, record, steps, resume=True)
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
