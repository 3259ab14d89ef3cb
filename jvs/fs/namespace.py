"""A mount namespace of our own: what is mounted there nobody else sees, and it ends with its last process.

Root gets a mount namespace; other users a user namespace as well, in which they keep their own uid. Called in a child
process between fork and exec, so everything that has to be loaded is loaded before (`prepare`).
Source: mount_namespaces(7), user_namespaces(7), mount(2); Documentation/filesystems/overlayfs.rst of the kernel.
"""

from __future__ import annotations

import errno
import os

from jvs import system
from jvs.errors import IOFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Call = Callable[..., None]

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 8, 32, 4096
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_KEPT_FLAGS = ((2, 2), (4, 4), (8, 8), (0x400, 0x400), (0x800, 0x800), (0x1000, 1 << 21))
"""What statvfs(3) says of a mount, and mount(2) calls it: a user namespace may not take any of it away."""


class Bind:
    """A directory, or a file, that is shown at another path as well."""

    def __init__(self, source: str, target: str, *, writable: bool = False) -> None:
        self.source = source
        self.target = target
        self.writable = writable

    def paths(self) -> list[str]:
        """Return what is opened before anything is mounted: it may be hidden by then."""
        return [self.source]

    def mount(self, call: Call, names: list[bytes]) -> None:
        """Mount it; `names` lead to what was opened. Errors: OSError."""
        there = os.fsencode(self.target)
        call(names[0], there, None, _MS_BIND, None)
        if not self.writable:
            flags = os.statvfs(there).f_flag
            kept = sum(flag for said, flag in _KEPT_FLAGS if flags & said)
            call(None, there, None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept, None)


class Layers:
    """Directories laid over each other, topmost first; without `upper` read-only, else all changes go there."""

    def __init__(
        self, lower: list[str], target: str, options: str, *, upper: str | None = None, work: str | None = None
    ) -> None:
        self.lower = lower
        self.target = target
        self.options = options
        self.upper = upper
        self.work = work

    def paths(self) -> list[str]:
        """Return what is opened before anything is mounted: it may be hidden by then."""
        return self.lower if self.upper is None or self.work is None else [*self.lower, self.upper, self.work]

    def mount(self, call: Call, names: list[bytes]) -> None:
        """Mount it; `names` lead to what was opened. Errors: OSError."""
        count = len(self.lower)
        options = [b"lowerdir=" + b":".join(names[:count])]
        if len(names) > count:
            options += [b"upperdir=" + names[count], b"workdir=" + names[count + 1]]
        options += [self.options.encode()] if self.options else []
        flags = _MS_NODEV if os.geteuid() != 0 else 0
        call(b"overlay", os.fsencode(self.target), b"overlay", flags, b",".join(options))


class Cover:
    """An empty directory, which nobody can write to, over what is not to be seen.

    `inner` is a directory in it in which something else is mounted afterwards.
    """

    def __init__(self, target: str, inner: str | None = None) -> None:
        self.target = target
        self.inner = inner

    def paths(self) -> list[str]:
        """Return what is opened before anything is mounted: nothing."""
        return []

    def mount(self, call: Call, names: list[bytes]) -> None:
        """Mount it. Errors: OSError."""
        flags, there = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, os.fsencode(self.target)
        call(b"jvs", there, b"tmpfs", flags, b"size=16k,mode=0555")
        if self.inner is not None:
            os.makedirs(os.path.join(self.target, self.inner), 0o755)
        call(None, there, None, flags | _MS_REMOUNT | _MS_RDONLY, b"size=16k,mode=0555")


Mount = Bind | Layers | Cover


def overlay_options() -> str:
    """Return the options of an overlay with an upper layer, always explicit: a module's defaults differ by host."""
    if os.geteuid() == 0:
        return "index=on,redirect_dir=on,metacopy=off,xino=on"
    return "userxattr,redirect_dir=off,metacopy=off"


def prepare(mounts: list[Mount], directory: str | None = None) -> Callable[[], None]:
    """Return what enters a namespace and mounts there, to be called once in a child process.

    Then it goes to `directory`, as it is seen by then. Errors: IOFailure where the C library cannot be called. What
    is returned raises OSError where the system refuses.
    """
    try:
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        unshare, mount = libc.unshare, libc.mount
    except (ImportError, OSError, AttributeError) as error:
        raise IOFailure(f"the system library cannot be called: {error}", hint="use another Python") from error
    mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)
    uid, gid = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNS if uid == 0 else _CLONE_NEWNS | _CLONE_NEWUSER
    maps = [("setgroups", b"deny"), ("uid_map", b"%d %d 1" % (uid, uid)), ("gid_map", b"%d %d 1" % (gid, gid))]

    def check(answer: int, what: str) -> None:
        if answer != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"{what}: {os.strerror(number)}")

    def call(*words: Any) -> None:
        check(mount(*words), "mount")

    def enter() -> None:
        check(unshare(flags), "unshare")
        for name, data in maps if uid != 0 else ():
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        call(None, b"/", None, _MS_REC | _MS_PRIVATE, None)
        _mount_all(mounts, call)
        if directory is not None:
            os.chdir(directory)

    return enter


def _mount_all(mounts: list[Mount], call: Call) -> None:
    """Open first what one mount could hide from the next. Errors: OSError."""
    opened = [[os.open(path, os.O_PATH | os.O_CLOEXEC) for path in one.paths()] for one in mounts]
    for one, fds in zip(mounts, opened, strict=True):
        one.mount(call, [system.path_of(fd) for fd in fds])


def refused(reason: str) -> IOFailure:
    """Return the error that says that this system lets a program see no other directory at the same path."""
    hint = (
        "in a container allow it (docker: '--cap-add SYS_ADMIN'), elsewhere see the settings"
        " 'user.max_user_namespaces', 'kernel.unprivileged_userns_clone' and, on Ubuntu,"
        " 'kernel.apparmor_restrict_unprivileged_userns'"
        if os.geteuid() != 0
        else "allow mounting here: docker needs '--cap-add SYS_ADMIN', and a profile of AppArmor that lets it"
    )
    return IOFailure(f"the system lets no program see another directory at the same path: {reason}", hint=hint)


def refusal(mounts: list[Mount] | None = None) -> str | None:
    """Answer why this system does not let us mount in a namespace of our own, by trying; None when it does."""
    try:
        inside(mounts or [], lambda: b"")
    except IOFailure as error:
        return error.message
    except OSError as error:
        return error.strerror or str(error)
    return None


def inside(mounts: list[Mount], look: Callable[[], bytes]) -> bytes:
    """Return what a function returns that is called in a child process, with some mounts.

    Errors: IOFailure; OSError where the system refuses, or the function failed.
    """
    enter = prepare(mounts)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        try:
            enter()
            _write(writing, b"0" + look())
            os._exit(0)
        except OSError as error:
            _write(writing, b"1" + os.fsencode(error.strerror or str(error)))
        finally:
            os._exit(1)
    os.close(writing)
    with open(reading, "rb") as pipe:
        said = pipe.read()
    if os.waitpid(child, 0)[1] != 0 or said[:1] != b"0":
        raise OSError(errno.EPERM, said[1:].decode("utf-8", "replace") or "it failed")
    return said[1:]


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def works() -> bool:
    """Answer whether this system lets us have a namespace of our own, by trying it in a child process."""
    return refusal() is None
