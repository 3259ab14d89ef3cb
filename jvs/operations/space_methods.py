"""The methods of `Repository` about space and travel: what takes it, what goes, and snapshots that go elsewhere.

Source: jvs-du(1), jvs-gc-plan(1), jvs-send(1), jvs-receive(1).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jvs.gc.plan import Plan
    from jvs.gc.retention import Policy
    from jvs.gc.run import Collected
    from jvs.gc.usage import UsageDocument
    from jvs.operations.travelling import Received, Sent
    from jvs.store.shapes import Pin
    from jvs.store.store import Store
    from jvs.stream.items import Readable, Writable


class SpaceMethods:
    """What a repository does about space and travel; `jvs.repository.Repository` has these methods."""

    _store: Store

    def du(self, *targets: str, worktree: str | None = None) -> UsageDocument:
        """Return what each snapshot takes, or each of `targets`, what all of them free, and what is kept besides.

        Shape: `snapshots` with `exclusive_bytes`, `shared_bytes`, `apparent_bytes`, `kept`, those that free most first;
        `exclusive_bytes` of all together, an estimate unless `exact`; `undo_bytes`, `tries_bytes`, `trash_bytes`,
        `index_bytes`, `records_bytes`, `log_bytes`. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_IO.
        """
        from jvs.operations import collection

        return collection.usage(self._store, targets, worktree)

    def gc_plan(self, policy: Policy | Mapping[str, object] | None = None) -> Plan:
        """Find out which snapshots could be collected, and why the others are kept; `policy`: the settings' one."""
        from jvs.operations import collection

        return collection.plan(self._store, policy)

    def gc_run(self, plan: Plan | str, *, allow_newer: bool = False) -> Collected:
        """Collect what a plan names; with `allow_newer` although others have worked since, if nothing protects it now.

        Errors: E_GC_PLAN_MISMATCH when the repository changed since, E_BUSY.
        """
        from jvs.operations import collection

        if isinstance(plan, str):
            return collection.run(self._store, plan, allow_newer=allow_newer)
        return collection.run(self._store, plan.plan_id(), plan.policy, allow_newer=allow_newer)

    def gc_drop(self, *targets: str, drop_tagged: bool = False, worktree: str | None = None) -> Collected:
        """Collect exactly these snapshots. Durable: yes.

        Errors: E_NOT_FOUND, E_AMBIGUOUS; E_GC_PLAN_MISMATCH when one is protected, and then all stay; E_BUSY, E_IO.
        """
        from jvs.operations import collection

        done = collection.drop_these(self._store, list(targets), worktree, drop_tagged=drop_tagged)[1]
        assert done is not None  # it was no dry run
        return done

    def gc_auto(
        self, policy: Policy | Mapping[str, object] | None = None, *, max_bytes: int | None = None
    ) -> Collected | None:
        """Collect what a policy lets go, the oldest until the rest takes `max_bytes`; None when nothing goes.

        Durable: yes. Errors: as for `gc_plan` and `gc_run`.
        """
        from jvs.operations import collection

        return collection.auto(self._store, policy, max_bytes=max_bytes)[1]

    def pin(self, target: str, *, reason: str | None = None, expires: str | None = None) -> Pin:
        """Protect a snapshot from collection, for good or until `expires` (`30d`, or a time); return the pin.

        Errors: E_USAGE, E_NOT_FOUND, E_BUSY.
        """
        from jvs.operations import collection

        return collection.pin(self._store, target, reason=reason, expires=expires)

    def unpin(self, target: str) -> None:
        """Remove the pin of a snapshot. Errors: E_NOT_FOUND when there is none."""
        from jvs.operations import collection

        collection.unpin(self._store, target)

    def send(
        self,
        file: Writable,
        *targets: str,
        since: str | None = None,
        have: Iterable[str] = (),
        only: bool = False,
        worktree: str | None = None,
    ) -> Sent:
        """Write snapshots (LATEST) with their lines to an open file, without what the other side has.

        Shape: `snapshots`, `bases`, `boundary`, `bytes`. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_LINEAGE_BROKEN;
        E_PAYLOAD_HASH_MISMATCH, E_CLONE_INCOMPLETE for files that are not what was published; E_BUSY, E_IO.
        """
        from jvs.operations import travelling

        chosen = targets or ("LATEST",)
        return travelling.send(self._store, chosen, file, since=since, have=have, only=only, worktree=worktree)

    def receive(self, file: Readable) -> Received:
        """Receive a stream from an open file: all of its snapshots, or none. Durable: yes.

        Shape: `snapshots` that are new, `present`, `boundary`, `degraded`. Errors: E_FORMAT_UNSUPPORTED,
        E_PARTIAL_SNAPSHOT, E_PATH_ESCAPE, E_DESCRIPTOR_CORRUPT, E_EXISTS, E_PAYLOAD_HASH_MISMATCH, E_NOT_FOUND,
        E_LINEAGE_BROKEN, E_BUSY, E_NO_SPACE, E_IO.
        """
        from jvs.operations import travelling

        return travelling.receive(self._store, file)
