"""What differs between two snapshots, or between a snapshot and the files now; and where a worktree stands.

Directories are compared by digest and descended only where they differ; no payload is read. A partial snapshot counts
as its parent with some paths replaced.
Source: jvs-diff(1), jvs-status(1); jvs-format(5), Tree hash.
"""

from __future__ import annotations

import os

from jvs import canon, lineage, tree, walk
from jvs.errors import JvsError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from jvs.scan import Tree
    from jvs.store import Store
    from jvs.tree import Entry
    from jvs.trees import Trees

ADDED, REMOVED, MODIFIED, RENAMED = "added", "removed", "modified", "renamed"
LETTERS = {ADDED: "A", REMOVED: "D", MODIFIED: "M", RENAMED: "R"}


class Change:
    """One entry that differs. Shape: `old_path` is the path before, which only a renamed file has another of."""

    __slots__ = ("new", "old", "old_path", "path", "what")

    def __init__(self, path: bytes, old: Entry | None, new: Entry | None, old_path: bytes | None = None) -> None:
        self.path = path
        self.old = old
        self.new = new
        self.old_path = path if old_path is None else old_path
        if old_path is not None:
            self.what = RENAMED
        else:
            self.what = ADDED if old is None else REMOVED if new is None else MODIFIED

    @property
    def letter(self) -> str:
        """Return A, D, M or R."""
        return LETTERS[self.what]

    @property
    def entry(self) -> Entry:
        """Return the entry as it is now, or as it was when it is gone."""
        entry = self.new if self.new is not None else self.old
        assert entry is not None
        return entry

    @property
    def is_dir(self) -> bool:
        """Answer whether the path is, or was, a directory."""
        return self.entry[1] == walk.DIR

    def how(self) -> list[str]:
        """Say what of a modified entry differs: kind, content, mode, xattrs."""
        if self.old is None or self.new is None:
            return []
        words = ["kind"] if self.old[1] != self.new[1] else []
        if not words and self.old[1] != walk.DIR and self.old[4] != self.new[4]:
            words.append("content")
        if self.old[2] != self.new[2] and "kind" not in words:
            words.append("mode")
        if self.old[5] != self.new[5]:
            words.append("xattrs")
        return words

    def as_json(self) -> dict[str, Any]:
        """Return the object for `--json`. Shape: modes are octal text, hashes hex; null where there is none."""
        value: dict[str, Any] = canon.path_json(self.path)
        if self.what == RENAMED:
            value.update({f"old_{key}": text for key, text in canon.path_json(self.old_path).items()})
        entry = self.entry
        value.update(
            kind=walk.KIND_NAMES[entry[1]],
            mode=show_mode(self.new),
            old_mode=show_mode(self.old),
            size=_size(self.new),
            old_size=_size(self.old),
            old_hash=_hash(self.old),
            new_hash=_hash(self.new),
        )
        if self.what in (MODIFIED, RENAMED):
            value["changed"] = self.how()
        return value


def show_mode(entry: Entry | None) -> str | None:
    """Return the permission bits of an entry as four octal digits, or None."""
    return None if entry is None else f"{entry[2]:04o}"


def _size(entry: Entry | None) -> int | None:
    return None if entry is None else entry[3]


def _hash(entry: Entry | None) -> str | None:
    return None if entry is None else entry[4].hex()


class Side:
    """One of the two things that are compared: a snapshot, the files of a worktree now, or nothing.

    `directory` is where its files can be read.
    """

    def __init__(self, record: dict[str, Any] | None, digest: bytes | None, directory: str | None, time: str) -> None:
        self.record = record
        self.digest = digest
        self.directory = directory
        self.time = time
        self.root: tree.Root | None = None
        self.bases: list[str] = [directory] if directory is not None else []

    @property
    def snapshot_id(self) -> str | None:
        """Return the id of the snapshot, or None."""
        return self.record["snapshot_id"] if self.record else None


