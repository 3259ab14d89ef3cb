"""Turning a directory into another in place: steps that can be repeated, and that keep whatever they displace.

A new entry is made beside the old one under a name of ours, then the two trade places in one system call, so that a
name is never absent and nothing that was written meanwhile is overwritten; what was displaced goes to the
operation's directory below `undo/`. Steps are journaled before the first of them: after a crash `Applier.resume` sees
from inode numbers and content what was done, and does the rest.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import canon, durable, fidelity, observe, safepath, scan, tree, walk
from jvs.errors import PartialSnapshot

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.tree import Entry

COPY, MOVE, MAKE, DROP = range(4)
"""How the new entry comes: copied from a payload, moved out of `undo/`, as an empty directory, or not at all."""
_OPEN_DIRECTORIES = 16

Meta = list
"""Shape: permission bits, uid, gid, atime_ns, mtime_ns, all xattrs that can be carried over (bytes -> bytes)."""


class Step:
    """One entry that changes. `old_ino` is 0 when nothing was there, `source_ino` that of what MOVE moves."""

    __slots__ = ("how", "new", "old", "old_ino", "path", "source_ino")

    def __init__(
        self, path: bytes, how: int, old: Entry | None, new: Entry | None, *, old_ino: int = 0, source_ino: int = 0
    ) -> None:
        self.path = path
        self.how = how
        self.old = old
        self.new = new
        self.old_ino = old_ino
        self.source_ino = source_ino

    def encode(self) -> list[Any]:
        """Return the step for the journal."""
        old = None if self.old is None else list(self.old)
        new = None if self.new is None else list(self.new)
        return [self.path, self.how, self.old_ino, self.source_ino, old, new]

    @classmethod
    def decode(cls, value: Any) -> Step:
        """Return a step of a journal. Errors: ValueError."""
        path, how, old_ino, source_ino, old, new = value
        return cls(
            path,
            how,
            None if old is None else tuple(old),
            None if new is None else tuple(new),
            old_ino=old_ino,
            source_ino=source_ino,
        )


class Delta:
    """What is to change: steps sorted by path, and directories with their metadata before and (maybe) after."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.dirs: list[tuple[bytes, Meta, Meta | None]] = []
        self._paths: set[bytes] | None = None

    def encode(self) -> bytes:
        """Return the journal: deterministic CBOR of `[steps, directories]`."""
        return canon.cbor_encode([[step.encode() for step in self.steps], [list(item) for item in self.dirs]])

    @classmethod
    def decode(cls, data: bytes) -> Delta:
        """Return the delta of a journal. Errors: E_PARTIAL_SNAPSHOT when it is damaged."""
        made = cls()
        try:
            steps, dirs = canon.cbor_decode(data)
            made.steps = [Step.decode(step) for step in steps]
            made.dirs = [(path, before, after) for path, before, after in dirs]
        except (ValueError, TypeError) as error:
            raise PartialSnapshot(
                "the journal of an operation is damaged", hint="'jvs doctor' says which, and what can be done"
            ) from error
        return made

    @property
    def paths(self) -> set[bytes]:
        """The paths of all steps."""
        if self._paths is None:
            self._paths = {step.path for step in self.steps}
        return self._paths

    def counts(self) -> dict[str, int]:
        """Return how many entries are added, modified and removed."""
        found = {"added": 0, "modified": 0, "removed": 0}
        for step in self.steps:
            if step.new is None and step.how == DROP:
                found["removed"] += 1
            else:
                found["modified" if step.old is not None or step.old_ino else "added"] += 1
        return found


def meta_of(fd: int) -> Meta:
    """Return the metadata of an open directory."""
    st = os.fstat(fd)
    xattrs = {os.fsencode(name): value for name, value in fidelity.read_xattrs(fd).items()}
    return [stat.S_IMODE(st.st_mode), st.st_uid, st.st_gid, st.st_atime_ns, st.st_mtime_ns, xattrs]


