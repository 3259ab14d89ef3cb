"""One walk that copies a tree and hashes it on the way; the engines `copy` and `reflink-copy` are this.

A file whose stamp is the one in the index is hard-linked from the payload that the index describes; all others are
copied through `fidelity`. What is hashed is what was written: the tree of the walk is the tree of the target.
Source: jvs-protocol(7), Publish, steps 3 and 4; jvs-engines(7).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat

from jvs.engine import hardlinks
from jvs.engine.base import Request
from jvs.engine.content import Contents
from jvs.engine.elsewhere import Elsewhere
from jvs.engine.equal_files import EqualFiles, may_travel
from jvs.engine.groups import Groups
from jvs.engine.small_files import NOT_HASHED, SmallFiles
from jvs.engine.target import Dir, Target
from jvs.fs import copyfile, durable, listing, metadata, paths
from jvs.fs.losses import Losses
from jvs.fs.xattrs import read_all
from jvs.tree import batches, node, scan, workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from jvs.engine.equal_files import Like
    from jvs.fs.xattrs import Attributes
    from jvs.tree.batches import Batch, Promise, Together
    from jvs.tree.node import Entry
    from jvs.tree.rows import Row

_USUAL = {stat.S_IFREG, stat.S_IFLNK}


class Copier(scan.Hasher):
    """Makes the target while the scanner walks the source; `share` and `stamps_hold` are those of `Contents`."""

    must_visit = None

    def __init__(self, request: Request, *, share: bool, stamps_hold: bool = True) -> None:
        super().__init__(jobs=request.jobs, allow_unreadable=request.allow_unreadable, plain=request.plain)
        self.request, self.shared = request, request.shared
        self.losses = Losses()
        self.stale = False
        """Whether a file changed in a way that makes the tree of this walk untrue; it is hashed again then."""
        self.odd = False
        """Whether there was a file with several names, or one that is neither a regular file nor a link."""
        self.hashes, self.target = request.hash, Target(request, self.losses)
        self.failed = self.target.failed
        self._elsewhere = Elsewhere(self)
        self._groups = Groups(self, none=request.source_is_plain)
        self.equal = EqualFiles(self, self._groups)
        self._contents = Contents(self, self.losses, share=share, stamps_hold=stamps_hold)
        self._small = SmallFiles(self._contents)

    # Directories

    def enter(self, above: Dir | None, name: bytes, path: bytes, fd: int, st: os.stat_result) -> Dir:
        """Make the directory, 0700 until everything is inside."""
        return self.target.begin(above, name, path)

    def visited(
        self, fd: int, path: bytes, names: list[bytes], stats: list[os.stat_result], stamps: bytes, row: Row | None
    ) -> frozenset[bytes]:
        """Let whoever watches the source see what it holds."""
        if self.request.watch is not None:
            self.request.watch(path, names, stats)
        return frozenset()

    def leave(self, inside: Dir, fd: int, st: os.stat_result) -> None:
        """Give the directory its metadata when it is complete: now, or when other processes have done their share."""
        if self._batch is not None and self._batch.inside is inside:
            self.flush()
        try:
            xattrs = read_all(fd)
        except OSError as error:
            raise self.failed(error, inside.path) from error
        if inside.path and inside.waits and self._elsewhere.may_wait(inside, xattrs, fd, st):
            self.target.park(inside, xattrs, st)
            return
        if inside.waits or not inside.path:
            self.workers.wait()
        kept = self.finish(inside, xattrs, st)
        if kept.lost or os.fstat(fd).st_ctime_ns != st.st_ctime_ns:  # it may have got other attributes meanwhile
            self.stored[inside.path] = (kept.mode, kept.covered())

    def finish(self, inside: Dir, xattrs: Attributes, st: os.stat_result) -> metadata.Kept:
        """Give a complete directory its metadata."""
        return self.target.finish(inside, xattrs, st)

    def abandon(self, inside: Dir) -> None:
        """Take away the directory that was begun."""
        if self._batch is not None and self._batch.inside is inside:
            self._batch.give_up()
            self._batch = None
        self.workers.wait()
        self.target.abandon(inside)

    def close(self) -> None:
        """End the threads and release directories that an error left open."""
        super().close()
        self._elsewhere.close()
        self.target.close()

    def keep(self, inside: Dir, fd: int, names: list[bytes], stats: list[os.stat_result]) -> None:
        """Link unchanged entries from the base payload; copy those that cannot be linked."""
        linked = [st for st in stats if st[stat.ST_NLINK] > 1]
        self.odd = self.odd or bool(linked) or not {stat.S_IFMT(st[stat.ST_MODE]) for st in stats} <= _USUAL
        if inside.base < 0:
            self.copy_instead(inside, fd, names, stats, range(len(names)))
            return
        alone = not self.meets(len(names)) or len(names) < workers.LEAST_FILES
        if linked and (alone or any(map(self.equal.is_copied, linked))):
            self._keep_groups(inside, fd, names, stats)
            return
        for i in range(0, len(names), batches.MOST_FILES):
            part = slice(i, i + batches.MOST_FILES)
            if not self._elsewhere.link(inside, fd, names[part], stats[part]):
                self._link_here(inside, fd, names[part], stats[part])

    def _link_here(self, inside: Dir, fd: int, names: list[bytes], stats: list[os.stat_result]) -> None:
        several = frozenset(hardlinks.with_other_names(stats))
        try:
            wanted = [hardlinks.facts(st) for st in stats]
            refused, inodes = hardlinks.link_all(inside.base, inside.fd, names, wanted, several)
        except OSError as error:
            raise self.failed(error, listing.relative(inside.path, error.filename)) from error
        self.equal.note_linked(inside, names, stats, inodes)
        self.copy_instead(inside, fd, names, stats, refused)

    def copy_instead(
        self, inside: Dir, fd: int, names: list[bytes], stats: list[os.stat_result], places: Iterable[int]
    ) -> None:
        """Copy some unchanged files of a directory that could not be linked."""
        for i in places:
            self._keep_copy(inside, fd, names[i], stats[i])

    def _keep_groups(self, inside: Dir, fd: int, names: list[bytes], stats: list[os.stat_result]) -> None:
        """Link unchanged entries one by one, because some of them have other names that may lie elsewhere."""
        for name, st in zip(names, stats, strict=True):
            path = listing.relative(inside.path, name)
            if st.st_nlink > 1 and (first := self._groups.get(st)) is not None:
                self.stale = self.stale or not first.is_as(st)
                if self._groups.link(first, inside, name, path, st):
                    continue
            try:
                base, key = os.lstat(name, dir_fd=inside.base), (st.st_dev, st.st_ino)
                if hardlinks.looks_like(base, st) and self.equal.claim(base.st_ino, key):
                    os.link(name, name, src_dir_fd=inside.base, dst_dir_fd=inside.fd, follow_symlinks=False)
                    self.equal.pair(base.st_ino, key)
                else:
                    self._keep_copy(inside, fd, name, st)
            except OSError as error:
                self.check_link_error(error, inside, name)
                self._keep_copy(inside, fd, name, st)
            self._groups.note(path, st, None, 0, None)

    def check_link_error(self, error: OSError, inside: Dir, name: bytes) -> None:
        """Raise what is more than a reason to copy instead of linking."""
        if error.errno not in hardlinks.COPY_INSTEAD:
            raise self.failed(error, listing.relative(inside.path, name))

    def _keep_copy(self, inside: Dir, fd: int, name: bytes, st: os.stat_result) -> None:
        """Copy what could have been linked: its digest is known, if it is still the same file."""
        path = listing.relative(inside.path, name)
        if st.st_nlink > 1:
            first = self._groups.get(st)
            if first is not None and self._groups.link(first, inside, name, path, st):
                return
        before, self.hashes = self.hashes, False
        try:
            self._copy_again(inside, fd, path, name, st)
        except listing.Vanished:
            self.stale = True
            return
        except PermissionError as error:
            raise self.failed(error, path) from error
        except OSError as error:
            self.stale = True
            self.refuse(path, error)
            return
        finally:
            self.hashes = before
        if path in self.stored:
            self.stale = True

    def _copy_again(self, inside: Dir, fd: int, path: bytes, name: bytes, st: os.stat_result) -> None:
        """Copy an entry that is as it was, or became something else just now. Errors: OSError, as `look_again`."""
        failure: OSError | None = None
        for _ in range(listing.TRIES):
            try:
                if failure is not None:
                    st, self.stale = listing.look_again(fd, name), True
                if stat.S_ISDIR(st.st_mode):
                    raise OSError(errno.EISDIR, "it became a directory while it was copied")
                self._copy(inside, fd, path, name, st, None, [])
                return
            except OSError as error:
                if isinstance(error, listing.Vanished) or not listing.may_have_changed(error):
                    raise
                failure = error
        assert failure is not None
        raise failure

    # Entries that are new or changed

    def take(
        self, inside: Dir, fd: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> tuple[Any, int, dict[bytes, bytes] | None] | None:
        """Copy an entry, or link it to its group or to an equal file of the base payload."""
        self.odd = self.odd or st.st_nlink > 1 or stat.S_IFMT(st.st_mode) not in _USUAL
        likes = self.equal.likes(inside, name, old) if self.hashes else []
        first = stat.S_ISREG(st.st_mode) and (st.st_nlink == 1 or not self._groups.has(st))
        if first and may_travel(likes) and self.shares(st):
            promise = self.put(inside, fd, path, name, st)
            if likes:
                promise.batch.likes.append((promise.position, likes))
            self._note_first(path, st, promise)
            return promise, st.st_size, None
        try:
            if first and not likes:
                small = self.copy_small(inside, fd, name, st)
                return small or self.copy_regular(inside, fd, path, name, st)
            return self._copy(inside, fd, path, name, st, old, likes)
        except PermissionError as error:
            self.refuse(path, error)
            return None

    def take_all(
        self,
        inside: Dir,
        fd: int,
        path: bytes,
        names: list[bytes],
        stats: list[os.stat_result],
        row: tuple[Row, bytes] | None,
    ) -> Together | None:
        """Copy a directory of small files, or link those that are equal, unless some are names of one file."""
        linked = [] if self._groups.none else hardlinks.with_other_names(stats)
        several = linked and len({st.st_ino for st in stats}) < len(stats)
        likes = self.equal.likes_of(inside, names, row) if self.hashes else []
        if several or not all(map(may_travel, likes)) or any(self._groups.has(stats[i]) for i in linked):
            return None
        together = self.take_batches(inside, fd, path, names, stats, likes)
        if together is not None and linked:
            self.odd = True
            for i, promise in zip(linked, together.promises(linked), strict=True):
                self._note_first(listing.relative(path, names[i]), stats[i], promise)
        return together

    def _note_first(self, path: bytes, st: os.stat_result, promise: Promise) -> None:
        """Note what is to be copied as the first name of its file. Errors: `workers.Unsteady` when it is not any more.

        While it was handed over an answer may have come, that another name was linked from the base.
        """
        if not self._groups.note(path, st, promise, st.st_size, None):
            raise workers.Unsteady

    # Small files, by several processes

    def order(self, batch: Batch) -> tuple[Any, list[int]]:
        """Return what another process has to know to copy some files."""
        return self._elsewhere.order(batch)

    def give(self, batch: Batch) -> bool:
        """Hand some files to another process; their directory waits for them."""
        given = super().give(batch)
        batch.inside.waits += given
        return given

    def do_batch(self, batch: Batch) -> batches.Answers:
        """Copy some files in this process."""
        return self._elsewhere.do(batch)

    def work_along(self, order: Any, descriptors: list[int]) -> Any:
        """Link or copy some files in another process."""
        return self._elsewhere.work(order, descriptors)

    def answered(self, batch: Batch, value: Any) -> None:
        """Take what another process found out."""
        self._elsewhere.copied(batch, value)

    def copy_small(self, inside: Dir, fd: int, name: bytes, st: os.stat_result) -> batches.Hashed | None:
        """Copy a file under its first name when it is small and not odd in any way; None when nothing was made."""
        try:
            digest = self._small.copy(fd, inside.fd, name, st, hash=self.hashes)
        except OSError as error:
            raise self.failed(error, listing.relative(inside.path, name)) from error
        if digest is None:
            return None
        if st.st_nlink > 1:  # or the path of each small file would be made for nothing
            self._groups.note(listing.relative(inside.path, name), st, digest, st.st_size, None)
        return digest, st.st_size, None

    def _copy(
        self,
        inside: Dir,
        fd: int,
        path: bytes,
        name: bytes,
        st: os.stat_result,
        old: Entry | None,
        likes: list[Like],
    ) -> tuple[Any, int, dict[bytes, bytes] | None] | None:
        if st.st_nlink > 1:
            taken = self._groups.take(inside, fd, path, name, st)
            if taken is not None:
                return taken
        if not stat.S_ISREG(st.st_mode):
            return self._copy_special(inside, fd, path, name, st)
        return self.copy_regular(inside, fd, path, name, st, old, likes)

    def copy_regular(
        self,
        inside: Dir,
        fd: int,
        path: bytes,
        name: bytes,
        st: os.stat_result,
        old: Entry | None = None,
        likes: Iterable[Like] = (),
    ) -> tuple[Any, int, dict[bytes, bytes] | None]:
        """Copy a regular file under its first name, or link one that is equal. Errors: OSError when it is none."""
        source = paths.open_file(name, fd)
        try:
            self.watch(source, path, st.st_size)
            taken = self.equal.take(inside, likes, source, path, name, st) if likes else None
            if taken is not None:
                return taken
            return self._copy_file(inside, source, path, name, st, old)
        finally:
            os.close(source)

    def _copy_special(
        self, inside: Dir, fd: int, path: bytes, name: bytes, st: os.stat_result
    ) -> tuple[Any, int, dict[bytes, bytes] | None] | None:
        kind = listing.kind_of(st.st_mode)
        digest = node.special_digest(kind, name, st, fd)
        try:
            kept = metadata.copy_special(fd, name, inside.fd, st, path, self.losses)
            if kept is not None and kind == listing.SYMLINK:
                link = os.readlink(name, dir_fd=inside.fd)
                digest, size = hashlib.sha256(link).digest(), len(link)
            else:
                size = 0
        except OSError as error:
            if not listing.may_have_changed(error):
                raise self.failed(error, path) from error
            with contextlib.suppress(FileNotFoundError):
                durable.unlink(name, dir_fd=inside.fd)
            raise  # deleted from the source meanwhile, or something else: the walk looks again
        if kept is None:
            return None
        xattrs = None if kind == listing.SYMLINK else kept.covered()
        if kept.lost:
            self.stored[path] = (kept.mode, xattrs)
        self._groups.note(path, st, digest, size, xattrs)
        return digest, size, xattrs

    def _copy_file(
        self, inside: Dir, source: int, path: bytes, name: bytes, st: os.stat_result, old: Entry | None
    ) -> tuple[Any, int, dict[bytes, bytes] | None]:
        try:
            target = metadata.new_file(name, inside.fd)
            try:
                final, digest, size = self._contents.copy(source, target, path, hash=self.hashes, old=old)
                kept = metadata.apply_metadata(target, final, read_all(source), path, self.losses)
                if digest is None and self.hashes:
                    digest, size = self._contents.hash_copy(target, final.st_size)
            finally:
                os.close(target)
        except OSError as error:
            raise self.failed(error, path) from error
        xattrs = kept.covered()
        if kept.lost or final.st_mode != st.st_mode or not copyfile.unchanged(st, final) or st.st_ino != final.st_ino:
            self.stored[path] = (kept.mode, xattrs)
        self._groups.note(path, st, digest, size, xattrs, final=final)
        return digest if digest is not None else NOT_HASHED, size, xattrs
