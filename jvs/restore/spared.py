"""What a restore or an undo leaves as it is, whatever it brings back: what is excluded, and what a user named.

Excluded is what the rules of today leave out of the worktree, or those of the snapshot left out of it. What is on the
disk decides, and not only the trees: they do not hold what is excluded.
Source: jvs-restore(1).
"""

from __future__ import annotations

import os

from jvs.errors import Exists, PathEscape
from jvs.fs import listing, paths
from jvs.tree import path_filter
from jvs.tree.exclusion import RESERVED, Exclusion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jvs.fs.rooted import Below
    from jvs.tree.node import Entry


class Spared:
    """Says which paths of an open worktree are left as they are.

    `patterns` are paths, with what is below them, or have wildcards. `now` and `then` are the rules of today and of the
    snapshot; what `wanted` names although it is excluded is not spared.
    """

    def __init__(
        self,
        worktree: Below,
        patterns: list[bytes] | None = None,
        *,
        now: Exclusion | None = None,
        then: Exclusion | None = None,
        wanted: list[bytes] | None = None,
    ) -> None:
        self._root = paths.open_dir(worktree)
        self._patterns = [pattern.strip(b"/") for pattern in patterns or ()]
        self._now = now if now is not None and now.has_rules else None
        self._rules = [rules for rules in (now, then) if rules is not None and rules.has_rules]
        self._named = [path for path in wanted or () if self._is_excluded(path)]

    def close(self) -> None:
        """Close the worktree."""
        os.close(self._root)

    def __enter__(self) -> Spared:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def any(self) -> bool:
        """Whether there is anything to be spared."""
        return bool(self._patterns or self._rules)

    def _is_excluded(self, path: bytes) -> bool:
        return any(rules.drops_any(path, is_dir=is_dir) for rules in self._rules for is_dir in (True, False) if path)

    def covers(self, path: bytes, *versions: Entry | None) -> bool:
        """Answer whether an entry is left as it is; it is asked for from the top down, with what trees have there.

        Errors: E_PATH_ESCAPE for `.jvs` at the root, which only snapshots from before it was reserved can hold.
        """
        if self._patterns and any(_fits(pattern, path) for pattern in self._patterns):
            return True
        if path == RESERVED:
            raise PathEscape(
                "the snapshot holds an entry '.jvs', a name that jvs keeps for itself",
                hint="restore the rest with '--except .jvs'; the files themselves are in the payload: see 'jvs show'",
            )
        if not self._rules or self.is_named(path):
            return False
        kinds = {entry[1] == listing.DIR for entry in versions if entry is not None}
        return any(rules.drops(path, is_dir=is_dir) for rules in self._rules for is_dir in kinds) or self.is_here(path)

    def is_inside(self, path: bytes) -> bool:
        """Answer whether a directory that leads to a path is excluded."""
        parts = path.split(b"/")
        above = [b"/".join(parts[:depth]) for depth in range(1, len(parts))]
        return not self.is_named(path) and any(rules.drops(one, is_dir=True) for one in above for rules in self._rules)

    def is_named(self, path: bytes) -> bool:
        """Answer whether a path, or something below it, is excluded and was named."""
        return any(path_filter.covers(named, path) or named.startswith(path + b"/") for named in self._named)

    def is_named_dir(self, path: bytes) -> bool:
        """Answer whether the worktree has a directory that is excluded, and something in it was named."""
        if not self.is_named(path):
            return False
        try:
            os.close(paths.open_below(self._root, path.split(b"/")))
        except OSError:
            return False
        return True

    def is_here(self, path: bytes) -> bool:
        """Answer whether the worktree has an entry that the rules of today leave out."""
        if self._now is None:
            return False
        parts = path.split(b"/")
        try:
            above = paths.open_parent(self._root, parts)
        except OSError:  # no such directory
            return False
        try:
            return self._now.leaves_out(above, path, os.lstat(parts[-1], dir_fd=above))
        except OSError:  # no such entry
            return False
        finally:
            os.close(above)

    def holds_here(self, path: bytes) -> bool:
        """Answer whether something in a directory of the worktree is left out by the rules of today."""
        if self._now is None or any(path_filter.covers(named, path) for named in self._named):
            return False
        try:
            fd = paths.open_below(self._root, path.split(b"/"))
        except OSError:  # no directory
            return False
        try:
            return next(self._now.find(fd, path), None) is not None
        finally:
            os.close(fd)

    def holds(
        self, load: Callable[[bytes], list[Entry]], path: bytes, here: bytes | None, *trees: bytes | None
    ) -> bool:
        """Answer whether something below a directory, as it is or in any of some trees, is to be left as it is."""
        for digest in (here, *trees):
            for entry in load(digest) if digest is not None else ():
                below = listing.relative(path, entry[0])
                inner = entry[4] if entry[1] == listing.DIR else None
                if self.covers(below, entry) or self.holds(load, below, None, inner):
                    return True
        return here is not None and self.holds_here(path)

    def others_in(self, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
        """Yield what can be taken away of a directory of the worktree: the topmost entries that hold nothing spared."""
        fd = paths.open_below(self._root, path.split(b"/"))
        try:
            for name, st in zip(*listing.list_dir(fd), strict=True):
                below = listing.relative(path, name)
                if self._now is not None and self._now.leaves_out(fd, below, st):
                    continue
                if listing.kind_of(st.st_mode) == listing.DIR and self.holds_here(below):
                    yield from self.others_in(below)
                else:
                    yield below, st
        finally:
            os.close(fd)


def refuse_replacing(path: bytes) -> Exists:
    """Return what is to be raised when something else is to take the place of a directory with what is spared."""
    return Exists(
        f"'{path.decode('utf-8', 'backslashreplace')}' holds what is to be left as it is, and something else is to take"
        " its place",
        hint="move what is in it elsewhere, or leave out the whole of it as well with '--except'",
    )


def _fits(pattern: bytes, path: bytes) -> bool:
    """Answer whether a path is one that a pattern means: by its whole path, or by its name when it has no slash."""
    import fnmatch

    if not path_filter.is_pattern(pattern):
        return path == pattern
    name = path if b"/" in pattern else path.rpartition(b"/")[2]
    return fnmatch.fnmatchcase(name, pattern) or fnmatch.fnmatchcase(path, pattern)
