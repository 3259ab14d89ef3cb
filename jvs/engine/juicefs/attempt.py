"""One attempt to clone a tree on JuiceFS: cloned, proved complete, and repaired where a clone is not what it should be.

Source: jvs-engines(7), juicefs-clone.
"""

from __future__ import annotations

import os

from jvs import clock
from jvs.engine import left_out
from jvs.engine.base import Cloned, Request
from jvs.engine.juicefs import control, repair
from jvs.engine.juicefs.client import Incomplete
from jvs.engine.juicefs.completeness import Proved, Surveyed, Unproved
from jvs.engine.juicefs.survey import Survey
from jvs.errors import CloneIncomplete, IOFailure, from_oserror
from jvs.fs import durable, listing, metadata, paths
from jvs.fs.losses import Losses
from jvs.tree import scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from jvs.engine.juicefs.client import Running
    from jvs.fs.rooted import Below

    class Cloner(Protocol):
        """Who makes the clone: the engine, by the client or by the control file."""

        name: str

        def remove(self, path: Below) -> None: ...

        def run_clone(self, pairs: list[tuple[Below, Below]]) -> Iterator[Running]: ...


_APPEAR_SECONDS = 10.0
_CLONED = (listing.FILE, listing.DIR, listing.SYMLINK)
"""What is cloned by itself; special files are made anew, as those that a clone of a directory drops."""
_REMEMBERED_SECONDS = 1.1
"""So long a mount remembers names, unless it is told otherwise (--entry-cache, --dir-entry-cache)."""


class Attempt:
    """One clone under a fresh name next to the target."""

    def __init__(self, owner: Cloner, request: Request) -> None:
        self.owner = owner
        self.request = request
        self.temporary = request.target.plus(f".{clock.random_hex(8)}")
        self.losses = Losses()

    def start(self) -> bytes:
        """Clone, and wait until the clone is seen; return what the programs that did it printed."""
        names = self._chosen_names()
        if names is None:
            pairs = [(self.request.source, self.temporary)]
        else:
            durable.make_dir(self.temporary)
            pairs = [(self.request.source / name, self.temporary / name) for name in names]
        printed = [running.wait() for running in self.owner.run_clone(pairs)]
        _await(self.temporary, set(names or ()))
        if self.request.exclude is not None and self.request.exclude.has_rules:
            left_out.remove(self.temporary, self.request.exclude, self._remove)
        if names is not None:
            self._finish_root()
        return b"\n".join(printed)

    def _chosen_names(self) -> list[bytes] | None:
        """Return the entries of the source's root to be cloned one by one; None when it is cloned as a whole."""
        if self.request.exclude is None:
            return None
        fd = paths.open_dir(self.request.source)
        try:
            names, stats = listing.list_dir(fd)
            rest, stats = self.request.exclude.rest(fd, b"", names, stats)
        finally:
            os.close(fd)
        if len(rest) == len(names):
            return None
        return [name for name, st in zip(rest, stats, strict=True) if listing.kind_of(st.st_mode) in _CLONED]

    def _remove(self, above: int, path: bytes) -> None:
        """Remove what is left out of the clone again: inside the filesystem server when it is a directory."""
        place = paths.below(self.temporary, path)
        if paths.is_dir(place):
            self.owner.remove(place)
        else:
            durable.unlink(path.rpartition(b"/")[2], dir_fd=above)

    def _finish_root(self) -> None:
        """Give the root of a clone that was made entry by entry the metadata of its source."""
        source, target = paths.open_dir(self.request.source), paths.open_dir(self.temporary)
        try:
            metadata.apply_dir(target, source, os.fstat(source), b"", self.losses)
        finally:
            os.close(source)
            os.close(target)

    def hash(self, worker: scan.Hasher, moment: int) -> scan.ScanResult:
        """Walk the clone, reading what the rows do not know."""
        scanner = scan.Scanner(
            worker,
            rows=self.request.rows,
            known=self.request.known,
            with_inode=False,
            moment_ns=moment,
            exclude=self.request.exclude,
        )
        return scanner.run(self.temporary)

    def cloned(self, tree: scan.ScanResult | None, moment: int) -> Cloned:
        """Return what came of it."""
        for path, why in tree.unreadable if tree is not None else ():
            self.losses.add(path, "unreadable", why)
        return Cloned(self.owner.name, self.losses.as_json(), tree, moment, with_inode=False)


