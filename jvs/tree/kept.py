"""Comparing what a walk meets with the metadata that a payload keeps: owner, times, attributes, hard-link groups.

The tree hash covers names, kinds, modes, content and some attributes. The rest lies in the payload itself, and is
looked at only for entries whose stamp moved since a look that found it the same: an unchanged stamp proves that nothing
of it changed.
Source: jvs-engines(7), Fidelity and Speed; jvs-status(1).
"""

from __future__ import annotations

import os
import stat

from jvs import system
from jvs.fs import listing, paths, xattrs
from jvs.tree import attributes, path_filter
from jvs.tree import rows as tree_rows
from jvs.tree.hasher import Hasher
from jvs.tree.kept_links import KeptLinks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.tree.node import Entry

OWNER, MTIME, ATTRIBUTES, LINKS, TIMES_OF_DIRECTORY = "owner", "mtime", "xattrs", "links", "times of a directory"


def shown_words(words: list[str]) -> list[str]:
    """Return what counts as a change; the times of directories do not: every temporary file moves them."""
    return [word for word in words if word != TIMES_OF_DIRECTORY]


class Layer:
    """A payload and the paths that it counts for (None: all); `losses` is what it could not keep, by path."""

    def __init__(self, payload: Below, chosen: list[bytes] | None, losses: dict[bytes, set[str]]) -> None:
        self.payload = payload
        self.chosen = chosen
        self.losses = losses

    def holds(self, path: bytes) -> bool:
        """Answer whether a path is to be compared with this payload."""
        return self.chosen is None or any(path_filter.covers(want, path) for want in self.chosen)

    def lost(self, path: bytes) -> set[str]:
        """Return what of an entry the payload could not keep."""
        return self.losses.get(path, set())


class Against:
    """What to compare with: the layers of a snapshot, the first that holds a path first.

    `full`: rows say nothing of what this snapshot keeps. `base` is then the payload that they describe, or None:
    what both payloads have as one file needs no other proof, but in `overlaid`: directories whose rows a look left.
    `hidden` is set by the look: no stamp tells of attributes here, so that every look has to compare all of them.
    """

    def __init__(
        self,
        snapshot_id: str,
        layers: list[Layer],
        *,
        full: bool = True,
        base: Below | None = None,
        overlaid: frozenset[bytes] = frozenset(),
    ) -> None:
        self.snapshot_id = snapshot_id
        self.layers = layers
        self.full = full
        self.hidden = False
        self.base = base
        self.overlaid = overlaid


