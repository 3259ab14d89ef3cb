"""Files of a copy that a payload holds already: recognised by their content, and linked instead of copied.

The stamp of a file says nothing of it where none is kept (tmpfs), after a restore, and when only its times of change
moved: then it is read, and is the same file all the same when all that a copy keeps is.
Source: link(2); jvs-engines(7), Speed.
"""

from __future__ import annotations

import hashlib
import os
import stat

from jvs.engine import hardlinks
from jvs.fs import copyfile, listing
from jvs.fs.xattrs import read_all
from jvs.tree import hasher, leaves, workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Protocol

    from jvs.engine.base import Request
    from jvs.engine.groups import Groups
    from jvs.engine.target import Dir
    from jvs.tree.node import Entry
    from jvs.tree.rows import Row

    Like = tuple[int, Entry]
    """Shape: an open directory of a payload, and what is known of the name there."""
    Places = list[list[tuple[bool, int, bytes]]]
    """Shape: for each of some files where it may lie: whether in the base, and the size and digest of it there."""
    Linked = tuple[int, int, int]
    """Shape: inode in the payload, device and inode of the source."""

    class Comparing(Protocol):
        """What makes a copy: the copier."""

        request: Request
        plain: bool
        lists: dict[bytes, tuple[int, bytes]]
        stored: dict[bytes, tuple[int, dict[bytes, bytes] | None]]
        stale: bool

        def check_link_error(self, error: OSError, inside: Dir, name: bytes) -> None: ...