class ProvedAttempt(Attempt):
    """A clone that is proved by its count and by the snapshot before. Errors: Unproved, when it takes a survey."""

    def run(self) -> Cloned:
        moment = clock.now_ns()
        if not control.is_whole(self.start()):
            raise Unproved
        tree = self.hash(Proved(self.request), moment)
        tree.plain = True
        return self.cloned(tree, moment)


class SurveyedAttempt(Attempt):
    """A clone that is compared with a survey of the source, and repaired."""

    def __init__(self, owner: Cloner, request: Request) -> None:
        super().__init__(owner, request)
        self.before = Survey(request.exclude)
        self.absent: set[bytes] = set()

    def run(self) -> Cloned:
        moment = clock.now_ns()
        try:
            self.before.take(self.request.source)
        except OSError as error:
            raise from_oserror(error, f"reading '{self.request.source}'") from error
        printed = self.start()
        try:
            self.absent = repair.specials(self.request.source, self.temporary, self.before, self.losses)
            tree = None
            if not self._count_is_proof(printed):
                tree = self._look(moment)
                self._check()
            repair.links(self.temporary, self.before, self.losses)
        except OSError as error:
            raise from_oserror(error, f"completing the clone of '{self.request.source}'") from error
        return self.cloned(tree, moment)

    def _count_is_proof(self, printed: bytes) -> bool:
        """Answer whether nothing can be missing: all was cloned that there is in a source to which nothing writes."""
        return self.request.frozen and not self.request.hash and control.is_whole(printed)

    def _look(self, moment: int) -> scan.ScanResult | None:
        """Walk the clone: for its hash, or for its names only."""
        if self.request.hash:
            worker = Surveyed(self.before, self.request)
            tree = self.hash(worker, moment)
            tree.plain = self.before.is_plain
            self.missing = worker.missing
            return tree
        after = Survey().take(self.temporary)
        self.missing = self.before.missing_in(after)
        return None

    def _check(self) -> None:
        """Errors: Incomplete when something is missing that is still there in the source."""
        lost = [path for path in self.missing if path not in self.absent]
        lost = self._still_there(lost)
        if lost:  # or they were removed at another mount, and this one remembers them for a second
            clock.sleep(_REMEMBERED_SECONDS)
            lost = self._still_there(lost)
        if lost:
            shown = lost[0].decode("utf-8", "backslashreplace")
            raise Incomplete(
                CloneIncomplete(
                    f"the clone lacks '{shown}' and {len(lost) - 1} more names that the worktree has",
                    hint="something writes to the worktree all the time: let it pause, then run the command again",
                    missing=len(lost),
                    path=shown,
                )
            )

    def _still_there(self, names: list[bytes]) -> list[bytes]:
        if not names:
            return []
        source = paths.open_dir(self.request.source)
        try:
            return [path for path in names if paths.lstat_below(source, path.split(b"/")) is not None]
        finally:
            os.close(source)


def _await(path: Below, names: set[bytes]) -> None:
    """Wait until the kernel shows a clone; it may remember for a few seconds that the name was not there.

    `names` are those that the clone was made of one by one; one that is gone again is looked for in vain, and proves
    nothing.

    Only with the mount option `--negative-entry-cache`; listing the directory above makes it look again.
    """
    waited = 0.0
    while not (paths.is_dir(path) and names.issubset(map(os.fsencode, listing.names(path) if names else ()))):
        if waited > _APPEAR_SECONDS:
            raise Incomplete(
                IOFailure(
                    f"the clone '{path}' did not appear",
                    hint="check the JuiceFS mount and its log, then run the command again",
                )
            )
        listing.names(path.parent)
        if waited:
            clock.sleep(0.1)
        waited += 0.1
