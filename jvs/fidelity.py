"""Copying one entry with everything that belongs to it, and saying what could not be kept.

Nothing here follows a link, and only regular files are opened for reading: a fifo or a device is made anew, never
touched. Engines, restore and fork all copy through this module, so that what is kept is the same everywhere.
Source: jvs-engines(7), Fidelity; ioctl_ficlone(2), copy_file_range(2), lseek(2), xattr(7).
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import canon, safepath, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FICLONE = 0x40049409  # _IOW(0x94, 9, int), linux/fs.h
TRIES = 3
CHUNK_BYTES = 1 << 20
_RANGE_BYTES = 1 << 30
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SETID = stat.S_ISUID | stat.S_ISGID
_NOT_OURS = frozenset({"security.selinux", "security.ima", "security.evm", "security.SMACK64"})
_NO_CLONE = frozenset(
    {
        errno.EOPNOTSUPP,  # ext4, tmpfs, FUSE
        errno.ENOTTY,  # filesystems that know no such ioctl
        errno.EXDEV,  # two filesystems
        errno.EINVAL,  # btrfs: a nodatacow file beside an ordinary one
        errno.ENOSYS,
        errno.EPERM,  # an immutable or append-only source
        errno.ETXTBSY,  # a swap file
    }
)
_NO_RANGE = frozenset({errno.EXDEV, errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.EPERM, errno.ETXTBSY})

Attributes = dict[str, bytes]


class Losses:
    """What a copy could not keep, gathered on the way."""

    def __init__(self) -> None:
        self._found: set[tuple[bytes, str, str]] = set()

    def add(self, path: bytes, what: str, why: str) -> None:
        """Note one loss. `what` is owner, mode, times, acl, xattr:NAME, hardlink, special, torn or unreadable."""
        self._found.add((path, what, why))

    def as_json(self) -> list[dict[str, str]]:
        """Return the `degraded` list of a descriptor, sorted. Shape: `path`, maybe `path_b64`, `what`, `why`."""
        return [{**canon.path_json(path), "what": what, "why": why} for path, what, why in sorted(self._found)]

    def __len__(self) -> int:
        return len(self._found)


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


def covered(xattrs: Attributes) -> dict[bytes, bytes] | None:
    """Return those of some attributes that the tree hash covers, or None."""
    from jvs import tree

    return {os.fsencode(name): value for name, value in xattrs.items() if tree.is_covered(name)} or None


def read_xattrs(target: int | bytes) -> Attributes:
    """Return the extended attributes of a descriptor or a `handle` path that a copy can carry over.

    Left out are labels that the receiving system sets by its own policy (SELinux, IMA, EVM, SMACK).
    Errors: OSError, but not for filesystems without attributes.
    """
    try:
        names = os.listxattr(target)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSYS):  # no attributes there
            return {}
        raise
    if not names:
        return {}
    found: Attributes = {}
    for name in names:
        if name in _NOT_OURS:
            continue
        try:
            found[name] = os.getxattr(target, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
                raise  # ENODATA: gone meanwhile; the others: a name that lists itself and lets nobody read it
    return found


def handle(name: bytes, dir_fd: int) -> int:
    """Return a descriptor that names an entry of any kind without opening it; the caller closes it."""
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def handle_path(fd: int) -> bytes:
    """Return the path under which system calls that take no O_PATH descriptor accept one. Source: proc(5)."""
    return b"/proc/self/fd/%d" % fd


def entry_xattrs(name: bytes, dir_fd: int) -> Attributes:
    """Return the attributes of an entry of any kind, without opening it."""
    fd = handle(name, dir_fd)
    try:
        return read_xattrs(handle_path(fd))
    finally:
        os.close(fd)


def apply_metadata(
    target: int | bytes, st: os.stat_result, xattrs: Attributes, path: bytes, losses: Losses, *, times: bool = True
) -> Kept:
    """Give an entry that we made the owner, attributes, mode and times of another.

    `target` is an open descriptor or the `handle_path` of one (anything that must not be opened). The order
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


def _set_owner(target: int | bytes, st: os.stat_result, have: os.stat_result, path: bytes, losses: Losses) -> int:
    """Set owner and group as far as allowed; return the set-id bits that may not be set then, 0 when all is well."""
    try:
        os.chown(target, st.st_uid, st.st_gid)
        return 0
    except OSError as error:
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
        if name not in xattrs and name not in _NOT_OURS:
            try:
                os.removexattr(target, name)
            except OSError as error:
                losses.add(path, _name_loss(name), f"one too many: {error.strerror}")
    done: Attributes = {}
    for name, value in xattrs.items():
        try:
            os.setxattr(target, name, value)
            done[name] = value
        except OSError as error:
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
        losses.add(path, "times", error.strerror or str(error))


def new_file(name: bytes, dir_fd: int) -> int:
    """Make an empty file, 0600, under a name that must be free; return a descriptor for reading and writing."""
    return os.open(name, _NEW_FILE, 0o600, dir_fd=dir_fd)


def reflink(source: int, target: int) -> bool:
    """Share all of one file's blocks with another; False when these two files cannot.

    The kernel writes back the source's dirty pages first and clones under its lock: the copy is one moment of it.
    Errors: OSError for a full disk or broken storage.
    """
    import fcntl

    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in _NO_CLONE:
            return False
        raise
    return True


