"""Collecting snapshots that are not needed any more, and protecting those that are.

Source: jvs-gc(1).
"""

from __future__ import annotations

from jvs import names
from jvs.errors import NoSpace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvs.gc.plan import Plan
    from jvs.gc.retention import Policy
    from jvs.gc.run import Collected, Pruned
    from jvs.gc.usage import UsageDocument
    from jvs.store.shapes import Pin
    from jvs.store.store import Store

    class ListedPin(Pin):
        """A pin, and whether it protects no more."""

        expired: bool


def policy_of(store: Store, policy: Policy | Mapping[str, object] | None) -> Policy:
    """Return the policy of some rules; of none at all, that of the settings. Errors: E_USAGE."""
    from jvs.gc import retention

    if isinstance(policy, retention.Policy):
        return policy
    return retention.Policy.of(store.settings, dict(policy or {}))


def plan(store: Store, policy: Policy | Mapping[str, object] | None = None) -> Plan:
    """Find out which snapshots could be collected, and why the others are kept; the plan is stored for `run`.

    Errors: E_USAGE, E_IO; a full disk is a remark, for a plan can be made again by `run`.
    """
    from jvs.gc import plan as planning

    with store.reading():
        made = planning.make(store, policy_of(store, policy))
        _save(store, made)
    return made


def run(
    store: Store, plan_id: str, policy: Policy | Mapping[str, object] | None = None, *, allow_newer: bool = False
) -> Collected:
    """Collect what a plan names; `policy` replaces a plan that was not stored.

    Shape: `plan_id`, `collected`, `collected_count`, `freed_bytes` and whether they are `exact`.
    Durable: yes. Errors: E_NOT_FOUND, E_GC_PLAN_MISMATCH when the repository changed since, E_BUSY, E_IO.
    """
    from jvs.gc import run as collecting

    return collecting.run(store, plan_id, policy_of(store, policy), allow_newer=allow_newer)


def drop(store: Store, target: str, policy: Policy | Mapping[str, object] | None = None) -> Pruned:
    """Collect one snapshot that nothing protects. Shape, errors: as `run`."""
    from jvs.gc import run as collecting
    from jvs.store import refs

    snapshot_id = target if names.is_snapshot_id(target) else refs.resolve(store, target)
    return collecting.prune(store, snapshot_id, policy_of(store, policy))


def drop_these(
    store: Store, targets: list[str], worktree: str | None = None, *, drop_tagged: bool = False, dry_run: bool = False
) -> tuple[Plan, Collected | None]:
    """Collect exactly the snapshots that are named; with `dry_run` only plan it. Return the plan and what was done.

    Durable: yes. Errors: E_NOT_FOUND, E_AMBIGUOUS; E_GC_PLAN_MISMATCH when one of them is protected, and then all stay;
    E_BUSY, E_IO.
    """
    from jvs.errors import GcPlanMismatch
    from jvs.gc import plan as planning
    from jvs.gc import retention
    from jvs.store import refs

    with store.reading():
        only = sorted({t if names.is_snapshot_id(t) else refs.resolve(store, t, worktree) for t in targets})
        made = planning.make(store, retention.Policy({retention.ONLY: only, retention.DROP_TAGGED: drop_tagged}))
        for snapshot_id in only:
            if snapshot_id not in made.candidates:
                why = made.marks.sentences(snapshot_id)
                raise GcPlanMismatch(
                    f"snapshot '{snapshot_id}' is protected: {'; '.join(why) or 'it is not there'}",
                    hint="nothing was removed; '--drop-tagged' ignores tags, 'jvs gc unpin' removes a pin",
                    reasons=why,
                )
        _save(store, made)
    return made, None if dry_run else run(store, made.plan_id(), made.policy, allow_newer=True)


def auto(
    store: Store,
    policy: Policy | Mapping[str, object] | None = None,
    *,
    max_bytes: int | None = None,
    dry_run: bool = False,
) -> tuple[Plan, Collected | None]:
    """Plan and collect in one, for timers: what the policy lets go, or as much of it, oldest first, as a budget asks.

    With `max_bytes` snapshots go until all of them together take no more, and a repository that takes less loses
    none. Durable: yes. Errors: as for `plan` and `run`.
    """
    from jvs.gc import budget
    from jvs.gc import plan as planning

    with store.reading():
        chosen = policy_of(store, policy)
        if max_bytes is not None:
            chosen = budget.within(store, chosen, max_bytes)
        made = planning.make(store, chosen)
        _save(store, made)
    if dry_run or not made.candidates:
        return made, None
    return made, run(store, made.plan_id(), made.policy, allow_newer=True)


def usage(store: Store, targets: Iterable[str] = (), worktree: str | None = None) -> UsageDocument:
    """Return what each snapshot takes, what all of them free together, and what is kept besides. Writes nothing.

    With `targets` it is about these. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_IO.
    """
    from jvs.gc import usage as measuring
    from jvs.store import refs

    with store.reading():
        chosen = [refs.resolve(store, target, worktree) for target in targets]
        return measuring.usage(store, chosen or None)


def used_bytes(store: Store) -> int:
    """Return what all snapshots together take on disk, as their removal would free it. Errors: E_IO."""
    from jvs.gc import budget

    with store.reading():
        return budget.used_bytes(store)


def _save(store: Store, made: Plan) -> None:
    """Store a plan; a full disk is a remark, for `run` can be given the policy as well."""
    from jvs import progress
    from jvs.gc import plan as planning

    try:
        planning.save(store, made)
    except NoSpace:
        progress.remark("plan not stored (disk full): give 'jvs gc run' these options too")


def pin(
    store: Store, target: str, worktree: str | None = None, *, reason: str | None = None, expires: str | None = None
) -> Pin:
    """Protect a snapshot from collection, for good or until `expires` (`30d`, or a time); return the pin.

    Durable: yes. Errors: E_USAGE, E_NOT_FOUND, E_AMBIGUOUS, E_BUSY, E_IO, E_NO_SPACE.
    """
    from jvs.gc import pins as pinning
    from jvs.store import refs

    expires_at = None if expires is None else pinning.parse_expiry(expires)
    reason = None if reason is None else names.check_note(reason)
    return pinning.add(store, refs.resolve(store, target, worktree), reason=reason, expires_at=expires_at)


def unpin(store: Store, target: str, worktree: str | None = None) -> str:
    """Remove the pin of a snapshot, which a full id names even when it is damaged; return the id.

    Durable: yes. Errors: E_NOT_FOUND when there is none, E_AMBIGUOUS, E_BUSY, E_IO, E_NO_SPACE.
    """
    from jvs.gc import pins as pinning
    from jvs.store import refs

    snapshot_id = target if names.is_snapshot_id(target) else refs.resolve(store, target, worktree)
    pinning.remove(store, snapshot_id)
    return snapshot_id


def pins(store: Store) -> list[ListedPin]:
    """Return every pin, with `expired`. Errors: E_PARTIAL_SNAPSHOT, E_IO."""
    from jvs import clock
    from jvs.gc import pins as pinning

    now = clock.now_ns()
    return [{**pin, "expired": pinning.has_expired(pin, now)} for pin in pinning.list_all(store.layout)]
