"""A small directory tree as inodes in memory: read from a disk, changed by single operations, written to a disk.

An operation works on inodes, not on paths, so that any subset of a run's operations can be applied to the tree
that was there before: what a name leads to afterwards is decided by the last applied operation on that name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

ROOT = 1


@dataclass
class Inode:
    """One file, directory, link or special file. `data` is a file's content or a link's target; `number` the disk's."""

    kind: int
    mode: int
    number: int = 0
    uid: int = 0
    gid: int = 0
    data: bytes = b""
    rdev: int = 0
    mtime_ns: int | None = None  # None: whenever it was written
    xattrs: dict[str, bytes] = field(default_factory=dict)
    entries: dict[str, int] = field(default_factory=dict)

    def copy(self) -> Inode:
        return dataclasses.replace(self, xattrs=dict(self.xattrs), entries=dict(self.entries))

    def facts(self) -> tuple[Any, ...]:
        """Return everything but what a directory names and when it was written."""
        return (self.kind, self.mode, self.uid, self.gid, self.data, self.rdev, tuple(sorted(self.xattrs.items())))


@dataclass(frozen=True)
class Op:
    """One change, or one sync.

    Names: `link` (directory, name, inode), `unlink` (directory, name), `rename` (directory, name, directory, name,
    inode), `exchange` (directory, name, inode, directory, name, inode). Inodes: `data` (offset, bytes), `size`,
    `mode`, `owner`, `mtime`, `xattr` (name, value or None). `sync`: of one inode, or of everything (inode None);
    `args[0]` says that attributes are left out. `path` is for messages, relative to the root.
    """

    kind: str
    path: str
    inode: int | None = None
    dirs: tuple[int, ...] = ()
    args: tuple[Any, ...] = ()
    call: str = ""

    def names(self) -> frozenset[tuple[int, str]]:
        """Return the names that change, each with its directory's inode."""
        if self.kind in ("link", "unlink"):
            return frozenset([self.args[:2]])
        if self.kind == "rename":
            return frozenset([self.args[:2], self.args[2:4]])
        return frozenset([self.args[:2], self.args[3:5]]) if self.kind == "exchange" else frozenset()

    def __str__(self) -> str:
        detail = {"data": lambda a: f"{len(a[1])} bytes at {a[0]}", "mode": lambda a: f"{a[0]:04o}"}
        shown = detail[self.kind](self.args) if self.kind in detail else ""
        return f"{self.call or self.kind} {self.path} {shown}".rstrip()


class Tree:
    """Inodes by number; number 1 is the root directory."""

    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {}

    @classmethod
    def read(cls, root: str) -> Tree:
        """Read a directory. Errors: OSError."""
        tree = cls()
        numbers: dict[tuple[int, int], int] = {}
        tree._read(root, numbers)
        return tree

    def _read(self, path: str, numbers: dict[tuple[int, int], int]) -> int:
        info = os.lstat(path)
        known = numbers.get((info.st_dev, info.st_ino))
        if known is not None:
            return known
        number = numbers[info.st_dev, info.st_ino] = len(numbers) + 1
        mode, kind = stat.S_IMODE(info.st_mode), stat.S_IFMT(info.st_mode)
        inode = Inode(kind, mode, info.st_ino, info.st_uid, info.st_gid, mtime_ns=info.st_mtime_ns)
        self.inodes[number] = inode
        if inode.kind == stat.S_IFDIR:
            inode.entries = {name: self._read(os.path.join(path, name), numbers) for name in sorted(os.listdir(path))}
        elif inode.kind == stat.S_IFREG:
            with open(path, "rb") as file:
                inode.data = file.read()
        elif inode.kind == stat.S_IFLNK:
            inode.data = os.fsencode(os.readlink(path))
        else:
            inode.rdev = info.st_rdev
        with contextlib.suppress(OSError):
            for name in os.listxattr(path, follow_symlinks=False):
                inode.xattrs[name] = os.getxattr(path, name, follow_symlinks=False)
        return number

    def copy(self) -> Tree:
        """Return a tree that can be changed by itself."""
        other = Tree()
        other.inodes = {number: inode.copy() for number, inode in self.inodes.items()}
        return other

    def find(self, path: str) -> int | None:
        """Return the inode that a relative path names, following no link; '' is the root."""
        number: int | None = ROOT
        for name in path.split("/") if path else ():
            number = None if number is None else self.inodes[number].entries.get(name)
            if number is None:
                return None
        return number

    def paths(self) -> dict[str, int]:
        """Return every path but the root's with its inode, parents first."""
        return dict(self._below("", ROOT, set()))

    def _below(self, prefix: str, number: int, above: set[int]) -> Iterator[tuple[str, int]]:
        for name, child in sorted(self.inodes[number].entries.items()):
            path = prefix + name
            if child in above:
                continue
            yield path, child
            if self.inodes[child].kind == stat.S_IFDIR:
                yield from self._below(path + "/", child, above | {number, child})

    def facts(self) -> dict[str, Any]:
        """Return what can be compared: each path's facts and the first path of the same inode."""
        first: dict[int, str] = {}
        return {p: (first.setdefault(n, p), self.inodes[n].facts()) for p, n in self.paths().items()}

    def apply(self, op: Op, *, part: str = "") -> None:
        """Apply one operation; of `data`, only the first half with part='half', only the size with part='zero'."""
        if op.kind == "link":
            self.inodes[op.args[0]].entries[op.args[1]] = op.args[2]
        elif op.kind == "unlink":
            self.inodes[op.args[0]].entries.pop(op.args[1], None)
        elif op.kind == "rename":
            source, name, target, new_name, number = op.args
            self.inodes[source].entries.pop(name, None)
            self.inodes[target].entries[new_name] = number
        elif op.kind == "exchange":
            one, name, first, other, other_name, second = op.args
            self.inodes[one].entries[name] = second
            self.inodes[other].entries[other_name] = first
        elif op.inode is not None and op.kind != "sync":
            _change(self.inodes[op.inode], op, part)

    def digest(self, left_out: tuple[str, ...]) -> str:
        """Return a hash of everything but times and what is below some paths."""
        hashed = hashlib.sha256()
        for path, number in self.paths().items():
            if not path.startswith(left_out):
                hashed.update(repr((path, self.inodes[number].facts())).encode("utf-8", "surrogateescape"))
        return hashed.hexdigest()


