"""Where a restore or an undo works: three opened directories, the names in them, and what is to be made durable.

Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno
import os

from jvs.fs import durable, listing
from jvs.fs import paths as fs_paths
from jvs.restore.delta import MOVE
from jvs.restore.entries import RootedDir, lstat_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.restore.delta import Step


class Places:
    """The worktree (`target`), the operation's own directory below `undo/` (`keep`), and what new entries come from.

    `source` is a payload, or the `files` of another operation. `crosses` says that target and keep are in different
    subvolumes, so that no entry can be renamed from one to the other.
    """

    def __init__(
        self,
        operation_id: str,
        target: Below,
        keep: Below,
        source: Below | RootedDir | None,
        *,
        each: bool = False,
    ) -> None:
        self._prefix = b".jvs-tmp-%s-" % operation_id.encode()
        self._barrier = durable.Barrier(target, each=each)
        self.target = RootedDir(target)
        self.keep = RootedDir(keep)
        self.source = source if source is None or isinstance(source, RootedDir) else RootedDir(source)
        self.crosses = os.fstat(self.target.fd).st_dev != os.fstat(self.keep.fd).st_dev
        self._changed: set[bytes] = set()
        self._kept: set[bytes] = set()
        self._unsynced = False
        """Whether new entries, or directories below `undo/`, were made and are not yet durable."""

    def close(self) -> None:
        """Close everything."""
        self.target.close()
        self.keep.close()
        if self.source is not None:
            self.source.close()
        self._barrier.close()

    def forget(self) -> None:
        """Open everything again when it is needed: directories may have been moved."""
        self.target.forget()
        self.keep.forget()
        if self.source is not None:
            self.source.forget()

    # Names

    def temporary(self, i: int, step: Step) -> bytes:
        """Return the path under which the new entry of a step is made, in the directory where it belongs."""
        above, slash, _ = step.path.rpartition(b"/")
        return above + slash + self._prefix + b"%d" % i

    def is_moved(self, step: Step) -> bool:
        """Answer whether the new entry of a step is renamed from the source; others are made under `temporary`."""
        return step.how == MOVE and not self.crosses

    def origin(self, i: int, step: Step, parent: int) -> tuple[int, bytes]:
        """Return where the new entry of a step is before it is in place; `parent` is where it belongs."""
        if self.is_moved(step):
            assert self.source is not None
            return self.source.parent(step.path)
        return parent, self.temporary(i, step).rpartition(b"/")[2]

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
                    self._kept.add(slot.rpartition(b"/")[0])
                    return slot
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EEXIST):
                    raise
            number += 1

    def add_room(self, room: bytes) -> None:
        """Make a directory below the operation's own; `sync_new` makes it durable."""
        self.keep.parent(listing.relative(room, b"displaced"), make=True)
        self._kept.add(room)
        self._unsynced = True

    # Making durable

    def note_changed(self, directory: bytes) -> None:
        """Note a directory of the worktree whose names or metadata change, for `sync`."""
        self._changed.add(directory)

    def note_new(self, name: bytes, parent: int, kind: int | None) -> None:
        """Note an entry that was made and has no final name yet; `kind` is None where that is not known.

        Where one barrier does not serve all, its content is made durable here and now.
        """
        self._unsynced = True
        if kind == listing.DIR:
            self.sync_entry(name, parent, is_dir=True)
        elif kind is None or kind == listing.FILE:
            self.sync_entry(name, parent, is_dir=False)

    def sync_entry(self, name: bytes, parent: int, *, is_dir: bool) -> None:
        """Make one entry durable, unless a barrier for the whole filesystem follows."""
        if self._barrier.whole_filesystem:
            return
        if is_dir:
            durable.sync_tree(name, parent)
            return
        try:
            durable.fsync_file(name, parent)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ELOOP):  # not a regular file: its name is all there is
                raise

    def sync_new(self) -> None:
        """Make the new entries durable before a name leads to them, and rooms before something moves there.

        A crash after the names were switched would otherwise leave empty files in the worktree.
        """
        if self._unsynced and self._barrier.whole_filesystem:
            self._barrier.flush()
        elif self._unsynced:  # each new entry was synced when it was made
            self._sync_names(self.keep, self._kept)
        self._unsynced = False

    def sync(self) -> None:
        """Make all that was changed durable, in the worktree and in `undo/`."""
        if self._barrier.whole_filesystem:
            self._barrier.flush()
            return
        self._sync_names(self.target, self._changed)
        self._sync_names(self.keep, self._kept)

    def _sync_names(self, root: RootedDir, paths: set[bytes]) -> None:
        for path in sorted(paths, key=len, reverse=True):
            parts = fs_paths.split_relative(path)
            for depth in range(len(parts), -1, -1) if root is self.keep else (len(parts),):
                try:
                    fd = fs_paths.open_below(root.fd, parts[:depth])
                except OSError as error:
                    if listing.is_absent(error):
                        continue
                    raise
                try:
                    # the names in it: what moved must not be in neither of two directories
                    durable.fsync_dir(b".", fd)
                finally:
                    os.close(fd)