def meta_at(root: Place, path: bytes) -> Meta | None:
    """Return the metadata of a directory, or None when there is none of that name."""
    try:
        fd = safepath.open_below(root.fd, safepath.split_relative(path))
    except OSError as error:
        if walk.is_vanished(error):
            return None
        raise
    try:
        return meta_of(fd)
    finally:
        os.close(fd)


class _Stat:
    """A stat made from a journal's metadata."""

    def __init__(self, meta: Meta) -> None:
        self.st_mode = stat.S_IFDIR | meta[0]
        self.st_uid, self.st_gid, self.st_atime_ns, self.st_mtime_ns = meta[1:5]


class Place:
    """A root below which entries are reached by relative paths, one component at a time, following no link."""

    def __init__(self, root: str) -> None:
        self.fd = safepath.open_dir(root)
        self._open: dict[bytes, int] = {}

    def parent(self, path: bytes, *, make: bool = False, writable: bool = False) -> tuple[int, bytes]:
        """Return the open directory that holds a path, and the last component.

        `make` makes directories that are missing, 0700; `writable` gives us, the owner, the right to change it.
        Errors: OSError.
        """
        above, _, name = path.rpartition(b"/")
        fd = self._open.get(above)
        if fd is None:
            while len(self._open) >= _OPEN_DIRECTORIES:
                os.close(self._open.pop(next(iter(self._open))))
            parts = safepath.split_relative(above)
            fd = self._make(parts) if make else safepath.open_below(self.fd, parts)
            self._open[above] = fd
        if writable and os.geteuid() != 0 and os.fstat(fd).st_mode & 0o300 != 0o300:
            os.fchmod(fd, 0o700)  # the journal knows the mode; it is set again when everything inside is done
        return fd, name

    def _make(self, parts: list[bytes]) -> int:
        fd = os.dup(self.fd)
        try:
            for part in parts:
                try:
                    child = safepath.open_dir(part, fd)
                except FileNotFoundError:
                    child = fidelity.make_dir(part, fd)
                os.close(fd)
                fd = child
        except BaseException:
            os.close(fd)
            raise
        return fd

    def lstat(self, path: bytes) -> os.stat_result | None:
        """Return the stat of a path, or None when it, or a directory on the way, is not there."""
        return safepath.lstat_below(self.fd, safepath.split_relative(path))

    def forget(self) -> None:
        """Close the directories that were kept open."""
        while self._open:
            os.close(self._open.popitem()[1])

    def close(self) -> None:
        """Close everything."""
        self.forget()
        os.close(self.fd)

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def entry_at(parent: int, name: bytes) -> Entry | None:
    """Return an entry as a tree holds it, reading all of it; None when it is not there. Errors: OSError, E_IO."""
    try:
        st = os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None
    kind = walk.kind_of(st.st_mode)
    mode = 0 if kind == walk.SYMLINK else st.st_mode & 0o7777
    if kind == walk.DIR:
        fd = safepath.open_dir(name, parent)
        try:
            found = scan.Scanner(scan.Worker(jobs=os.cpu_count() or 1)).run(b"/proc/self/fd/%d/." % fd)
        finally:
            os.close(fd)
        return name, kind, mode, found.bytes, found.digest, found.root[1]
    if kind != walk.FILE:
        xattrs = None if kind == walk.SYMLINK else fidelity.covered(fidelity.entry_xattrs(name, parent))
        size = st.st_size if kind == walk.SYMLINK else 0
        return name, kind, mode, size, tree.special_digest(kind, name, st, parent), xattrs
    fd = safepath.open_file(name, parent)
    try:
        digest, size = tree.hash_open_file(fd)
        return name, kind, mode, size, digest, tree.covered_xattrs(fd)
    finally:
        os.close(fd)


def same_entry(a: Entry | None, b: Entry | None) -> bool:
    """Answer whether two entries are the same but for their names."""
    if a is None or b is None:
        return a is b
    return (a[1], a[2], a[4], a[5] or None) == (b[1], b[2], b[4], b[5] or None)


