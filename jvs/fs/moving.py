"""Moving an entry or a whole directory: by a rename, or where no rename leads there by a copy that is durable first.

Another subvolume, a bind mount and a directory of an overlay's lower layer answer EXDEV to a rename.
Source: rename(2); the kernel's Documentation/filesystems/overlayfs.rst, Renaming directories.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from jvs.fs import durable, listing, metadata, paths, removal
from jvs.fs.losses import Losses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below

HALF = ".jvs-half"
"""The name of a copy that is being made, in the directory where it belongs."""
_REFUSED = frozenset({errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS})
"""EACCES: a directory that its owner may not write; EPERM: something immutable; EROFS: a read-only subvolume."""


def move(source: Below, target: Below, *, keep_source: bool = False) -> None:
    """Give an entry another name, in one step where the filesystem can; the target must be free.

    Else it is copied under a temporary name, the copy is made durable and gets its final name, and the original is
    removed, unless `keep_source`. Doing it again completes what was interrupted: a target that is there is complete.
    Durable: what was copied; a rename only when the caller syncs both directories. Errors: OSError.
    """
    if not paths.exists(target):
        try:
            durable.rename(source, target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV and not (keep_source and error.errno in _REFUSED):
                raise
        copy(source, target)
    if not keep_source and paths.exists(source):
        removal.remove_tree(source)


def carry(source: Below, target: Below, *, last: str) -> list[tuple[bytes, OSError]]:
    """Bring a directory to another filesystem: a complete copy, durable, and then the original is removed.

    The entry `last`, which tells whose it is, goes last. Doing it again completes what was interrupted. Returns what of
    the original could not be removed.
    Durable: the copy. Errors: OSError; then the original is as it was.
    """
    if not paths.exists(target):
        copy(source, target)
    left = [one for name in listing.names(source) if name != last for one in removal.remove_possible(source / name)]
    return left or removal.remove_possible(source)


def publish(source: Below, target: Below, halfway: Below) -> None:
    """Rename a finished directory to its final name when that is free; else, and when it is moved already, do nothing.

    Where it cannot be renamed, what is in it is moved one by one to `halfway`, which only we use, and that is renamed.
    A file is always under one name. Doing it again completes what was interrupted. Durable: yes. Errors: OSError.
    """
    if not paths.exists(halfway):
        if not paths.exists(source) or paths.exists(target):
            return
        try:
            durable.publish(source, target)
            return
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
    if paths.exists(source):
        with durable.inside(source) as (from_fd, name), durable.inside(halfway) as (to_fd, new):
            shift(from_fd, name, to_fd, new)
        durable.fsync_dir(halfway.parent)
        durable.fsync_dir(source.parent)
    durable.publish(halfway, target)


def shift(source: int, name: bytes, target: int, new: bytes) -> None:
    """Move an entry between open directories; a directory that cannot be renamed is made again around what is in it.

    Durable: what is below; the caller syncs both directories. Errors: OSError; EXDEV at a mount.
    """
    st = os.lstat(name, dir_fd=source)
    if not stat.S_ISDIR(st.st_mode):
        _shift_file(source, name, target, new)
        return
    try:
        durable.rename_new(name, new, source_fd=source, target_fd=target)
        return
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    from_fd = paths.open_dir(name, source, one_mount=True)
    try:
        with contextlib.suppress(FileExistsError):
            os.close(metadata.make_dir(new, target))
        to_fd = paths.open_dir(new, target, one_mount=True)
        try:
            for child in listing.list_dir(from_fd)[0]:
                shift(from_fd, child, to_fd, child)
            metadata.apply_dir(to_fd, from_fd, st, new, Losses())
            durable.fsync_dir(b".", to_fd)  # before the directory goes that a crash would bring the names back to
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)
    durable.rmdir(name, dir_fd=source)


def _shift_file(source: int, name: bytes, target: int, new: bytes) -> None:
    """Rename what is no directory; a name that is taken, by somebody in the meantime, gets a number."""
    for number in range(100):
        wanted = new if number == 0 else new + b".%d" % number
        try:
            durable.rename_new(name, wanted, source_fd=source, target_fd=target)
            return
        except FileExistsError:
            continue
    raise FileExistsError(errno.EEXIST, "already there", os.fsdecode(new))


def copy(source: Below, target: Below) -> None:
    """Copy an entry or a whole directory with all that belongs to it, names of one file as names of one file.

    Durable: yes, under its final name. Errors: OSError; EOVERFLOW when something could not be kept.
    """
    half = target.parent / HALF
    removal.remove_tree(half)
    losses = Losses()
    made: dict[int, tuple[int, bytes]] = {}
    with durable.inside(half) as (to_fd, new), durable.inside(source) as (from_fd, name):
        try:
            _copy_entry(from_fd, name, to_fd, new, b"", losses, made)
        finally:
            for fd, _ in made.values():
                os.close(fd)
        if losses.as_json():
            removal.remove_tree(half)
            raise OSError(errno.EXDEV, "it cannot be renamed, and a copy would lose metadata", str(source))
        if stat.S_ISDIR(os.lstat(new, dir_fd=to_fd).st_mode):
            durable.sync_tree(new, to_fd)
        elif stat.S_ISREG(os.lstat(new, dir_fd=to_fd).st_mode):
            durable.fsync_file(new, to_fd)
    durable.publish(half, target)


def _copy_entry(
    source: int, name: bytes, target: int, new: bytes, path: bytes, losses: Losses, made: dict[int, tuple[int, bytes]]
) -> None:
    """Copy one entry, and what is below it. `made` holds, by inode, an open directory and a name of the copy in it."""
    st = os.lstat(name, dir_fd=source)
    if not stat.S_ISDIR(st.st_mode):
        first = made.get(st.st_ino)
        if first is not None:
            os.link(first[1], new, src_dir_fd=first[0], dst_dir_fd=target, follow_symlinks=False)
            return
        metadata.copy_entry(source, name, target, st, path, losses, target_name=new)
        if st.st_nlink > 1:
            made[st.st_ino] = (os.dup(target), new)
        return
    from_fd = paths.open_dir(name, source, one_mount=True)
    try:
        to_fd = metadata.make_dir(new, target)
        try:
            metadata.drop_inherited(to_fd)
            for child in listing.list_dir(from_fd)[0]:
                _copy_entry(from_fd, child, to_fd, child, listing.relative(path, child), losses, made)
            metadata.apply_dir(to_fd, from_fd, st, path, losses)
        finally:
            os.close(to_fd)
    finally:
        os.close(from_fd)
