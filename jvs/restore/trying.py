"""What a try made of a snapshot, as a tree, and bringing it into a worktree: planned and carried out as a merge is.

Source: jvs-try(1), jvs-protocol(7), Try.
"""

from __future__ import annotations

import os
import stat

from jvs import progress
from jvs.errors import IOFailure, PayloadHashMismatch, from_oserror
from jvs.fs import listing, overlay
from jvs.fs import paths as fs_paths
from jvs.fs.xattrs import read_at
from jvs.restore import delta, merging
from jvs.store import lineage, node_store, tries, worktree_scan
from jvs.tree import merge, node, overlaid, path_filter, scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.errors import Conflict
    from jvs.restore.merging import MergePlan
    from jvs.restore.run import Done
    from jvs.store.store import Store
    from jvs.store.tries import Try
    from jvs.tree.node import Entry


class TryChange:
    """One path that a try changed. Shape: an entry is None where there is nothing; both the same: metadata only."""

    def __init__(self, path: bytes, old: Entry | None, new: Entry | None) -> None:
        self.path = path
        self.old = old
        self.new = new


class TryOutcome:
    """What became of a try. Shape: `state` is `pending`, `applied`, `kept`, `discarded`, or `empty` without changes.

    `conflict` says why it could not be applied; then it is pending. `output` is what the command printed, when a
    program asked for it.
    """

    def __init__(self, record: Try) -> None:
        self.record = record
        self.exit = 0
        self.state = "pending"
        self.changes: list[TryChange] = []
        self.conflict: Conflict | None = None
        self.operation_id: str | None = None
        self.fork: str | None = None
        self.output = b""

    def or_conflict(self) -> TryOutcome:
        """Return it, or raise what kept it from being applied. Errors: E_CONFLICT."""
        if self.conflict is not None:
            raise self.conflict
        return self


def tree_of(store: Store, record: Try, known: node_store.Trees) -> node.Root:
    """Return the tree that a try made, reading the files that it holds. Errors: E_PARTIAL_SNAPSHOT, E_IO."""
    source = tries.files(store.layout, record["operation_id"])
    found = scan.Scanner(scan.Hasher(jobs=os.cpu_count() or 1), one_mount=True).run(source)
    known.add(found)
    if record["kind"] == tries.CLONE:
        return found.root
    base = merging.root_of(store, known, lineage.load_visible(store, record["snapshot_id"]))
    composer = overlaid.Composer(known.load, *tries.load_delta(store.layout, record))
    root = composer.run(base, found.root)
    known.add_nodes(composer.nodes)
    return root


def proved_tree(store: Store, record: Try, known: node_store.Trees) -> node.Root:
    """Return the tree of a pending try. Errors: E_PAYLOAD_HASH_MISMATCH when its files are not what they were."""
    root = tree_of(store, record, known)
    if node.root_hash(root) != record["root_hash"]:
        raise PayloadHashMismatch(
            f"the files of try '{record['operation_id']}' are not what its command left; nothing was changed",
            hint=f"look at '{tries.files(store.layout, record['operation_id'])}', then discard it:"
            f" 'jvs try --discard {record['operation_id']}'",
        )
    return root


def changes(store: Store, record: Try, known: node_store.Trees, root: node.Root) -> list[TryChange]:
    """Return what a try changed, removals first, each sorted by path. Errors: E_IO, E_PAYLOAD_HASH_MISMATCH."""
    base = merging.root_of(store, known, lineage.load_visible(store, record["snapshot_id"]))
    found = [TryChange(*change) for change in node.compare(known.load, base[2], root[2])]
    known_paths = {change.path for change in found}
    for path in _beyond_the_tree(store, record).paths:
        if path not in known_paths:
            entry = _entry(known, root, path)
            found.append(TryChange(path, entry, entry))
    return sorted(found, key=lambda change: (change.new is not None, change.path))


def _entry(known: node_store.Trees, root: node.Root, path: bytes) -> Entry | None:
    if not path:
        return (b"", listing.DIR, root[0], 0, root[2], root[1])
    return path_filter.find_entry(known.load, root[2], path)


class _Beyond:
    """What differs between the files of a try and its snapshot that no tree holds: owner, times, links, attributes.

    `directories`, `touched` entries of other kinds, and `linked`, which are names of other files than they were.
    """

    def __init__(self) -> None:
        self.directories: list[bytes] = []
        self.touched: list[bytes] = []
        self.linked: list[bytes] = []

    @property
    def paths(self) -> list[bytes]:
        """What a person is told; a directory has another time whenever something in it changed."""
        return [*self.touched, *self.linked]


