"""Links and small files that other processes make for a copier, and the directories that wait for them.

The walk makes each directory, hands its descriptors over, and gives it its metadata when everything inside is there.
What comes back is what the copier itself would have found out: the code is the same.
Source: jvs-engines(7), Speed.
"""

from __future__ import annotations

import errno
import os
import stat

from jvs.engine import equal_files, hardlinks
from jvs.engine.target import Dir, Target
from jvs.errors import from_oserror
from jvs.fs import listing
from jvs.tree import batches, workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from jvs.engine.equal_files import Like
    from jvs.fs.losses import Losses
    from jvs.fs.metadata import Kept
    from jvs.fs.xattrs import Attributes
    from jvs.tree.batches import Batch

    class Maker(Protocol):
        """What makes a copy: the copier."""

        workers: workers.Workers
        losses: Losses
        stored: dict[bytes, tuple[int, dict[bytes, bytes] | None]]
        busy: set[bytes]
        stale: bool
        target: Target
        equal: equal_files.EqualFiles

        def copy_instead(
            self, inside: Dir, fd: int, names: list[bytes], stats: list[os.stat_result], places: list[int]
        ) -> None: ...

        def copy_small(self, inside: Dir, fd: int, name: bytes, st: os.stat_result) -> batches.Hashed | None: ...

        def copy_regular(
            self,
            inside: Dir,
            fd: int,
            path: bytes,
            name: bytes,
            st: os.stat_result,
            old: None,
            likes: list[Like],
        ) -> batches.Hashed: ...

        def finish(self, inside: Dir, xattrs: Attributes, st: os.stat_result) -> Kept: ...


_LINK, _COPY = range(2)


