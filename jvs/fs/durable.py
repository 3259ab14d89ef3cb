"""Durable writes: the only place that renames, unlinks, syncs and removes.

Every function says what is on disk when it returns. Source: jvs-protocol(7), fsync(2), syncfs(2), rename(2).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from jvs import system
from jvs.fs import paths, rooted
from jvs.fs.rooted import Below, Root

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

TMPFS = 0x01021994
FUSE = 0x65735546
_SYNCFS_FLUSHES = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # XFS
        0x9123683E,  # btrfs
        0xF2F52010,  # f2fs
        TMPFS,  # nothing to flush, and nothing survives a power cut anyway
    }
)
_WRITE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
Where = int | None


def write_all(fd: int, data: bytes) -> None:
    """Write all bytes, however short the single writes are."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


@contextlib.contextmanager
def _naming(path: Below) -> Iterator[None]:
    """Let errors name the file that is being written: by its own name, also while it has a temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path).removesuffix(".tmp"), None
        raise


def create_file(path: Below, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Make a file that must not exist under its own name.

    Durable: the content when `sync`; the name only after the directory is synced.
    Errors: OSError; EEXIST when the name is taken. A file that could not be written completely is removed again.
    """
    with _naming(path), inside(path) as (above, name):
        fd = os.open(name, _WRITE_FLAGS, mode, dir_fd=above)
        try:
            try:
                rooted.give_to_owner(path.root, fd)
                write_all(fd, data)
                if sync:
                    os.fsync(fd)  # a crash before this leaves an empty or torn file: no reader may trust the name yet
            finally:
                os.close(fd)
        except BaseException:
            unlink(name, missing_ok=True, dir_fd=above)
            raise


