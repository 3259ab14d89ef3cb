"""Cloning a repository: all of its snapshots in a new one, with an id of its own; all of it or nothing.

It is built in a directory `.jvs.clone-XXXXXXXX` next to its place, made durable, and renamed last: a crash leaves that
directory, which nothing reads, and the same command removes it and begins anew. The log of the clone is its own, since
a chain begins with the id of its repository: its second record names every snapshot that came, as that of a receipt
does, and its third where they came from, with the end of the chain there.
Source: jvs-clone(1); jvs-protocol(7), Clone; jvs-audit(5).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading

from jvs import canon, progress
from jvs.engine import base as engine
from jvs.engine import registry, traits
from jvs.engine.copy import allocated_bytes
from jvs.errors import Exists, JvsError, NoSpace, PayloadHashMismatch, from_oserror
from jvs.fs import durable, listing, locks, paths
from jvs.store import (
    annotation,
    descriptor,
    finding,
    init,
    init_in_place,
    layout,
    lineage,
    node_store,
    placement,
    pointer,
    remembered,
    tamper_check,
    worktree,
)
from jvs.store.store import Store
from jvs.stream import receiving, sending, staging
from jvs.tree import node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.fs.losses import Loss
    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.settings import Settings

    class Cloned(init.Described):
        """A clone: what it is, what it was made of, and how.

        `snapshots` is how many came, `head` the one that main has; `way` is the engine that made the payloads,
        `hard-links`, or `stream`.
        """

        source_root: str
        source_repo: str
        snapshots: int
        head: str | None
        way: str
        degraded: list[Loss]


STAGE = ".jvs.clone-"
"""How the name of a directory begins in which a clone is made."""
OPERATION = "clone"
STREAM = "stream"
_REPOSITORY = "repository"


def clone(source: Store, path: str, settings: Settings, *, home: str | None = None) -> Cloned:
    """Make a copy of a repository, with all of its snapshots and an id of its own, at a path that is free.

    `settings` are those of the new repository, and not those that the source was opened with. Durable: yes.
    Errors: E_NAME_INVALID, E_USAGE, E_EXISTS, E_PATH_ESCAPE, E_PAYLOAD_HASH_MISMATCH, E_PARTIAL_SNAPSHOT,
    E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT, E_BUSY, E_NO_SPACE, E_IO. After an error nothing is left.
    """
    root = os.path.realpath(path)
    place = init.find_place(root)
    with _stage(place, settings) as stage:
        if paths.exists(place):
            raise Exists(f"'{root}' is there already", hint="choose another path", path=root)
        init.check_place(root, home, named=not source.layout.in_place)
        durable.make_dir(stage)
        init.check_own(stage, settings)
        with locks.acquire_directory(stage, wait=0):
            made = _Cloning(source, stage, settings)
            try:
                with source.reading(), progress.step("clone"):
                    made.run()
                remembered.remember(settings, root, made.repo_id, remembered.DIRECTORY)  # or a crash leaves what was
                durable.publish(stage / _REPOSITORY, place)
            except OSError as error:
                raise from_oserror(error, f"cloning '{source.root}' to '{root}'") from error
    progress.effect({"operation": OPERATION})
    return {
        **init.describe(root, settings),
        "source_root": source.root,
        "source_repo": source.repo_id,
        "snapshots": len(made.selection.ids),
        "head": made.head,
        "way": made.way,
        "degraded": made.degraded,
    }


@contextlib.contextmanager
def _stage(place: Below, settings: Settings) -> Iterator[Below]:
    """Give the directory to make a clone in, which is not there, and remove it at the end. Errors: E_BUSY, E_IO."""
    name = os.fsencode(place.name)
    stage = place.parent / f"{STAGE}{hashlib.sha256(name).hexdigest()[:8]}"
    try:
        if paths.exists(stage):  # of one that died, or that is at work
            with locks.acquire_directory(stage, wait=settings.wait):
                init.check_own(stage, settings)
                _remove(stage, settings)
        try:
            yield stage
        finally:
            _remove(stage, settings)
    except OSError as error:
        raise from_oserror(error, f"making a clone in '{place.parent}'") from error


def _remove(stage: Below, settings: Settings) -> None:
    """Remove the directory of a clone with what is in it: payloads of btrfs are read-only subvolumes."""
    if not paths.exists(stage):
        return
    options = settings.engine_options()
    for name in listing.names(stage):
        registry.remove_any(stage / name, options)
    durable.rmdir(stage, missing_ok=True)


class _Cloning:
    """One clone that is being made in a directory of its own."""

    def __init__(self, source: Store, stage: Below, settings: Settings) -> None:
        self._source = source
        self._stage = stage
        self._root = stage / _REPOSITORY
        self._settings = settings
        self.selection = sending.everything(source)
        self.degraded: list[Loss] = []
        self.way = STREAM
        self.head: str | None = None
        self.repo_id = ""
        self._to_sync: list[Below] = []

    def run(self) -> None:
        """Make all of it. Durable: yes."""
        latest = self._source.head_of(layout.MAIN)[1]
        first = self._files_of_main(latest)
        self.head = None if first is None else first["snapshot_id"]
        here = self._is_here()
        if not here:
            self._check_space(first)
        each = bool(self._source.settings.get("durability") == "each")
        with durable.Barrier(self._stage, each=each) as barrier:  # before the first write: it hears of all errors
            self._make(first)
            store = Store.open_found(finding.named(str(self._root)), self._settings)
            self.repo_id = store.repo_id
            try:
                with progress.others():  # nothing of it is done before all of it has its name
                    (self._copy if here else self._stream)(store)
                    self._write_down(store, latest)
            finally:
                store.close()
            self._sync(barrier)

    def _is_here(self) -> bool:
        """Answer whether the clone is on the mount that the source is on, where payloads can be shared.

        Nothing is shared with another user (root in a repository of whoever called sudo): links change what they are
        made of, and its owner may write to it.
        """
        if paths.lstat(self._source.layout.snapshots).st_uid != os.geteuid():
            return False
        return placement.is_on_mount_of(self._stage / _REPOSITORY, self._source.layout.control)

    def _files_of_main(self, latest: str | None) -> Descriptor | None:
        """Return the newest snapshot of main's line that holds all paths; a clone's main begins with it."""
        for record in lineage.line(self._source.layout, latest):
            if record["partial_paths"] is None and not record.get("collected"):
                if record["snapshot_id"] != latest:
                    progress.remark(
                        f"main is at '{record['snapshot_id']}': the snapshots after it hold only some paths"
                    )
                if not tamper_check.is_untouched(self._source, record):
                    node_store.Trees(self._source).rebuild(record)
                return record
        return None

    def _check_space(self, first: Descriptor | None) -> None:
        """Refuse what clearly does not fit, before anything is written: what snapshots share is counted once.

        Where the filesystem of the source shares blocks that no link count tells of, the largest one counts alone.
        Errors: E_NO_SPACE.
        """
        fd = paths.open_dir(self._stage)
        try:
            found = os.fstatvfs(fd)
        finally:
            os.close(fd)
        free, wanted, linked = found.f_bavail * found.f_frsize, 0, 0
        for record in self.selection.wanted:
            size = allocated_bytes(self._source.layout.payload(record["snapshot_id"]), free)
            if record["engine"] == engine.COPY:
                linked += size
            wanted = max(wanted, linked, size)
            if wanted > free:
                raise NoSpace(
                    f"the snapshots need at least {wanted} bytes, and {free} are free",
                    hint="choose another filesystem, or free some space there",
                    wanted_bytes=wanted,
                    free_bytes=free,
                )

    def _make(self, first: Descriptor | None) -> None:
        """Make the new repository, without history, with the files of main."""
        if self._source.layout.in_place:
            self._fork(first, self._root)
            with pointer.same_times(self._root):
                init_in_place.build(
                    self._root / layout.CONTROL,
                    self._settings,
                    f"making a repository in '{self._root}'",
                    path=layout.IN_PLACE,
                    ignored=True,
                )
        else:
            durable.make_dir(self._root, mode=0o777)
            init.build(self._root, self._settings)
            main = self._root / layout.MAIN
            registry.remove_any(main, self._settings.engine_options())
            self._fork(first, main)
        if paths.exists(self._source.layout.config):
            text = paths.read_file(self._source.layout.config, 1 << 20)
            durable.create_file(self._root / layout.CONTROL / "config.toml", text)

    def _fork(self, first: Descriptor | None, target: Below) -> None:
        """Make the files of main, with the best engine."""
        wanted, options = self._source.settings.get("default_engine"), self._source.settings.engine_options()
        if first is None:
            registry.best_for(target.parent, wanted, options).make_worktree(target)
            return
        payload = self._source.layout.payload(first["snapshot_id"])
        chosen = registry.pick_for_fork(wanted, payload, target.parent, options)
        request = engine.Request(payload, target, jobs=os.cpu_count() or 1, hash=False, frozen=True)
        made = chosen.fork(request)
        self.degraded += made.degraded
        if not traits.is_committed(made.engine):
            self._to_sync.append(target)

    def _copy(self, store: Store) -> None:
        """Give the clone each snapshot as it is, sharing all that can be shared."""
        received: list[receiving.ReceivedSnapshot] = []
        for record in self.selection.boundary(self._source):
            _in_directory(store.layout.boundaries)
            durable.create_file(store.layout.boundary(record["snapshot_id"]), sending.encoded(record), sync=False)
        for record in self.selection.wanted:
            self._copy_payload(store, record)
            received.append(self._copy_records(store, record))
        if received:
            store.record(receiving.OPERATION, source_repo=self._source.repo_id, snapshots=received)

    def _copy_payload(self, store: Store, record: Descriptor) -> None:
        snapshot_id, theirs = record["snapshot_id"], self._source.layout
        descriptor.check_agreement(theirs, record)
        target = store.layout.payload(snapshot_id)
        self.way, lost = staging.copy(theirs.payload(snapshot_id), target, self._source.settings.engine_options())
        self.degraded += lost
        if lost:
            _check(record, target, lost)
        if not traits.is_committed(self.way):
            self._to_sync.append(target)
        for suffix in (".READY", ".leaves"):
            name = theirs.payload(snapshot_id).plus(suffix)
            if paths.exists(name):
                durable.create_file(target.plus(suffix), paths.read_file(name), sync=False)

    def _copy_records(self, store: Store, record: Descriptor) -> receiving.ReceivedSnapshot:
        snapshot_id = record["snapshot_id"]
        durable.create_file(store.layout.descriptor(snapshot_id), sending.encoded(record), sync=False)
        received: receiving.ReceivedSnapshot = {
            "snapshot_id": snapshot_id,
            "descriptor_checksum": record["descriptor_checksum"],
        }
        with contextlib.suppress(FileNotFoundError):
            said = annotation.load(self._source.layout, snapshot_id)
            _in_directory(store.layout.annotations)
            durable.create_file(store.layout.annotation(snapshot_id), canon.encode(said) + b"\n", sync=False)
            received["annotation_sha256"] = annotation.checksum(said)
        return received

    def _stream(self, store: Store) -> None:
        """Give the clone the snapshots as a stream, on another filesystem: what they share stays shared there."""
        if not self.selection.ids:
            return
        self._source.close()  # the index is opened again by the thread that reads
        reading, writing = os.pipe()
        failed: list[BaseException] = []

        def send() -> None:
            try:
                with open(writing, "wb") as file:
                    sending.write_locked(self._source, self.selection, file)
            except BaseException as error:
                failed.append(error)
            finally:
                self._source.close()

        sender = threading.Thread(target=send, daemon=True)
        with open(reading, "rb") as file:
            sender.start()
            try:
                self.degraded += receiving.receive(store, file)["degraded"]
            except JvsError as error:
                file.close()
                sender.join()
                why = next((found for found in failed if not isinstance(found, BrokenPipeError)), error)
                raise why from error
        sender.join()

    def _write_down(self, store: Store, latest: str | None) -> None:
        """Record where the clone came from, and where its main is."""
        seq, tail = self._source.log().tail()
        after = {"head": self.head, "latest": latest}
        origin = {"source_repo": self._source.repo_id, "source_seq": seq, "source_hash": tail}
        event = store.record(OPERATION, target=latest, worktree=layout.MAIN, after=after, **origin)
        worktree.move_head(
            store.layout, layout.MAIN, self.head, expected=None, latest=latest, event_id=event["event_id"]
        )

    def _sync(self, barrier: durable.Barrier) -> None:
        """Make all of it durable."""
        if barrier.whole_filesystem:
            barrier.flush()
            return
        control = self._root / layout.CONTROL
        durable.sync_tree(control, skip="snapshots")
        snapshots = control / "snapshots"
        for name in listing.names(snapshots):
            if not paths.is_dir(snapshots / name):
                durable.fsync_file(snapshots / name)
        for tree in self._to_sync:
            durable.sync_tree(tree)
        for directory in (snapshots, control, self._root, self._stage):
            durable.fsync_dir(directory)


def _in_directory(place: Below) -> None:
    if not paths.exists(place):
        durable.make_dir(place)


def _check(record: Descriptor, payload: Below, lost: list[Loss]) -> None:
    """Refuse a copy that lacks what the hash covers. Errors: E_PAYLOAD_HASH_MISMATCH."""
    plain = node.is_plain(record["hash_algorithm"])
    found = node_store.hash_payload(payload, jobs=os.cpu_count() or 1, plain=plain)
    if found.root_hash != record["payload_root_hash"]:
        raise PayloadHashMismatch(
            f"snapshot '{record['snapshot_id']}' cannot be copied as it is: '{lost[0]['path']}': {lost[0]['why']}",
            hint="use root's rights, or a place where all of it can be kept",
            snapshot_id=record["snapshot_id"],
        )
