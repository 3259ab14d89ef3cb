"""What differs between two snapshots, or between a snapshot and the files now.

Directories are compared by digest and descended only where they differ; no payload is read. A partial snapshot counts
as its parent with some paths replaced.
Source: jvs-diff(1); jvs-format(5), Tree hash.
"""

from __future__ import annotations

from jvs import canon
from jvs.compare.changes import ADDED, LETTERS, MODIFIED, REMOVED, RENAMED, Change, is_below, pair_renames
from jvs.fs import listing
from jvs.store import annotation, exclusion, lineage, partial, refs
from jvs.tree import leaves, node, path_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypedDict

    from jvs.compare.changes import ChangeDocument, ChangeItem
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.node_store import Trees
    from jvs.store.store import Store
    from jvs.tree.exclusion import Exclusion
    from jvs.tree.leaves import Lists
    from jvs.tree.node import Entry
    from jvs.tree.scan import ScanResult

    class DiffDocument(TypedDict):
        """A difference as `--json` prints it; no id means the files now, or nothing."""

        from_snapshot_id: str | None
        to_snapshot_id: str | None
        from_time: str | None
        to_time: str | None
        from_note: str | None
        to_note: str | None
        added: list[ChangeDocument]
        removed: list[ChangeDocument]
        modified: list[ChangeDocument]
        renamed: list[ChangeDocument]
        total_added: int
        total_removed: int
        total_modified: int
        total_renamed: int
        unreadable: list[canon.PathJSON]
        not_captured: list[canon.PathJSON]


class Side:
    """One of the two things that are compared: a snapshot, the files of a worktree now, or nothing.

    `directory` is where its files can be read.
    """

    def __init__(self, record: Descriptor | None, digest: bytes | None, directory: Below | None, time: str) -> None:
        self.record = record
        self.digest = digest
        self.directory = directory
        self.time = time
        self.root: node.Root | None = None
        self.bases: list[Below] = [directory] if directory is not None else []
        self.holders: list[str] = []
        """The snapshots that wrote down the leaves of its large files."""
        self.lists: Lists = {}
        """The leaves of large files that are known without that."""

    @property
    def snapshot_id(self) -> str | None:
        """Return the id of the snapshot, or None."""
        return self.record["snapshot_id"] if self.record else None

    @property
    def note(self) -> str | None:
        """Return the note of the snapshot, or None."""
        return self.record["note"] if self.record else None


class Diff:
    """All that differs between two sides. Shape: `changes` is sorted by path; renames are listed at the new path."""

    def __init__(self, before: Side, after: Side, changes: list[Change], unreadable: list[bytes] | None = None) -> None:
        self.before = before
        self.after = after
        self.changes = changes
        self.unreadable = unreadable or []
        self.not_captured: list[bytes] = []
        """What the older side has, and the rules of the newer one exclude: it is not deleted."""

    def leave_out(self, exclude: Exclusion) -> None:
        """Take what rules exclude out of what is said to be removed."""
        if exclude.has_rules:
            gone = [c for c in self.changes if c.what == REMOVED and exclude.drops_any(c.path, is_dir=c.is_dir)]
            self.not_captured = [change.path for change in gone]
            self.changes = [change for change in self.changes if change not in gone]

    def of(self, what: str) -> list[Change]:
        """Return the changes of one kind."""
        return [change for change in self.changes if change.what == what]

    def counts(self) -> dict[str, int]:
        """Return how many changes there are of each kind."""
        counts = dict.fromkeys(LETTERS, 0)
        for change in self.changes:
            counts[change.what] += 1
        return counts

    def as_json(self) -> DiffDocument:
        """Return the document for `--json`."""
        counts = self.counts()
        return {
            "from_snapshot_id": self.before.snapshot_id,
            "to_snapshot_id": self.after.snapshot_id,
            "from_time": self.before.time or None,
            "to_time": self.after.time or None,
            "from_note": self.before.note,
            "to_note": self.after.note,
            "added": self._documents(ADDED),
            "removed": self._documents(REMOVED),
            "modified": self._documents(MODIFIED),
            "renamed": self._documents(RENAMED),
            "total_added": counts[ADDED],
            "total_removed": counts[REMOVED],
            "total_modified": counts[MODIFIED],
            "total_renamed": counts[RENAMED],
            "unreadable": [canon.path_json(path) for path in self.unreadable],
            "not_captured": [canon.path_json(path) for path in self.not_captured],
        }

    def _documents(self, what: str) -> list[ChangeDocument]:
        return [change.as_json() for change in self.of(what)]

    def items(self) -> Iterator[ChangeItem]:
        """Yield one object for each change, for `--jsonl`."""
        for change in self.changes:
            yield {"change": change.what, **change.as_json()}