class KeptHasher(Hasher):
    """Hashes as any hasher, and notes in `differs` which entries have not the metadata of the payload.

    Shape: `differs` maps a path to words; what is not in the payload, or has another kind there, is in no word.
    """

    short_looks = True
    """Pass at once what has nothing odd; off: every entry is compared in full. The answer is the same."""

    def __init__(self, against: Against, *, jobs: int, slow_calls: bool, plain: bool = False) -> None:
        super().__init__(jobs=jobs, allow_unreadable=True, slow_calls=slow_calls, plain=plain)
        if against.full:
            self.must_visit = None
        self.against = against
        self._read: dict[bytes, xattrs.Attributes] = {}
        self.differs: dict[bytes, list[str]] = {}
        self._roots = [_open(layer.payload) for layer in against.layers]
        self._base = _open(against.base) if against.full and against.base is not None else -1
        self._links = KeptLinks()

    @property
    def lasting(self) -> bool:
        """Answer whether the stamps that were found say, with their marks, all that `differs` does."""
        return not self._links.apart

    def close(self) -> None:
        """End the threads, and close the payloads."""
        super().close()
        for fd in [*self._roots, self._base]:
            if fd >= 0:
                os.close(fd)
        self._roots, self._base = [], -1

    def enter(self, above: Any, name: bytes, path: bytes, fd: int, st: os.stat_result) -> Any:
        """Compare the root itself, which has no stamp in any row."""
        if not path and self.slow_calls and attributes.are_kept(fd):  # JuiceFS moves no ctime when attributes change
            self.against.full = self.against.hidden = True
        if not path:
            for layer, root in zip(self.against.layers, self._roots, strict=True):
                if root >= 0 and layer.holds(b""):
                    words = self._words(layer, b"", st, os.fstat(root), fd, root, None)
                    if words:
                        self.differs[b""] = words
                    break

    def listed(self, path: bytes, names: list[bytes], *, proved: bool) -> None:
        """Forget what was read in another directory."""
        self._read = {}

    def is_same(self, fd: int, name: bytes, old: Entry) -> bool:
        """Answer as any visitor, and keep what was read for the comparison with the payload."""
        return attributes.are_same(fd, name, old, lambda *place: xattrs.covered(self._attributes_of(*place)))

    def _attributes_of(self, fd: int, name: bytes | None) -> xattrs.Attributes:
        """Return all attributes of an entry of the directory that is being visited, or of the root."""
        if name is None or not self.against.hidden:
            return _attributes(fd, name)
        if name not in self._read:
            self._read[name] = xattrs.read_at(name, fd)
        return self._read[name]

    def visited(
        self,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        stamps: bytes,
        row: tree_rows.Row | None,
    ) -> frozenset[bytes]:
        """Compare the entries of a directory whose stamps are not those of its row; return those that differ."""
        row_is_same = row is not None and row == tree_rows.pack(names, stamps)
        if row_is_same and not self.against.full:
            return frozenset()
        known = tree_rows.unpack(row, listing.STAMP.size) if row is not None else {}
        width = listing.STAMP.size
        same = {name for i, name in enumerate(names) if known.get(name) == stamps[i * width : (i + 1) * width]}
        if not self.against.full:
            wanted = [i for i, name in enumerate(names) if name not in same]
        else:
            provable = same and self._base >= 0 and path not in self.against.overlaid
            both = self._one_file_in_both(path) if provable else {}
            proved = both.keys() & same
            self._links.note_proved([(stats[i], both[name]) for i, name in enumerate(names) if name in proved])
            wanted = [i for i, name in enumerate(names) if name not in proved]
        found: set[bytes] = set()
        opened: dict[int, int] = {}
        try:
            if self.short_looks and self._keeps_all(path) and len(wanted) > 1:
                opened[0] = _open_below(self._roots[0], path)
                wanted = self._unlike(fd, path, names, stats, wanted, opened[0], found)
            for i in wanted:
                if self._compare(fd, path, names[i], stats[i], opened):
                    found.add(names[i])
        finally:
            for child in opened.values():
                if child >= 0:
                    os.close(child)
        return frozenset(found)

    def _keeps_all(self, path: bytes) -> bool:
        """Answer whether one payload tells all that is to be known of a directory's entries, and lost nothing."""
        if len(self.against.layers) != 1 or self.against.hidden or self.slow_calls:
            return False
        layer = self.against.layers[0]
        return layer.chosen is None and not layer.losses and self._roots[0] >= 0

    def _unlike(
        self,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        wanted: list[int],
        payload: int,
        found: set[bytes],
    ) -> list[int]:
        """Return which entries a short look does not find to be as the payload has them; names of groups go to `found`.

        It passes what has the owner, kind and mtime, and no attributes on either side.
        """
        unlike = []
        live, kept = system.path_of(fd, b""), system.path_of(payload, b"") if payload >= 0 else b""
        for i in wanted:
            name, st = names[i], stats[i]
            try:
                there = os.lstat(name, dir_fd=payload)
                same = (
                    st.st_mtime_ns == there.st_mtime_ns
                    and (st.st_uid, st.st_gid) == (there.st_uid, there.st_gid)
                    and stat.S_IFMT(st.st_mode) == stat.S_IFMT(there.st_mode)
                    and not (xattrs.names_at(live + name) or xattrs.names_at(kept + name))
                )
            except OSError:
                same = False
            if not same:
                unlike.append(i)
            elif (st.st_nlink > 1 or there.st_nlink > 1) and not stat.S_ISDIR(st.st_mode):
                self._links.note(listing.relative(path, name), st, there)
                found.add(name)
        return unlike

    def _one_file_in_both(self, path: bytes) -> dict[bytes, int]:
        """Return the names in a directory that are one inode in the payload of the rows and in that to compare with."""
        if len(self._roots) != 1 or self._roots[0] < 0:
            return {}
        mine, theirs = _inodes_of(self._base, path), _inodes_of(self._roots[0], path)
        if os.fstat(self._base).st_dev != os.fstat(self._roots[0]).st_dev:  # btrfs: two subvolumes, the same numbers
            return {}
        return {name: inode for name, inode in mine.items() if theirs.get(name) == inode}

    def _compare(self, fd: int, path: bytes, name: bytes, st: os.stat_result, opened: dict[int, int]) -> bool:
        below = listing.relative(path, name)
        for number, layer in enumerate(self.against.layers):
            if not layer.holds(below):
                continue
            if number not in opened:
                opened[number] = _open_below(self._roots[number], path)
            try:
                kept = os.lstat(name, dir_fd=opened[number]) if opened[number] >= 0 else None
            except OSError:
                kept = None
            if kept is None or stat.S_IFMT(kept.st_mode) != stat.S_IFMT(st.st_mode):
                return False
            words = self._words(layer, below, st, kept, fd, opened[number], name)
            if words:
                self.differs[below] = words
            noted = not stat.S_ISDIR(st.st_mode) and "hardlink" not in layer.lost(below)
            return (noted and self._links.note(below, st, kept)) or bool(words)
        return False

    def _words(
        self,
        layer: Layer,
        path: bytes,
        st: os.stat_result,
        kept: os.stat_result,
        fd: int,
        payload: int,
        name: bytes | None,
    ) -> list[str]:
        """Say what of the metadata of an entry is not as the payload has it."""
        is_clone = (st.st_ino == kept.st_ino or self.slow_calls) and not self.against.hidden
        if is_clone and st.st_ctime_ns == kept.st_ctime_ns and not stat.S_ISDIR(st.st_mode):
            return []  # clones of btrfs and JuiceFS keep the ctime, which nobody can set: nothing happened since
        words = []
        lost = layer.lost(path)
        if (st.st_uid, st.st_gid) != (kept.st_uid, kept.st_gid) and "owner" not in lost:
            words.append(OWNER)
        if not _same_time(st, kept) and "times" not in lost:
            words.append(TIMES_OF_DIRECTORY if stat.S_ISDIR(st.st_mode) else MTIME)
        try:
            live, stored = self._attributes_of(fd, name), _attributes(payload, name)
            if _uncovered(live, lost) != _uncovered(stored, lost):
                words.append(ATTRIBUTES)
        except OSError as error:  # deleted meanwhile, or ours no more: the walk itself says so
            if not listing.may_have_changed(error) and not isinstance(error, PermissionError):
                raise
        return words

    def finish(self) -> None:
        """Note the names whose files are not the names of one file that they are in the payload."""
        for path in self._links.differ(self.against.layers[0].payload):
            if LINKS not in self.differs.get(path, []):
                self.differs.setdefault(path, []).append(LINKS)