class Diff:
    """All that differs between two sides. Shape: `changes` is sorted by path; renames stand at the new path."""

    def __init__(self, before: Side, after: Side, changes: list[Change], unreadable: list[bytes] | None = None) -> None:
        self.before = before
        self.after = after
        self.changes = changes
        self.unreadable = unreadable or []

    def of(self, what: str) -> list[Change]:
        """Return the changes of one kind."""
        return [change for change in self.changes if change.what == what]

    def counts(self) -> dict[str, int]:
        """Return how many changes there are of each kind."""
        counts = dict.fromkeys(LETTERS, 0)
        for change in self.changes:
            counts[change.what] += 1
        return counts

    def as_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        value: dict[str, Any] = {
            "from_snapshot_id": self.before.snapshot_id,
            "to_snapshot_id": self.after.snapshot_id,
            "from_time": self.before.time or None,
            "to_time": self.after.time or None,
        }
        for what in LETTERS:
            value[what] = [change.as_json() for change in self.of(what)]
        for what, count in self.counts().items():
            value[f"total_{what}"] = count
        if self.unreadable:
            value["unreadable"] = [canon.path_json(path) for path in self.unreadable]
        return value

    def items(self) -> Iterator[dict[str, Any]]:
        """Yield one object for each change, for `--jsonl`."""
        for change in self.changes:
            yield {"change": change.what, **change.as_json()}


class Comparer:
    """Compares the trees of one repository."""

    def __init__(self, store: Store) -> None:
        from jvs import trees

        self.store = store
        self.known: Trees = trees.Trees(store)

    def snapshot(self, snapshot_id: str | None) -> Side:
        """Return the side of a snapshot; None is the nothing before the first one."""
        if snapshot_id is None:
            return Side(None, None, None, "")
        record = lineage.load_visible(self.store, snapshot_id)
        side = Side(record, None, self.store.layout.payload(snapshot_id), record["created_at"])
        side.digest = self._whole(record, side.bases)
        side.root = self.known.root(record)
        return side

    def files(self, name: str) -> tuple[Side, Tree]:
        """Return the side of a worktree's files as they are now. Writes nothing."""
        from jvs import look

        found = look.walk_now(self.store, name)
        self.known.add(found)
        side = Side(None, found.digest, self.store.layout.worktree_dir(name), "")
        side.root = found.root
        return side, found

    def _whole(self, record: dict[str, Any], bases: list[str]) -> bytes:
        """Return the digest of a snapshot's tree; a partial one is laid over the tree of its parent."""
        root = self.known.root(record)
        assert root is not None
        if record["partial_paths"] is None or record["parent_id"] is None:
            return root[2]
        parent = lineage.load_any(self.store.layout, record["parent_id"])
        if parent.get("collected"):
            return root[2]
        bases.append(self.store.layout.payload(parent["snapshot_id"]))
        digest = self._whole(parent, bases)
        for item in record["partial_paths"]:
            path = canon.path_from_json(item) if isinstance(item, dict) else item.encode("utf-8")
            digest = self._graft(digest, root[2], [part for part in path.split(b"/") if part])
        return digest

    def _graft(self, base: bytes, other: bytes, parts: list[bytes]) -> bytes:
        """Return the digest of a directory with one path taken from another directory, or taken away."""
        if not parts:
            return other
        entries = {entry[0]: entry for entry in self.known.load(base)}
        mine, theirs = entries.get(parts[0]), _find(self.known.load(other), parts[0])
        if theirs is None:
            entries.pop(parts[0], None)
        elif len(parts) == 1 or mine is None or mine[1] != walk.DIR or theirs[1] != walk.DIR:
            entries[parts[0]] = theirs
        else:
            digest = self._graft(mine[4], theirs[4], parts[1:])
            size = sum(entry[3] for entry in self.known.load(digest))
            entries[parts[0]] = (theirs[0], theirs[1], theirs[2], size, digest, theirs[5])
        data = tree.encode_node([entries[name] for name in sorted(entries)])
        return self._remember(data)

    def _remember(self, data: bytes) -> bytes:
        from jvs import scan

        made = scan.Tree()
        digest = tree.node_digest(data)
        made.nodes[digest] = data
        self.known.add(made)
        return digest

    def changes(
        self, before: Side, after: Side, *, paths: list[bytes] | None = None, renames: bool = True
    ) -> list[Change]:
        """Return what differs between two sides, sorted by path, limited to some paths and what lies below them."""
        found = [*_root_change(before.root, after.root), *_compare(self.known.load, before.digest, after.digest)]
        if paths is not None:
            found = [change for change in found if is_below(change.path, paths)]
        return pair_renames(found) if renames else found


