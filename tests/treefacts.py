"""What a tree is: plain facts about every entry, where two trees differ, and how to remove any tree.

`describe_tree` turns a tree into facts, `diff_trees` says in words where two descriptions differ, and `remove_tree`
takes away any tree, whatever its modes, depth or subvolumes. Nothing here imports jvs, follows a link, or opens
anything but regular files and directories. What is reached through `/proc/self/fd/N` works at any depth, where no
path from the root would fit.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import struct
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from typing import Any

AnyPath = str | bytes | os.PathLike
Facts = dict[str, Any]

FIELDS = ("kind", "mode", "uid", "gid", "size", "mtime_ns", "rdev", "target", "sha256", "xattrs", "links", "data")
MIB = 1 << 20
BTRFS_SUBVOLUME_INODE = 256
BTRFS_IOC_SUBVOL_SETFLAGS = 0x4008941A  # linux/btrfs.h


@contextmanager
def opened(path: AnyPath, flags: int = os.O_PATH | os.O_DIRECTORY) -> Iterator[bytes]:
    """Open a directory and give the short path by which everything in it can be reached."""
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        yield b"/proc/self/fd/%d" % fd
    finally:
        os.close(fd)


def describe_tree(root: AnyPath) -> dict[bytes, Facts]:
    """Return the facts of root (under b"") and of everything below it, by path relative to root.

    Facts are those of `FIELDS`: `links` is the set of names in the tree that are one file, `data` the extents that
    are not holes. What may not be read has None for its content, and a directory then has the fact `unread`.
    """
    tree: dict[bytes, Facts] = {}
    groups: dict[tuple[int, int], set[bytes]] = {}
    with opened(root) as base:
        _describe(base + b"/.", b"", tree, groups)
    for names in groups.values():
        for name in names:
            tree[name]["links"] = frozenset(names) if len(names) > 1 else None
    return tree


def _describe(at: bytes, name: bytes, tree: dict[bytes, Facts], groups: dict[tuple[int, int], set[bytes]]) -> None:
    info = os.lstat(at)
    facts = tree[name] = _facts(at, info)
    if not stat.S_ISDIR(info.st_mode):
        if info.st_nlink > 1:
            groups.setdefault((info.st_dev, info.st_ino), set()).add(name)
        return
    try:
        inside = os.listdir(at)
        with opened(at, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as base:
            for entry in sorted(inside):
                _describe(base + b"/" + entry, name + b"/" + entry if name else entry, tree, groups)
    except PermissionError:
        facts["unread"] = True


def _facts(at: bytes, info: os.stat_result) -> Facts:
    kind = stat.S_IFMT(info.st_mode)
    facts: Facts = dict.fromkeys(FIELDS)
    facts |= {"kind": kind, "mode": stat.S_IMODE(info.st_mode), "uid": info.st_uid, "gid": info.st_gid}
    facts |= {"mtime_ns": info.st_mtime_ns, "xattrs": _read_xattrs(at)}
    if kind == stat.S_IFLNK:
        facts |= {"target": os.readlink(at), "size": info.st_size}
    elif kind in (stat.S_IFCHR, stat.S_IFBLK):
        facts["rdev"] = info.st_rdev
    elif kind == stat.S_IFREG:
        facts |= {"size": info.st_size, **_read_content(at)}
    return facts


def _read_xattrs(at: bytes) -> dict[str, bytes]:
    """Return what belongs to the user; labels, properties and XFS's second view of an ACL are the system's."""
    kept = ("user.", "system.posix_acl_", "security.capability")
    found = {}
    with suppress(OSError):  # no xattrs here, or none on this kind
        for name in os.listxattr(at, follow_symlinks=False):
            if name.startswith(kept):
                found[name] = os.getxattr(at, os.fsencode(name), follow_symlinks=False)
    return found


def _read_content(at: bytes) -> Facts:
    """Return digest and extents of a regular file; O_NOATIME where it is allowed, so that looking changes nothing."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(at, flags | os.O_NOATIME)
    except PermissionError:
        try:
            fd = os.open(at, flags)
        except PermissionError:
            return {}
    digest = hashlib.sha256()
    with open(fd, "rb", buffering=0) as file:
        extents = _extents(fd, os.fstat(fd).st_size)
        os.lseek(fd, 0, os.SEEK_SET)
        while block := file.read(MIB):
            digest.update(block)
    return {"sha256": digest.hexdigest(), "data": extents}


def _extents(fd: int, size: int) -> tuple[tuple[int, int], ...]:
    found, position = [], 0
    while position < size:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError:  # ENXIO: nothing but a hole from here on
            break
        position = os.lseek(fd, start, os.SEEK_HOLE)
        found.append((start, position))
    return tuple(found)


def diff_trees(a: dict[bytes, Facts], b: dict[bytes, Facts], ignore: Collection[str] = ()) -> list[str]:
    """Return a line for each difference between two descriptions, sorted by path; no line when they are the same.

    `ignore` names fields that do not count, for example `mtime_ns` or `data`.
    """
    unknown = set(ignore) - set(FIELDS)
    if unknown:
        raise ValueError(f"no such fields: {sorted(unknown)}")
    lines = []
    for path in sorted(a.keys() | b.keys()):
        if path not in a or path not in b:
            lines.append(f"{path!r}: only in the {'first' if path in a else 'second'}")
            continue
        for field in (*FIELDS, "unread"):
            was, now = a[path].get(field), b[path].get(field)
            if field not in ignore and was != now:
                lines.append(f"{path!r}: {field}: {_shown(field, was)} -> {_shown(field, now)}")
    return lines


def _shown(field: str, value: object) -> str:
    return oct(value) if field in ("mode", "kind") and isinstance(value, int) else repr(value)


def remove_tree(root: AnyPath) -> None:
    """Remove root and all below it: closed and read-only directories, deep ones, btrfs subvolumes, read-only ones."""
    parent, name = os.path.split(os.path.abspath(os.fsencode(root)))
    try:
        with suppress(FileNotFoundError), opened(parent) as base:
            _remove(base + b"/" + name)
    except (RecursionError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EMFILE:
            raise
        subprocess.run(["rm", "-rf", "--", os.fsencode(root)], check=True)  # hundreds of levels: rm keeps no fd open


def _remove(at: bytes) -> None:
    info = os.lstat(at)
    if not stat.S_ISDIR(info.st_mode):
        return os.unlink(at)
    if info.st_ino == BTRFS_SUBVOLUME_INODE:
        _make_subvolume_writable(at)
    if info.st_mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(at, 0o700)
    with opened(at, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as base:
        for name in os.listdir(base):
            with suppress(FileNotFoundError):
                _remove(base + b"/" + name)
    return os.rmdir(at)  # removes an empty subvolume as well


def _make_subvolume_writable(at: bytes) -> None:
    fd = os.open(at, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        with suppress(OSError):  # inode 256 of another filesystem, or not ours to change: removing will tell
            fcntl.ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, struct.pack("<Q", 0))
    finally:
        os.close(fd)
