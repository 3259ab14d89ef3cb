"""What a tree holds by name, taken before a clone that may come out incomplete without an error.

Source: jvs-protocol(7), Completeness.
"""

from __future__ import annotations

import os

from jvs.fs import listing
from jvs.fs import paths as fs_paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.tree.exclusion import Exclusion


class Survey:
    """The names of every directory of a tree; its special files; its hard-link groups.

    Shape: `names` maps a directory's path to its sorted names; `groups` maps an inode to the paths of its names.
    What `exclude` leaves out is not in them.
    """

    def __init__(self, exclude: Exclusion | None = None) -> None:
        self._exclude = exclude
        self.names: dict[bytes, list[bytes]] = {}
        self.specials: list[tuple[bytes, os.stat_result]] = []
        self.groups: dict[int, list[bytes]] = {}
        self.entries = 0

    def take(self, directory: Below) -> Survey:
        """Walk a tree. What vanishes meanwhile or may not be listed is left out. Errors: OSError for its root."""
        listing.allow_deep_trees()
        fd = fs_paths.open_dir(directory)
        try:
            self._visit(fd, b"")
        finally:
            os.close(fd)
        self.groups = {inode: paths for inode, paths in self.groups.items() if len(paths) > 1}
        return self

    def _visit(self, fd: int, path: bytes) -> None:
        names, stats = listing.list_dir(fd)
        if self._exclude is not None:
            names, stats = self._exclude.rest(fd, path, names, stats)
        self.names[path] = names
        self.entries += len(names)
        for name, st in zip(names, stats, strict=True):
            form = st.st_mode & 0o170000
            if form == 0o040000:
                below = listing.relative(path, name)
                try:
                    child = fs_paths.open_dir(name, fd)
                except OSError:
                    continue
                try:
                    self._visit(child, below)
                except OSError:
                    self.names.pop(below, None)
                finally:
                    os.close(child)
                continue
            if form not in (0o100000, 0o120000):
                self.specials.append((listing.relative(path, name), st))
            if st.st_nlink > 1:
                self.groups.setdefault(st.st_ino, []).append(listing.relative(path, name))

    @property
    def is_plain(self) -> bool:
        """Answer whether there was nothing that a clone does not keep."""
        return not self.specials and not self.groups

    def missing_in(self, after: Survey) -> list[bytes]:
        """Return the paths that this survey has, and a later one of the same directories has not."""
        return [path for here in self.names if here in after.names for path in self.missing(here, after.names[here])]

    def missing(self, path: bytes, names: list[bytes]) -> list[bytes]:
        """Return the paths that this survey has in a directory and another listing of it has not."""
        known = self.names.get(path)
        if known is None or known == names:
            return []
        have = set(names)
        return [listing.relative(path, name) for name in known if name not in have]