class EqualFiles:
    """What one copy links because its content is that of a file in the base payload, or in that of the head."""

    shares = True
    """Let all processes compare small files; off: the one that walks compares all. The answer is the same."""

    def __init__(self, copier: Comparing, groups: Groups) -> None:
        self._copier = copier
        self._groups = groups
        self._used: dict[int, tuple[int, int]] = {}
        self._pairs: dict[tuple[int, int], int] = {}
        self.linked: list[Linked] | None = None
        """Takes what is linked, in another process than the one that walks, which has to know of it."""

    def claim(self, inode: int, source: tuple[int, int]) -> bool:
        """Answer whether a file of a payload may become that of a source (its device and inode).

        Two files of the source must not become one, though they once were: each takes another of the payload.
        """
        return self._used.setdefault(inode, source) == source

    def pair(self, inode: int, source: tuple[int, int]) -> bool:
        """Note that a file of several names was linked; answer whether they all become names of one file, so far."""
        return self.claim(inode, source) and self._pairs.setdefault(source, inode) == inode

    def is_copied(self, st: os.stat_result) -> bool:
        """Answer whether the first of several names of a file is, or will be, no link to the base."""
        return self._groups.has(st) and (st.st_dev, st.st_ino) not in self._pairs

    def note_linked(
        self, inside: Dir, names: list[bytes], stats: list[os.stat_result], inodes: list[tuple[int, int]]
    ) -> None:
        """Note names of files that have several, which were linked from the base: places, and inodes there.

        Errors: `workers.Unsteady` when what are names of one file would be more than one, or the other way round.
        """
        for i, inode in inodes:
            st = stats[i]
            if self.is_copied(st) or not self.pair(inode, (st.st_dev, st.st_ino)):
                raise workers.Unsteady
            first = self._groups.get(st)
            if first is None:
                self._groups.note(listing.relative(inside.path, names[i]), st, None, 0, None)
            else:
                self._copier.stale = self._copier.stale or not first.is_as(st)

    def likes(self, inside: Dir, name: bytes, old: Entry | None) -> list[Like]:
        """Return where a file may lie already, with what is known of it there: the base payload, then the head's.

        `old` is what the index knows of the name.
        """
        found = []
        if old is not None and inside.base >= 0:
            found.append((inside.base, old))
        known = self._copier.request.known
        if inside.head >= 0 and known is not None:
            entry = inside.head_entry(known, name)
            if entry is not None:
                found.append((inside.head, entry))
        return found

    def likes_of(self, inside: Dir, names: list[bytes], row: tuple[Row, bytes] | None) -> list[list[Like]]:
        """Return the same for all names in a directory, of which the index knows a row; nothing where none may."""
        known = self._copier.request.known
        if known is None or (inside.head < 0 and (inside.base < 0 or row is None)):
            return []
        _, olds = known.recall(row if inside.base >= 0 else None)
        return [self.likes(inside, name, olds.get(name)) for name in names]

    def take(
        self, inside: Dir, likes: Iterable[Like], source: int, path: bytes, name: bytes, st: os.stat_result
    ) -> tuple[Any, int, dict[bytes, bytes] | None] | None:
        """Link an open file of the source from a payload that has all that we keep of it; None where none has.

        Errors: OSError; JvsError of a link that fails for another reason than that it is not possible.
        """
        for payload, known in likes:
            taken = self._take(inside, payload, source, path, name, st, known)
            if taken is not None:
                return taken
        return None

    def _take(
        self, inside: Dir, payload: int, source: int, path: bytes, name: bytes, st: os.stat_result, old: Entry
    ) -> tuple[Any, int, dict[bytes, bytes] | None] | None:
        try:
            base = os.stat(name, dir_fd=payload, follow_symlinks=False)
        except OSError:
            return None
        before = os.fstat(source)
        if not hardlinks.looks_like(base, before) or old[1] != listing.FILE:
            return None
        key = (before.st_dev, before.st_ino)
        if not self.claim(base.st_ino, key):
            return None
        digest, size = self._hash_like(source, before.st_size, old)
        if digest is None or not copyfile.unchanged(before, os.fstat(source)):
            return None
        if read_all(source) != hardlinks.xattrs_at(name, payload):
            return None
        copier = self._copier
        try:
            os.link(name, name, src_dir_fd=payload, dst_dir_fd=inside.fd, follow_symlinks=False)
        except OSError as error:
            copier.check_link_error(error, inside, name)
            return None
        if self.linked is not None:
            self.linked.append((base.st_ino, *key))
        if before.st_mode != st.st_mode or not copyfile.unchanged(st, before) or st.st_ino != before.st_ino:
            copier.stored[path] = (stat.S_IMODE(before.st_mode), old[5])
        self._groups.note(path, st, digest, size, old[5], final=before)
        return digest, size, old[5]

    def _hash_like(self, source: int, size: int, old: Entry) -> tuple[bytes | None, int]:
        """Return the digest of a file, or None when its content is not that of an entry of a payload's tree."""
        if size < copyfile.FIRST_BYTES:  # short ones have one digest, whatever the algorithm
            data = os.pread(source, size + 1, 0)
            digest = hashlib.sha256(data).digest()
            return (digest if digest == old[4] else None), len(data)
        digest, size = hasher.hash_quickly(source, plain=self._copier.plain, lists=self._copier.lists)
        same = digest == old[4]
        if not same and size > leaves.LEAF_BYTES and size == old[3]:  # maybe of a tree of the other algorithm
            same = leaves.hash_open_file(source, plain=not self._copier.plain)[0] == old[4]
        return (digest if same else None), size


def may_travel(likes: list[Like]) -> bool:
    """Answer whether another process may compare: only files and their digests are handed over."""
    usual = all(entry[1] == listing.FILE and entry[5] is None for _, entry in likes)
    return usual and (EqualFiles.shares or not likes)


def places(inside: Dir, likes: Iterable[list[Like]]) -> Places:
    """Return what another process has to know of where some files of a directory may lie."""
    return [[(payload == inside.base, entry[3], entry[4]) for payload, entry in found] for found in likes]


def likes_at(names: list[bytes], places: Places, base: int, head: int) -> list[list[Like]]:
    """Return what `places` was given, with the descriptors of this process."""
    return [
        [(base if in_base else head, (name, listing.FILE, 0, size, digest, None)) for in_base, size, digest in found]
        for name, found in zip(names, places, strict=True)
    ]
