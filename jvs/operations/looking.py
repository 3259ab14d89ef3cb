"""Looking at a repository, and checking it.

Source: jvs-status(1), jvs-diff(1), jvs-history(1), jvs-verify(1), jvs-doctor(1).
"""

from __future__ import annotations

import contextlib

from jvs import names
from jvs.errors import JvsError, NotFound, UsageError
from jvs.operations import context

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jvs.check.doctor import Diagnosis
    from jvs.check.verify import SnapshotReport
    from jvs.compare.contents import FoundEntry
    from jvs.compare.diff import Diff
    from jvs.compare.status import Status
    from jvs.fs.rooted import Below, Root
    from jvs.store.audit_check import ChainReport
    from jvs.store.descriptor import Descriptor
    from jvs.store.settings import Settings
    from jvs.store.store import Store
    from jvs.tree.node import Entry


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


class Shown:
    """One of two states that are compared: what it is called, where its files are, and whether those are the files now.

    `directory` is empty for the nothing before the first snapshot; `payload` is its place, for what opens it.
    """

    def __init__(self, label: str, directory: str, payload: Below | None = None, *, is_live: bool = False) -> None:
        self.label = label
        self.directory = directory
        self.payload = payload
        self.is_live = is_live


def sides(store: Store, before: str | None, after: str | None, worktree: str | None = None) -> tuple[Shown, Shown]:
    """Return the directories of what `diff` compares. Errors: as `diff`; E_USAGE for a partial snapshot."""
    from jvs.compare import diff as comparing
    from jvs.store import refs

    name = context.worktree(store, worktree)
    if before is None:
        first, second = comparing.newest_two(store, name)
        return _shown(store, first), _shown(store, second)
    old = _shown(store, refs.resolve(store, before, name))
    if after is None:
        return old, Shown(name, str(store.layout.worktree_dir(name)), is_live=True)
    return old, _shown(store, refs.resolve(store, after, name))


def _shown(store: Store, snapshot_id: str | None) -> Shown:
    from jvs.store import refs

    if snapshot_id is None:
        return Shown("nothing", "")
    payload = context.whole_payload(store, snapshot_id, hint="compare another one, or without '--tool'")
    return Shown(refs.short_id(store.layout, snapshot_id), payload, store.layout.payload(snapshot_id))


def copy_payload(store: Store, source: Below, directory: Root, name: str) -> None:
    """Copy the files of a snapshot into an open directory outside of the repository. Errors: E_IO, E_NO_SPACE."""
    from jvs.engine import base as engine
    from jvs.engine import registry

    target = directory / name
    chosen = registry.pick_for_fork(None, source, target.parent, store.settings.engine_options())
    chosen.fork(engine.Request(source, target, frozen=True))


def remove_copy(store: Store, place: str) -> None:
    """Remove a directory of ours with the copies in it; what cannot be removed stays."""
    from jvs.engine import registry
    from jvs.fs import rooted

    with contextlib.suppress(JvsError, OSError):
        registry.remove_any(rooted.at(place), store.settings.engine_options())


def history(
    store: Store,
    worktree: str | None = None,
    *,
    limit: int | None = None,
    tags: Iterable[str] = (),
    pattern: str | None = None,
    meta: Mapping[str, str | None] | None = None,
    sort: str | None = None,
    start: str | None = None,
    paths: list[bytes] | None = None,
    everything: bool = False,
) -> Iterator[Descriptor]:
    """Return the descriptors of a line, or of `everything`, newest first; collected ones have `collected` set.

    The line begins at the latest snapshot of the worktree, or at the target `start`. `meta` are facts that they must
    have (None: whatever the value), `sort` a fact that they are sorted by (`-KEY`: the largest first). With `paths`
    only those that changed the content of one, with `path_changes`; else they are read while they are taken.
    Errors: E_USAGE, E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT; E_NOT_FOUND for a path that none of them held.
    """
    from jvs.compare import history as listing

    words = names.check_listed(tags, "tags")
    choice = listing.Choice(limit=limit, tags=words, pattern=pattern, meta=dict(meta or {}), sort=sort)
    if everything and start is not None:
        raise UsageError("all snapshots have no beginning", hint="leave the snapshot out, or --all")
    name = names.check_worktree_name(store.worktree_name(worktree))
    first = None if everything else _start(store, start, name)
    if paths is not None:
        from jvs.compare import path_history

        with store.reading(), store.index().at_once():
            if everything:
                found = listing.everything(store)
                changed = path_history.everywhere(store, found, listing.newest_first(found), paths)
            else:
                changed = path_history.along_line(store, first, paths)
            return iter(list(choice.take(changed)))
    if everything:
        return listing.of_all(store, choice)
    return listing.along_line(store, first, choice)


