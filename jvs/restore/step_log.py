"""What is known of each step of a delta: what was noted while it was done, and what can be seen after a crash.

While steps are carried out, what is about to happen is noted first, so that even an interrupt between two lines can
be undone. The notes of a dead process are lost: then inode numbers and contents tell. Nothing here changes anything
on disk.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import os
import stat

from jvs.fs import listing, paths
from jvs.restore.delta import COPY, DROP, MAKE, MOVE
from jvs.restore.entries import entry_at, fingerprint, is_entry, is_spelled, lstat_at, meta_at, same_entry, seen
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.restore.delta import Delta, Step
    from jvs.restore.places import Places

NOTHING, NEW, OLD, TRADED = range(4)
"""What is half done: nothing; the new entry is made and not in place; what was displaced is still under its temporary
name, or whose that is cannot be told; a moved entry is in place, and what it displaced where that came from."""


class Left:
    """What a dead process left of a step: whether it is `done`, and what is `half` done and to be finished first.

    `copied` says that the original of a copy is still in the source, to be removed when the copy is durable.
    """

    __slots__ = ("copied", "done", "half")

    def __init__(self, half: int, *, done: bool, copied: bool = False) -> None:
        self.half = half
        self.done = done
        self.copied = copied


class StepLog:
    """The notes on all steps of one operation, by their place in the delta, and what follows from them."""

    def __init__(self, delta: Delta, places: Places, *, same_inodes: bool = True) -> None:
        self._same_inodes = same_inodes
        self._delta = delta
        self._places = places
        self._found: dict[int, int] = {}
        self._slots: dict[int, bytes] = {}
        self._displaced: dict[int, bytes | None] = {}
        self.kept_aside = False
        """Whether undoing found something that nobody else holds; it is in the operation's directory."""

    # Notes

    def note_found(self, i: int, now: os.stat_result | None) -> None:
        """Note what is under the name of a step just before it is put in place."""
        self._found[i] = now.st_ino if now is not None else 0

    def note_slot(self, i: int, slot: bytes) -> None:
        """Note where, below the operation's directory, what a step displaces is about to go."""
        self._slots[i] = slot

    def note_in_place(self, i: int, displaced: bytes | None) -> None:
        """Note that a step took effect, and where what it displaced is: in its slot, or under the temporary name."""
        self._displaced[i] = displaced

    # After an error, in the process that made the notes

    def was_tried(self, i: int) -> bool:
        """Answer whether a step was about to be put in place, so that somebody may have written to the new entry."""
        return i in self._found

    def is_in_place(self, i: int, origin: tuple[int, bytes]) -> bool:
        """Answer whether the new entry of a step, which displaced nothing, has its name; `origin` is where it was."""
        if i in self._displaced:
            return True
        return self._found.get(i) == 0 and lstat_at(origin[1], origin[0]) is None

    def find_displaced(self, i: int, origin: tuple[int, bytes]) -> tuple[int, bytes] | None:
        """Find what a step displaced: where the new entry was, or in `undo/`; None when nothing was."""
        st = lstat_at(origin[1], origin[0])
        if st is not None and self._found.get(i) and st.st_ino == self._found[i]:
            return origin
        kept = self._displaced.get(i)
        if kept is not None and kept == self._places.temporary(i, self._delta.steps[i]):
            return origin if st is not None else None
        slot = self._slots.get(i) or kept
        if slot is None or self._places.keep.lstat(slot) is None:
            return None
        return self._places.keep.parent(slot)

    def is_untouched(self) -> bool:
        """Answer whether the worktree is as it was before the first step."""
        target = self._places.target
        for i, step in enumerate(self._delta.steps):
            st = target.lstat(step.path)
            now = 0 if st is None else st.st_ino
            if self._found.get(i, now) != now or self._displaced.get(i) is not None:
                return False
            if target.lstat(self._places.temporary(i, step)) is not None:
                return False
        return all(before is None or meta_at(target, path) == before for path, before, _ in self._delta.dirs)

    def keeps_anything(self) -> bool:
        """Answer whether something is in the operation's directory that undoing did not put in place again."""
        keep = self._places.keep
        stack = [os.fsencode(name) for name in os.listdir(keep.fd) if name.startswith("files")]
        while stack:
            path = stack.pop()
            fd = paths.open_below(keep.fd, paths.split_relative(path))
            try:
                for child, st in zip(*listing.list_dir(fd), strict=True):
                    if not stat.S_ISDIR(st.st_mode):
                        return True
                    stack.append(listing.relative(path, child))
            finally:
                os.close(fd)
        return False

    # After a crash, without any notes

    def after_crash(self, i: int, parent: int, name: bytes) -> Left:
        """Find out what a dead process did of a step; `parent` and `name` are where its new entry belongs."""
        step = self._delta.steps[i]
        if self._places.is_moved(step):
            return self._after_move(step)
        temporary = lstat_at(self._places.temporary(i, step).rpartition(b"/")[2], parent)
        now = lstat_at(name, parent)
        if now is not None and i in self._delta.twins and not is_spelled(name, parent):
            now = None
        half = NOTHING if temporary is None else self._whose(i, temporary.st_ino, parent, name, now)
        if step.how == DROP:
            return Left(half, done=now is None)
        if step.how == MAKE:
            return Left(half, done=now is not None and stat.S_ISDIR(now.st_mode))
        wanted, source = step.new, self._places.source
        if step.how == MOVE:
            if source is None or source.lstat(step.path) is None:
                return Left(half, done=True)
            wanted = entry_at(*source.parent(step.path))
        done = now is not None and is_entry(parent, name, wanted)
        return Left(half, done=done, copied=done and step.how == MOVE)

    def _after_move(self, step: Step) -> Left:
        source = self._places.source
        there = None if source is None else source.lstat(step.path)
        if there is None:  # all of it was moved out, and maybe the place tidied up
            return Left(NOTHING, done=True)
        if there.st_ino == step.source_ino if self._same_inodes else self._is_untraded(step, there):
            return Left(NOTHING, done=False)
        return Left(TRADED, done=True)

    def _is_untraded(self, step: Step, there: os.stat_result) -> bool:
        """Answer whether what a step moves is still where it was displaced to, in a copy with other inode numbers."""
        assert self._places.source is not None
        now, mine, other = seen(there), step.source_seen, step.old_seen
        is_mine = mine is not None and now[:6] == mine[:6]
        is_other = other is not None and now[:6] == other[:6]
        if is_mine != is_other:
            return bool(is_mine)
        where = self._places.source.parent(step.path)
        if is_mine and mine is not None:
            return bool(fingerprint(*where) == mine[6])
        return is_entry(*where, step.new)

    def _whose(self, i: int, temporary_ino: int, parent: int, name: bytes, now: os.stat_result | None) -> int:
        """Tell what is under the temporary name of a step from what is under its own; in doubt it is kept."""
        step = self._delta.steps[i]
        if step.how == DROP:
            return OLD
        if self._same_inodes and step.old_ino:
            return _whose(step, temporary_ino, now)
        label = self._places.temporary(i, step).rpartition(b"/")[2]
        temporary = entry_at(parent, label)
        if step.old is not None and same_entry(step.old, step.new):
            return NEW if now is None else OLD
        if is_entry(parent, label, step.new) or (now is None and not is_entry(parent, label, step.old)):
            return NEW
        if step.how == MAKE and temporary is not None and temporary[4] == node.EMPTY_DIGEST:
            return NEW
        return NEW if step.old is not None and is_entry(parent, name, step.old) else OLD

    def is_rotten(self, i: int) -> bool:
        """Answer whether what a step would copy is not what was planned: the payload was damaged since."""
        step, source = self._delta.steps[i], self._places.source
        if step.how != COPY or source is None:
            return False
        try:
            return not is_entry(*source.parent(step.path), step.new)
        except OSError as error:
            if not listing.is_absent(error):
                raise
            return True


def _whose(step: Step, temporary_ino: int, now: os.stat_result | None) -> int:
    if temporary_ino == step.old_ino:
        return OLD
    if now is None or now.st_ino == step.old_ino:
        return NEW  # maybe half made: the source still has it
    return OLD  # whose it is cannot be told: kept
