"""A mount namespace of our own: what is mounted there nobody else sees, and it ends with its last process.

Root gets a mount namespace; other users a user namespace as well, in which they keep their own uid. Called in a child
process between fork and exec, so everything that has to be loaded is loaded before (`prepare`).
Source: mount_namespaces(7), user_namespaces(7), mount(2).
"""

from __future__ import annotations

import os

from jvs.errors import IOFailure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Bind = tuple[str, str]
    """Shape: the directory that is shown, and where."""

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 32, 4096
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18


def prepare(binds: list[Bind]) -> Callable[[], None]:
    """Return what enters a namespace and shows directories read-only in it, to be called once in a child process.

    Errors: IOFailure where the C library cannot be called. What is returned raises OSError where the system refuses.
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

    def enter() -> None:
        check(unshare(flags), "unshare")
        for name, data in maps if uid != 0 else ():
            fd = os.open(f"/proc/self/{name}", os.O_WRONLY)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)
        check(mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), "mount")
        for source, target in binds:
            here, there = os.fsencode(source), os.fsencode(target)
            check(mount(here, there, None, _MS_BIND, None), "mount")
            # what a mount above forbids (nosuid, nodev) a user namespace may not allow again
            how = _MS_REMOUNT | _MS_BIND | _MS_RDONLY
            if mount(None, there, None, how, None) != 0:
                check(mount(None, there, None, how | _MS_NOSUID | _MS_NODEV, None), "mount")

    return enter


def works() -> bool:
    """Answer whether this system lets us have a namespace of our own, by trying it in a child process."""
    try:
        enter = prepare([])
    except IOFailure:
        return False
    child = os.fork()
    if child == 0:
        try:
            enter()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0
