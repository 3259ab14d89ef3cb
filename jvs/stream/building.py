"""Building a tree from the items of a stream, inside one open directory and nowhere else.

Every name is that of one entry of the directory that is open; nothing follows a link, and no mount is crossed. Files of
the base are never written to: each file that changes becomes one of its own, which shares what it can.
Source: jvs-stream(5); jvs-threats(7).
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import system
from jvs.engine import hardlinks
from jvs.errors import PathEscape
from jvs.fs import copyfile, durable, listing, metadata, paths, removal, rooted, xattrs
from jvs.fs.losses import Losses
from jvs.stream import items
from jvs.stream.items import damaged
from jvs.stream.written import ContentHash, InOrder, Written
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jvs.stream.items import ItemReader

MOST_LEVELS = 4096
MOST_FILE_BYTES = 16 << 40
_ID_LIMIT = 1 << 32
_PERMISSIONS = 0o7777
_ZEROS = bytes(1 << 20)


class Builder:
    """Makes the tree of one snapshot; `base` is the open root of what it was begun with, or -1.

    `most_bytes` bounds the size of a single file: what the descriptor says that all of them have.
    """

    def __init__(self, root: int, base: int, *, most_bytes: int, losses: Losses) -> None:
        self._root = root
        self._base = base
        self._most_bytes = min(most_bytes, MOST_FILE_BYTES)
        self._losses = losses
        self._stack: list[tuple[int, bytes]] = [(os.dup(root), b"")]
        self._file: _File | None = None
        self.written = Written()
        self._behind = InOrder()
        self._steps: dict[int, Callable[..., None]] = {
            items.ENTER: self._enter,
            items.MAKE: self._make,
            items.LEAVE: self._leave,
            items.REMOVE: self._remove,
            items.SPECIAL: self._special,
            items.FILE: self._begin_file,
            items.LINK: self._link,
        }

    def build(self, reader: ItemReader) -> None:
        """Apply items until the one that leaves the root.

        Errors: E_PARTIAL_SNAPSHOT, E_PATH_ESCAPE; OSError for what the system refuses.
        """
        listing.allow_deep_trees()
        try:
            while self._stack:
                kind, *values = reader.item()
                if self._file is not None:
                    self._go_on(self._file, kind, values)
                elif kind in self._steps:
                    self._steps[kind](*values)
                else:
                    raise damaged("its items are out of order")
        finally:
            self._behind.close()
            if self._file is not None:
                self._file.close()
            for fd, _ in self._stack:
                os.close(fd)

    @property
    def _here(self) -> int:
        return self._stack[-1][0]

    def _path(self, name: bytes) -> bytes:
        return listing.relative(self._stack[-1][1], name)

    def _enter(self, name: Any) -> None:
        checked = _name(name)
        if len(self._stack) > MOST_LEVELS:
            raise damaged("its directories nest too deep")
        try:
            fd = paths.open_dir(checked, self._here, one_mount=True)
        except PermissionError:
            paths.open_up(checked, self._here)
            fd = paths.open_dir(checked, self._here, one_mount=True)
        except OSError as error:
            raise _refused(error, self._path(checked)) from error
        self._stack.append((fd, self._path(checked)))
        _let_us_in(fd)

    def _make(self, name: Any) -> None:
        checked = _name(name)
        if len(self._stack) > MOST_LEVELS:
            raise damaged("its directories nest too deep")
        try:
            fd = metadata.make_dir(checked, self._here)
        except FileExistsError as error:
            raise damaged("it makes a directory where something is") from error
        self._stack.append((fd, self._path(checked)))
        metadata.drop_inherited(fd)

    def _leave(self, facts: Any) -> None:
        st, attributes = _metadata(facts, stat.S_IFDIR)
        fd, path = self._stack.pop()
        try:
            metadata.apply_metadata(fd, st, attributes, path, self._losses)
        finally:
            os.close(fd)

    def _remove(self, name: Any) -> None:
        checked = _name(name)
        try:
            os.lstat(checked, dir_fd=self._here)
        except FileNotFoundError as error:
            raise damaged("it removes what is not there") from error
        removal.remove_tree(checked, dir_fd=self._here)

    def _free(self, name: bytes) -> None:
        """Take away the file that is to be replaced. Errors: E_PARTIAL_SNAPSHOT for a directory."""
        try:
            durable.unlink(name, missing_ok=True, dir_fd=self._here)
        except (IsADirectoryError, PermissionError) as error:
            raise damaged("it puts a file where a directory is") from error

    def _special(self, name: Any, facts: Any, kind: Any, value: Any) -> None:
        checked = _name(name)
        form = _FORMS.get(kind) if type(kind) is int else None
        if form is None or not isinstance(value, bytes):
            raise damaged("an entry is of no known kind")
        number = _device(value) if kind in (listing.CHAR, listing.BLOCK) else 0
        st, attributes = _metadata(facts, form, rdev=number)
        self._free(checked)
        if kind == listing.SYMLINK:
            if not value or b"\0" in value:
                raise damaged("a symbolic link leads nowhere")
            os.symlink(value, checked, dir_fd=self._here)
        elif not metadata.make_special(checked, self._here, st, self._path(checked), self._losses):
            return
        fd = metadata.handle(checked, self._here)
        try:
            metadata.apply_metadata(system.path_of(fd), st, attributes, self._path(checked), self._losses)
        finally:
            os.close(fd)

    def _begin_file(self, name: Any, facts: Any, size: Any, origin: Any) -> None:
        checked = _name(name)
        st, attributes = _metadata(facts, stat.S_IFREG)
        if not _is_count(size) or size > self._most_bytes:
            raise damaged("a file is larger than its snapshot")
        source = -1 if origin is None else self._open_origin(origin)
        try:
            fd = self._new_file(checked)
            self._file = _File(fd, size, st, attributes, self._path(checked), self.written, self._behind)
            if source >= 0:
                self._file.begin_with(source, origin)
                os.ftruncate(fd, size)
        finally:
            if source >= 0:
                os.close(source)

    def _new_file(self, name: bytes) -> int:
        """Make a file, in place of what is there, which is seldom anything."""
        try:
            return metadata.new_file(name, self._here)
        except FileExistsError:
            self._free(name)
            return metadata.new_file(name, self._here)

    def _open_origin(self, origin: Any) -> int:
        if not isinstance(origin, bytes) or self._base < 0:
            raise damaged("a file is to be made of one that is not there")
        try:
            return paths.open_file_below(self._base, _path(origin))
        except OSError as error:
            raise _refused(error, origin) from error

    def _go_on(self, file: _File, kind: int, values: list[Any]) -> None:
        """Apply an item to the file that is being made."""
        if kind == items.DATA:
            file.write(*values)
        elif kind == items.ZEROS:
            file.clear(*values)
        elif kind == items.FILE_END:
            self._file = None
            file.finish(self._losses)
        else:
            raise damaged("a file is not finished")

    def _link(self, name: Any, first: Any) -> None:
        checked = _name(name)
        if not isinstance(first, bytes) or not first or first == self._path(checked):
            raise damaged("a name is to be one of nothing")
        path = _path(first)
        if self._is_directory(path):
            raise damaged("a name is to be one of a directory")
        self._free(checked)
        self.written.linked.add(self._path(checked))
        error = hardlinks.link(self._root, path, self._here, checked)
        if error is not None:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
                raise _refused(error, path) from error
            raise error

    def _is_directory(self, path: bytes) -> bool:
        found = paths.lstat_below(self._root, paths.split_relative(path))
        return found is not None and stat.S_ISDIR(found.st_mode)


class _File:
    """A file that is being made: its parts come in the order of their places."""

    def __init__(
        self,
        fd: int,
        size: int,
        st: os.stat_result,
        attributes: xattrs.Attributes,
        path: bytes,
        written: Written,
        behind: InOrder,
    ) -> None:
        self._fd = fd
        self._size = size
        self._st = st
        self._attributes = attributes
        self._path = path
        self._written = written
        self._behind = behind
        self._at = 0
        self._has_origin = False
        made = os.fstat(fd)
        self._inode = made.st_dev, made.st_ino
        self._hash: ContentHash | None = ContentHash(size)
        self._touched: set[int] = set()
        written.digests[self._inode] = None  # a number that is used again
        written.leaves.pop(self._inode, None)

    def begin_with(self, source: int, origin: bytes) -> None:
        """Begin with the content of another file, sharing its blocks where that goes. Errors: OSError."""
        if not copyfile.reflink(source, self._fd):
            copyfile.copy_data(source, self._fd, os.fstat(source))
        self._has_origin = True
        self._hash = None
        self._written.leaves[self._inode] = origin, self._touched

    def _next(self, at: Any, length: int) -> int:
        if not _is_count(at) or at < self._at or length <= 0 or at + length > self._size:
            raise damaged("the parts of a file are out of order, or lie outside of it")
        self._at = at + length
        if self._has_origin:
            self._touched.update(range(at // LEAF_BYTES, (at + length - 1) // LEAF_BYTES + 1))
        return int(at)

    def write(self, at: Any, data: Any) -> None:
        """Write a part. Errors: E_PARTIAL_SNAPSHOT, OSError."""
        if not isinstance(data, bytes | bytearray) or len(data) > items.DATA_BYTES:
            raise damaged("a part of a file is no bytes, or too long")
        place, view = self._next(at, len(data)), memoryview(data)
        content = self._hash
        if content is not None:
            self._behind.do(lambda part: content.take_at(place, part), data)
        at = place
        while view:
            written = os.pwrite(self._fd, view, at)
            at, view = at + written, view[written:]

    def clear(self, at: Any, length: Any) -> None:
        """Make a part zeros: a hole where the filesystem has them. Errors: E_PARTIAL_SNAPSHOT, OSError."""
        if not _is_count(length) or not self._has_origin or length > items.DATA_BYTES:
            raise damaged("a part of a file is to be zeros for no reason")
        place = self._next(at, length)
        try:
            system.punch_hole(self._fd, place, length)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM):
                raise
            os.pwrite(self._fd, _ZEROS[:length], place)

    def finish(self, losses: Losses) -> None:
        """Give the file its metadata, and close it. Errors: OSError."""
        try:
            if self._hash is not None:
                if self._at < self._size:
                    os.ftruncate(self._fd, self._size)
                self._behind.wait()
                digest, listed = self._hash.result()
                self._written.digests[self._inode] = digest
                if listed:
                    self._written.lists[digest] = self._size, listed
            metadata.apply_metadata(self._fd, self._st, self._attributes, self._path, losses)
        finally:
            self.close()

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


_FORMS = {
    listing.SYMLINK: stat.S_IFLNK,
    listing.FIFO: stat.S_IFIFO,
    listing.SOCKET: stat.S_IFSOCK,
    listing.CHAR: stat.S_IFCHR,
    listing.BLOCK: stat.S_IFBLK,
}


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _name(value: Any) -> bytes:
    """Return the name of one entry. Errors: E_PATH_ESCAPE, E_PARTIAL_SNAPSHOT."""
    if not isinstance(value, bytes):
        raise damaged("a name is no bytes")
    if len(value) > 255:
        raise damaged("a name is longer than any may be")
    return rooted.check_component(value)


def _path(value: bytes) -> bytes:
    """Return a path of names that lead down, and of nothing else. Errors: E_PATH_ESCAPE."""
    for part in value.split(b"/"):
        rooted.check_component(part)
    return value


def _refused(error: OSError, path: bytes) -> Exception:
    """Return the error for a path that is not what the stream says of it."""
    shown = path.decode("utf-8", "backslashreplace")
    if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EXDEV):
        return PathEscape(
            f"the stream leads through '{shown}', which is no directory of the snapshot",
            hint="send it again from a repository that you trust: nothing was received",
        )
    if error.errno in (errno.ENOENT, errno.EINVAL, errno.ENAMETOOLONG):
        return damaged(f"'{shown}' is not what it says")
    return error


def _device(value: bytes) -> int:
    major, colon, minor = value.partition(b":")
    if not (colon and major.isdigit() and minor.isdigit() and len(value) <= 21):
        raise damaged("a device has no numbers")
    numbers = int(major), int(minor)
    if numbers[0] >= 1 << 12 or numbers[1] >= 1 << 20:
        raise damaged("a device has no such numbers")
    return os.makedev(*numbers)


def _metadata(value: Any, form: int, *, rdev: int = 0) -> tuple[os.stat_result, xattrs.Attributes]:
    """Return what an item says of an entry, as the system says it. Errors: E_PARTIAL_SNAPSHOT."""
    if not isinstance(value, list) or len(value) != 5 or not all(type(item) is int for item in value[:4]):
        raise damaged("an entry has no metadata")
    mode, uid, gid, mtime_ns, attributes = value
    if not (0 <= mode <= _PERMISSIONS and 0 <= uid < _ID_LIMIT - 1 and 0 <= gid < _ID_LIMIT - 1):
        raise damaged("the metadata of an entry is out of bounds")
    if abs(mtime_ns) >= 1 << 63 or not (attributes is None or isinstance(attributes, dict)):
        raise damaged("the metadata of an entry is out of bounds")
    names = attributes or {}
    if any(not 0 < len(name) <= 255 or b"\0" in name or len(item) > 1 << 16 for name, item in names.items()):
        raise damaged("an attribute of an entry is out of bounds")
    seconds = mtime_ns // 1_000_000_000
    st = os.stat_result(
        (form | mode, 0, 0, 1, uid, gid, 0, seconds, seconds, seconds),
        {"st_atime_ns": mtime_ns, "st_mtime_ns": mtime_ns, "st_ctime_ns": mtime_ns, "st_rdev": rdev},
    )
    return st, {os.fsdecode(name): item for name, item in names.items() if os.fsdecode(name) not in xattrs.NOT_OURS}


def _let_us_in(fd: int) -> None:
    """Let ourselves change a directory of the base; leaving it gives it its mode."""
    mode = os.fstat(fd).st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(fd, stat.S_IMODE(mode) | stat.S_IRWXU)
