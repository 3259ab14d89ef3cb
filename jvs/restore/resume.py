"""What was begun is finished after a crash, and undone after an error: one step at a time, as the log tells.

Nothing that only we hold is removed.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno
import os

from jvs.fs import durable, listing, removal
from jvs.restore import step_log
from jvs.restore.delta import DROP, MAKE, MOVE
from jvs.restore.entries import Movable, entry_at, is_entry, lstat_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.restore.delta import Step
    from jvs.restore.replace import Switcher


def finish_half(work: Switcher, i: int) -> bool:
    """Clear away or finish what a dead process did by half of a step; answer whether the step is done."""
    step, places = work.delta.steps[i], work.places
    try:
        parent, name = places.target.parent(step.path, writable=True)
    except OSError as error:
        if listing.is_absent(error):  # the directory around it comes with another step, or is deleted by now
            return step.how == DROP
        raise
    places.note_changed(step.path.rpartition(b"/")[0])
    left = work.log.after_crash(i, parent, name)
    if left.half == step_log.NEW:
        removal.remove_tree(places.temporary(i, step).rpartition(b"/")[2], dir_fd=parent)
    elif left.half == step_log.OLD:
        work.stow(i, places.temporary(i, step))
    elif left.half == step_log.TRADED:
        assert places.source is not None
        work.stow_moved(i, step, *places.source.parent(step.path))
    if left.copied:
        assert places.source is not None
        work.leftovers.append((places.source, step.path))
    return left.done


def undo_step(work: Switcher, i: int, parent: int, name: bytes) -> None:
    """Put back what a step displaced, and what it brought in where it came from, as far as it got."""
    step, log = work.delta.steps[i], work.log
    origin = work.places.origin(i, step, parent)
    above, last = origin
    old = log.find_displaced(i, origin)
    if old is not None:
        there, kept = old
        with Movable(there, kept), Movable(parent, name):
            if lstat_at(name, parent) is None:
                durable.rename_new(kept, name, source_fd=there, target_fd=parent)
            else:
                if not durable.exchange(kept, name, source_fd=there, target_fd=parent):
                    raise OSError(errno.EOPNOTSUPP, "two names cannot trade places here", os.fsdecode(name))
                if old != origin:
                    durable.rename_new(kept, last, source_fd=there, target_fd=above)
    elif step.how != DROP and log.is_in_place(i, origin) and lstat_at(name, parent) is not None:
        durable.rename_new(name, last, source_fd=parent, target_fd=above)
    if not work.places.is_moved(step):
        _discard_new(work, i, step, parent, last)


def _discard_new(work: Switcher, i: int, step: Step, parent: int, label: bytes) -> None:
    """Remove a new entry that is not needed any more, unless somebody wrote to it while it was in place."""
    if lstat_at(label, parent) is None:
        return
    if step.how == MAKE:
        try:
            durable.rmdir(label, dir_fd=parent)
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    elif not work.log.was_tried(i) or _is_as_made(work, step, parent, label):
        removal.remove_tree(label, dir_fd=parent)
        return
    work.log.kept_aside = True
    slot = work.places.slot(step.path)
    there, last = work.places.keep.parent(slot, make=True)
    if work.places.crosses:
        work.copy_kept(parent, label, slot, step.path)
        removal.remove_tree(label, dir_fd=parent)
    else:
        durable.rename(label, last, source_fd=parent, target_fd=there)


def _is_as_made(work: Switcher, step: Step, parent: int, label: bytes) -> bool:
    """Answer whether a new entry is what was made, which the source still has."""
    if step.how == DROP:
        return False
    wanted = step.new
    if step.how == MOVE:
        assert work.places.source is not None
        wanted = entry_at(*work.places.source.parent(step.path))
    return is_entry(parent, label, wanted)
