"""One step of a delta: the new entry is made next to the old one, then the two trade places in one system call.

So a name is never absent, and nothing that was written meanwhile is overwritten; what was displaced goes to the
operation's directory below `undo/`.
Source: renameat2(2); jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import progress
from jvs.fs import durable, listing, metadata, moving, removal
from jvs.fs.losses import Losses
from jvs.restore.delta import COPY, DROP, MAKE, MOVE
from jvs.restore.entries import Movable, is_spelled, lstat_at
from jvs.restore.hardlinks import Links, PayloadGroups
from jvs.restore.step_log import StepLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvs.restore.delta import Delta, Step
    from jvs.restore.entries import RootedDir
    from jvs.restore.places import Places


class Switcher:
    """Carries out single steps of a delta, and notes in `log` what it is about to do, so that it can be undone.

    `displaced_bytes` says how much was displaced so far.
    """

    def __init__(self, delta: Delta, places: Places, *, same_inodes: bool = True) -> None:
        self.delta = delta
        self.places = places
        self.log = StepLog(delta, places, same_inodes=same_inodes)
        self.losses = Losses()
        self.displaced_bytes = 0
        self.groups = PayloadGroups()
        self.leftovers: list[tuple[RootedDir, bytes]] = []
        """Originals whose copies have crossed to another subvolume: they go when the copies are durable."""
        self._links = {
            COPY: Links(places.target, delta, self.losses, self.groups),
            MOVE: Links(places.target, delta, self.losses),
            DROP: Links(places.keep, delta, self.losses),
        }

    # Making new entries

    def build(self, i: int) -> None:
        """Make the new entry of a step next to the old one. Nothing that was there is touched."""
        step = self.delta.steps[i]
        parent, _ = self.places.target.parent(step.path, writable=True)
        label = self.places.temporary(i, step).rpartition(b"/")[2]
        self.places.note_changed(step.path.rpartition(b"/")[0])
        if (self.places.target, self.places.temporary(i, step)) in self.leftovers:  # a second time: it must be free
            self.places.sync()
            self.drop_leftovers()
        if step.how == MAKE:
            os.close(metadata.make_dir(label, parent))
            return
        if self.places.is_moved(step):
            return
        assert self.places.source is not None
        source, name = self.places.source.parent(step.path)
        self._links[step.how].copy(source, name, parent, label, step.path, self.places.temporary(i, step))
        self.places.note_new(label, parent, step.new[1] if step.new is not None else None)

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
                rooms.add(self.places.slot(step.path).rpartition(b"/")[0])
        for room in rooms - {b"files"}:  # that one came with the journal
            self.places.add_room(room)

    def _is_taken(self, path: bytes) -> bool:
        try:
            parent, name = self.places.target.parent(path)
        except OSError as error:
            if listing.is_absent(error):
                return False
            raise
        return lstat_at(name, parent) is not None

    # Trading places

    def switch(self, i: int) -> None:
        """Put the new entry of a step in place and what was there into `undo/`.

        What is about to happen is noted first, so that even an interrupt between two lines can be taken back.
        """
        step = self.delta.steps[i]
        self.places.note_changed(step.path.rpartition(b"/")[0])
        try:
            parent, name = self.places.target.parent(step.path, writable=True)
        except OSError as error:
            if step.how == DROP and listing.is_absent(error):
                return
            raise
        while True:
            now = lstat_at(name, parent)
            if now is not None and self.delta.goes_first(i) and not is_spelled(name, parent):
                now = None  # what is there has another name, and is what was put in place
            self.log.note_found(i, now)
            if step.how == DROP:
                if now is not None:
                    self.stow(i, step.path)
                return
            if self._trade(i, step, parent, name, now is not None):
                break
        if step.how == MOVE and self.places.crosses:
            assert self.places.source is not None
            self.leftovers.append((self.places.source, step.path))

    def _trade(self, i: int, step: Step, parent: int, name: bytes, there: bool) -> bool:
        """Let the new entry and what is under the name trade places; False when the name was taken meanwhile."""
        above, label = self.places.origin(i, step, parent)
        with Movable(above, label):
            if not there:
                try:
                    self._put_in_place(above, label, parent, name)
                except FileExistsError:
                    return False
                self.log.note_in_place(i, None)
                return True
            with Movable(parent, name):
                traded = self._exchange(above, label, parent, name)
            if not traded:  # no exchange on this filesystem: the name is absent for an instant
                if self.places.crosses:
                    raise OSError(errno.EOPNOTSUPP, "two names cannot trade places here", os.fsdecode(name))
                self.stow(i, step.path)
                self._put_in_place(above, label, parent, name)
                return True
        if self.places.is_moved(step):
            self.stow_moved(i, step, above, label)
        else:
            self.stow(i, self.places.temporary(i, step))
        return True

    def _exchange(self, above: int, label: bytes, parent: int, name: bytes) -> bool:
        """Let two names trade places; False where the filesystem cannot do that with these two.

        A directory of an overlay's lower layer cannot be renamed at all: EXDEV, within one directory as well.
        """
        try:
            return durable.exchange(label, name, source_fd=above, target_fd=parent)
        except OSError as error:
            if error.errno != errno.EXDEV or self.places.crosses:
                raise
            return False

    def _put_in_place(self, above: int, label: bytes, parent: int, name: bytes) -> None:
        """Rename to a name that must be free; a directory that cannot be renamed is made again around its entries."""
        try:
            durable.rename_new(label, name, source_fd=above, target_fd=parent)
        except OSError as error:
            if error.errno != errno.EXDEV or self.places.crosses:
                raise
            moving.shift(above, label, parent, name)

    def stow_moved(self, i: int, step: Step, above: int, label: bytes) -> None:
        """Move what traded places with something in `undo/` from there to this operation's own directory."""
        slot = self.places.slot(step.path)
        self.log.note_slot(i, slot)
        there, last = self.places.keep.parent(slot, make=True)
        self._count(step, above, label)
        with Movable(above, label):
            durable.rename(label, last, source_fd=above, target_fd=there)
        self.log.note_in_place(i, slot)

    def stow(self, i: int, path: bytes) -> None:
        """Move what is under a name in the worktree to `undo/`.

        Across subvolumes it is copied, and the original stays under our temporary name until the copy is durable.
        """
        step = self.delta.steps[i]
        temporary = self.places.temporary(i, step)
        parent, name = self.places.target.parent(path, writable=True)
        slot = self.places.slot(step.path)
        self.log.note_slot(i, slot)
        there, last = self.places.keep.parent(slot, make=True)
        self._count(step, parent, name)
        if not self.places.crosses:
            with Movable(parent, name):
                moving.shift(parent, name, there, last)
            self.log.note_in_place(i, slot)
            return
        removal.check_removable(name, parent)  # else the copy would be complete, and the original stay for ever
        if path != temporary:
            name = temporary.rpartition(b"/")[2]
            durable.rename_new(path.rpartition(b"/")[2], name, source_fd=parent, target_fd=parent)
        self.log.note_in_place(i, temporary)
        self.copy_kept(parent, name, slot, step.path)
        self.leftovers.append((self.places.target, temporary))

    def copy_kept(self, parent: int, name: bytes, slot: bytes, path: bytes) -> None:
        """Copy something to `undo/`; it gets its final name there when it is complete."""
        there, last = self.places.keep.parent(slot, make=True)
        half = b".jvs-half"
        removal.remove_tree(half, dir_fd=there)
        physical = listing.relative(slot.rpartition(b"/")[0], half)
        links = self._links[DROP]
        links.copy(parent, name, there, half, path, physical)
        durable.rename(half, last, source_fd=there, target_fd=there)
        links.rename(physical, slot)
        is_dir = stat.S_ISDIR(os.lstat(last, dir_fd=there).st_mode)
        self.places.sync_entry(last, there, is_dir=is_dir)

    def _count(self, step: Step, parent: int, name: bytes) -> None:
        st = lstat_at(name, parent)
        if st is not None and stat.S_ISREG(st.st_mode):
            self.displaced_bytes += st.st_size
        elif st is not None and stat.S_ISDIR(st.st_mode) and step.old is not None:
            self.displaced_bytes += step.old[3]

    # When all steps are done

    def drop_leftovers(self) -> None:
        """Remove originals whose copies have crossed to another subvolume, and are durable.

        What became impossible to remove since it was checked stays under our name: nothing waits for it any more.
        """
        for place, path in self.leftovers:
            parent, name = place.parent(path)
            for below, reason in removal.remove_possible(name, parent):
                shown = os.path.normpath(path + b"/" + below).decode("utf-8", "backslashreplace")
                progress.remark(f"'{shown}' could not be removed, remove it by hand: {reason.strerror}")
        self.leftovers = []