class Comparer:
    """Compares the trees of one repository."""

    def __init__(self, store: Store) -> None:
        from jvs.store import node_store

        self.store = store
        self.known: Trees = node_store.Trees(store)
        self.plain: bool | None = None
        """Whether all trees are as `sha256-tree-1` has them; the first that is compared decides."""

    def snapshot(self, snapshot_id: str | None) -> Side:
        """Return the side of a snapshot; None is the nothing before the first one."""
        if snapshot_id is None:
            return Side(None, None, None, "")
        record = lineage.load_visible(self.store, snapshot_id)
        shown = annotation.shown(self.store.layout, record)
        side = Side(shown, None, self.store.layout.payload(snapshot_id), record["created_at"])
        if self.plain is None:
            self.plain = node.is_plain(record["hash_algorithm"])
        side.digest, below = partial.whole_tree(self.store, self.known, record, plain=self.plain)
        side.holders = [snapshot_id, *(layer["snapshot_id"] for layer in below)]
        side.bases += [self.store.layout.payload(layer["snapshot_id"]) for layer in below]
        side.root = self.known.root_as(record, plain=self.plain)
        return side

    def files(self, name: str, before: Side | None = None) -> tuple[Side, ScanResult]:
        """Return the side of a worktree's files as they are now, compared with the metadata of a snapshot."""
        from jvs.store import worktree_scan

        record = None if before is None else before.record
        found = worktree_scan.walk_now(self.store, name, compare=record, plain=self.plain)
        self.known.add(found)
        side = Side(None, found.digest, self.store.layout.worktree_dir(name), "")
        side.root, side.lists = found.root, found.lists
        side.holders = [] if record is None else [record["snapshot_id"]]
        return side, found

    def changes(
        self,
        before: Side,
        after: Side,
        *,
        paths: list[bytes] | None = None,
        renames: bool = True,
        unreadable: Sequence[bytes] = (),
    ) -> list[Change]:
        """Return what differs between two sides, sorted by path, limited to some paths and what lies below them.

        Patterns among the paths match as in a restore; `unreadable` is there, although neither side shows it.
        Errors: E_NOT_FOUND for a path or pattern that neither side has.
        """
        if paths is not None:
            paths = self._match(before, after, paths, unreadable)
        found = [*_root_change(before.root, after.root), *_compare(self.known.load, before.digest, after.digest)]
        if paths is not None:
            found = [change for change in found if is_below(change.path, paths)]
        self._count_changed_bytes(found, before, after)
        return pair_renames(found) if renames else found

    def _count_changed_bytes(self, changes: list[Change], before: Side, after: Side) -> None:
        """Say of large files that are modified how many of their bytes changed, where their leaves are known."""
        large = [change for change in changes if change.is_large() and change.what == MODIFIED]
        if not large or self.plain:
            return
        from jvs.store import leaf_lists

        lists = {**before.lists, **after.lists}
        for holder in dict.fromkeys(before.holders + after.holders):
            lists |= leaf_lists.load(self.store.layout, holder)
        for change in large:
            assert change.old is not None and change.new is not None
            change.changed_bytes = leaves.changed_bytes(change.old, change.new, lists)

    def add_metadata(
        self, changes: list[Change], before: Side, after: Side, found: ScanResult, paths: list[bytes] | None
    ) -> list[Change]:
        """Add what differs in metadata only, and say what else differs of entries that are modified."""
        from jvs.tree.kept import shown_words

        there = {change.path: change for change in changes if change.what == MODIFIED}
        for path, words in found.differs.items():
            shown = path or b"."
            words = shown_words(words)
            if not words or (paths is not None and not is_below(shown, paths)):
                continue
            if shown not in there:
                old, new = self._entry(before, path), self._entry(after, path)
                if old is None or new is None:
                    continue
                there[shown] = Change(shown, old, new)
                changes.append(there[shown])
            there[shown].metadata = words
        return sorted(changes, key=lambda change: (change.path != b".", change.path))

    def _entry(self, side: Side, path: bytes) -> Entry | None:
        """Return the entry of a path on one side, or None."""
        if side.root is None or side.digest is None:
            return None
        entry: Entry | None = (b".", listing.DIR, side.root[0], 0, side.digest, side.root[1])
        for part in path.split(b"/") if path else []:
            if entry is None or entry[1] != listing.DIR:
                return None
            entry = next((one for one in self.known.load(entry[4]) if one[0] == part), None)
        return entry

    def _match(self, before: Side, after: Side, paths: list[bytes], unreadable: Sequence[bytes]) -> list[bytes]:
        known = [path for path in paths if any(is_below(path, [bad]) or is_below(bad, [path]) for bad in unreadable)]
        rest = [path for path in paths if path not in known]
        roots = [side.digest for side in (before, after) if side.digest is not None]
        return [*known, *path_filter.match_paths(self.known.load, roots, rest)]


