"""The tree hash of any directory, by descriptor-relative walks that never follow a link.

`sha256-tree-2` gives a file of more than one leaf a digest made of those of its leaves; in `sha256-tree-1` it is the
SHA-256 of the content, as it is for all smaller ones in both.

Only regular files are opened, and those with O_NOFOLLOW and O_NONBLOCK; names are bytes throughout.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from lib.canonical import cbor_encode

TREE_1, TREE_2 = "sha256-tree-1", "sha256-tree-2"
ALGORITHMS = (TREE_1, TREE_2)
LEAF_BYTES = 4 << 20
FILE, DIR, SYMLINK, FIFO, SOCKET, CHAR, BLOCK = range(7)
KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFIFO: FIFO,
    stat.S_IFSOCK: SOCKET,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK,
}
_COVERED = (b"system.posix_acl_access", b"system.posix_acl_default", b"security.capability")
_DIR_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@dataclass(frozen=True)
class Entry:
    """One name in a tree, with what the hash covers of it."""

    kind: int
    mode: int
    size: int
    digest: bytes
    xattrs: tuple[tuple[bytes, bytes], ...]


@dataclass
class Tree:
    """What a walk found; `entries` maps relative paths to entries, the root's is b""."""

    root_hash: str = ""
    algorithm: str = TREE_2
    entries: dict[bytes, Entry] = field(default_factory=dict)

    def counts(self) -> dict[str, int]:
        """Return the numbers that a descriptor gives under `payload` (the root is not counted)."""
        kinds = [entry.kind for path, entry in self.entries.items() if path]
        return {
            "files": kinds.count(FILE),
            "dirs": kinds.count(DIR),
            "symlinks": kinds.count(SYMLINK),
            "others": sum(kind > SYMLINK for kind in kinds),
            "bytes": sum(entry.size for path, entry in self.entries.items() if entry.kind == FILE),
        }

    def contents(self) -> set[tuple[int, bytes]]:
        """Return the kind and digest of everything a user could have written: files with bytes, and links."""
        return {(e.kind, e.digest) for e in self.entries.values() if e.kind == SYMLINK or (e.kind == FILE and e.size)}


def hash_tree(path: str | bytes, algorithm: str = TREE_2, *, skip: bytes = b"") -> Tree:
    """Hash a directory, without the entry `skip` of its root. Errors: OSError, also when the path is a link."""
    tree = Tree(algorithm=algorithm)
    fd = os.open(path, _DIR_FLAGS)
    try:
        st = os.fstat(fd)
        xattrs = _xattrs(fd)
        digest, size = _directory(fd, b"", tree, skip)
    finally:
        os.close(fd)
    mode = stat.S_IMODE(st.st_mode)
    tree.entries[b""] = Entry(DIR, mode, size, digest, tuple(sorted((xattrs or {}).items())))
    tree.root_hash = hashlib.sha256(b"jvs-root-1\0" + cbor_encode([mode, xattrs, digest])).hexdigest()
    return tree


def _directory(fd: int, path: bytes, tree: Tree, skip: bytes = b"") -> tuple[bytes, int]:
    encoded, total = [], 0
    for name in sorted(os.fsencode(name) for name in os.listdir(fd)):
        if name == skip:
            continue
        here = path + b"/" + name if path else name
        st = os.lstat(name, dir_fd=fd)
        kind, mode = KINDS[stat.S_IFMT(st.st_mode)], stat.S_IMODE(st.st_mode)
        xattrs: dict[bytes, bytes] | None = None
        size = 0
        if kind == FILE:
            with _opened(name, fd, _FILE_FLAGS) as child:
                xattrs = _xattrs(child)
                digest, size = file_digest(child, tree.algorithm)
            total += size
        elif kind == DIR:
            with _opened(name, fd, _DIR_FLAGS) as child:
                xattrs = _xattrs(child)
                digest, size = _directory(child, here, tree)
            total += size
        elif kind == SYMLINK:
            target = os.readlink(name, dir_fd=fd)
            digest, size, mode = hashlib.sha256(target).digest(), len(target), 0
        else:
            text = b"%d:%d" % (os.major(st.st_rdev), os.minor(st.st_rdev)) if kind in (CHAR, BLOCK) else b""
            digest = hashlib.sha256(text).digest()
            xattrs = _xattrs(b"/proc/self/fd/%d/%s" % (fd, name))
        tree.entries[here] = Entry(kind, mode, size, digest, tuple(sorted((xattrs or {}).items())))
        encoded.append([name, kind, mode, size, digest, xattrs])
    return hashlib.sha256(b"jvs-tree-1\0" + cbor_encode(encoded)).digest(), total


@contextlib.contextmanager
def _opened(name: bytes, dir_fd: int, flags: int) -> Iterator[int]:
    try:
        fd = os.open(name, flags | os.O_NOATIME, dir_fd=dir_fd)
    except PermissionError:  # not the owner: O_NOATIME is refused
        fd = os.open(name, flags, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


def file_digest(fd: int, algorithm: str = TREE_2) -> tuple[bytes, int]:
    """Return the digest of an open file, read from its start to its end, and its size."""
    plain, size = hashlib.sha256(), 0
    leaves = []
    while leaf := _read_leaf(fd):
        plain.update(leaf)
        size += len(leaf)
        leaves.append(hashlib.sha256(leaf).digest())
    if algorithm == TREE_1 or size <= LEAF_BYTES:
        return plain.digest(), size
    return digest_of_leaves(size, b"".join(leaves)), size


def digest_of_leaves(size: int, leaves: bytes) -> bytes:
    """Return the digest of a file of more than one leaf, from the digests of its leaves, one after another."""
    listed = [leaves[at : at + 32] for at in range(0, len(leaves), 32)]
    return hashlib.sha256(b"jvs-file-2\0" + cbor_encode([size, LEAF_BYTES, listed])).digest()


def _read_leaf(fd: int) -> bytes:
    """Return the next leaf of a file; only the last one is shorter than the others."""
    leaf = b""
    while len(leaf) < LEAF_BYTES and (chunk := os.read(fd, LEAF_BYTES - len(leaf))):
        leaf += chunk
    return leaf


def _xattrs(target: int | bytes) -> dict[bytes, bytes] | None:
    follow = isinstance(target, int)
    try:
        names = os.listxattr(target, follow_symlinks=follow)
    except OSError:
        return None
    found = {}
    for name in names:
        raw = os.fsencode(name)
        if raw.startswith(b"user.") or raw in _COVERED:
            found[raw] = os.getxattr(target, name, follow_symlinks=follow)
    return found or None