class Elsewhere:
    """What of one copy is done by its other processes."""

    def __init__(self, copier: Maker) -> None:
        self._copier = copier
        self._sources: set[int] = set()

    # In the process that walks

    def link(self, inside: Dir, fd: int, names: list[bytes], stats: list[os.stat_result]) -> bool:
        """Let unchanged files of a directory be linked from the base payload; False when it is to be done here."""
        crew = self._copier.workers
        if not crew.are_there or len(names) < workers.LEAST_FILES:
            return False
        source = os.dup(fd)
        self._sources.add(source)
        several = hardlinks.with_other_names(stats)
        order = (_LINK, names, listing.stamps(stats, with_inode=True, with_dirs=False), several)

        def linked(value: Any) -> None:
            try:
                refused, inodes, failure = value
                if failure is not None:
                    raise self._copier.target.failed(OSError(*failure), listing.relative(inside.path, failure[2]))
                self._copier.equal.note_linked(inside, names, stats, inodes)
                self._copier.copy_instead(inside, source, names, stats, refused)
            finally:
                self._release(source)
            self.arrived(inside)

        given = False
        try:
            given = crew.offer(order, [inside.base, inside.fd], linked)
        finally:
            if not given:
                self._release(source)
        inside.waits += given
        return given

    def _release(self, source: int) -> None:
        self._sources.remove(source)
        os.close(source)

    def close(self) -> None:
        """Release what an error left open."""
        for source in list(self._sources):
            self._release(source)

    def order(self, batch: Batch) -> tuple[Any, list[int]]:
        """Return what another process has to know to copy some files."""
        inside = batch.inside
        places = equal_files.places(inside, _likes(batch))
        there = [fd for fd in (inside.base, inside.head) if fd >= 0] if places else []
        words = batch.directory, batch.names, batch.all_stamps(), places, inside.base >= 0, inside.head >= 0
        return (_COPY, *words), [batch.fd, inside.fd, *there]

    def copied(self, batch: Batch, value: Any) -> None:
        """Take what another process found out about files that it copied."""
        answers, stored, busy, losses, stale, linked = value
        copier = self._copier
        if not all(copier.equal.claim(inode, (device, source)) for inode, device, source in linked):
            raise workers.Unsteady  # another process did not know that this file of a payload was taken
        copier.stored.update(stored)
        copier.busy.update(busy)
        for loss in losses:
            copier.losses.add(*loss)
        copier.stale = copier.stale or stale
        batch.answers = batches.from_plain(answers)
        self.arrived(batch.inside)

    def arrived(self, inside: Dir) -> None:
        """Count an order as done; a directory that waited only for it gets its metadata."""
        inside.waits -= 1
        if not inside.waits and inside.parked is not None:
            xattrs, st = inside.parked
            if self._copier.finish(inside, xattrs, st).lost:
                self._copier.stale = True  # the entry of the directory above was made when nobody knew this

    def may_wait(self, inside: Dir, xattrs: Attributes, fd: int, st: os.stat_result) -> bool:
        """Answer whether a directory may get its metadata later, because nothing of it will be refused."""
        there = os.fstat(inside.fd)
        ours = os.geteuid() == 0 or (there.st_uid, there.st_gid) == (st.st_uid, st.st_gid)
        kept = not xattrs or there.st_dev == st.st_dev
        return ours and kept and os.fstat(fd).st_ctime_ns == st.st_ctime_ns

    # In the others

    def work(self, order: Any, descriptors: list[int]) -> Any:
        """Do an order. Errors: JvsError; `workers.Unsteady`."""
        if order[0] == _LINK:
            _, names, stamps, several = order
            try:
                base, target = descriptors
                wanted = hardlinks.facts_of_all(stamps)
                return *hardlinks.link_all(base, target, names, wanted, frozenset(several)), None
            except OSError as error:
                return [], [], (error.errno, error.strerror, error.filename)
        _, directory, names, stamps, places, has_base, has_head = order
        copier = self._copier
        copier.losses.clear()
        copier.stored, copier.busy = {}, set()
        linked = copier.equal.linked = []
        source, target, *there = descriptors
        head, base = there.pop() if places and has_head else -1, there.pop() if places and has_base else -1
        inside = Dir(target, -1, directory.rstrip(b"/"))  # no base: the index that tells of it is not for this process
        stats = [_as_stat(stamp) for stamp in listing.STAMP.iter_unpack(stamps)]
        likes = equal_files.likes_at(names, places, base, head) if places else []
        answers = batches.as_plain(self.copy_files(inside, source, names, stats, likes))
        return answers, copier.stored, list(copier.busy), list(copier.losses), copier.stale, linked

    # In both

    def do(self, batch: Batch) -> batches.Answers:
        """Copy the files of a batch in the process that walks. Errors: as `work`."""
        return self.copy_files(batch.inside, batch.fd, batch.names, batch.stats, _likes(batch))

    def copy_files(
        self, inside: Dir, source: int, names: list[bytes], stats: list[os.stat_result], likes: list[list[Like]]
    ) -> batches.Answers:
        """Copy some files; one that went away or cannot be read brings its error. Errors: as `work`.

        `likes` is empty, or says where each of them may lie already.
        """
        small = self._copier.copy_small
        return [
            (not likely and small(inside, source, name, st)) or self._copy(inside, source, name, st, likely)
            for name, st, likely in zip(names, stats, likes or [[]] * len(names), strict=True)
        ]

    def _copy(
        self, inside: Dir, source: int, name: bytes, st: os.stat_result, likes: list[Like]
    ) -> batches.Hashed | OSError:
        """Copy a file as the scanner would have it: what cannot be opened as what it was is looked at again."""
        path = listing.relative(inside.path, name)
        failure: OSError | None = None
        for _ in range(listing.TRIES):
            try:
                if failure is not None:
                    st = listing.look_again(source, name)
                    if not stat.S_ISREG(st.st_mode) or st.st_nlink > 1:  # for the walk to deal with
                        raise workers.Unsteady
                return self._copier.copy_regular(inside, source, path, name, st, None, likes)
            except listing.Vanished as error:
                return error
            except OSError as error:
                failure = error
                if error.errno == errno.EACCES:
                    break
                if not listing.may_have_changed(error):
                    raise from_oserror(error, f"reading '{path.decode('utf-8', 'backslashreplace')}'") from error
        assert failure is not None
        return failure


def _likes(batch: Batch) -> list[list[Like]]:
    """Return where each file of a batch may lie already; nothing when none of them does."""
    found = dict(batch.likes)
    return [found.get(i, []) for i in range(len(batch.names))] if found else []


def _as_stat(stamp: tuple[int, ...]) -> os.stat_result:
    """Return what a stamp tells of a file of the source, under one name of it."""
    inode, mode, uid, gid, size, mtime_ns, ctime_ns = stamp
    return os.stat_result(
        (mode, inode, 0, 1, uid, gid, size, 0, 0, 0), {"st_mtime_ns": mtime_ns, "st_ctime_ns": ctime_ns}
    )