def _start(store: Store, start: str | None, name: str) -> str | None:
    """Return the snapshot that a history begins with."""
    from jvs.store import refs

    if start is None:
        return store.head_of(name)[1]
    try:
        return refs.resolve(store, start, name)
    except NotFound as error:
        error.hint = f"{error.hint}; of a path: 'jvs history -- {start}'"
        raise


def find(store: Store, target: str, path: bytes, worktree: str | None = None) -> FoundEntry:
    """Return what a snapshot holds at a path. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_PATH_ESCAPE, E_IO."""
    from jvs.compare import contents
    from jvs.store import refs

    return contents.find(store, refs.resolve(store, target, worktree), path)


def cat(store: Store, target: str, path: bytes, worktree: str | None = None) -> bytes:
    """Return the content of a file in a snapshot, or where a link leads to, proved against its hash.

    Errors: E_NOT_FOUND, E_AMBIGUOUS, E_USAGE for a directory or special file, E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    from jvs.compare import contents

    with store.reading():
        held = find(store, target, path, worktree)
        if held.is_link:
            return contents.link_target(store, held)
        with contents.opened(store, held) as (fd, _):
            return b"".join(contents.chunks(fd))


@contextlib.contextmanager
def opened(store: Store, target: str, path: bytes, worktree: str | None = None) -> Iterator[Iterator[bytes]]:
    """Give the content of a file in a snapshot piece by piece, proved before the first. Errors: as `cat`."""
    from jvs.compare import contents

    with store.reading(), contents.opened(store, find(store, target, path, worktree)) as (fd, _):
        yield contents.chunks(fd)


def split_word(store: Store, word: str, worktree: str | None = None) -> tuple[str, str | None]:
    """Return the snapshot and the path that `TARGET:PATH` names. Errors: E_NOT_FOUND, E_AMBIGUOUS."""
    from jvs.compare import contents

    return contents.split_word(store, word, worktree)


def ls(
    store: Store, target: str, path: bytes = b"", worktree: str | None = None, *, recursive: bool = False
) -> list[tuple[bytes, Entry]]:
    """Return what a directory of a snapshot holds, sorted, each with its path in the worktree; a file is itself.

    Errors: E_NOT_FOUND, E_AMBIGUOUS, E_PATH_ESCAPE, E_IO.
    """
    with store.reading():
        return find(store, target, path, worktree).listing(recursive=recursive)


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
        report = checking.check_snapshot(store, snapshot_id, payload=payload, jobs=jobs)
    checking.remember(store, [report])
    return report


def verify_all(
    store: Store,
    *,
    payload: bool = True,
    jobs: int = 0,
    independent: bool = False,
    sample: float | None = None,
    older_than: str | None = None,
) -> tuple[list[SnapshotReport], list[JvsError], ChainReport]:
    """Check every snapshot, all lines, and the audit chain; damage is in what is returned. Errors: E_IO.

    `independent` reads what snapshots share again for each of them. `sample` reads that many percent of the
    snapshots, those first that were not verified for longest, `older_than` those that were not for that duration.
    """
    from jvs import units
    from jvs.check import verify as checking
    from jvs.store import verified

    older_ns = None if older_than is None else units.duration_ns(older_than, "--older-than")
    some = sample is not None or older_ns is not None
    with store.reading():
        only = None
        if some:
            only = verified.due(store, checking.candidates(store.layout), percent=sample, older_ns=older_ns)
        found = checking.check_all(store, payload=payload, jobs=jobs, independent=independent, only=only)
    checking.remember(store, found[0], only=payload and not some)
    return found


def unchecked(store: Store, *snapshot_ids: str) -> int:
    """Return how many snapshots there are besides some. Errors: E_IO."""
    from jvs.check import verify as checking

    return len(set(checking.candidates(store.layout)) - set(snapshot_ids))


def doctor(store: Store, *, strict: bool = False, actions: Iterable[str] = (), jobs: int = 0) -> Diagnosis:
    """Do the repairs that are named, then examine everything. Errors: E_USAGE for an unknown repair, E_BUSY."""
    from jvs.check import doctor as checking

    return checking.examine(store, strict=strict, actions=names.check_listed(actions, "actions"), jobs=jobs)


def open_damaged(start: str, settings: Settings) -> Store:
    """Open a repository for `doctor`, without the checks that refuse a damaged one. Errors: E_NOT_A_REPOSITORY."""
    from jvs.check import doctor as checking

    return checking.open_anyway(start, settings)
