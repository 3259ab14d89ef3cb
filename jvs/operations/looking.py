"""Looking at a repository, and checking it.

Source: jvs-status(1), jvs-diff(1), jvs-history(1), jvs-verify(1), jvs-doctor(1).
"""

from __future__ import annotations

from jvs import names
from jvs.errors import JvsError, UsageError
from jvs.operations import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jvs.check.doctor import Diagnosis
    from jvs.check.verify import SnapshotReport
    from jvs.compare.diff import Diff
    from jvs.compare.status import Status
    from jvs.store.audit_check import ChainReport
    from jvs.store.descriptor import Descriptor
    from jvs.store.settings import Settings
    from jvs.store.store import Store


def status(store: Store, worktree: str | None = None, *, paths: list[bytes] | None = None) -> Status:
    """Return where a worktree is and what changed since its head. Writes nothing. Errors: E_NOT_FOUND, E_IO."""
    from jvs.compare import status as comparing

    name = context.worktree(store, worktree)
    with store.reading():
        return comparing.look(store, name, paths=paths)


def diff(
    store: Store,
    before: str | None = None,
    after: str | None = None,
    worktree: str | None = None,
    *,
    paths: list[bytes] | None = None,
) -> Diff:
    """Compare two snapshots; one with the files now; or, with none, the two newest of the line.

    Errors: E_USAGE, E_NOT_FOUND, E_AMBIGUOUS, E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    from jvs.compare import diff as comparing
    from jvs.store import refs

    if before is None and after is not None:
        raise UsageError("a snapshot to compare with is missing", hint="name the older snapshot as well")
    name = names.check_worktree_name(store.worktree_name(worktree))
    with store.reading():
        if before is None:
            return comparing.between(store, *comparing.newest_two(store, name), paths=paths)
        first = refs.resolve(store, before, name)
        if after is None:
            return comparing.against_files(store, first, name, paths=paths)
        return comparing.between(store, first, refs.resolve(store, after, name), paths=paths)


def history(
    store: Store,
    worktree: str | None = None,
    *,
    limit: int | None = None,
    tags: Iterable[str] = (),
    pattern: str | None = None,
    everything: bool = False,
) -> Iterator[Descriptor]:
    """Return the descriptors of a line, or of `everything`, newest first; collected ones have `collected` set.

    Read while they are taken. Errors: E_USAGE, E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT.
    """
    from jvs.compare import history as listing

    choice = listing.Choice(limit=limit, tags=names.check_listed(tags, "tags"), pattern=pattern)
    if everything:
        return choice.take(listing.newest_first(listing.everything(store)))
    name = names.check_worktree_name(store.worktree_name(worktree))
    return listing.along_line(store, store.head_of(name)[1], choice)


def verify(
    store: Store, target: str | None = None, worktree: str | None = None, *, payload: bool = True, jobs: int = 0
) -> SnapshotReport:
    """Check one snapshot, by default the head; damage is in the report. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_IO."""
    from jvs.check import verify as checking
    from jvs.store import refs

    name = names.check_worktree_name(store.worktree_name(worktree))
    with store.reading():
        snapshot_id = store.head_of(name)[0] if target is None else target
        if snapshot_id is None:
            raise refs.no_snapshot(name)
        if target is not None and not (  # a full id is checked even when it is too damaged to be resolved
            names.is_snapshot_id(target) and target in checking.candidates(store.layout)
        ):
            snapshot_id = refs.resolve(store, target, name)
        return checking.check_snapshot(store, snapshot_id, payload=payload, jobs=jobs)


def verify_all(
    store: Store, *, payload: bool = True, jobs: int = 0
) -> tuple[list[SnapshotReport], list[JvsError], ChainReport]:
    """Check every snapshot, all lines, and the audit chain; damage is in what is returned. Errors: E_IO."""
    from jvs.check import verify as checking

    with store.reading():
        return checking.check_all(store, payload=payload, jobs=jobs)


def doctor(store: Store, *, strict: bool = False, actions: Iterable[str] = (), jobs: int = 0) -> Diagnosis:
    """Do the repairs that are named, then examine everything. Errors: E_USAGE for an unknown repair, E_BUSY."""
    from jvs.check import doctor as checking

    return checking.examine(store, strict=strict, actions=names.check_listed(actions, "actions"), jobs=jobs)


def open_damaged(start: str, settings: Settings) -> Store:
    """Open a repository for `doctor`, without the checks that refuse a damaged one. Errors: E_NOT_A_REPOSITORY."""
    from jvs.check import doctor as checking

    return checking.open_anyway(start, settings)