def tree_changes(load: Callable[[bytes], list[Entry]], before: node.Root, after: node.Root) -> list[Change]:
    """Return what differs between two trees, without looking for renames."""
    return [*_root_change(before, after), *_compare(load, before[2], after[2])]


def _compare(load: Callable[[bytes], list[Entry]], before: bytes | None, after: bytes | None) -> Iterator[Change]:
    listing.allow_deep_trees()
    for path, old, new in node.compare(load, before, after):
        yield Change(path, old, new)


def _root_change(before: node.Root | None, after: node.Root | None) -> Iterator[Change]:
    """Yield a change of `.` when mode or attributes of the root itself differ: they are part of the root hash."""
    if before is None or after is None or before[:2] == after[:2]:
        return
    old, new = ((b".", listing.DIR, root[0], 0, root[2], root[1]) for root in (before, after))
    yield Change(b".", old, new)


def newest_two(store: Store, name: str) -> tuple[str | None, str]:
    """Return the two most recent snapshots of a worktree's line that still have files; None before the first.

    Errors: E_NOT_FOUND when there is none, E_LINEAGE_BROKEN.
    """
    _, latest = store.head_of(name)
    kept: list[str] = []
    for record in lineage.line(store.layout, latest):
        if not record.get("collected"):
            kept.append(record["snapshot_id"])
            if len(kept) == 2:
                return kept[1], kept[0]
    if not kept:
        raise refs.no_snapshot(name)
    return None, kept[0]


def between(store: Store, before: str | None, after: str, *, paths: list[bytes] | None = None) -> Diff:
    """Compare two snapshots. Errors: E_NOT_FOUND, E_PAYLOAD_HASH_MISMATCH, E_IO."""
    comparer = Comparer(store)
    a, b = comparer.snapshot(before), comparer.snapshot(after)
    found = Diff(a, b, comparer.changes(a, b, paths=paths))
    if b.record is not None:
        found.leave_out(exclusion.of_snapshot(b.record))
    return found


def against_files(
    store: Store, before: str | None, name: str, *, paths: list[bytes] | None = None, renames: bool = True
) -> Diff:
    """Compare a snapshot (None: nothing) with the files of a worktree as they are now. Writes nothing.

    What cannot be read is in `unreadable`, and not among the changes. Errors: as `between`.
    """
    comparer = Comparer(store)
    a = comparer.snapshot(before)
    b, found = comparer.files(name, a)
    changes = comparer.changes(a, b, paths=paths, renames=renames)
    changes = comparer.add_metadata(changes, a, b, found, paths)
    unreadable = [path for path, _ in found.unreadable]
    if unreadable:
        changes = [c for c in changes if not is_below(c.path, unreadable)]
    made = Diff(a, b, changes, unreadable)
    made.leave_out(store.exclusion(name))
    return made
