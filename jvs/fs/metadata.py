"""Copying one entry with everything that belongs to it, and saying what could not be kept.

Nothing here follows a link, and only regular files are opened for reading: a fifo or a device is made anew, never
touched. Engines, restore and fork all copy through this module, so that what is kept is the same everywhere.
Source: jvs-engines(7), Fidelity; xattr(7).
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import system
from jvs.fs import copyfile, listing, paths
from jvs.fs.losses import Losses
from jvs.fs.xattrs import NOT_OURS, Attributes, covered, read_all

_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SETID = stat.S_ISUID | stat.S_ISGID
_STORAGE_FAILED = frozenset({errno.EIO, errno.EROFS, errno.ENOSPC, errno.EDQUOT})


class Kept:
    """What an entry has after copying, where that counts for the tree hash, and whether anything was lost."""

    __slots__ = ("lost", "mode", "xattrs")

    def __init__(self, mode: int, xattrs: Attributes, lost: bool) -> None:
        self.mode = mode
        self.xattrs = xattrs
        self.lost = lost

    def covered(self) -> dict[bytes, bytes] | None:
        """Return the attributes that the tree hash covers."""
        return covered(self.xattrs)


def handle(name: bytes, dir_fd: int) -> int:
    """Return a descriptor that names an entry of any kind without opening it; the caller closes it."""
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def entry_xattrs(name: bytes, dir_fd: int) -> Attributes:
    """Return the attributes of an entry of any kind, without opening it."""
    fd = handle(name, dir_fd)
    try:
        return read_all(system.path_of(fd))
    finally:
        os.close(fd)


def apply_metadata(
    target: int | bytes, st: os.stat_result, xattrs: Attributes, path: bytes, losses: Losses, *, times: bool = True
) -> Kept:
    """Give an entry that we made the owner, attributes, mode and times of another.

    `target` is an open descriptor or the `system.path_of` one (anything that must not be opened). The order
    matters: changing the owner clears set-id bits and file capabilities, an ACL changes the mode, and every one of
    these changes times.
    Errors: none; what the system refuses goes into `losses`.
    """
    is_link = stat.S_ISLNK(st.st_mode)
    mode = 0 if is_link else stat.S_IMODE(st.st_mode)
    have = os.stat(target)
    lost = False
    if (have.st_uid, have.st_gid) != (st.st_uid, st.st_gid):
        refused = _set_owner(target, st, have, path, losses)
        if refused:
            lost = True
            if mode & _SETID:  # the bits would grant the rights of somebody else than before
                mode &= ~refused
                losses.add(path, "mode", "set-id bits go with an owner that could not be kept")
    now = _set_xattrs(target, xattrs, path, losses)
    lost = lost or len(now) != len(xattrs)
    if not is_link:
        mode, kept = _set_mode(target, mode, path, losses)
        lost = lost or not kept or mode != stat.S_IMODE(st.st_mode)
    if times:
        _set_times(target, st, path, losses)
    return Kept(mode, now, lost)


def apply_to_new(target: int, st: os.stat_result) -> bool:
    """Do what `apply_metadata` does for a regular file without attributes and set-id bits; answer whether it is done.

    We have just made it, in a directory that nothing is inherited from. False: not everything could be kept, and
    nothing was noted. Errors: OSError of broken storage.
    """
    try:
        have = os.fstat(target)
        if (have.st_uid, have.st_gid) != (st.st_uid, st.st_gid):
            os.chown(target, st.st_uid, st.st_gid)
        if stat.S_IMODE(have.st_mode) != stat.S_IMODE(st.st_mode):  # the umask took something, when it was made
            os.chmod(target, stat.S_IMODE(st.st_mode))
        os.utime(target, ns=(st.st_atime_ns, st.st_mtime_ns))
    except OSError as error:
        _raise_failure(error)
        return False
    return True


def _raise_failure(error: OSError) -> None:
    """Raise again what says that the storage failed: only a refusal is a loss that a copy may live with."""
    if error.errno in _STORAGE_FAILED:
        raise error


def _set_owner(target: int | bytes, st: os.stat_result, have: os.stat_result, path: bytes, losses: Losses) -> int:
    """Set owner and group as far as allowed; return the set-id bits that may not be set then, 0 when all is well."""
    try:
        os.chown(target, st.st_uid, st.st_gid)
        return 0
    except OSError as error:
        _raise_failure(error)
        why = f"owner {st.st_uid}:{st.st_gid} was refused: {error.strerror}"
    if have.st_gid != st.st_gid:
        try:
            os.chown(target, -1, st.st_gid)
            losses.add(path, "owner", why)
            return stat.S_ISUID
        except OSError:
            losses.add(path, "owner", why)
            return _SETID if have.st_uid != st.st_uid else stat.S_ISGID
    losses.add(path, "owner", why)
    return stat.S_ISUID


def _set_xattrs(target: int | bytes, xattrs: Attributes, path: bytes, losses: Losses) -> Attributes:
    """Make the attributes equal; what a default ACL of the directory above gave a new entry is taken away."""
    try:
        present = os.listxattr(target)
    except OSError:
        present = []
    for name in present:
        if name not in xattrs and name not in NOT_OURS:
            try:
                os.removexattr(target, name)
            except OSError as error:
                _raise_failure(error)
                losses.add(path, _name_loss(name), f"one too many: {error.strerror}")
    done: Attributes = {}
    for name, value in xattrs.items():
        try:
            os.setxattr(target, name, value)
            done[name] = value
        except OSError as error:
            if error.errno != errno.ENOSPC:  # ext4 says that too when the attributes of one inode grow too large
                _raise_failure(error)
            losses.add(path, _name_loss(name), error.strerror or str(error))
    return done


def _name_loss(name: str) -> str:
    return "acl" if name.startswith("system.posix_acl") else f"xattr:{name}"


def _set_mode(target: int | bytes, mode: int, path: bytes, losses: Losses) -> tuple[int, bool]:
    """Set the permission bits; return those that the entry has then, and whether they are as wanted."""
    try:
        os.chmod(target, mode)
        # The kernel drops set-gid without a word for those who are not in the group. Source: chmod(2).
        now = stat.S_IMODE(os.stat(target).st_mode) if mode & _SETID else mode
    except OSError as error:
        _raise_failure(error)
        now = stat.S_IMODE(os.stat(target).st_mode)
        losses.add(path, "mode", f"{mode:04o} was refused: {error.strerror}")
        return now, False
    if now != mode:
        losses.add(path, "mode", f"{mode:04o} became {now:04o}")
    return now, now == mode


def _set_times(target: int | bytes, st: os.stat_result, path: bytes, losses: Losses) -> None:
    try:
        os.utime(target, ns=(st.st_atime_ns, st.st_mtime_ns))
    except OSError as error:
        _raise_failure(error)
        losses.add(path, "times", error.strerror or str(error))


def new_file(name: bytes, dir_fd: int, mode: int = 0o600) -> int:
    """Make an empty file under a name that must be free; return a descriptor for reading and writing.

    `mode` is one that others may see it with while it is being filled; the umask takes its share.
    """
    return os.open(name, _NEW_FILE, mode, dir_fd=dir_fd)


def copy_entry(
    src_fd: int,
    name: bytes,
    dst_fd: int,
    st: os.stat_result,
    path: bytes,
    losses: Losses,
    *,
    target_name: bytes | None = None,
    share: bool = True,
) -> Kept | None:
    """Copy one entry that is not a directory, with everything that belongs to it, under a name that must be free.

    `path` is what `losses` call it. Returns None when the entry could not be made at all (a device without the
    right to make one); the loss is noted then.
    Errors: OSError; a half-made target is left to the caller, who knows what it is.
    """
    new = name if target_name is None else target_name
    if stat.S_ISREG(st.st_mode):
        source = paths.open_file(name, src_fd)
        try:
            target = new_file(new, dst_fd)
            try:
                final = copyfile.copy_content(source, target, path, losses, share=share)
                return apply_metadata(target, final, read_all(source), path, losses)
            finally:
                os.close(target)
        finally:
            os.close(source)
    return copy_special(src_fd, name, dst_fd, st, path, losses, target_name=new)


def copy_special(
    src_fd: int,
    name: bytes,
    dst_fd: int,
    st: os.stat_result,
    path: bytes,
    losses: Losses,
    *,
    target_name: bytes | None = None,
) -> Kept | None:
    """Copy a symlink, fifo, socket or device; as `copy_entry`."""
    new = name if target_name is None else target_name
    xattrs = entry_xattrs(name, src_fd)
    if stat.S_ISLNK(st.st_mode):
        os.symlink(os.readlink(name, dir_fd=src_fd), new, dir_fd=dst_fd)
    elif not make_special(new, dst_fd, st, path, losses):
        return None
    fd = handle(new, dst_fd)
    try:
        return apply_metadata(system.path_of(fd), st, xattrs, path, losses)
    finally:
        os.close(fd)


def make_special(name: bytes, dst_fd: int, st: os.stat_result, path: bytes, losses: Losses) -> bool:
    """Make a fifo, socket or device; False, and a loss, when the system does not let us."""
    kind = listing.kind_of(st.st_mode)
    try:
        os.mknod(name, stat.S_IFMT(st.st_mode) | 0o600, st.st_rdev, dir_fd=dst_fd)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS):
            raise  # EPERM: devices need CAP_MKNOD; the others: filesystems without special files
        losses.add(path, "special", f"a {listing.KIND_NAMES[kind]} cannot be made here: {error.strerror}")
        return False
    return True


def make_dir(name: bytes, dir_fd: int) -> int:
    """Make a directory that only we can enter, without what it inherits, and open it. Errors: OSError."""
    os.mkdir(name, 0o700, dir_fd=dir_fd)
    return os.open(name, paths.DIR_FLAGS, dir_fd=dir_fd)


def drop_inherited(fd: int) -> None:
    """Free a directory that we just made from the ACL and the set-gid bit of the directory above it.

    What is made below then inherits nothing either.
    """
    _set_xattrs(fd, {}, b"", Losses())
    have = os.fstat(fd)
    if have.st_mode & stat.S_ISGID:
        os.chown(fd, -1, os.getegid())
    os.chmod(fd, 0o700)


def apply_dir(fd: int, source_fd: int, st: os.stat_result, path: bytes, losses: Losses) -> Kept:
    """Give a directory whose content is complete the metadata of another, which is open as well."""
    return apply_metadata(fd, st, read_all(source_fd), path, losses)