class Groups:
    """Hard-link groups of a payload, as far as the steps of a delta touch them."""

    def __init__(self) -> None:
        self.paths: dict[int, list[bytes]] = {}

    def find(self, source: Place, delta: Delta) -> None:
        """Find the other names of every file of the delta that has any. Lists the payload's names when one does."""
        wanted = set()
        for step in delta.steps:
            st = source.lstat(step.path) if step.how == COPY else None
            if st is None:
                continue
            if stat.S_ISDIR(st.st_mode):
                wanted.update(_linked_inodes(source, step.path))
            elif st.st_nlink > 1:
                wanted.add(st.st_ino)
        if wanted:
            self._walk(source.fd, b"", wanted)
            self.paths = {ino: paths for ino, paths in self.paths.items() if len(paths) > 1}

    def _walk(self, fd: int, path: bytes, wanted: set[int]) -> None:
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    below.append(name)
                elif entry.inode() in wanted:
                    self.paths.setdefault(entry.inode(), []).append(walk.relative(path, name))
        for name in below:
            child = safepath.open_dir(name, fd)
            try:
                self._walk(child, walk.relative(path, name), wanted)
            finally:
                os.close(child)


class Links:
    """Which inode of a source has which name in the place that is copied to."""

    def __init__(self, place: Place, groups: Groups | None = None) -> None:
        self.place = place
        self.groups = groups
        self.made: dict[int, bytes] = {}

    def other_name(self, st: os.stat_result, physical: bytes, delta: Delta) -> bytes | None:
        """Return a name that the file has already, or None; then `physical` becomes its first."""
        if self.groups is not None and st.st_ino not in self.groups.paths:
            return None
        first = self.made.get(st.st_ino)
        if first is None and self.groups is not None:
            first = self._untouched(self.groups.paths[st.st_ino], st, delta)
        if first is None:
            self.made[st.st_ino] = physical
        return first

    def _untouched(self, paths: list[bytes], st: os.stat_result, delta: Delta) -> bytes | None:
        """Return a name of the group that the delta leaves alone, so that it holds the same content already."""
        for path in paths:
            parts = path.split(b"/")
            if any(b"/".join(parts[:depth]) in delta.paths for depth in range(1, len(parts) + 1)):
                continue
            have = self.place.lstat(path)
            if have is not None and (have.st_mode, have.st_size) == (st.st_mode, st.st_size):
                return path
        return None

    def rename(self, before: bytes, after: bytes) -> None:
        """Follow a rename of what was copied."""
        for ino, path in self.made.items():
            if path == before or path.startswith(before + b"/"):
                self.made[ino] = after + path[len(before) :]


def _linked_inodes(source: Place, path: bytes) -> set[int]:
    found: set[int] = set()
    stack = [path]
    while stack:
        here = stack.pop()
        fd = safepath.open_below(source.fd, safepath.split_relative(here))
        try:
            for name, st in zip(*walk.list_dir(fd), strict=True):
                if stat.S_ISDIR(st.st_mode):
                    stack.append(walk.relative(here, name))
                elif st.st_nlink > 1:
                    found.add(st.st_ino)
        finally:
            os.close(fd)
    return found


