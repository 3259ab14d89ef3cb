"""Bringing back below `undo/` what an operation does not keep itself, because a snapshot holds it.

Done before the operation is undone, so that undoing it moves all of it. Everything is complete and durable under its
name before the record that says where it was goes.
Source: jvs-protocol(7), Undo.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jvs import progress
from jvs.errors import PartialSnapshot, PayloadHashMismatch, from_oserror
from jvs.fs import durable, listing, removal
from jvs.fs import paths as fs_paths
from jvs.fs.losses import Losses
from jvs.restore import finish
from jvs.restore.delta import Delta
from jvs.restore.entries import RootedDir, has_digest, lstat_at, meta_of
from jvs.restore.hardlinks import Links
from jvs.store import held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.restore.entries import Meta
    from jvs.store.store import Store

HALF = b".jvs-tmp-half"
"""Where copies are made, next to what the operation keeps itself."""


def bring_back(store: Store, operation_id: str) -> None:
    """Put what snapshots hold of an operation back to where it was displaced to. Durable: yes; can be repeated.

    Errors: E_PARTIAL_SNAPSHOT when it is nowhere; E_PAYLOAD_HASH_MISMATCH when it is not what it was; E_NO_SPACE, E_IO.
    """
    record = held.load(store.layout, operation_id)
    if record is None:
        return
    listing.allow_deep_trees()
    home, place = store.layout.undo_dir(operation_id), held.place(store.layout, operation_id)
    half = place / os.fsdecode(HALF)
    try:
        removal.remove_tree(half)
        durable.make_dir(half)
        try:
            with contextlib.ExitStack() as stack, progress.step("bring back"):
                _Bringer(store, operation_id, place, stack).run(record)
        finally:
            removal.remove_tree(half)
        _apply_top(place, record)
        durable.unlink(home / held.NAME)
        durable.fsync_dir(home)
    except OSError as error:
        raise from_oserror(error, f"bringing back what operation '{operation_id}' displaced") from error


class _Bringer:
    """Copies what is missing below an operation's `files`, and then gives all of it its name."""

    def __init__(self, store: Store, operation_id: str, place: Below, stack: contextlib.ExitStack) -> None:
        self.operation_id = operation_id
        self._store = store
        self._stack = stack
        each = store.settings.get("durability") == "each"
        self._barrier = stack.enter_context(durable.Barrier(place, each=each))
        self._keep = stack.enter_context(RootedDir(place))
        self._sources: dict[str, list[RootedDir]] = {}
        self._links: dict[int, Links] = {}
        self._copies: list[tuple[bytes, bytes]] = []
        self._dirs: dict[bytes, Meta] = {}
        self._losses = Losses()

    def run(self, record: held.Held) -> None:
        """Bring everything back. Durable: yes, but for the record."""
        for entry in record.entries:
            source = self._checked(entry)
            self._add_missing(source, *source.parent(entry.path), entry.path)
        if self._barrier.whole_filesystem:
            self._barrier.flush()  # a name must not lead to what a crash leaves empty
        for label, path in self._copies:
            there, last = self._keep.parent(path, make=True, writable=True)
            half, _ = self._keep.parent(listing.relative(HALF, label))
            durable.rename_new(label, last, source_fd=half, target_fd=there)
        self._dirs.update(record.dirs)
        for path in sorted(self._dirs, key=lambda path: path.count(b"/"), reverse=True):
            self._apply(path, self._dirs[path])
        if self._barrier.whole_filesystem:
            self._barrier.flush()
        else:
            durable.sync_tree(b".", self._keep.fd)

    def _checked(self, entry: held.HeldEntry) -> RootedDir:
        """Return the place that holds an entry as it was. Errors: E_PARTIAL_SNAPSHOT, E_PAYLOAD_HASH_MISMATCH."""
        if entry.snapshot_id not in self._sources:
            places = held.places(self._store.layout, entry.snapshot_id)
            self._sources[entry.snapshot_id] = [self._stack.enter_context(RootedDir(place)) for place in places]
        shown = entry.path.decode("utf-8", "backslashreplace")
        found = False
        for source in self._sources[entry.snapshot_id]:
            if source.lstat(entry.path) is None:
                continue
            found = True
            if has_digest(*source.parent(entry.path), entry.digest):
                return source
        if found:
            raise PayloadHashMismatch(
                f"'{shown}' in snapshot '{entry.snapshot_id}' is not what operation '{self.operation_id}' displaced",
                hint=f"'jvs verify {entry.snapshot_id}' names all that differs; nothing was undone",
                snapshot_id=entry.snapshot_id,
                path=shown,
            )
        raise PartialSnapshot(
            f"'{shown}' of operation '{self.operation_id}' is not in snapshot '{entry.snapshot_id}' any more",
            hint="restore that snapshot's files from a copy of the repository; nothing was undone",
            snapshot_id=entry.snapshot_id,
            path=shown,
        )

    def _add_missing(self, source: RootedDir, parent: int, name: bytes, path: bytes) -> None:
        """Copy an entry, or those below it that are not there: what could not be removed is there still."""
        links = self._links.setdefault(id(source), Links(self._keep, Delta(), self._losses))
        now, st = self._keep.lstat(path), os.lstat(name, dir_fd=parent)
        if now is None:
            label = b"%d" % len(self._copies)
            half, _ = self._keep.parent(listing.relative(HALF, label))
            links.copy(parent, name, half, label, path, listing.relative(HALF, label))
            if not self._barrier.whole_filesystem:
                if stat.S_ISDIR(st.st_mode):
                    durable.sync_tree(label, half)
                elif stat.S_ISREG(st.st_mode):
                    durable.fsync_file(label, half)
            self._copies.append((label, path))
            return
        if not stat.S_ISDIR(st.st_mode):
            if st.st_nlink > 1:
                links.made[st.st_ino] = path
            return
        if not stat.S_ISDIR(now.st_mode):
            return
        fd = fs_paths.open_dir(name, parent)
        try:
            self._dirs[path] = meta_of(fd)
            for child in listing.list_dir(fd)[0]:
                self._add_missing(source, fd, child, listing.relative(path, child))
        finally:
            os.close(fd)

    def _apply(self, path: bytes, meta: Meta) -> None:
        if not path:
            return  # the last of all, when nothing in it changes any more
        parent, name = self._keep.parent(path)
        st = lstat_at(name, parent)
        if st is None or not stat.S_ISDIR(st.st_mode):
            return
        fd = fs_paths.open_dir(name, parent)
        try:
            finish.apply_meta(fd, meta, path, self._losses)
        finally:
            os.close(fd)


def _apply_top(place: Below, record: held.Held) -> None:
    """Give a removed worktree itself the metadata that it had."""
    meta = dict(record.dirs).get(b"")
    if meta is None:
        return
    fd = fs_paths.open_dir(place)
    try:
        finish.apply_meta(fd, meta, b"", Losses())
        durable.fsync_dir(b".", fd)
    finally:
        os.close(fd)
