"""One step of a delta: the new entry is made next to the old one, then the two trade places in one system call.

So a name is never absent, and nothing that was written meanwhile is overwritten; what was displaced goes to the
operation's directory below `undo/`.
Source: renameat2(2); jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs.fs import durable, listing, metadata, removal
from jvs.fs import paths as fs_paths
from jvs.fs.losses import Losses
from jvs.restore.delta import COPY, DROP, MAKE, MOVE
from jvs.restore.entries import Movable, RootedDir, is_spelled, kind_of_meta, lstat_at
from jvs.restore.hardlinks import Links, PayloadGroups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvs.fs.rooted import Below
    from jvs.restore.delta import Delta, Step
    from jvs.restore.entries import Meta


class Switcher:
    """Carries out single steps of a delta, and notes what it did, so that it can be rolled back.

    `source` is a payload (COPY) or the `files` of another operation (MOVE); `keep` is the operation's own directory
    below `undo/`. `displaced_bytes` says how much was displaced so far.
    """

    def __init__(
        self, delta: Delta, operation_id: str, target: Below, keep: Below, source: Below | None, *, each: bool = False
    ) -> None:
        self.delta = delta
        self.prefix = b".jvs-tmp-%s-" % operation_id.encode()
        self.barrier = durable.Barrier(target, each=each)
        self.target = RootedDir(target)
        self.keep = RootedDir(keep)
        self.source = RootedDir(source) if source is not None else None
        self.losses = Losses()
        self.displaced_bytes = 0
        self.kept_aside = False
        """Whether rolling back found something that nobody else holds; it is in the operation's directory."""
        self.groups = PayloadGroups()
        self._links = {
            COPY: Links(self.target, delta, self.losses, self.groups),
            MOVE: Links(self.target, delta, self.losses),
            DROP: Links(self.keep, delta, self.losses),
        }
        self.unsynced = False
        """Whether new entries, or directories below `undo/`, were made and are not yet durable."""
        self.touched: set[bytes] = set()
        self.kept: set[bytes] = set()
        self.before: dict[int, int] = {}
        self.slots: dict[int, bytes] = {}
        self.switched: dict[int, bytes | None] = {}
        self.leftovers: list[tuple[RootedDir, bytes]] = []
        self.crosses = os.fstat(self.target.fd).st_dev != os.fstat(self.keep.fd).st_dev

    def close(self) -> None:
        """Close everything."""
        self.target.close()
        self.keep.close()
        if self.source is not None:
            self.source.close()
        self.barrier.close()

    # Making new entries

    def temporary(self, i: int) -> bytes:
        """Return the path under which the new entry of a step is made."""
        above, slash, _ = self.delta.steps[i].path.rpartition(b"/")
        return above + slash + self.prefix + b"%d" % i

    def build(self, i: int) -> None:
        """Make the new entry of a step next to the old one. Nothing that was there is touched."""
        step = self.delta.steps[i]
        parent, _ = self.target.parent(step.path, writable=True)
        label = self.temporary(i).rpartition(b"/")[2]
        self.touched.add(step.path.rpartition(b"/")[0])
        if (self.target, self.temporary(i)) in self.leftovers:  # done for the second time: the place must be free
            self.sync()
            self.drop_leftovers()
        if step.how == MAKE:
            os.close(metadata.make_dir(label, parent))
            return
        if step.how == MOVE and not self.crosses:
            return
        assert self.source is not None
        source, name = self.source.parent(step.path)
        self._links[step.how].copy(source, name, parent, label, step.path, self.temporary(i))
        self.unsynced = True
        if not self.barrier.whole_filesystem:
            if step.new is not None and step.new[1] == listing.DIR:
                durable.sync_tree(label, parent)
            elif step.new is None or step.new[1] == listing.FILE:
                _sync_file(label, parent)

    def make_room(self, steps: Sequence[int], *, resumed: bool) -> None:
        """Make the directories below `undo/` that displaced entries will go to; `sync_new` makes them durable.

        A crash could otherwise keep the move into such a directory and lose the directory. A first run finds
        `files` empty; a later one may have to go round what is there.
        """
        rooms = set()
        for i in steps:
            step = self.delta.steps[i]
            if not resumed and step.old is not None:
                rooms.add(listing.relative(b"files", step.path).rpartition(b"/")[0])
            elif resumed and self._is_taken(step.path):
                rooms.add(self.slot(step.path).rpartition(b"/")[0])
        for room in rooms - {b"files"}:  # that one came with the journal
            self.keep.parent(listing.relative(room, b"displaced"), make=True)
            self.kept.add(room)
            self.unsynced = True

    def _is_taken(self, path: bytes) -> bool:
        try:
            parent, name = self.target.parent(path)
        except OSError as error:
            if listing.is_absent(error):
                return False
            raise
        return lstat_at(name, parent) is not None

    def sync_new(self) -> None:
        """Make the new entries durable before a name leads to them, and rooms before something moves there.

        A crash after the names were switched would otherwise leave empty files in the worktree.
        """
        if self.unsynced and self.barrier.whole_filesystem:
            self.barrier.flush()
        elif self.unsynced:  # each new entry was synced when it was made
            self._sync_names(self.keep, self.kept)
        self.unsynced = False

    # Trading places

    def switch(self, i: int) -> None:
        """Put the new entry of a step in place and what was there into `undo/`.

        What is about to happen is noted first, so that even an interrupt between two lines can be taken back.
        """
        step = self.delta.steps[i]
        self.touched.add(step.path.rpartition(b"/")[0])
        try:
            parent, name = self.target.parent(step.path, writable=True)
        except OSError as error:
            if step.how == DROP and listing.is_absent(error):
                return
            raise
        while True:
            now = lstat_at(name, parent)
            if now is not None and self.delta.goes_first(i) and not is_spelled(name, parent):
                now = None  # what is there has another name, and is what was put in place
            self.before[i] = now.st_ino if now is not None else 0
            if step.how == DROP:
                if now is not None:
                    self.stow(i, step.path)
                return
            if self._trade(i, step, parent, name, now is not None):
                break
        if step.how == MOVE and self.crosses:
            assert self.source is not None
            self.leftovers.append((self.source, step.path))

    def _trade(self, i: int, step: Step, parent: int, name: bytes, there: bool) -> bool:
        """Let the new entry and what is under the name trade places; False when the name was taken meanwhile."""
        temporary = self.temporary(i)
        above, label = parent, temporary.rpartition(b"/")[2]
        if step.how == MOVE and not self.crosses:
            assert self.source is not None
            above, label = self.source.parent(step.path)
        with Movable(above, label):
            if not there:
                try:
                    durable.rename_new(label, name, source_fd=above, target_fd=parent)
                except FileExistsError:
                    return False
                self.switched[i] = None
                return True
            with Movable(parent, name):
                traded = durable.exchange(label, name, source_fd=above, target_fd=parent)
            if not traded:  # no exchange on this filesystem: the name is absent for an instant
                if self.crosses:
                    raise OSError(errno.EOPNOTSUPP, "two names cannot trade places here", os.fsdecode(name))
                self.stow(i, step.path)
                durable.rename_new(label, name, source_fd=above, target_fd=parent)
                return True
        if above is parent:
            self.stow(i, temporary)
        else:
            self.stow_moved(i, step, above, label)
        return True

    def stow_moved(self, i: int, step: Step, above: int, label: bytes) -> None:
        """Move what traded places with something in `undo/` from there to this operation's own directory."""
        slot = self.slots[i] = self.slot(step.path)
        there, last = self.keep.parent(slot, make=True)
        self._count(step, above, label)
        with Movable(above, label):
            durable.rename(label, last, source_fd=above, target_fd=there)
        self.switched[i] = slot

    def stow(self, i: int, path: bytes) -> None:
        """Move what is under a name in the worktree to `undo/`.

        Across subvolumes it is copied, and the original stays under our temporary name until the copy is durable.
        """
        step, temporary = self.delta.steps[i], self.temporary(i)
        parent, name = self.target.parent(path, writable=True)
        slot = self.slots[i] = self.slot(step.path)
        there, last = self.keep.parent(slot, make=True)
        self._count(step, parent, name)
        if not self.crosses:
            with Movable(parent, name):
                durable.rename(name, last, source_fd=parent, target_fd=there)
            self.switched[i] = slot
            return
        if path != temporary:
            name = temporary.rpartition(b"/")[2]
            durable.rename_new(path.rpartition(b"/")[2], name, source_fd=parent, target_fd=parent)
        self.switched[i] = temporary
        self.copy_kept(parent, name, slot, step.path)
        self.leftovers.append((self.target, temporary))

    def copy_kept(self, parent: int, name: bytes, slot: bytes, path: bytes) -> None:
        """Copy something to `undo/`; it gets its final name there when it is complete."""
        there, last = self.keep.parent(slot, make=True)
        half = b".jvs-half"
        removal.remove_tree(half, dir_fd=there)
        physical = listing.relative(slot.rpartition(b"/")[0], half)
        links = self._links[DROP]
        links.copy(parent, name, there, half, path, physical)
        durable.rename(half, last, source_fd=there, target_fd=there)
        links.rename(physical, slot)
        if not self.barrier.whole_filesystem:
            is_dir = stat.S_ISDIR(os.lstat(last, dir_fd=there).st_mode)
            durable.sync_tree(last, there) if is_dir else _sync_file(last, there)

    def _count(self, step: Step, parent: int, name: bytes) -> None:
        st = lstat_at(name, parent)
        if st is not None and stat.S_ISREG(st.st_mode):
            self.displaced_bytes += st.st_size
        elif st is not None and stat.S_ISDIR(st.st_mode) and step.old is not None:
            self.displaced_bytes += step.old[3]

    def slot(self, path: bytes) -> bytes:
        """Return a free path below the operation's directory: `files/PATH`, and `files.N/PATH` when that is taken.

        It is taken when a step is done a second time, after a crash, because somebody changed the entry meanwhile.
        """
        number = 0
        while True:
            slot = listing.relative(b"files" if number == 0 else b"files.%d" % number, path)
            try:
                parent, name = self.keep.parent(slot, make=True)
                if lstat_at(name, parent) is None:
                    self.kept.add(slot.rpartition(b"/")[0])
                    return slot
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
                    raise
            number += 1

    # When all steps are done

    def apply_dirs(self, *, after: bool) -> None:
        """Give directories, and entries that differ in nothing else, their mode, owner, attributes and times.

        Bottom up, as changing entries moves the times of the directory above.
        """
        for path, before, wanted in sorted(
            self.delta.dirs, key=lambda item: item[0].count(b"/") + bool(item[0]), reverse=True
        ):
            if kind_of_meta(before) != listing.DIR:
                self._apply_entry(path, (wanted or before) if after else before)
                continue
            meta = (wanted or before) if after else before
            try:
                fd = fs_paths.open_below(self.target.fd, fs_paths.split_relative(path))
            except OSError as error:
                if listing.is_absent(error):
                    continue
                raise
            try:
                if after and wanted is None:
                    if stat.S_IMODE(os.fstat(fd).st_mode) != before[0]:
                        os.fchmod(fd, before[0])
                    continue
                xattrs = {os.fsdecode(name): value for name, value in (meta[5] or {}).items()}
                metadata.apply_metadata(fd, _Stat(meta), xattrs, path, self.losses)  # type: ignore[arg-type]
                self.touched.add(path)
            finally:
                os.close(fd)

    def _apply_entry(self, path: bytes, meta: Meta) -> None:
        """Give an entry that is no directory its metadata, in place; one of another kind was put there meanwhile."""
        try:
            parent, name = self.target.parent(path, writable=True)
        except OSError as error:
            if listing.is_absent(error):
                return
            raise
        st = lstat_at(name, parent)
        if st is None or listing.kind_of(st.st_mode) != kind_of_meta(meta):
            return
        xattrs = {os.fsdecode(key): value for key, value in meta[5].items()}
        fd = metadata.handle(name, parent)
        try:
            metadata.apply_metadata(metadata.handle_path(fd), _Stat(meta), xattrs, path, self.losses)  # type: ignore[arg-type]
        finally:
            os.close(fd)
        if not self.barrier.whole_filesystem:
            _sync_file(name, parent)

    def sync(self) -> None:
        """Make all that was changed durable, in the worktree and in `undo/`."""
        if self.barrier.whole_filesystem:
            self.barrier.flush()
            return
        self._sync_names(self.target, self.touched)
        self._sync_names(self.keep, self.kept)

    def _sync_names(self, place: RootedDir, paths: set[bytes]) -> None:
        for path in sorted(paths, key=len, reverse=True):
            parts = fs_paths.split_relative(path)
            for depth in range(len(parts), -1, -1) if place is self.keep else (len(parts),):
                try:
                    fd = fs_paths.open_below(place.fd, parts[:depth])
                except OSError as error:
                    if listing.is_absent(error):
                        continue
                    raise
                try:
                    # the names in it: what moved must not be in neither of two directories
                    durable.fsync_dir(b".", fd)
                finally:
                    os.close(fd)

    def drop_leftovers(self) -> None:
        """Remove originals whose copies have crossed to another subvolume, and are durable."""
        for place, path in self.leftovers:
            parent, name = place.parent(path)
            removal.remove_tree(name, dir_fd=parent)
        self.leftovers = []


_FORMATS = (
    *(stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR),
    stat.S_IFBLK,
)
"""By kind: see `listing.FILE` and those after it."""


class _Stat:
    """A stat made from a journal's metadata."""

    def __init__(self, meta: Meta) -> None:
        self.st_mode = _FORMATS[kind_of_meta(meta)] | meta[0]
        self.st_uid, self.st_gid, self.st_atime_ns, self.st_mtime_ns = meta[1:5]


def _sync_file(name: bytes, parent: int) -> None:
    try:
        durable.fsync_file(name, parent)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ELOOP):  # not a regular file: its name is all there is
            raise
