"""Places below a directory that was opened once: whatever a name says, no system call leads out of that directory.

A `Root` is an open directory; a `Below` is a place in it, as a list of single names. A place is no path: it cannot be
given to `os.open`, so that every system call on it comes through `jvs.fs`, which opens the directory that holds the
place by descriptor, without following a link, and then acts on one name in it. Whoever swaps a directory for a link
between two system calls makes the second one fail, or finds it at work in the directory that was there before.
Source: openat2(2), RESOLVE_BENEATH; jvs-threats(7).
"""

from __future__ import annotations

import contextlib
import errno
import os

from jvs import system
from jvs.errors import PathEscape, readable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.system import Openat2

_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 1, 2, 4, 8
_RESOLVE = _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS
_TRIES = 64
"""How often EAGAIN is trusted: the kernel answers it when a directory was renamed meanwhile."""
_WAY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_TMPFILE & ~os.O_DIRECTORY

_openat2: Openat2 | None = None
_probed = False


class Root:
    """A directory that was opened once. Shape: `path` is for messages only.

    `owner` is who gets what is made here (uid, gid), when that is not whoever makes it. `refusal` says why nothing may
    be changed here; an empty text lets everything pass, unless nothing can be given to the owner. `one_mount` says that
    nothing that is mounted below is entered or written.
    """

    __slots__ = ("_kept", "_tried", "fd", "one_mount", "owner", "path", "refusal")

    def __init__(self, path: str, fd: int) -> None:
        self.fd = fd
        self.path = path
        self.owner: tuple[int, int] | None = None
        self.refusal = ""
        self.one_mount = False
        self._tried = False
        self._kept: dict[tuple[bytes, ...], int] = {}

    @classmethod
    def open(cls, path: str) -> Root:
        """Open a directory that a person named; links on the way are theirs, and are followed. Errors: OSError."""
        return cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))

    @property
    def here(self) -> Below:
        """The directory itself as a place."""
        return Below(self, ())

    def __truediv__(self, name: str | bytes) -> Below:
        return Below(self, (check_component(name),))

    def keep_open(self, place: Below) -> None:
        """Let a directory that lasts as long as its root be opened once only, when it is first used."""
        self._kept.setdefault(place.parts, -1)

    def kept(self, parts: tuple[bytes, ...]) -> int | None:
        """Return the descriptor of a directory that is kept open; None for any other. Errors: OSError."""
        fd = self._kept.get(parts)
        if fd == -1:
            try:
                fd = self._kept[parts] = _resolve(self.fd, parts, _WAY, 0, one_mount=self.one_mount)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                raise PathEscape(
                    f"mounted inside the repository: '{readable(str(Below(self, parts)))}'",
                    hint="unmount it, or mount it elsewhere: jvs neither reads nor changes what is mounted there",
                ) from error
        return fd

    def nearest(self, parts: tuple[bytes, ...]) -> tuple[int, tuple[bytes, ...]]:
        """Return the descriptor that is open nearest to a directory, and the way from there. Errors: OSError."""
        for count in range(len(parts), 0, -1):
            fd = self.kept(parts[:count])
            if fd is not None:
                return fd, parts[count:]
        return self.fd, parts

    def refuses(self) -> str:
        """Return why nothing may be changed here; an empty text lets everything pass."""
        if self.owner is not None and not self._tried:
            self._tried = True
            self.refusal = self.refusal or _why_not_given(self.fd, self.path, self.owner)
        return self.refusal

    def check_writable(self) -> None:
        """Raise E_PATH_ESCAPE when nothing may be changed here."""
        if reason := self.refuses():
            raise PathEscape(reason, hint="work as its owner; 'jvs help threats' says who may do what")

    def __del__(self) -> None:
        for fd in (*self._kept.values(), self.fd):
            if fd >= 0:
                os.close(fd)


