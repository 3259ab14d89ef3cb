"""Copying entries so that the names of one file become names of one file again.

Source: link(2); jvs-protocol(7), Restore.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs.engine import hardlinks
from jvs.fs import copyfile, listing, metadata
from jvs.fs import paths as fs_paths
from jvs.fs.losses import Losses
from jvs.restore.delta import COPY
from jvs.tree import hasher, node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.restore.delta import Delta
    from jvs.restore.entries import RootedDir


class PayloadGroups:
    """Hard-link groups of a payload, as far as the steps of a delta touch them."""

    def __init__(self) -> None:
        self.paths: dict[int, list[bytes]] = {}

    def find(self, source: RootedDir, delta: Delta) -> None:
        """Find the other names of every file of the delta that has any. Lists the payload's names when one does."""
        wanted = set()
        for step in delta.steps if not source.layered else ():
            st = source.lstat(step.path) if step.how == COPY else None
            if st is None:
                continue
            if stat.S_ISDIR(st.st_mode):
                wanted.update(_linked_inodes(source, source.path_of(step.path)))
            elif st.st_nlink > 1:
                wanted.add(st.st_ino)
        if wanted:
            self._walk(source.fd, b"", wanted)
            self.paths = {ino: paths for ino, paths in self.paths.items() if len(paths) > 1}

    def _walk(self, fd: int, path: bytes, wanted: set[int]) -> None:
        below = []
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    below.append(name)
                elif entry.inode() in wanted:
                    self.paths.setdefault(entry.inode(), []).append(listing.relative(path, name))
        for name in below:
            child = fs_paths.open_dir(name, fd)
            try:
                self._walk(child, listing.relative(path, name), wanted)
            finally:
                os.close(child)


def _linked_inodes(source: RootedDir, path: bytes) -> set[int]:
    found: set[int] = set()
    stack = [path]
    while stack:
        here = stack.pop()
        fd = fs_paths.open_below(source.fd, fs_paths.split_relative(here))
        try:
            for name, st in zip(*listing.list_dir(fd), strict=True):
                if stat.S_ISDIR(st.st_mode):
                    stack.append(listing.relative(here, name))
                elif st.st_nlink > 1:
                    found.add(st.st_ino)
        finally:
            os.close(fd)
    return found


class Links:
    """Copies entries to a place, and knows which inode of the source has which name there already."""

    def __init__(self, place: RootedDir, delta: Delta, losses: Losses, groups: PayloadGroups | None = None) -> None:
        self.place = place
        self.delta = delta
        self.losses = losses
        self.groups = groups
        self.made: dict[int, bytes] = {}

    def copy(self, source: int, name: bytes, parent: int, label: bytes, path: bytes, physical: bytes) -> None:
        """Copy an entry, or a whole directory, with all metadata; names of one group become one file again.

        `path` is what losses call it, `physical` where it comes to lie in the place that is copied to.
        """
        st = os.lstat(name, dir_fd=source)
        if not stat.S_ISDIR(st.st_mode):
            if st.st_nlink > 1:
                first = self._other_name(source, name, st, physical)
                if first is not None and self._link(first, parent, label, path):
                    return
                self.made[st.st_ino] = physical
            metadata.copy_entry(source, name, parent, st, path, self.losses, target_name=label)
            return
        fd = fs_paths.open_dir(name, source)
        try:
            made = metadata.make_dir(label, parent)
            try:
                metadata.drop_inherited(made)
                for child in listing.list_dir(fd)[0]:
                    below = listing.relative(path, child)
                    self.copy(fd, child, made, child, below, listing.relative(physical, child))
                metadata.apply_dir(made, fd, st, path, self.losses)
            finally:
                os.close(made)
        finally:
            os.close(fd)

    def _link(self, first: bytes, parent: int, label: bytes, path: bytes) -> bool:
        """Make a new name for a file that is there already; False, and a loss, when that cannot be."""
        refused = hardlinks.link(self.place.fd, first, parent, label)
        if refused is not None:
            self.losses.add(path, "hardlink", hardlinks.loss(refused))
        return refused is None

    def _other_name(self, source: int, name: bytes, st: os.stat_result, physical: bytes) -> bytes | None:
        """Return a name that the file of the source has already in the place, or None."""
        if self.groups is not None and st.st_ino not in self.groups.paths:
            return None
        first = self.made.get(st.st_ino)
        if first is None and self.groups is not None:
            first = self._unchanged(self.groups.paths[st.st_ino], source, name, st)
        return first

    def _unchanged(self, paths: list[bytes], source: int, name: bytes, st: os.stat_result) -> bytes | None:
        """Return a name of the group that the delta leaves alone and that is, proved by reading it, the same file.

        What a worktree has under that name may be anything by now, also something of the same size and time.
        """
        wanted: tuple[bytes, dict[str, bytes]] | None = None
        for path in paths:
            parts = path.split(b"/")
            if any(b"/".join(parts[:depth]) in self.delta.paths for depth in range(1, len(parts) + 1)):
                continue
            have = self.place.lstat(path)
            if have is None or not hardlinks.looks_like(have, st):
                continue
            try:
                wanted = wanted or _facts(name, source, st)
                if wanted is not None and _facts(parts[-1], self.place.parent(path)[0], have) == wanted:
                    return path
            except OSError as error:
                if not listing.is_absent(error) and error.errno != errno.EACCES:
                    raise
        return None

    def rename(self, before: bytes, after: bytes) -> None:
        """Follow a rename of what was copied."""
        for ino, path in self.made.items():
            if path == before or path.startswith(before + b"/"):
                self.made[ino] = after + path[len(before) :]


def _facts(name: bytes, parent: int, st: os.stat_result) -> tuple[bytes, dict[str, bytes]] | None:
    """Return digest and attributes of an entry that is no directory; None when it changed while it was read."""
    attributes = metadata.entry_xattrs(name, parent)
    kind = listing.kind_of(st.st_mode)
    if kind != listing.FILE:
        return node.special_digest(kind, name, st, parent), attributes
    fd = fs_paths.open_file(name, parent)
    try:
        digest, _ = hasher.hash_quickly(fd)
        return (digest, attributes) if copyfile.unchanged(st, os.fstat(fd)) else None
    finally:
        os.close(fd)