def replace_file(path: Below, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Give a name new content in one step: after a crash it is the old or the new, never a mixture.

    The temporary name is `PATH.tmp`, so a crash leaves at most one, and the next writer takes it away. The caller
    holds the lock that makes it the only writer.
    Durable: content and name, when `sync`. Errors: OSError, which names PATH.
    """
    temporary = path.plus(".tmp")
    with _naming(path):
        try:
            unlink(temporary, missing_ok=True)
            create_file(temporary, data, mode=mode, sync=sync)  # a signal may come before its own clean-up
            _rename(temporary, path)  # readers see the old or the new content
        except BaseException:
            with contextlib.suppress(OSError):  # where nothing can be changed, nothing was made
                unlink(temporary, missing_ok=True)
            raise
    if sync:
        fsync_dir(path.parent)  # a crash before this may bring the old content back


def append(path: Below, data: bytes) -> None:
    """Append to a file with one write and make it durable; on any error cut the file back to what it was.

    Durable: the bytes. A crash in the middle leaves a prefix of `data`, which has no newline at its end.
    """
    with _naming(path):
        fd = _open_to_write(path, os.O_WRONLY | os.O_APPEND)
        try:
            before = os.fstat(fd).st_size
            try:
                write_all(fd, data)
                os.fsync(fd)  # the record must be there before the intent that promises it goes away
            except BaseException:
                os.ftruncate(fd, before)
                raise
        finally:
            os.close(fd)


def truncate(path: Below, size: int) -> None:
    """Cut a file to `size` bytes. Durable: yes."""
    fd = _open_to_write(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, size)
        os.fsync(fd)  # or the torn bytes could come back in front of the next record
    finally:
        os.close(fd)


def _open_to_write(path: Below, flags: int) -> int:
    return rooted.open_at(path, flags | os.O_NONBLOCK)


def make_dir(path: Below, *, mode: int = 0o700) -> None:
    """Make a directory. Durable: no; the caller syncs the one above. Errors: OSError; EEXIST."""
    with inside(path) as (above, name):
        os.mkdir(name, mode, dir_fd=above)
        if path.root.owner is not None:
            fd = paths.open_dir(name, above)
            try:
                rooted.give_to_owner(path.root, fd)
            finally:
                os.close(fd)


def open_directory(path: str, *, make: bool = False) -> Root:
    """Open a directory of the user's own, outside of any repository; `make` makes it, and those above it, 0700.

    Errors: OSError when it is not there; EPERM when root would make something in the home of somebody else.
    """
    if make:
        _check_home(path)
        os.makedirs(path, mode=0o700, exist_ok=True)
    return Root.open(path)


def _check_home(path: str) -> None:
    """Refuse to leave files of root where their owner could not read them: sudo(8) may keep HOME."""
    if os.geteuid() != 0:
        return
    while not os.path.exists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    if os.stat(path).st_uid != 0:
        raise PermissionError(errno.EPERM, "it belongs to another user; 'sudo -H' takes root's own home", path)


def _checked(name: object, dir_fd: Where) -> tuple[int, bytes]:
    """Return a name and the open directory that it is in. Errors: TypeError for a path, which leads anywhere."""
    if not isinstance(name, bytes) or dir_fd is None:
        raise TypeError(f"a place below a root is needed, or a name in an open directory, not {name!r}")
    return dir_fd, name


@contextlib.contextmanager
def inside(path: Below | bytes, dir_fd: Where = None, *, one_mount: bool = False) -> Iterator[tuple[int, bytes]]:
    """Give the open directory that is about to change, and the name in it; `one_mount` crosses no mount on the way."""
    if isinstance(path, Below):
        with rooted.changing(path, one_mount=one_mount) as found:
            yield found
    else:
        yield _checked(path, dir_fd)


def fsync_dir(path: Below | bytes, dir_fd: Where = None) -> None:
    """Make the names in a directory durable. A no-op on JuiceFS, whose metadata engine commits each change."""
    fd = paths.open_dir(path, dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def fsync_file(path: Below | bytes, dir_fd: Where = None) -> None:
    """Make the content of a file durable."""
    fd = paths.open_file(path, dir_fd)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def commit_file(path: Below) -> None:
    """Make the content of a file durable that another process is writing, through a descriptor that could write.

    JuiceFS commits nothing when the descriptor was opened for reading. Never waits for a fifo, never makes a file.
    """
    fd = _open_to_write(path, os.O_RDWR)
    try:
        if stat.S_ISREG(os.fstat(fd).st_mode):
            os.fsync(fd)  # a clone made before this would have the content of a second ago
    finally:
        os.close(fd)


def rename(source: Below | bytes, target: Below | bytes, *, source_fd: Where = None, target_fd: Where = None) -> None:
    """Rename without syncing; the caller syncs the directories in the order that its protocol needs."""
    _rename(source, target, source_fd, target_fd)


def _rename(source: Below | bytes, target: Below | bytes, source_fd: Where = None, target_fd: Where = None) -> None:
    with inside(source, source_fd) as (from_fd, old), inside(target, target_fd) as (to_fd, new):
        os.rename(old, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)


def exchange(source: bytes, target: bytes, *, source_fd: int, target_fd: int) -> bool:
    """Let two names that are both there trade places in one step, whatever their kinds; no name is absent meanwhile.

    Returns False, and nothing happened, where the filesystem cannot do that.
    Durable: no; the caller syncs the directories. Errors: OSError; EXDEV across subvolumes.
    Source: renameat2(2), RENAME_EXCHANGE.
    """
    return system.renameat2(source, target, source_fd, target_fd, system.RENAME_EXCHANGE)


def rename_new(source: bytes, target: bytes, *, source_fd: int, target_fd: int) -> None:
    """Rename to a name that must be free, in one step where the filesystem can do that, else after a look.

    Durable: no; the caller syncs the directories. Errors: FileExistsError when the name is taken; OSError.
    Source: renameat2(2), RENAME_NOREPLACE.
    """
    if system.renameat2(source, target, source_fd, target_fd, system.RENAME_NOREPLACE):
        return
    try:
        os.lstat(target, dir_fd=target_fd)
    except FileNotFoundError:
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)
        return
    raise FileExistsError(errno.EEXIST, "already there", os.fsdecode(target))


def publish(source: Below, target: Below) -> None:
    """Rename a finished thing to its final name, which must be free, and make the name durable.

    Durable: the new name, and that the old one is deleted.
    Errors: FileExistsError when the name is taken: rename(2) alone would replace an empty directory or a file.
    """
    with inside(target) as (above, name):
        try:
            os.lstat(name, dir_fd=above)
        except FileNotFoundError:
            pass
        else:
            raise FileExistsError(errno.EEXIST, "already there", paths.shown(target))
    _rename(source, target)  # a crash before this leaves only the temporary name, which no reader looks at
    fsync_dir(target.parent)  # a crash before this may undo the rename: then it never happened
    if source.parent != target.parent:
        fsync_dir(source.parent)


def unlink(path: Below | bytes, *, missing_ok: bool = False, dir_fd: Where = None) -> None:
    """Remove a name without syncing."""
    try:
        with inside(path, dir_fd) as (above, name):
            os.unlink(name, dir_fd=above)
    except FileNotFoundError:
        if not missing_ok:
            raise


def rmdir(path: Below | bytes, *, missing_ok: bool = False, dir_fd: Where = None) -> None:
    """Remove an empty directory without syncing."""
    try:
        with inside(path, dir_fd) as (above, name):
            os.rmdir(name, dir_fd=above)
    except FileNotFoundError:
        if not missing_ok:
            raise


class Barrier:
    """Makes everything written after it was opened durable, in the cheapest way that is true.

    On ext4, XFS, btrfs, f2fs and tmpfs one syncfs(2); elsewhere (FUSE above all, where syncfs returns 0 and
    flushes nothing) each file and directory that the caller names is synced by itself. It is opened before the
    first write, because the kernel reports write-back errors only to descriptors that were open by then.
    """

    def __init__(self, directory: Below, *, each: bool = False) -> None:
        self._fd = paths.open_dir(directory)
        self._each = each
        self._type: int | None = None

    @property
    def fd(self) -> int:
        """The open directory that it was made for."""
        return self._fd

    @property
    def whole_filesystem(self) -> bool:
        """Whether one syncfs(2) flushes everything here."""
        return not self._each and self.filesystem_type in _SYNCFS_FLUSHES

    @property
    def filesystem_type(self) -> int:
        """The f_type of fstatfs(2); 0 when the system does not say."""
        if self._type is None:
            self._type = system.filesystem_type(self._fd)
        return self._type

    def flush(self) -> None:
        """Sync the whole filesystem. Durable: everything on it. Errors: OSError; never try again after one."""
        system.syncfs(self._fd)

    def sync_trees(self, trees: Sequence[Below], files: Sequence[Below]) -> None:
        """Make whole trees and single files durable, with one barrier where that is possible."""
        if self.whole_filesystem:
            self.flush()
            return
        for tree in trees:
            sync_tree(tree)
        for path in files:
            fsync_file(path)
        for directory in sorted({path.parent for path in [*trees, *files]}):
            fsync_dir(directory)

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self._fd)

    def __enter__(self) -> Barrier:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def sync_tree(path: Below | bytes, dir_fd: Where = None, *, skip: str | None = None) -> None:
    """Sync every regular file and every directory of a tree, bottom up; `skip` leaves one name at the top out.

    Durable: the whole tree.
    """
    fd = paths.open_dir(path, dir_fd)
    try:
        with os.scandir(fd) as entries:
            listing = [
                (
                    os.fsencode(entry.name),
                    entry.is_dir(follow_symlinks=False),
                    entry.is_file(follow_symlinks=False),
                )
                for entry in entries
            ]
        for name, is_dir, is_file in listing:
            if skip is not None and name == os.fsencode(skip):
                continue
            if is_dir:
                sync_tree(name, fd)
            elif is_file:
                fsync_file(name, fd)
        os.fsync(fd)  # names after the things they name
    finally:
        os.close(fd)