class Below:
    """A place below a root: a list of single names, none of which leads up or elsewhere. An immutable value.

    `str()` gives the path as a user would write it, for messages; no system call takes it from here.
    """

    __slots__ = ("parts", "root")

    def __init__(self, root: Root, parts: tuple[bytes, ...]) -> None:
        self.root = root
        self.parts = parts

    def __truediv__(self, name: str | bytes) -> Below:
        """Return the place of a name in this directory. Errors: E_PATH_ESCAPE when it is not one single name."""
        return Below(self.root, (*self.parts, check_component(name)))

    def plus(self, suffix: str) -> Below:
        """Return the place next to this one whose name has something more at its end."""
        return self.parent / (self.parts[-1] + os.fsencode(suffix))

    @property
    def parent(self) -> Below:
        """The directory that holds this place. Errors: E_PATH_ESCAPE for the root itself."""
        if not self.parts:
            raise PathEscape(f"'{readable(self.root.path)}' has nothing above it here", hint="this is a bug in jvs")
        return Below(self.root, self.parts[:-1])

    @property
    def name(self) -> str:
        """The last name; of the root itself that of its path."""
        return os.fsdecode(self.parts[-1]) if self.parts else os.path.basename(self.root.path)

    def relative_to(self, other: Below) -> str:
        """Return the path from a directory above, for messages."""
        return os.fsdecode(b"/".join(self.parts[len(other.parts) :])) or "."

    def __str__(self) -> str:
        return os.path.join(self.root.path, *map(os.fsdecode, self.parts))

    def __repr__(self) -> str:
        return f"<{self}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Below) and (self.root.path, self.parts) == (other.root.path, other.parts)

    def __lt__(self, other: Below) -> bool:
        return (self.root.path, self.parts) < (other.root.path, other.parts)

    def __hash__(self) -> int:
        return hash((self.root.path, self.parts))


def check_component(name: str | bytes) -> bytes:
    """Return a name as bytes when it is that of one entry of a directory. Errors: E_PATH_ESCAPE."""
    try:
        data = os.fsencode(name)
    except (UnicodeEncodeError, TypeError):
        data = b""
    if data in (b"", b".", b"..") or b"/" in data or b"\0" in data:
        shown = readable(name[:80] if isinstance(name, str) else repr(name)[:80])
        raise PathEscape(f"'{shown}' is not the name of an entry", hint="names hold no '/' and are not '.' or '..'")
    return data


def at(path: str) -> Below:
    """Return the place that a path of a person's own names: on the command line, or in their own settings.

    The directory that holds it is opened now, through whatever links that person made; the entry itself is not
    followed. Errors: OSError when the directory is not there.
    """
    above, name = os.path.split(path.rstrip("/") or "/")
    if name in ("", ".", ".."):
        real = os.path.realpath(path)
        if real == "/":
            return Root.open("/").here
        above, name = os.path.split(real)
    return Root.open(above or ".") / name


def open_at(place: Below, flags: int, mode: int = 0, *, one_mount: bool = False) -> int:
    """Open a place and return a descriptor; no link is followed, the last name included.

    `one_mount` refuses what is mounted on the way or in place of it. Errors: OSError; ELOOP or ENOTDIR where a link
    is, EXDEV where something is mounted; E_PATH_ESCAPE when it would write below a root where nothing may be changed.
    """
    root = place.root
    if flags & _WRITES:
        root.check_writable()
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    one_mount = one_mount or (root.one_mount and bool(flags & (_WRITES | os.O_DIRECTORY)))
    kept = root.kept(place.parts[:-1]) if len(place.parts) > 1 and not one_mount else None
    if kept is not None or (len(place.parts) < 2 and not one_mount):
        return os.open(place.parts[-1] if place.parts else b".", flags, mode, dir_fd=root.fd if kept is None else kept)
    fd, rest = root.nearest(place.parts[:-1])
    return _resolve(fd, (*rest, *place.parts[-1:]), flags, mode, one_mount=one_mount or root.one_mount)


def open_within(dir_fd: int, parts: tuple[bytes, ...], flags: int) -> int:
    """Open a place below an open directory, following no link and crossing no mount. Errors: as `open_at`."""
    return _resolve(dir_fd, parts, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0, one_mount=True)


def open_child(dir_fd: int, name: bytes, flags: int) -> int:
    """Open one name in an open directory where nothing may be mounted in its place. Errors: as `open_at`."""
    return _resolve(dir_fd, (name,), flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0, one_mount=True)


def _resolve(fd: int, parts: tuple[bytes, ...], flags: int, mode: int, *, one_mount: bool) -> int:
    openat2 = _openat2 if _probed else _probe(fd)
    path = b"/".join(parts) or b"."
    if openat2 is not None and len(path) < 4096:
        for _ in range(_TRIES):
            try:
                mode_now = mode if flags & os.O_CREAT else 0
                return openat2(fd, path, flags, mode_now, _RESOLVE | (_NO_XDEV if one_mount else 0))
            except BlockingIOError:
                continue
            except OSError as error:
                error.filename = os.fsdecode(path)
                raise
    return _walk(fd, parts, flags, mode, one_mount=one_mount)


