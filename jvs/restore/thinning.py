"""Keeping nothing twice: what an operation displaced and a visible snapshot holds as well is released from `undo/`.

Content and all metadata are compared, entry by entry, with what the snapshot has under the same path; what differs in
anything, what somebody has open for writing and what has names elsewhere stays. First it is written down where
everything is, then it is removed: at every instant each content is in one of the two places.
Source: jvs-protocol(7), Undo; jvs-format(5), Undo.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jvs import progress
from jvs.engine.options import COPY
from jvs.errors import Busy, JvsError
from jvs.fs import copyfile, durable, listing, locks, metadata
from jvs.fs import paths as fs_paths
from jvs.restore import journal
from jvs.restore.entries import RootedDir, entry_at, lstat_at, meta_of, same_entry
from jvs.store import held, lineage, partial, worktree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.restore.entries import Meta
    from jvs.restore.journal import Operation
    from jvs.store.store import Store

    Stamp = tuple[int, int, int, int]
    """Shape: inode, size, mtime_ns, ctime_ns."""

MOST_SNAPSHOTS = 12
"""So many snapshots are looked through for what was displaced."""
SHARED_BYTES, REMOVED_BYTES = 64 << 20, 256 << 20
"""So much is read at most where snapshots share their blocks with what they were taken of, so that nothing is on the
disk twice; and so much of a removed worktree, which takes no time otherwise."""


def thin(store: Store, name: str, operation_id: str) -> int:
    """Release from a finished operation what visible snapshots hold; return how many bytes of contents that were.

    Whatever goes wrong, or whoever is at work, everything that is needed stays. Durable: yes.
    """
    layout = store.layout
    try:
        with (
            locks.acquire_repository(layout.locks, exclusive=False, wait=0, command="undo"),
            locks.acquire(layout.lock(f"worktree-{name}"), wait=0, command="undo"),
        ):
            return _thin(store, name, operation_id)
    except (OSError, Busy, JvsError):
        return 0


def _thin(store: Store, name: str, operation_id: str) -> int:
    layout = store.layout
    try:
        record = journal.load(layout, operation_id)
    except FileNotFoundError:
        return 0
    place = held.place(layout, operation_id)
    if held.load(layout, operation_id) is not None or not fs_paths.is_dir(place):
        return 0
    listing.allow_deep_trees()
    with contextlib.ExitStack() as stack:
        stack.enter_context(progress.step("compare with snapshots"))
        kept = stack.enter_context(RootedDir(place))
        there = _displaced(store, record, kept)
        if not there:
            return 0
        sources = [
            _Source(i, stack.enter_context(RootedDir(layout.payload(i))), _limit(record, engine))
            for i, engine in _candidates(store, name, record)
        ]
        finder = _Finder(kept, sources)
        before = meta_of(kept.fd)
        finder.find(there)
        if not finder.found:
            return 0
        if record["kind"] == "worktree_remove":
            finder.dirs[b""] = before
        held.save(layout, operation_id, held.Held(finder.found, sorted(finder.dirs.items()), finder.bytes))
        for entry in finder.found:
            finder.release(entry.path)
        return finder.bytes


def _displaced(store: Store, record: Operation, kept: RootedDir) -> list[bytes]:
    """Return the paths of what an operation displaced, none below another."""
    if record["kind"] == "worktree_remove":
        return listing.list_dir(kept.fd)[0]
    if record["kind"] != "restore":
        return []
    steps = journal.load_steps(store.layout, record)
    paths = [step.path for i, step in enumerate(steps.steps) if i not in steps.twins]
    return [path for path in paths if kept.lstat(path) is not None]


def _limit(record: Operation, engine: str) -> int:
    """Return how many bytes may be read to compare them with a snapshot that an engine made."""
    if engine != COPY:
        return SHARED_BYTES
    return REMOVED_BYTES if record["kind"] == "worktree_remove" else 1 << 62


def _candidates(store: Store, name: str, record: Operation) -> Iterator[tuple[str, str]]:
    """Yield the visible snapshots that may hold what an operation displaced, and their engines, likeliest first."""
    wanted = [record["before"].get("head"), record["after"].get("head"), record["target"]]
    wanted += [record["before"].get("latest"), record["before"].get("base")]
    with contextlib.suppress(JvsError):  # a removed worktree has none
        config = worktree.load(store.layout, name)
        wanted += [config["head_snapshot_id"], config["latest_snapshot_id"], config["base_snapshot_id"]]
    for operation_id in journal.ids(store.layout)[-MOST_SNAPSHOTS:]:
        with contextlib.suppress(JvsError, OSError):
            other = journal.load(store.layout, operation_id)
            wanted += [other["target"], other["before"].get("head")]
    seen: set[str] = set()
    for snapshot_id in wanted:
        if snapshot_id is None or snapshot_id in seen:
            continue
        try:
            for layer in partial.layers(store, lineage.load_visible(store, snapshot_id)):
                if layer["snapshot_id"] not in seen and len(seen) < MOST_SNAPSHOTS:
                    seen.add(layer["snapshot_id"])
                    lineage.load_visible(store, layer["snapshot_id"])
                    yield layer["snapshot_id"], layer["engine"]
        except JvsError:
            seen.add(snapshot_id)


class _Source:
    """A snapshot to compare with: where its files are, and how many bytes may still be read for that."""

    def __init__(self, snapshot_id: str, files: RootedDir, limit: int) -> None:
        self.snapshot_id = snapshot_id
        self.files = files
        self.left = limit


class _Finder:
    """Finds what of some kept entries snapshots hold. `found` are those entries, `dirs` directories that lose some."""

    def __init__(self, kept: RootedDir, sources: list[_Source]) -> None:
        self.kept = kept
        self.sources = sources
        self.found: list[held.HeldEntry] = []
        self.dirs: dict[bytes, Meta] = {}
        self.bytes = 0
        self._stamps: dict[bytes, Stamp] = {}
        self._links: list[tuple[int, int, tuple[str, int]]] = []
        """Of each file that has other names, or in the snapshot: inode, number of names, and which file there."""
        self._refused: set[int] = set()
        """Inodes that no copy of a snapshot's files would give the same names again."""

    def find(self, paths: list[bytes]) -> None:
        """Look at some entries, and at what is below them. Errors: OSError."""
        while True:
            self.found, self.dirs, self.bytes, self._stamps, self._links = [], {}, 0, {}, []
            for path in paths:
                self._look(path)
            refused = self._split_groups()
            if not refused:
                return
            self._refused |= refused

    def _split_groups(self) -> set[int]:
        """Return the inodes of which not all names were found, or not as the names of one file of one snapshot."""
        names: dict[int, list[tuple[int, tuple[str, int]]]] = {}
        owners: dict[tuple[str, int], set[int]] = {}
        for ino, count, other in self._links:
            names.setdefault(ino, []).append((count, other))
            owners.setdefault(other, set()).add(ino)
        refused = {ino for inos in owners.values() if len(inos) > 1 for ino in inos}
        for ino, found in names.items():
            if len(found) != found[0][0] or len({other for _, other in found}) != 1:
                refused.add(ino)
        return refused

    def _look(self, path: bytes) -> bool:
        """Look at one entry; answer whether anything was found."""
        parent, name = self.kept.parent(path)
        for source in self.sources:
            if self._is_held(parent, name, path, source):
                return True
        st = lstat_at(name, parent)
        if st is None or not stat.S_ISDIR(st.st_mode) or not _can_be_made(st):
            return False
        fd = fs_paths.open_dir(name, parent, one_mount=True)
        try:
            before, children = meta_of(fd), listing.list_dir(fd)[0]
        finally:
            os.close(fd)
        found = [self._look(listing.relative(path, child)) for child in children]
        if any(found):
            self.dirs[path] = before
        return any(found)

    def _is_held(self, parent: int, name: bytes, path: bytes, source: _Source) -> bool:
        try:
            above, last = source.files.parent(path)
        except OSError as error:
            if listing.is_absent(error):
                return False
            raise
        noted = _Noted()
        if (
            not self._looks_same(parent, name, above, last, path, source.snapshot_id, noted)
            or noted.bytes > source.left
        ):
            return False
        source.left -= noted.bytes
        mine = entry_at(parent, name)
        if mine is None or not same_entry(mine, entry_at(above, last)):
            return False
        self.found.append(held.HeldEntry(path, source.snapshot_id, mine[4]))
        self._stamps.update(noted.stamps)
        self._links += noted.links
        self.bytes += noted.bytes
        return True

    def _looks_same(
        self, parent: int, name: bytes, above: int, last: bytes, path: bytes, snapshot_id: str, noted: _Noted
    ) -> bool:
        """Compare all that can be seen without reading contents, of an entry and of all below it."""
        mine, other = lstat_at(name, parent), lstat_at(last, above)
        if mine is None or other is None or not _same_metadata(mine, other) or not _can_be_made(mine):
            return False
        if mine.st_ino in self._refused and not stat.S_ISDIR(mine.st_mode):
            return False
        attributes = metadata.entry_xattrs(name, parent)
        if attributes != metadata.entry_xattrs(last, above) or not _can_be_set(attributes):
            return False
        noted.stamps[path] = _stamp(mine)
        if not stat.S_ISDIR(mine.st_mode):
            if mine.st_nlink > 1 or other.st_nlink > 1:
                noted.links.append((mine.st_ino, mine.st_nlink, (snapshot_id, other.st_ino)))
            noted.bytes += mine.st_size if stat.S_ISREG(mine.st_mode) else 0
            return True
        here = fs_paths.open_dir(name, parent, one_mount=True)
        try:
            there = fs_paths.open_dir(last, above, one_mount=True)
            try:
                children = sorted(listing.list_dir(here)[0])
                return children == sorted(listing.list_dir(there)[0]) and all(
                    self._looks_same(here, child, there, child, listing.relative(path, child), snapshot_id, noted)
                    for child in children
                )
            finally:
                os.close(there)
        finally:
            os.close(here)

    def release(self, path: bytes) -> None:
        """Remove what was found and written down, as far as nobody has changed it or may be changing it."""
        with contextlib.suppress(OSError):
            self._release(*self.kept.parent(path), path)

    def _release(self, parent: int, name: bytes, path: bytes) -> None:
        st = lstat_at(name, parent)
        if st is None:
            return
        if stat.S_ISDIR(st.st_mode):
            fd = fs_paths.open_dir(name, parent, one_mount=True)
            try:
                for child in listing.list_dir(fd)[0]:
                    with contextlib.suppress(OSError):
                        self._release(fd, child, listing.relative(path, child))
            finally:
                os.close(fd)
            durable.rmdir(name, dir_fd=parent)
            return
        if not stat.S_ISREG(st.st_mode):
            if self._is_as_found(st, path):
                durable.unlink(name, dir_fd=parent)
            return
        fd = fs_paths.open_file(name, parent)
        try:
            if copyfile.is_at_rest(fd) and self._is_as_found(os.fstat(fd), path):
                durable.unlink(name, dir_fd=parent)
        finally:
            os.close(fd)

    def _is_as_found(self, st: os.stat_result, path: bytes) -> bool:
        was = self._stamps.get(path)
        if was is None or st.st_nlink > 1:
            return was is not None and was[:3] == _stamp(st)[:3]
        return was[:3] == _stamp(st)[:3] and (was[3] == st.st_ctime_ns or st.st_ino in self._linked())

    def _linked(self) -> set[int]:
        """Inodes whose change time moves when another of their names is removed."""
        return {ino for ino, count, _ in self._links if count > 1}


