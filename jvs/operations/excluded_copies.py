"""Throwaway copies of what is excluded, so that a command that is tried finds its environment and caches.

Each excluded directory of a worktree gets an overlay of its own, whose changes go nowhere; what is mounted there is
shown read-only. Those further down are looked for in a bounded number of entries, nearest to the root first, because
the cost of a try does not depend on the size of the tree.
Source: jvs-try(1).
"""

from __future__ import annotations

import collections
import contextlib
import os

from jvs import progress
from jvs.errors import from_oserror
from jvs.fs import durable, listing, mounts, namespace, overlay, paths, removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.namespace import Mount
    from jvs.fs.rooted import Below
    from jvs.store.store import Store
    from jvs.tree.exclusion import Exclusion

NAME = "excluded"
_MOST = 50
_MOST_ENTRIES = 50_000


class ExcludedCopies:
    """The excluded directories of a worktree, shown in a copy of it; `home` is where their changes go.

    `lower` is the snapshot that the copy is laid over, or a fork itself, which keeps what it has of its own.
    """

    def __init__(self, store: Store, worktree: str, home: Below, lower: Below) -> None:
        self.source = store.layout.worktree_dir(worktree)
        self.place = str(self.source)
        self.control = str(store.layout.jvs)
        self.home = home / NAME
        self.lower = lower
        self.names = self._find(store.exclusion(worktree))
        self.places: list[bytes] = []

    def _find(self, exclude: Exclusion) -> list[bytes]:
        """Return the paths of excluded directories, nearest to the root first."""
        if not exclude.has_rules:
            return []
        try:
            fd = paths.open_dir(self.source)
            try:
                return _find_below(fd, exclude)
            finally:
                os.close(fd)
        except OSError as error:
            raise from_oserror(error, f"reading '{self.place}'") from error

    def prepare(self, root: Below) -> list[Mount]:
        """Make places for them in the root of a copy, and return what shows them there. Errors: OSError."""
        if not self.names:
            return []
        durable.make_dir(self.home)
        found: list[Mount] = []
        points = [point for point in mounts.points_below(self.place) if not f"{point}/".startswith(self.control + "/")]
        made: list[bytes] = []
        for number, name in enumerate(self.names):
            target = os.path.join(self.place, os.fsdecode(name))
            if not self._make_above(root, name, made):
                continue
            if paths.exists(paths.below(root, name)):
                continue  # the fork has its own
            durable.make_dir(paths.below(root, name))
            self.places.append(name)
            upper, work = self.home / f"{number}", self.home / f"{number}.work"
            if target not in points:
                for place in (upper, work):
                    durable.make_dir(place)
                overlay.make_like(upper, paths.below(self.source, name))
                options = namespace.overlay_options()
                found.append(namespace.Layers([target], target, options, upper=str(upper), work=str(work)))
            found += [namespace.Bind(p, p) for p in points if f"{p}/".startswith(target + "/")]
        for above in reversed(made):  # their times, after what was made in them
            overlay.make_like(paths.below(root, above), paths.below(self.lower, above))
        return found

    def _make_above(self, root: Below, name: bytes, made: list[bytes]) -> bool:
        """Make the directories that lead to one; False when the snapshot has them no more."""
        parts = name.split(b"/")[:-1]
        for depth in range(1, len(parts) + 1):
            above = b"/".join(parts[:depth])
            if not paths.is_dir(paths.below(self.lower, above)):
                return False
            if not paths.exists(paths.below(root, above)):
                durable.make_dir(paths.below(root, above))
                made.append(above)
        return True

    def remove(self, root: Below | None, *, only_empty: bool = False) -> list[bytes]:
        """Remove the copies and their places in the root of a copy; return which were changed. Errors: OSError.

        `only_empty`: the root is not ours alone, and somebody may have put something into a place.
        """
        if root is not None and self.places:
            fd = paths.open_dir(root)
            try:
                for name in self.places:
                    _remove_place(fd, name, only_empty=only_empty)
            finally:
                os.close(fd)
        changed = []
        for number, name in enumerate(self.names):
            upper = self.home / f"{number}"
            if paths.is_dir(upper) and listing.names(upper):
                changed.append(name)
        removal.remove_tree(self.home)
        return changed


def _find_below(root: int, exclude: Exclusion) -> list[bytes]:
    found: list[bytes] = []
    waiting, looked = collections.deque([b""]), 0
    while waiting and len(found) < _MOST:
        above = waiting.popleft()
        try:
            fd = paths.open_below(root, above.split(b"/")) if above else os.dup(root)
        except OSError:  # gone meanwhile, or not ours to read
            continue
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    looked += 1
                    path = listing.relative(above, os.fsencode(entry.name))
                    if path in exclude.names or not entry.is_dir(follow_symlinks=False):
                        continue
                    if _is_left_out(exclude, fd, path, entry):
                        found.append(path)
                    else:
                        waiting.append(path)
        finally:
            os.close(fd)
        if looked > _MOST_ENTRIES and waiting:
            progress.remark("the tree is large: what is excluded deep in it is not seen by the command")
            break
    return sorted(found[:_MOST])


def _is_left_out(exclude: Exclusion, fd: int, path: bytes, entry: os.DirEntry[str]) -> bool:
    if exclude.drops(path, is_dir=True):
        return True
    return exclude.caches and exclude.leaves_out(fd, path, entry.stat(follow_symlinks=False))


def _remove_place(root: int, path: bytes, *, only_empty: bool) -> None:
    """Remove the place of a copy; the directory that it is in keeps its times. What the command removed is gone."""
    parts = path.split(b"/")
    try:
        above = paths.open_parent(root, parts)
    except OSError:
        return
    try:
        st = os.fstat(above)
        if only_empty:
            with contextlib.suppress(OSError):
                durable.rmdir(parts[-1], dir_fd=above)
        else:
            removal.remove_tree(parts[-1], dir_fd=above)
        os.utime(above, ns=(st.st_atime_ns, st.st_mtime_ns))
    finally:
        os.close(above)