def _walk(fd: int, parts: tuple[bytes, ...], flags: int, mode: int, *, one_mount: bool) -> int:
    """Open component by component, where there is no openat2: no name leads up, and no link is followed."""
    mount = _mount_of(fd) if one_mount else 0
    here = os.dup(fd)
    try:
        for part in parts[:-1]:
            below = os.open(part, _WAY, dir_fd=here)
            os.close(here)
            here = below
            _check_mount(here, mount, part)
        last = parts[-1] if parts else b"."
        if mount and flags & _WRITES:  # opening alone may cut a file to nothing
            _check_before(here, mount, last)
        found = os.open(last, flags | os.O_NOFOLLOW, mode, dir_fd=here)
    finally:
        os.close(here)
    try:
        _check_mount(found, mount, last)
    except BaseException:
        os.close(found)
        raise
    return found


def _check_before(fd: int, mount: int, name: bytes) -> None:
    """Raise EXDEV when something is mounted in place of an entry; one that is not there is made by the caller."""
    try:
        there = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
    except FileNotFoundError:
        return
    try:
        _check_mount(there, mount, name)
    finally:
        os.close(there)


def _check_mount(fd: int, mount: int, name: bytes) -> None:
    if mount and _mount_of(fd) != mount:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), os.fsdecode(name))


def _mount_of(fd: int) -> int:
    """Return what tells mounts apart: their id, or the device where the kernel does not say."""
    found = system.mount_id(fd)
    return os.fstat(fd).st_dev if found is None else found


def _probe(fd: int) -> Openat2 | None:
    """Find out once whether there is an openat2 here: old kernels say ENOSYS, and seccomp often EPERM."""
    global _openat2, _probed
    call = system.openat2()
    try:
        os.close(call(fd, b".", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE))
        _openat2 = call
    except OSError:
        _openat2 = None
    _probed = True
    return _openat2


@contextlib.contextmanager
def holding(place: Below, *, one_mount: bool = False) -> Iterator[tuple[int, bytes]]:
    """Give the open directory that holds a place, and its name there; the root itself is `.` in itself.

    Errors: OSError as `open_at`.
    """
    root, above = place.root, place.parts[:-1]
    nearest, rest = root.nearest(above)
    if not rest:
        yield nearest, place.parts[-1] if place.parts else b"."
        return
    fd = _resolve(nearest, rest, _WAY, 0, one_mount=one_mount or root.one_mount)
    try:
        yield fd, place.parts[-1]
    finally:
        os.close(fd)


@contextlib.contextmanager
def changing(place: Below, *, one_mount: bool = False) -> Iterator[tuple[int, bytes]]:
    """As `holding`, for a call that changes the directory. Errors: E_PATH_ESCAPE where nothing may be changed."""
    place.root.check_writable()
    with holding(place, one_mount=one_mount) as found:
        yield found


def give_to_owner(root: Root, fd: int) -> None:
    """Give what was just made, and is open, to the owner of its root, when that is somebody else. Errors: OSError."""
    if root.owner is not None and os.fstat(fd).st_uid != root.owner[0]:
        os.fchown(fd, *root.owner)
        if os.fstat(fd).st_uid != root.owner[0]:  # a filesystem that says yes and does nothing
            raise OSError(errno.EPERM, "a file cannot be given to the owner of the repository")


def _why_not_given(fd: int, path: str, owner: tuple[int, int]) -> str:
    """Try whether a file that we make can be given to somebody else; return why not. Leaves nothing."""
    try:
        made = os.open(b".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=fd)
    except OSError:  # none without a name on this filesystem, or nothing can be made at all, which will be said
        made = os.dup(fd)  # who may give it to its own owner, and is not the owner, may give files away
    try:
        os.fchown(made, *owner)
        if os.fstat(made).st_uid == owner[0]:
            return ""
        reason = "the filesystem keeps no owners"
    except OSError as error:
        if error.errno == errno.EROFS:
            return ""
        reason = error.strerror or "it is refused"
    finally:
        os.close(made)
    return f"'{path}' belongs to uid {owner[0]}, and what is made here cannot be given to them: {reason}"
