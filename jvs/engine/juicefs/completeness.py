"""Proving that a clone holds every name that its source had, while its tree is hashed.

JuiceFS reports success for clones that lost names, so no report is trusted. Two proofs give the same answer. `Surveyed`
compares every directory with a survey of the source that was taken before. `Proved` takes none: a directory whose
names and whose own stamp are those of the snapshot before holds what that one held, which was proved complete; only
the others are looked at in the source. What it cannot prove it leaves to the first.
Source: jvs-protocol(7), Completeness; jvs-engines(7), juicefs-clone.
"""

from __future__ import annotations

import os
import stat

from jvs.fs import listing, paths
from jvs.tree import hasher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.engine.base import Request
    from jvs.engine.juicefs.survey import Survey


class Unproved(Exception):
    """The quick proof did not come about: the clone may be complete or not, or has to be repaired."""


class Surveyed(hasher.Hasher):
    """Hashes a clone and notes in `missing` the paths that the survey has and the clone has not."""

    must_visit = None

    def __init__(self, before: Survey, request: Request) -> None:
        super().__init__(jobs=request.jobs, allow_unreadable=request.allow_unreadable, slow_calls=True)
        self.missing: list[bytes] = []
        self._before = before

    def listed(self, path: bytes, names: list[bytes], *, proved: bool) -> None:
        """Note what the source had in this directory and the clone has not."""
        self.missing.extend(self._before.missing(path, names))


class Proved(hasher.Hasher):
    """Hashes a clone and looks into the source only where the rows of a proved snapshot do not prove the names.

    A name is made, removed or renamed by moving the times of its directory, but JuiceFS leaves out what comes within
    a moment of the last such move: so stamps of directories that were young when their row was written never match
    (`racy.COARSE_RACY_NS`). Hard links and special files, which a clone does not keep, are met in the same way:
    making one moves the ctime of the file or the times of the directory.
    """

    must_visit = frozenset({b""})  # no row holds its stamp

    def __init__(self, request: Request) -> None:
        super().__init__(jobs=request.jobs, allow_unreadable=request.allow_unreadable, slow_calls=True)
        self._source = paths.open_dir(request.source)
        self._exclude = request.exclude

    def listed(self, path: bytes, names: list[bytes], *, proved: bool) -> None:
        """Compare with the source as it is now, unless the rows prove it. Errors: Unproved."""
        if proved:
            return
        try:
            now, stats = self._list_source(path)
        except OSError as error:  # gone since, or a name that JuiceFS shows a second late: a survey will tell
            raise Unproved from error
        if not set(names).issuperset(now) or not all(map(_is_plain, stats)):
            raise Unproved

    def _list_source(self, path: bytes) -> tuple[list[bytes], list[os.stat_result]]:
        fd = paths.open_below(self._source, paths.split_relative(path))
        try:
            names, stats = listing.list_dir(fd)
            return (names, stats) if self._exclude is None else self._exclude.rest(fd, path, names, stats)
        finally:
            os.close(fd)

    def close(self) -> None:
        """End the threads."""
        super().close()
        os.close(self._source)


def _is_plain(st: os.stat_result) -> bool:
    """Answer whether a clone keeps an entry as it is: not one of several names of a file, and nothing special."""
    form = stat.S_IFMT(st.st_mode)
    return form == stat.S_IFDIR or (form in (stat.S_IFREG, stat.S_IFLNK) and st.st_nlink == 1)