def _same_time(st: os.stat_result, kept: os.stat_result) -> bool:
    """Answer whether two mtimes are the same, as far as the payload's filesystem can tell, if it is another one."""
    if st.st_mtime_ns == kept.st_mtime_ns:
        return True
    coarse = kept.st_mtime_ns % 1_000_000_000 == 0 and st.st_dev != kept.st_dev
    return coarse and abs(st.st_mtime_ns - kept.st_mtime_ns) < 2_000_000_000


def _attributes(fd: int, name: bytes | None) -> xattrs.Attributes:
    return xattrs.read_all(fd) if name is None else xattrs.read_at(name, fd)


def _uncovered(found: xattrs.Attributes, lost: set[str]) -> xattrs.Attributes:
    """Return the attributes that a copy carries over and the tree hash does not cover, without those that were lost."""
    return {key: value for key, value in found.items() if not xattrs.is_covered(key) and f"xattr:{key}" not in lost}


def _open(directory: Below) -> int:
    try:
        return paths.open_dir(directory)
    except OSError:
        return -1


def _open_below(root: int, path: bytes) -> int:
    """Open a directory of a payload; -1 when it is not there: what is below counts as new."""
    if root < 0:
        return -1
    try:
        return paths.open_below(root, paths.split_relative(path))
    except OSError:
        return -1


def _inodes_of(root: int, path: bytes) -> dict[bytes, int]:
    """Return the inode of each entry of a directory of a payload but of subdirectories, without any stat."""
    fd = _open_below(root, path)
    if fd < 0:
        return {}
    try:
        with os.scandir(fd) as entries:
            return {os.fsencode(e.name): e.inode() for e in entries if not e.is_dir(follow_symlinks=False)}
    finally:
        os.close(fd)
