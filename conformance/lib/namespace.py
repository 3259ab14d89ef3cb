"""Mounts that only this process and its children see, and that end with them.

Root gets a mount namespace of its own; other users a user namespace as well, in which they are root.
Source: mount_namespaces(7), user_namespaces(7).
"""

from __future__ import annotations

import ctypes
import os

_CLONE_NEWNS, _CLONE_NEWUSER = 0x20000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_MNT_DETACH = 2


def enter() -> None:
    """Enter a mount namespace of our own. Errors: OSError. Not in a process with threads."""
    uid, gid = os.geteuid(), os.getegid()
    _call("unshare", _CLONE_NEWNS if uid == 0 else _CLONE_NEWNS | _CLONE_NEWUSER)
    if uid != 0:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {uid} 1"), ("gid_map", f"0 {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)


def mount_memory(directory: str) -> None:
    """Mount an empty memory filesystem. Errors: OSError."""
    _call("mount", b"tmpfs", os.fsencode(directory), b"tmpfs", 0, b"mode=0755")


def unmount(directory: str) -> None:
    """Unmount, even while something is still open. Errors: OSError."""
    _call("umount2", os.fsencode(directory), _MNT_DETACH)


def _call(name: str, *arguments: object) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name)
    if function(*(ctypes.c_ulong(a) if isinstance(a, int) else a for a in arguments)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