def copy_data(source: int, target: int, st: os.stat_result, digest: Any = None) -> None:
    """Copy the bytes of a file and keep its holes; feed them to `digest` on the way when there is one.

    A source that shrinks meanwhile ends the copy; it never makes it wait. Where the filesystem can copy by itself
    (`copy_file_range`) and nothing is hashed, no byte passes through here.
    Errors: OSError.
    """
    size = st.st_size
    if st.st_blocks * 512 >= size:
        _copy_range(source, target, 0, None, digest)
        return
    done = 0
    while done < size:
        start = _seek(source, done, os.SEEK_DATA)
        if start is None or start >= size:
            break
        if digest is not None:
            _feed_zeros(digest, start - done)
        stop = _seek(source, start, os.SEEK_HOLE)
        stop = size if stop is None or stop <= start else min(stop, size)
        done = _copy_range(source, target, start, stop, digest)
        if done < stop:  # the source became shorter
            break
    size = max(done, min(size, os.fstat(source).st_size))
    os.ftruncate(target, size)
    if digest is not None:
        _feed_zeros(digest, size - done)


def _seek(fd: int, position: int, whence: int) -> int | None:
    try:
        return os.lseek(fd, position, whence)
    except OSError as error:
        if error.errno == errno.ENXIO:  # nothing but a hole from here on
            return None
        if error.errno == errno.EINVAL:  # a filesystem that knows no holes: all is data
            return position if whence == os.SEEK_DATA else None
        raise


def _feed_zeros(digest: Any, count: int) -> None:
    zeros = bytes(min(count, CHUNK_BYTES))
    while count > 0:
        digest.update(zeros if count >= len(zeros) else zeros[:count])
        count -= len(zeros)


def _copy_range(source: int, target: int, start: int, stop: int | None, digest: Any) -> int:
    """Copy from `start` up to `stop` (None: the end of the file) at the same place; return where it ended."""
    position = start
    if digest is None:
        try:
            while stop is None or position < stop:
                wanted = _RANGE_BYTES if stop is None else min(_RANGE_BYTES, stop - position)
                count = os.copy_file_range(source, target, wanted, position, position)
                if count == 0:
                    break
                position += count
        except OSError as error:
            if error.errno not in _NO_RANGE:
                raise
        else:
            if position > start or (stop is None and os.fstat(source).st_size == start):
                return position
            # Some filesystems answer 0 for what they cannot copy: read it then.
    while stop is None or position < stop:
        wanted = CHUNK_BYTES if stop is None else min(CHUNK_BYTES, stop - position)
        chunk = os.pread(source, wanted, position)
        if not chunk:
            break
        if digest is not None:
            digest.update(chunk)
        view = memoryview(chunk)
        while view:
            count = os.pwrite(target, view, position)
            position += count
            view = view[count:]
    return position


def unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Answer whether a file is the same as before as far as its stat tells."""
    return (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


def copy_content(source: int, target: int, path: bytes, losses: Losses, *, share: bool = True) -> os.stat_result:
    """Copy a file's content until it held still meanwhile, at most three times; then note `torn`.

    Returns the stat of the source that belongs to the content. `share` lets the copy share blocks.
    Errors: OSError.
    """
    before = os.fstat(source)
    if share and reflink(source, target):  # in one moment: nothing can be torn
        return before
    for attempt in range(1, TRIES + 1):
        copy_data(source, target, before)
        after = os.fstat(source)
        if unchanged(before, after):
            return after
        before = after
        if attempt < TRIES:
            os.ftruncate(target, 0)
    losses.add(path, "torn", f"the file changed during each of {TRIES} attempts to copy it")
    return before


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
        source = safepath.open_file(name, src_fd)
        try:
            target = new_file(new, dst_fd)
            try:
                final = copy_content(source, target, path, losses, share=share)
                return apply_metadata(target, final, read_xattrs(source), path, losses)
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
        return apply_metadata(handle_path(fd), st, xattrs, path, losses)
    finally:
        os.close(fd)


def make_special(name: bytes, dst_fd: int, st: os.stat_result, path: bytes, losses: Losses) -> bool:
    """Make a fifo, socket or device; False, and a loss, when the system does not let us."""
    kind = walk.kind_of(st.st_mode)
    try:
        os.mknod(name, stat.S_IFMT(st.st_mode) | 0o600, st.st_rdev, dir_fd=dst_fd)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.ENOSYS):
            raise  # EPERM: devices need CAP_MKNOD; the others: filesystems without special files
        losses.add(path, "special", f"a {walk.KIND_NAMES[kind]} cannot be made here: {error.strerror}")
        return False
    return True


def make_dir(name: bytes, dir_fd: int) -> int:
    """Make a directory that only we can enter, without what it inherits, and open it. Errors: OSError."""
    os.mkdir(name, 0o700, dir_fd=dir_fd)
    return os.open(name, safepath.DIR_FLAGS, dir_fd=dir_fd)


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
    return apply_metadata(fd, st, read_xattrs(source_fd), path, losses)
