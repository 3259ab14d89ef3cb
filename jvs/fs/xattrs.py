"""Reading extended attributes: all that a copy can carry over, and those that the tree hash covers.

Source: xattr(7); jvs-format(5), Tree hash.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs import system
from jvs.errors import IOFailure

_COVERED = ("system.posix_acl_access", "system.posix_acl_default", "security.capability")
NOT_OURS = frozenset({"security.selinux", "security.ima", "security.evm", "security.SMACK64"})
"""Labels that the receiving system sets by its own policy."""

_NO_ATTRIBUTES = frozenset({errno.EOPNOTSUPP, errno.ENODATA, errno.ENOSYS})  # ENODATA: some network filesystems
Attributes = dict[str, bytes]


def is_covered(name: str) -> bool:
    """Answer whether the hash covers an extended attribute of this name."""
    return name.startswith("user.") or name in _COVERED


def covered(xattrs: Attributes) -> dict[bytes, bytes] | None:
    """Return those of some attributes that the tree hash covers, or None."""
    return {os.fsencode(name): value for name, value in xattrs.items() if is_covered(name)} or None


def check_proc() -> None:
    """Say so when there is no /proc: what must not be opened is reached through it. Errors: E_IO.

    Its absence must not be taken for that of the entry, which would be left out.
    """
    if not system.has_proc():
        raise IOFailure(
            "/proc is not mounted, and symbolic links, fifos, sockets and devices are reached through it",
            hint="mount it ('mount -t proc proc /proc'), and run the command again",
        )


def _names(target: int | bytes) -> list[str]:
    """List the attributes of an entry; a filesystem without attributes has none. Errors: OSError; as `check_proc`."""
    try:
        return os.listxattr(target)
    except OSError as error:
        if error.errno == errno.ENOENT:
            check_proc()
        if error.errno in _NO_ATTRIBUTES:
            return []
        raise


def are_there(fd: int) -> bool:
    """Answer whether a file may have attributes: also when its filesystem has none, or does not say."""
    try:
        return bool(os.listxattr(fd))
    except OSError:
        return True


def read_all(target: int | bytes) -> Attributes:
    """Return the extended attributes of a descriptor or a `handle` path that a copy can carry over.

    Left out are labels that the receiving system sets by its own policy (SELinux, IMA, EVM, SMACK).
    Errors: OSError, but not for filesystems without attributes.
    """
    found: Attributes = {}
    for name in _names(target):
        if name in NOT_OURS:
            continue
        try:
            found[name] = os.getxattr(target, name)
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP, errno.EPERM, errno.EACCES):
                raise  # ENODATA: deleted meanwhile; the others: a name that lists itself and lets nobody read it
    return found


def read_at(name: bytes, dir_fd: int) -> Attributes:
    """Return the attributes of an entry of any kind in an open directory, as `read_all`, without opening it."""
    path = system.path_of(dir_fd, name)
    found: Attributes = {}
    try:
        for attribute in names_at(path):
            found[attribute] = os.getxattr(path, attribute, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_ATTRIBUTES and not found:
            return {}
        return _read_opened(name, dir_fd)
    return found


def names_at(path: bytes) -> list[str]:
    """Return the names of the attributes that a copy can carry over, of what a `system.path_of` leads to.

    Errors: OSError.
    """
    return [name for name in os.listxattr(path, follow_symlinks=False) if name not in NOT_OURS]


def _read_opened(name: bytes, dir_fd: int) -> Attributes:
    """Return the attributes of a file or directory by opening it: one could not be read, or there is no /proc."""
    form = stat.S_IFMT(os.lstat(name, dir_fd=dir_fd).st_mode)
    if form not in (stat.S_IFREG, stat.S_IFDIR):
        check_proc()
        handle = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            return read_all(system.path_of(handle))
        finally:
            os.close(handle)
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        return read_all(fd)
    finally:
        os.close(fd)


def read_covered(target: int | bytes) -> dict[bytes, bytes] | None:
    """Return the extended attributes that the hash covers, or None when there are none.

    `target` is an open descriptor, or the `system.path_of` one for what must not be opened.
    Errors: OSError, but not for filesystems that know no attributes.
    """
    found = {}
    for name in _names(target):
        if is_covered(name):
            try:
                found[os.fsencode(name)] = os.getxattr(target, name)
            except OSError as error:
                if error.errno not in (errno.ENODATA, errno.EOPNOTSUPP):  # the first: it went away meanwhile
                    raise
    return found or None