def tree_changes(load: Callable[[bytes], list[Entry]], before: tree.Root, after: tree.Root) -> list[Change]:
    """Return what differs between two trees, without looking for renames."""
    return [*_root_change(before, after), *_compare(load, before[2], after[2])]


def _compare(load: Callable[[bytes], list[Entry]], before: bytes | None, after: bytes | None) -> Iterator[Change]:
    walk.allow_deep_trees()
    for path, old, new in tree.compare(load, before, after):
        yield Change(path, old, new)


def _root_change(before: tree.Root | None, after: tree.Root | None) -> Iterator[Change]:
    """Yield a change of `.` when mode or attributes of the root itself differ: they are part of the root hash."""
    if before is None or after is None or before[:2] == after[:2]:
        return
    old, new = ((b".", walk.DIR, root[0], 0, root[2], root[1]) for root in (before, after))
    yield Change(b".", old, new)


def _find(entries: list[Entry], name: bytes) -> Entry | None:
    return next((entry for entry in entries if entry[0] == name), None)


def is_below(path: bytes, wanted: Iterable[bytes]) -> bool:
    """Answer whether a path is one of some paths, or lies below one; the empty path is the root."""
    return any(not w or path == w or path.startswith(w + b"/") for w in wanted)


def pair_renames(changes: list[Change]) -> list[Change]:
    """Turn files that vanished and came up elsewhere with the same content into renames.

    Shape: only regular files that are not empty. Of several that could pair, those with the same name go first, then
    by path, so that the same two trees always give the same answer.
    """
    gone: dict[bytes, list[Change]] = {}
    for change in changes:
        if change.what == REMOVED and _can_move(change.old):
            assert change.old is not None
            gone.setdefault(change.old[4], []).append(change)
    if not gone:
        return changes
    came = [c for c in changes if c.what == ADDED and _can_move(c.new) and c.new is not None and c.new[4] in gone]
    paired: dict[int, Change] = {}
    used: set[int] = set()
    for by_name in (True, False):
        for change in came:
            assert change.new is not None
            if id(change) in paired:
                continue
            for old in gone[change.new[4]]:
                if id(old) not in used and (not by_name or _base(old.path) == _base(change.path)):
                    used.add(id(old))
                    paired[id(change)] = Change(change.path, old.old, change.new, old.path)
                    break
    return [paired.get(id(change), change) for change in changes if id(change) not in used]


def _can_move(entry: Entry | None) -> bool:
    return entry is not None and entry[1] == walk.FILE and entry[3] > 0


def _base(path: bytes) -> bytes:
    return path.rsplit(b"/", 1)[-1]


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
        raise NotFound(f"worktree '{name}' has no snapshot yet", hint="take one with 'jvs snapshot'", worktree=name)
    return None, kept[0]


def between(store: Store, before: str | None, after: str, *, paths: list[bytes] | None = None) -> Diff:
    """Compare two snapshots. Errors: E_NOT_FOUND, E_PAYLOAD_HASH_MISMATCH, E_IO."""
    comparer = Comparer(store)
    a, b = comparer.snapshot(before), comparer.snapshot(after)
    return Diff(a, b, comparer.changes(a, b, paths=paths))


def against_files(
    store: Store, before: str | None, name: str, *, paths: list[bytes] | None = None, renames: bool = True
) -> Diff:
    """Compare a snapshot (None: nothing) with the files of a worktree as they are now. Writes nothing.

    What cannot be read is in `unreadable`, and not among the changes. Errors: as `between`.
    """
    comparer = Comparer(store)
    a = comparer.snapshot(before)
    b, found = comparer.files(name)
    changes = comparer.changes(a, b, paths=paths, renames=renames)
    unreadable = [path for path, _ in found.unreadable]
    if unreadable:
        changes = [c for c in changes if not is_below(c.path, unreadable)]
    return Diff(a, b, changes, unreadable)