class Applier:
    """Carries out one delta in a worktree, below the locks and the intent of its operation.

    `source` is a payload (COPY) or the `files` of another operation (MOVE); `keep` is the operation's own directory
    below `undo/`. After `run` or `resume`, `displaced_bytes` says how much was put aside.
    """

    def __init__(
        self, delta: Delta, operation_id: str, target: str, keep: str, source: str | None, *, each: bool = False
    ) -> None:
        walk.allow_deep_trees()
        self.delta = delta
        self.prefix = b".jvs-tmp-%s-" % operation_id.encode()
        self.barrier = durable.Barrier(target, each=each)
        self.target = Place(target)
        self.keep = Place(keep)
        self.source = Place(source) if source is not None else None
        self.losses = fidelity.Losses()
        self.displaced_bytes = 0
        self.kept_aside = False
        """Whether taking back found something that nobody else holds; it is in the operation's directory."""
        self.rolled_back = False
        self.groups = Groups()
        self._links = {COPY: Links(self.target, self.groups), MOVE: Links(self.target), DROP: Links(self.keep)}
        self._touched: set[bytes] = set()
        self._kept: set[bytes] = set()
        self._before: dict[int, int] = {}
        self._slots: dict[int, bytes] = {}
        self._switched: dict[int, bytes | None] = {}
        self._leftovers: list[tuple[Place, bytes]] = []
        self._no_way_back = False
        self._crosses = os.fstat(self.target.fd).st_dev != os.fstat(self.keep.fd).st_dev

    def close(self) -> None:
        """Close everything."""
        self.target.close()
        self.keep.close()
        if self.source is not None:
            self.source.close()
        self.barrier.close()

    def __enter__(self) -> Applier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # The whole of it

    def run(self) -> None:
        """Carry out all steps. Durable: yes.

        Errors: OSError and E_NO_SPACE, E_IO; everything was taken back then, unless that failed as well
        (`rolled_back` is False): then the intent is to stay.
        """
        self._carry_out(range(len(self.delta.steps)), resumed=False)

    def resume(self) -> None:
        """Do what a dead process left to do. Durable: yes. Errors: as `run`."""
        left = [i for i in range(len(self.delta.steps)) if not self._was_done(i)]
        self._carry_out(left, resumed=True)

    def _carry_out(self, left: Any, *, resumed: bool) -> None:
        try:
            if self.source is not None and any(self.delta.steps[i].how == COPY for i in left):
                with observe.step("hard links"):
                    self.groups.find(self.source, self.delta)
            with observe.step("make new entries"):
                for i in left:
                    if self.delta.steps[i].how == MAKE:
                        self._build(i)
                        self._switch(i)
                for i in left:
                    if self.delta.steps[i].how in (COPY, MOVE):
                        self._build(i)
                        observe.advance("restore", 1, len(self.delta.steps))
            with observe.step("switch"):
                for i in left:
                    if self.delta.steps[i].how != MAKE:
                        self._switch(i)
            with observe.step("durable"):
                self._finish()
        except BaseException:
            # What a dead process began is carried on, never taken back: which of the contents came later, by hand,
            # cannot be told any more.
            if not self._no_way_back and not resumed:
                self._roll_back()
                self.kept_aside = self.kept_aside or (not self._crosses and self._keeps_anything())
                self.rolled_back = True
            raise

    def _finish(self) -> None:
        if self._leftovers:  # copies that crossed subvolumes must be durable before the originals go
            self._sync()
            self._no_way_back = True
            self._drop_leftovers()
        self._apply_dirs(after=True)
        self._sync()

    def _drop_leftovers(self) -> None:
        for place, path in self._leftovers:
            parent, name = place.parent(path)
            durable.remove_tree(name, dir_fd=parent)
        self._leftovers = []

    def _sync(self) -> None:
        if self.barrier.whole_filesystem:
            self.barrier.flush()
            return
        for place, paths in ((self.target, self._touched), (self.keep, self._kept)):
            for path in sorted(paths, key=len, reverse=True):
                parts = safepath.split_relative(path)
                for depth in range(len(parts), -1, -1) if place is self.keep else (len(parts),):
                    try:
                        fd = safepath.open_below(place.fd, parts[:depth])
                    except OSError as error:
                        if walk.is_vanished(error):
                            continue
                        raise
                    try:
                        durable.fsync_dir(
                            b".", fd
                        )  # the names in it: what moved must not be in neither of two directories
                    finally:
                        os.close(fd)

    def _apply_dirs(self, *, after: bool) -> None:
        """Give directories their mode, owner, attributes and times, bottom up, as changing entries moves times."""
        for path, before, wanted in sorted(
            self.delta.dirs, key=lambda item: item[0].count(b"/") + bool(item[0]), reverse=True
        ):
            meta = (wanted or before) if after else before
            try:
                fd = safepath.open_below(self.target.fd, safepath.split_relative(path))
            except OSError as error:
                if walk.is_vanished(error):
                    continue
                raise
            try:
                if after and wanted is None:
                    if stat.S_IMODE(os.fstat(fd).st_mode) != before[0]:
                        os.fchmod(fd, before[0])
                    continue
                xattrs = {os.fsdecode(name): value for name, value in (meta[5] or {}).items()}
                fidelity.apply_metadata(fd, _Stat(meta), xattrs, path, self.losses)  # type: ignore[arg-type]
                self._touched.add(path)
            finally:
                os.close(fd)

    # Making new entries

    def _temporary(self, i: int) -> bytes:
        above, slash, _ = self.delta.steps[i].path.rpartition(b"/")
        return above + slash + self.prefix + b"%d" % i

    def _build(self, i: int) -> None:
        """Make the new entry of a step beside the old one. Nothing that was there is touched."""
        step = self.delta.steps[i]
        parent, _ = self.target.parent(step.path, writable=True)
        label = self._temporary(i).rpartition(b"/")[2]
        self._touched.add(step.path.rpartition(b"/")[0])
        if (self.target, self._temporary(i)) in self._leftovers:  # done for the second time: the place must be free
            self._sync()
            self._drop_leftovers()
        if step.how == MAKE:
            os.close(fidelity.make_dir(label, parent))
            return
        if step.how == MOVE and not self._crosses:
            return
        assert self.source is not None
        source, name = self.source.parent(step.path)
        self._copy(source, name, parent, label, step.path, self._temporary(i), self._links[step.how])
        if not self.barrier.whole_filesystem:
            if step.new is not None and step.new[1] == walk.DIR:
                durable.sync_tree(label, parent)
            elif step.new is None or step.new[1] == walk.FILE:
                _sync_file(label, parent)

    def _copy(
        self, source: int, name: bytes, parent: int, label: bytes, path: bytes, physical: bytes, links: Links
    ) -> None:
        """Copy an entry, or a whole directory, with all metadata; names of one group become one file again.

        `path` is what losses call it, `physical` where it comes to lie in the place of `links`.
        """
        st = os.lstat(name, dir_fd=source)
        if not stat.S_ISDIR(st.st_mode):
            if st.st_nlink > 1:
                first = links.other_name(st, physical, self.delta)
                if first is not None and self._link(links.place, first, parent, label, path):
                    return
            fidelity.copy_entry(source, name, parent, st, path, self.losses, target_name=label)
            return
        fd = safepath.open_dir(name, source)
        try:
            made = fidelity.make_dir(label, parent)
            try:
                fidelity.drop_inherited(made)
                for child in walk.list_dir(fd)[0]:
                    below = walk.relative(path, child)
                    self._copy(fd, child, made, child, below, walk.relative(physical, child), links)
                fidelity.apply_dir(made, fd, st, path, self.losses)
            finally:
                os.close(made)
        finally:
            os.close(fd)

    def _link(self, place: Place, first: bytes, parent: int, label: bytes, path: bytes) -> bool:
        """Make a new name for a file that is there already; False, and a loss, when that cannot be."""
        parts = safepath.split_relative(first)
        try:
            above = safepath.open_parent(place.fd, parts)
            try:
                os.link(parts[-1], label, src_dir_fd=above, dst_dir_fd=parent, follow_symlinks=False)
            finally:
                os.close(above)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS):
                raise
            self.losses.add(path, "hardlink", f"copied as a file of its own: {error.strerror}")
            return False
        return True

    # Trading places

    def _switch(self, i: int) -> None:
        """Put the new entry of a step in place and what was there into `undo/`.

        What is about to happen is noted first, so that even an interrupt between two lines can be taken back.
        """
        step = self.delta.steps[i]
        self._touched.add(step.path.rpartition(b"/")[0])
        try:
            parent, name = self.target.parent(step.path, writable=True)
        except OSError as error:
            if step.how == DROP and walk.is_vanished(error):
                return
            raise
        while True:
            now = _lstat(name, parent)
            self._before[i] = now.st_ino if now is not None else 0
            if step.how == DROP:
                if now is not None:
                    self._stow(i, step.path)
                return
            if self._trade(i, step, parent, name, now is not None):
                break
        if step.how == MOVE and self._crosses:
            assert self.source is not None
            self._leftovers.append((self.source, step.path))

    def _trade(self, i: int, step: Step, parent: int, name: bytes, there: bool) -> bool:
        """Let the new entry and what is under the name trade places; False when the name was taken meanwhile."""
        temporary = self._temporary(i)
        above, label = parent, temporary.rpartition(b"/")[2]
        if step.how == MOVE and not self._crosses:
            assert self.source is not None
            above, label = self.source.parent(step.path)
        with _Movable(above, label):
            if not there:
                try:
                    durable.rename_new(label, name, source_fd=above, target_fd=parent)
                except FileExistsError:
                    return False
                self._switched[i] = None
                return True
            with _Movable(parent, name):
                traded = durable.exchange(label, name, source_fd=above, target_fd=parent)
            if not traded:  # no exchange on this filesystem: the name is absent for an instant
                if self._crosses:
                    raise OSError(errno.EOPNOTSUPP, "two names cannot trade places here", os.fsdecode(name))
                self._stow(i, step.path)
                durable.rename_new(label, name, source_fd=above, target_fd=parent)
                return True
        if above is parent:
            self._stow(i, temporary)
        else:
            self._stow_moved(i, step, above, label)
        return True

    def _stow_moved(self, i: int, step: Step, above: int, label: bytes) -> None:
        """Move what traded places with something in `undo/` from there to this operation's own directory."""
        slot = self._slots[i] = self._slot(step.path)
        there, last = self.keep.parent(slot, make=True)
        self._count(step, above, label)
        with _Movable(above, label):
            durable.rename(label, last, source_fd=above, target_fd=there)
        self._switched[i] = slot

    def _stow(self, i: int, path: bytes) -> None:
        """Move what is under a name in the worktree to `undo/`.

        Across subvolumes it is copied, and the original stays under our temporary name until the copy is durable.
        """
        step, temporary = self.delta.steps[i], self._temporary(i)
        parent, name = self.target.parent(path, writable=True)
        slot = self._slots[i] = self._slot(step.path)
        there, last = self.keep.parent(slot, make=True)
        self._count(step, parent, name)
        if not self._crosses:
            with _Movable(parent, name):
                durable.rename(name, last, source_fd=parent, target_fd=there)
            self._switched[i] = slot
            return
        if path != temporary:
            name = temporary.rpartition(b"/")[2]
            durable.rename_new(path.rpartition(b"/")[2], name, source_fd=parent, target_fd=parent)
        self._switched[i] = temporary
        self._copy_kept(parent, name, slot, step.path)
        self._leftovers.append((self.target, temporary))

    def _copy_kept(self, parent: int, name: bytes, slot: bytes, path: bytes) -> None:
        """Copy something to `undo/`; it gets its final name there when it is complete."""
        there, last = self.keep.parent(slot, make=True)
        half = b".jvs-half"
        durable.remove_tree(half, dir_fd=there)
        physical = walk.relative(slot.rpartition(b"/")[0], half)
        links = self._links[DROP]
        self._copy(parent, name, there, half, path, physical, links)
        durable.rename(half, last, source_fd=there, target_fd=there)
        links.rename(physical, slot)
        if not self.barrier.whole_filesystem:
            durable.sync_tree(last, there) if stat.S_ISDIR(os.lstat(last, dir_fd=there).st_mode) else _sync_file(
                last, there
            )

    def _count(self, step: Step, parent: int, name: bytes) -> None:
        st = _lstat(name, parent)
        if st is not None and stat.S_ISREG(st.st_mode):
            self.displaced_bytes += st.st_size
        elif st is not None and stat.S_ISDIR(st.st_mode) and step.old is not None:
            self.displaced_bytes += step.old[3]

    def _slot(self, path: bytes) -> bytes:
        """Return a free path below the operation's directory: `files/PATH`, and `files.N/PATH` when that is taken.

        It is taken when a step is done a second time, after a crash, because somebody changed the entry meanwhile.
        """
        number = 0
        while True:
            slot = walk.relative(b"files" if number == 0 else b"files.%d" % number, path)
            try:
                parent, name = self.keep.parent(slot, make=True)
                if _lstat(name, parent) is None:
                    self._kept.add(slot.rpartition(b"/")[0])
                    return slot
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
                    raise
            number += 1

    # After a crash

    def _was_done(self, i: int) -> bool:
        """Find out what a dead process did of a step, and clear away or finish the half of it."""
        step = self.delta.steps[i]
        try:
            parent, name = self.target.parent(step.path, writable=True)
        except OSError as error:
            if walk.is_vanished(error):  # the directory around it comes with another step, or is gone by now
                return step.how == DROP
            raise
        label = self._temporary(i).rpartition(b"/")[2]
        temporary, now = _lstat(label, parent), _lstat(name, parent)
        self._touched.add(step.path.rpartition(b"/")[0])
        if step.how == MOVE and not self._crosses:
            return self._was_moved(i, step)
        if temporary is not None:
            if step.old_ino and temporary.st_ino == step.old_ino:
                self._stow(i, self._temporary(i))
            elif now is None or now.st_ino == step.old_ino or not step.old_ino:
                durable.remove_tree(label, dir_fd=parent)  # the new entry, maybe half made: the source still has it
            else:
                self._stow(i, self._temporary(i))  # whose it is cannot be told: kept
        if step.how == DROP:
            return now is None
        if step.how == MAKE:
            return now is not None and stat.S_ISDIR(now.st_mode) and now.st_ino != step.old_ino
        wanted = step.new
        if step.how == MOVE:
            if self.source is None or self.source.lstat(step.path) is None:
                return True
            wanted = entry_at(*self.source.parent(step.path))
        if now is None or not same_entry(entry_at(parent, name), wanted):
            return False
        if step.how == MOVE:
            assert self.source is not None
            self._leftovers.append((self.source, step.path))
        return True

    def _was_moved(self, i: int, step: Step) -> bool:
        there = None if self.source is None else self.source.lstat(step.path)
        if self.source is None or there is None:  # all of it was moved out, and maybe the place tidied up
            return True
        if there.st_ino == step.source_ino:
            return False
        self._stow_moved(i, step, *self.source.parent(step.path))  # they traded places: what lies here was displaced
        return True

    # Taking back

    def _roll_back(self) -> None:
        """Put everything back as it was: renames, and removals of what the source still holds."""
        self.target.forget()
        self.keep.forget()
        if self.source is not None:
            self.source.forget()
        for i in reversed(range(len(self.delta.steps))):
            try:
                parent, name = self.target.parent(self.delta.steps[i].path, writable=True)
            except OSError as error:
                if walk.is_vanished(error):
                    continue
                raise
            self._take_back(i, parent, name)
        self._apply_dirs(after=False)
        self._sync()

    def _keeps_anything(self) -> bool:
        """Answer whether something lies in the operation's directory that taking back did not put in place again."""
        for name in os.listdir(self.keep.fd):
            if name.startswith("files"):
                stack = [os.fsencode(name)]
                while stack:
                    path = stack.pop()
                    fd = safepath.open_below(self.keep.fd, safepath.split_relative(path))
                    try:
                        for child, st in zip(*walk.list_dir(fd), strict=True):
                            if not stat.S_ISDIR(st.st_mode):
                                return True
                            stack.append(walk.relative(path, child))
                    finally:
                        os.close(fd)
        return False

    def _take_back(self, i: int, parent: int, name: bytes) -> None:
        step, label = self.delta.steps[i], self._temporary(i).rpartition(b"/")[2]
        above, last = parent, label
        if step.how == MOVE and not self._crosses:
            assert self.source is not None
            above, last = self.source.parent(step.path)
        old = self._where_old(i, above, last)
        switched = i in self._switched or old is not None
        if self._before.get(i) == 0 and _lstat(last, above) is None and step.how != DROP:
            switched = True
        if switched and old is None and step.how != DROP and _lstat(name, parent) is not None:
            durable.rename_new(name, last, source_fd=parent, target_fd=above)
        elif old is not None:
            there, kept = old
            with _Movable(there, kept), _Movable(parent, name):
                if _lstat(name, parent) is None:
                    durable.rename_new(kept, name, source_fd=there, target_fd=parent)
                else:
                    if not durable.exchange(kept, name, source_fd=there, target_fd=parent):
                        raise OSError(errno.EOPNOTSUPP, "two names cannot trade places here", os.fsdecode(name))
                    if (there, kept) != (above, last):
                        durable.rename_new(kept, last, source_fd=there, target_fd=above)
        if above is parent:
            self._discard_new(i, step, parent, label)

    def _where_old(self, i: int, above: int, last: bytes) -> tuple[int, bytes] | None:
        """Find what a step displaced: still under the name of the new entry, or in `undo/`; None when nothing was."""
        st = _lstat(last, above)
        if st is not None and self._before.get(i) and st.st_ino == self._before[i]:
            return above, last
        kept = self._switched.get(i)
        if kept is not None and kept == self._temporary(i):
            return (above, last) if st is not None else None
        slot = self._slots.get(i) or kept
        if slot is None or self.keep.lstat(slot) is None:
            return None
        return self.keep.parent(slot)

    def _discard_new(self, i: int, step: Step, parent: int, label: bytes) -> None:
        """Remove a new entry that is not needed any more, unless somebody wrote to it while it was in place."""
        if _lstat(label, parent) is None:
            return
        if step.how == MAKE:
            try:
                durable.rmdir(label, dir_fd=parent)
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        elif i not in self._before:  # never in place
            durable.remove_tree(label, dir_fd=parent)
            return
        else:
            wanted = step.new
            if step.how == MOVE:
                assert self.source is not None
                wanted = entry_at(*self.source.parent(step.path))
            if step.how != DROP and same_entry(entry_at(parent, label), wanted):
                durable.remove_tree(label, dir_fd=parent)
                return
        self.kept_aside = True
        slot = self._slot(step.path)
        there, last = self.keep.parent(slot, make=True)
        if self._crosses:
            self._copy_kept(parent, label, slot, step.path)
            durable.remove_tree(label, dir_fd=parent)
        else:
            durable.rename(label, last, source_fd=parent, target_fd=there)