def _beyond_the_tree(store: Store, record: Try) -> _Beyond:
    """Compare what a try holds with its snapshot, entry by entry. Errors: E_IO."""
    found = _Beyond()
    files, payload = tries.files(store.layout, record["operation_id"]), store.layout.payload(record["snapshot_id"])
    listing.allow_deep_trees()
    try:
        here, there = fs_paths.open_dir(files), fs_paths.open_dir(payload)
        try:
            for path, fds, name, st, before in _pairs(here, there, b""):
                _compare(found, path, fds, name, (st, before))
            if _metadata(os.fstat(here), here, b".") != _metadata(os.fstat(there), there, b"."):
                found.directories.append(b"")
            if found.linked and record["kind"] == tries.CLONE:
                found.linked = _regrouped(here, there)
        finally:
            os.close(here)
            os.close(there)
    except OSError as error:
        raise from_oserror(error, f"comparing try '{record['operation_id']}' with its snapshot") from error
    return found


Pair = tuple[bytes, "tuple[int, int]", bytes, os.stat_result, os.stat_result]
"""Shape: path, the two open directories that hold it, name, its stat in the try and in the snapshot."""


def _pairs(here: int, there: int, path: bytes) -> Iterator[Pair]:
    """Yield what both have under the same name and of the same kind."""
    for name, st in zip(*listing.list_dir(here), strict=True):
        try:
            before = os.lstat(name, dir_fd=there)
        except FileNotFoundError:
            continue
        if stat.S_IFMT(st.st_mode) != stat.S_IFMT(before.st_mode):
            continue
        below = listing.relative(path, name)
        yield below, (here, there), name, st, before
        if stat.S_ISDIR(st.st_mode):
            fds = fs_paths.open_dir(name, here), fs_paths.open_dir(name, there)
            try:
                yield from _pairs(*fds, below)
            finally:
                for fd in fds:
                    os.close(fd)


def _compare(
    found: _Beyond, path: bytes, fds: tuple[int, int], name: bytes, stats: tuple[os.stat_result, os.stat_result]
) -> None:
    is_dir = stat.S_ISDIR(stats[0].st_mode)
    if not is_dir and max(st.st_nlink for st in stats) > 1:
        found.linked.append(path)
        return
    one, other = (_metadata(st, fd, name) for st, fd in zip(stats, fds, strict=True))
    if one != other:
        (found.directories if is_dir else found.touched).append(path)


def _metadata(st: os.stat_result, fd: int, name: bytes) -> tuple[object, ...]:
    return st.st_uid, st.st_gid, st.st_mtime_ns, stat.S_IMODE(st.st_mode), read_at(name, fd)


def _regrouped(here: int, there: int) -> list[bytes]:
    """Return the names that are names of other files than they were."""
    groups = [{name: names for names in overlay.link_groups(fd) for name in names} for fd in (here, there)]
    return sorted(name for name in groups[0].keys() | groups[1].keys() if groups[0].get(name) != groups[1].get(name))


def plan(store: Store, name: str, record: Try) -> MergePlan:
    """Find out what bringing a try into a worktree changes there, and check all that will be copied. Changes nothing.

    Errors: E_PAYLOAD_HASH_MISMATCH, E_PARTIAL_SNAPSHOT, E_NOT_FOUND, E_IO.
    """
    known = node_store.Trees(store)
    base = lineage.load_visible(store, record["snapshot_id"])
    roots = [merging.root_of(store, known, base), proved_tree(store, record, known)]
    with progress.step("look at the worktree"):
        found = worktree_scan.walk_now(store, name, plain=False)
    known.add(found)
    if found.unreadable:
        shown = found.unreadable[0][0].decode("utf-8", "backslashreplace")
        raise IOFailure(f"'{shown}' cannot be read, so that nothing is applied", hint="check its permissions")
    merged = merge.Merger(known.load).run(roots[0], found.root, roots[1])
    planned = merging.MergePlan(base, record["snapshot_id"], merged, found.root_hash)
    planned.layers = [{"snapshot_id": record["snapshot_id"], "paths": None, "try_id": record["operation_id"]}]
    if not planned.conflicts:
        _add_beyond(planned, _beyond_the_tree(store, record), known, (roots[0], found.root, roots[1]))
        merging.make_delta(store, name, planned, known)
    return planned


def _add_beyond(
    planned: MergePlan, beyond: _Beyond, known: node_store.Trees, roots: tuple[node.Root, node.Root, node.Root]
) -> None:
    """Plan what no tree holds, where the worktree has what the snapshot has."""
    planned_paths = {action.path for action in planned.actions}
    for path in (*beyond.directories, *beyond.touched, *beyond.linked):
        base, ours, theirs = (_entry(known, root, path) for root in roots)
        if path in planned_paths or ours is None or base is None or theirs is None or base[1] != ours[1]:
            continue
        if ours[1] != listing.DIR and path in beyond.linked:
            if merge.is_same(base, ours):
                planned.steps.append(delta.Step(path, delta.COPY, ours, theirs))
        elif (ours[2], ours[5] or None) == (base[2], base[5] or None) and (
            ours[1] == listing.DIR or merge.is_same(base, ours)
        ):
            planned.dirs[path] = theirs


def carry_out(store: Store, name: str, record: Try, planned: MergePlan) -> Done:
    """Bring a try into a worktree whose lock the caller holds, and remove the try.

    Durable: yes; `undo` undoes it. Errors: as a restore.
    """
    return merging.carry_out(store, name, planned, records_parent=False, try_id=record["operation_id"])