class _Noted:
    """What comparing one entry brought to light, to be kept when it is found."""

    def __init__(self) -> None:
        self.stamps: dict[bytes, Stamp] = {}
        self.links: list[tuple[int, int, tuple[str, int]]] = []
        self.bytes = 0


def _stamp(st: os.stat_result) -> Stamp:
    return st.st_ino, st.st_size, st.st_mtime_ns, st.st_ctime_ns


def _same_metadata(a: os.stat_result, b: os.stat_result) -> bool:
    sized = not stat.S_ISDIR(a.st_mode)
    return (a.st_mode, a.st_uid, a.st_gid, a.st_mtime_ns, a.st_rdev, sized and a.st_size) == (
        b.st_mode,
        b.st_uid,
        b.st_gid,
        b.st_mtime_ns,
        b.st_rdev,
        sized and b.st_size,
    )


def _can_be_made(st: os.stat_result) -> bool:
    """Answer whether we could make an entry like this again from the snapshot."""
    if os.geteuid() == 0:
        return True
    groups = {os.getegid(), *os.getgroups()}
    return (
        st.st_uid == os.geteuid()
        and st.st_gid in groups
        and not stat.S_ISBLK(st.st_mode)
        and not stat.S_ISCHR(st.st_mode)
        and (st.st_mode & 0o500 == 0o500 if stat.S_ISDIR(st.st_mode) else bool(st.st_mode & stat.S_IRUSR))
    )


def _can_be_set(attributes: dict[str, bytes]) -> bool:
    """Answer whether we could set these attributes ourselves."""
    return os.geteuid() == 0 or all(name.startswith(("user.", "system.posix_acl_")) for name in attributes)