class _Movable:
    """Lets a directory that we own and may not write be moved: its `..` entry is written. Only without root."""

    def __init__(self, parent: int, name: bytes) -> None:
        self.parent = parent
        self.name = name
        self.fd = -1
        self.mode = 0

    def __enter__(self) -> None:
        if os.geteuid() == 0:
            return
        st = _lstat(self.name, self.parent)
        if st is not None and stat.S_ISDIR(st.st_mode) and st.st_mode & 0o200 == 0:
            self.mode = stat.S_IMODE(st.st_mode)
            try:
                self.fd = safepath.open_dir(self.name, self.parent)
            except PermissionError:
                os.chmod(self.name, 0o700, dir_fd=self.parent)
                self.fd = safepath.open_dir(self.name, self.parent)
            os.fchmod(self.fd, self.mode | 0o700)

    def __exit__(self, *_: object) -> None:
        if self.fd >= 0:
            os.fchmod(self.fd, self.mode)
            os.close(self.fd)


def _lstat(name: bytes, parent: int) -> os.stat_result | None:
    try:
        return os.lstat(name, dir_fd=parent)
    except FileNotFoundError:
        return None


def _sync_file(name: bytes, parent: int) -> None:
    try:
        durable.fsync_file(name, parent)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ELOOP):  # not a regular file: its name is all there is
            raise


def remove_empty_directories(path: str) -> bool:
    """Remove the directories that moving everything out of a tree left empty; False when something is still there."""
    if not os.path.isdir(path):
        return True
    for here, _, _ in os.walk(os.fsencode(path), topdown=False):
        try:
            durable.rmdir(here)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    return not os.path.lexists(path)
