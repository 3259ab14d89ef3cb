"""Throwaway copies of what is excluded, so that a command that is tried finds its environment and caches.

Each excluded directory at the top of a worktree gets an overlay of its own, whose changes go nowhere; what is mounted
there is shown read-only.
Source: jvs-try(1).
"""

from __future__ import annotations

import os
import stat

from jvs.errors import from_oserror
from jvs.fs import durable, listing, mounts, namespace, overlay, paths, removal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.namespace import Mount
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

NAME = "excluded"
_MOST = 50


class ExcludedCopies:
    """The excluded directories of a worktree, shown in a copy of it; `home` is where their changes go."""

    def __init__(self, store: Store, worktree: str, home: Below) -> None:
        self.source = store.layout.worktree_dir(worktree)
        self.place = str(self.source)
        self.control = str(store.layout.jvs)
        self.home = home / NAME
        self.names = self._names(store, worktree)

    def _names(self, store: Store, worktree: str) -> list[bytes]:
        exclude = store.exclusion(worktree)
        if not exclude.has_rules:
            return []
        fd = paths.open_dir(self.source)
        try:
            names, stats = listing.list_dir(fd)
            kept = {*exclude.rest(fd, b"", names, stats)[0], *exclude.names}
        except OSError as error:
            raise from_oserror(error, f"reading worktree '{worktree}'") from error
        finally:
            os.close(fd)
        found = [name for name, st in zip(names, stats, strict=True) if stat.S_ISDIR(st.st_mode) and name not in kept]
        return found[:_MOST]

    def prepare(self, root: Below) -> list[Mount]:
        """Make places for them in the root of a copy, and return what shows them there. Errors: OSError."""
        if not self.names:
            return []
        durable.make_dir(self.home)
        found: list[Mount] = []
        points = [point for point in mounts.points_below(self.place) if not f"{point}/".startswith(self.control + "/")]
        for number, name in enumerate(self.names):
            target = os.path.join(self.place, os.fsdecode(name))
            durable.make_dir(root / name)
            upper, work = self.home / f"{number}", self.home / f"{number}.work"
            if target not in points:
                for place in (upper, work):
                    durable.make_dir(place)
                overlay.make_like(upper, paths.below(self.source, name))
                options = namespace.overlay_options()
                found.append(namespace.Layers([target], target, options, upper=str(upper), work=str(work)))
            found += [namespace.Bind(p, p) for p in points if f"{p}/".startswith(target + "/")]
        return found

    def remove(self, root: Below | None) -> list[bytes]:
        """Remove the copies and their places in the root of a copy; return which were changed. Errors: OSError."""
        if root is not None and self.names:
            fd = paths.open_dir(root)
            try:
                st = os.fstat(fd)
                for name in self.names:
                    removal.remove_tree(name, dir_fd=fd)
                os.utime(fd, ns=(st.st_atime_ns, st.st_mtime_ns))
            finally:
                os.close(fd)
        changed = []
        for number, name in enumerate(self.names):
            upper = self.home / f"{number}"
            if paths.is_dir(upper) and listing.names(upper):
                changed.append(name)
        removal.remove_tree(self.home)
        return changed
