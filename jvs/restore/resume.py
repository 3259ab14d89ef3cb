"""What a step did before it was stopped: found out after a crash, taken back after an error.

Inode numbers and content tell what was done; nothing that only we hold is removed.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs.fs import durable, listing, paths, removal
from jvs.restore.delta import COPY, DROP, MAKE, MOVE
from jvs.restore.entries import Movable, entry_at, is_spelled, lstat_at, same_entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.restore.delta import Step
    from jvs.restore.replace import Switcher


def was_done(work: Switcher, i: int) -> bool:
    """Find out what a dead process did of a step, and clear away or finish the half of it."""
    step = work.delta.steps[i]
    try:
        parent, name = work.target.parent(step.path, writable=True)
    except OSError as error:
        if listing.is_absent(error):  # the directory around it comes with another step, or was deleted by now
            return step.how == DROP
        raise
    label = work.temporary(i).rpartition(b"/")[2]
    temporary, now = lstat_at(label, parent), lstat_at(name, parent)
    if now is not None and i in work.delta.twins and not is_spelled(name, parent):
        now = None
    work.touched.add(step.path.rpartition(b"/")[0])
    if step.how == MOVE and not work.crosses:
        return _was_moved(work, i, step)
    if temporary is not None:
        if step.old_ino and temporary.st_ino == step.old_ino:
            work.stow(i, work.temporary(i))
        elif now is None or now.st_ino == step.old_ino or not step.old_ino:
            removal.remove_tree(label, dir_fd=parent)  # the new entry, maybe half made: the source still has it
        else:
            work.stow(i, work.temporary(i))  # whose it is cannot be known: kept
    if step.how == DROP:
        return now is None
    if step.how == MAKE:
        return now is not None and stat.S_ISDIR(now.st_mode) and now.st_ino != step.old_ino
    wanted = step.new
    if step.how == MOVE:
        if work.source is None or work.source.lstat(step.path) is None:
            return True
        wanted = entry_at(*work.source.parent(step.path))
    if now is None or not same_entry(entry_at(parent, name), wanted):
        return False
    if step.how == MOVE:
        assert work.source is not None
        work.leftovers.append((work.source, step.path))
    return True


def is_rotten(work: Switcher, i: int) -> bool:
    """Answer whether what a step would copy is not what was planned: the payload was damaged since."""
    step = work.delta.steps[i]
    if step.how != COPY or work.source is None:
        return False
    try:
        have = entry_at(*work.source.parent(step.path))
    except OSError as error:
        if not listing.is_absent(error):
            raise
        have = None
    return not same_entry(have, step.new)


def _was_moved(work: Switcher, i: int, step: Step) -> bool:
    there = None if work.source is None else work.source.lstat(step.path)
    if work.source is None or there is None:  # all of it was moved out, and maybe the place tidied up
        return True
    if there.st_ino == step.source_ino:
        return False
    work.stow_moved(i, step, *work.source.parent(step.path))  # they traded places: what lies here was displaced
    return True


def take_back(work: Switcher, i: int, parent: int, name: bytes) -> None:
    """Put back what a step displaced, and what it brought in where it came from, as far as it got."""
    step, label = work.delta.steps[i], work.temporary(i).rpartition(b"/")[2]
    above, last = parent, label
    if step.how == MOVE and not work.crosses:
        assert work.source is not None
        above, last = work.source.parent(step.path)
    old = _where_old(work, i, above, last)
    switched = i in work.switched or old is not None
    if work.before.get(i) == 0 and lstat_at(last, above) is None and step.how != DROP:
        switched = True
    if switched and old is None and step.how != DROP and lstat_at(name, parent) is not None:
        durable.rename_new(name, last, source_fd=parent, target_fd=above)
    elif old is not None:
        there, kept = old
        with Movable(there, kept), Movable(parent, name):
            if lstat_at(name, parent) is None:
                durable.rename_new(kept, name, source_fd=there, target_fd=parent)
            else:
                if not durable.exchange(kept, name, source_fd=there, target_fd=parent):
                    raise OSError(errno.EOPNOTSUPP, "two names cannot trade places here", os.fsdecode(name))
                if (there, kept) != (above, last):
                    durable.rename_new(kept, last, source_fd=there, target_fd=above)
    if above is parent:
        _discard_new(work, i, step, parent, label)


def _where_old(work: Switcher, i: int, above: int, last: bytes) -> tuple[int, bytes] | None:
    """Find what a step displaced: still under the name of the new entry, or in `undo/`; None when nothing was."""
    st = lstat_at(last, above)
    if st is not None and work.before.get(i) and st.st_ino == work.before[i]:
        return above, last
    kept = work.switched.get(i)
    if kept is not None and kept == work.temporary(i):
        return (above, last) if st is not None else None
    slot = work.slots.get(i) or kept
    if slot is None or work.keep.lstat(slot) is None:
        return None
    return work.keep.parent(slot)


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
    elif i not in work.before:  # never in place
        removal.remove_tree(label, dir_fd=parent)
        return
    else:
        wanted = step.new
        if step.how == MOVE:
            assert work.source is not None
            wanted = entry_at(*work.source.parent(step.path))
        if step.how != DROP and same_entry(entry_at(parent, label), wanted):
            removal.remove_tree(label, dir_fd=parent)
            return
    work.kept_aside = True
    slot = work.slot(step.path)
    there, last = work.keep.parent(slot, make=True)
    if work.crosses:
        work.copy_kept(parent, label, slot, step.path)
        removal.remove_tree(label, dir_fd=parent)
    else:
        durable.rename(label, last, source_fd=parent, target_fd=there)


def keeps_anything(work: Switcher) -> bool:
    """Answer whether something lies in the operation's directory that taking back did not put in place again."""
    for name in os.listdir(work.keep.fd):
        if name.startswith("files"):
            stack = [os.fsencode(name)]
            while stack:
                path = stack.pop()
                fd = paths.open_below(work.keep.fd, paths.split_relative(path))
                try:
                    for child, st in zip(*listing.list_dir(fd), strict=True):
                        if not stat.S_ISDIR(st.st_mode):
                            return True
                        stack.append(listing.relative(path, child))
                finally:
                    os.close(fd)
    return False