def _change(inode: Inode, op: Op, part: str) -> None:
    if op.kind == "data":
        offset, data = op.args
        if part:
            data = data[: len(data) // 2] if part == "half" else bytes(len(data))
        before = inode.data[:offset].ljust(offset, b"\0")
        inode.data = before + data + inode.data[offset + len(data) :]
        inode.mtime_ns = None
    elif op.kind == "size":
        inode.data = inode.data[: op.args[0]].ljust(op.args[0], b"\0")
        inode.mtime_ns = None
    elif op.kind == "mode":
        inode.mode = op.args[0]
    elif op.kind == "owner":
        inode.uid, inode.gid = (
            old if new == -1 else new for old, new in zip((inode.uid, inode.gid), op.args, strict=True)
        )
    elif op.kind == "mtime":
        inode.mtime_ns = op.args[0]
    elif op.kind == "xattr":
        name, value = op.args
        inode.xattrs.pop(name, None)
        if value is not None:
            inode.xattrs[name] = value


def lay_out(tree: Tree, directory: str, name: str) -> None:
    """Make a tree, as `name` in the root of an empty memory filesystem, with the inode numbers that it had.

    Such a filesystem numbers its inodes in the order in which they are made, and uses no number twice.
    Errors: OSError; Renumbered when this kernel does it in another way.
    """
    places: dict[int, list[str]] = {}
    for path, number in {"": ROOT, **tree.paths()}.items():
        places.setdefault(number, []).append(os.path.join(name, path) if path else name)
    numbers = sorted(places, key=lambda number: tree.inodes[number].number or 1 << 62)
    made = {number: os.path.join(directory, f"inode-{number}") for number in numbers}
    last = 0
    for number in numbers:
        inode = tree.inodes[number]
        while last and last < inode.number - 1:
            last = _burn(directory)
        _create(made[number], inode)
        last = os.lstat(made[number]).st_ino
        if inode.number and last != inode.number:
            raise Renumbered(f"inode {inode.number} became {last}")

    def place_of(number: int) -> tuple[bool, int]:  # directories get their names before anything is put into them
        depth = places[number][0].count("/") if number != ROOT else -1
        return tree.inodes[number].kind != stat.S_IFDIR, depth

    by_depth = sorted(numbers, key=place_of)
    for number in by_depth:
        for path in places[number][1:]:
            os.link(made[number], os.path.join(directory, path), follow_symlinks=False)
        os.rename(made[number], os.path.join(directory, places[number][0]))
    for number in reversed(by_depth):
        if tree.inodes[number].kind == stat.S_IFDIR:
            _attributes(os.path.join(directory, places[number][0]), tree.inodes[number])


class Renumbered(RuntimeError):
    """The filesystem gave an inode another number than it must have."""


def _burn(directory: str) -> int:
    """Use one inode number up and return it."""
    path = os.path.join(directory, "burnt")
    with open(path, "xb") as file:
        number = os.fstat(file.fileno()).st_ino
    os.unlink(path)
    return number


def _create(path: str, inode: Inode) -> None:
    if inode.kind == stat.S_IFDIR:
        os.mkdir(path)
        return
    if inode.kind == stat.S_IFLNK:
        os.symlink(os.fsdecode(inode.data), path)
    elif inode.kind == stat.S_IFREG:
        with open(path, "xb") as file:
            file.write(inode.data)
    else:
        os.mknod(path, inode.kind | inode.mode, inode.rdev)
    _attributes(path, inode)


def _attributes(path: str, inode: Inode) -> None:
    info = os.lstat(path)
    if (info.st_uid, info.st_gid) != (inode.uid, inode.gid):
        os.chown(path, inode.uid, inode.gid, follow_symlinks=False)
    if inode.kind == stat.S_IFLNK:
        return
    for name in set(os.listxattr(path, follow_symlinks=False)) - set(inode.xattrs):
        os.removexattr(path, name, follow_symlinks=False)
    for name, value in inode.xattrs.items():
        os.setxattr(path, name, value, follow_symlinks=False)
    os.chmod(path, inode.mode)
    if inode.mtime_ns is not None:
        os.utime(path, ns=(inode.mtime_ns, inode.mtime_ns), follow_symlinks=False)