class Status:
    """Where a worktree stands, and what changed in it since its head."""

    def __init__(self, name: str, head: str | None, latest: str | None, engine: str, found: Diff) -> None:
        self.name = name
        self.head = head
        self.latest = latest
        self.engine = engine
        self.diff = found

    @property
    def detached(self) -> bool:
        """Answer whether the head is not the latest snapshot."""
        return self.head != self.latest

    @property
    def clean(self) -> bool:
        """Answer whether the files are those of the head. What cannot be read cannot be called clean."""
        return self.head is not None and not self.diff.changes and not self.diff.unreadable

    def as_json(self) -> dict[str, Any]:
        """Return the document for `--json`."""
        value: dict[str, Any] = {
            "worktree": self.name,
            "head_snapshot_id": self.head,
            "latest_snapshot_id": self.latest,
            "detached": self.detached,
            "engine": self.engine,
            "clean": self.clean,
        }
        counts = self.diff.counts()
        for what in (ADDED, MODIFIED, REMOVED):
            value[what] = [change.as_json() for change in self.diff.of(what)]
        value["counts"] = {what: counts[what] for what in (ADDED, MODIFIED, REMOVED)}
        value["unreadable"] = [canon.path_json(path) for path in self.diff.unreadable]
        return value


def status(store: Store, name: str, *, paths: list[bytes] | None = None) -> Status:
    """Look at a worktree. Writes nothing. Errors: E_NOT_FOUND, E_IO, E_PAYLOAD_HASH_MISMATCH."""
    store.require_worktree(name)
    head, latest = store.head_of(name)
    try:
        engine = store.engine(name).name
    except JvsError as error:  # the engine that was asked for does not work here; that must not hide the changes
        if error.name != "E_IO":
            raise
        engine = str(store.settings.get("default_engine"))
    return Status(name, head, latest, engine, against_files(store, head, name, paths=paths, renames=False))


class Folded:
    """A change for a short list: a directory that came or went as a whole stands for everything below it."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.files = 0
        self.bytes = 0


def fold(changes: list[Change]) -> list[Folded]:
    """Fold directories that came or went as a whole into one row each. Shape: `changes` are sorted by path."""
    result: list[Folded] = []
    tops: dict[bytes, Folded] = {}
    for change in sorted(changes, key=lambda c: c.path.split(b"/")):
        top = _top_of(change, tops)
        if top is None:
            top = Folded(change)
            result.append(top)
            if change.is_dir and change.what in (ADDED, REMOVED):
                tops[change.path] = top
        if not change.is_dir:
            top.files += 1
            top.bytes += change.entry[3]
    return result


def _top_of(change: Change, tops: dict[bytes, Folded]) -> Folded | None:
    path = change.path
    while b"/" in path:
        path = path.rsplit(b"/", 1)[0]
        top = tops.get(path)
        if top is not None:
            return top if top.change.what == change.what else None
    return None


def reader_of(side: Side, limit: int) -> Callable[[bytes], bytes | None]:
    """Return a function that reads a small file of a side: None when it is larger than the limit or not there.

    A file of a partial snapshot may lie in the payload of an ancestor.
    """
    from jvs import safepath

    def read(path: bytes) -> bytes | None:
        for directory in side.bases:
            try:
                fd = safepath.open_dir(directory)
            except OSError:
                continue
            try:
                parts = path.split(b"/")
                parent = safepath.open_parent(fd, parts)
                try:
                    return _read_small(parts[-1], parent, limit)
                finally:
                    os.close(parent)
            except FileNotFoundError:
                continue
            finally:
                os.close(fd)
        return None

    return read


def _read_small(name: bytes, dir_fd: int, limit: int) -> bytes | None:
    from jvs import safepath

    fd = safepath.open_file(name, dir_fd)
    try:
        if os.fstat(fd).st_size > limit:
            return None
        parts = []
        size = 0
        while part := os.read(fd, 1 << 20):
            parts.append(part)
            size += len(part)
            if size > limit:
                return None
        return b"".join(parts)
    finally:
        os.close(fd)
