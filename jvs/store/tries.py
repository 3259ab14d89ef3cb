"""Tries: commands that ran on a throwaway copy, one directory `tries/ID/` each.

`try.json` says what ran on which snapshot, `files/` holds what it made of it: only what differs (`overlay`), with
`delta.cbor` for what is gone, or all of it (`clone`). While the command runs the directory itself is locked; one that
runs and is not locked died, and is removed by whoever meets it. A directory without `try.json` is debris.
Source: jvs-try(1), jvs-format(5), Tries.
"""

from __future__ import annotations

import contextlib
import hashlib
import os

from jvs import canon, clock, system
from jvs.engine import registry
from jvs.errors import Busy, JvsError, NotFound, PartialSnapshot, from_oserror
from jvs.fs import durable, listing, locks, paths, removal, rooted
from jvs.names import is_operation_id
from jvs.store import intent, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, TypedDict

    from jvs.fs.rooted import Below
    from jvs.store.layout import Layout
    from jvs.store.shapes import Owner
    from jvs.store.store import Store

    class TryClock(TypedDict):
        """When something was written, in a way that no setting of the clock changes."""

        boot: str
        boottime_ns: int

    class Try(TypedDict):
        """The record of a try. `root_hash`, `delta_sha256`, `exit` and `ended_at` are null while it runs."""

        version: int
        operation_id: str
        worktree: str
        identity: str
        snapshot_id: str
        created_at: str
        clock: TryClock
        owner: Owner
        command: str
        state: Literal["running", "pending"]
        kind: Literal["overlay", "clone"]
        exit: int | None
        root_hash: str | None
        delta_sha256: str | None
        bytes: int


OVERLAY, CLONE = "overlay", "clone"
RUNNING, PENDING = "running", "pending"
NAME, DELTA, FILES, WORK = "try.json", "delta.cbor", "files", "work"
FIELDS: records.Fields = {
    "version": records.one_of(1),
    "operation_id": records.is_id,
    "worktree": records.is_name,
    "identity": records.is_text,
    "snapshot_id": records.is_id,
    "created_at": records.is_time,
    "clock": records.shaped({"boot": records.is_text, "boottime_ns": records.is_count}),
    "owner": intent.FIELDS["owner"],
    "command": records.is_text,
    "state": records.one_of(RUNNING, PENDING),
    "kind": records.one_of(OVERLAY, CLONE),
    "exit": records.nullable(records.is_count),
    "root_hash": records.nullable(records.is_hash),
    "delta_sha256": records.nullable(records.is_hash),
    "bytes": records.is_count,
}
MAX_DELTA_BYTES = 512 << 20


def new(name: str, identity: str, snapshot_id: str, command: str) -> Try:
    """Return the record of a try that is about to run."""
    return {
        "version": 1,
        "operation_id": clock.new_operation_id(),
        "worktree": name,
        "identity": identity,
        "snapshot_id": snapshot_id,
        "created_at": clock.rfc3339(),
        "clock": {"boot": system.boot_id(), "boottime_ns": clock.boottime_ns()},
        "owner": intent.owner(locked=True),
        "command": command,
        "state": "running",
        "kind": "overlay",
        "exit": None,
        "root_hash": None,
        "delta_sha256": None,
        "bytes": 0,
    }


def files(layout: Layout, try_id: str) -> Below:
    """Return where a try keeps the files that it made or changed."""
    return layout.try_dir(try_id) / FILES


def begin(layout: Layout, record: Try) -> locks.Lock:
    """Write the record of a try, and return the lock that says that it runs. Durable: yes. Errors: E_IO, E_NO_SPACE."""
    home = layout.try_dir(record["operation_id"])
    try:
        with _ordered(layout):
            return _begin(layout, record, home)
    except OSError as error:
        raise from_oserror(error, "writing down what is tried") from error


def _ordered(layout: Layout) -> locks.Lock:
    """Take the lock under which tries begin and dead ones are removed."""
    return locks.acquire_brief(layout.lock("tries"), wait=0)


def _begin(layout: Layout, record: Try, home: Below) -> locks.Lock:
    if not paths.exists(layout.tries):
        durable.make_dir(layout.tries)
        durable.fsync_dir(layout.jvs)
    durable.make_dir(home)
    lock = locks.acquire_directory(home, wait=0)
    save(layout, record)
    durable.fsync_dir(layout.tries)
    return lock


def save(layout: Layout, record: Try) -> None:
    """Write the record of a try in one step. Durable: yes."""
    records.save(layout.try_dir(record["operation_id"]) / NAME, record)


def load(layout: Layout, try_id: str) -> Try:
    """Read the record of a try. Errors: E_NOT_FOUND; E_PARTIAL_SNAPSHOT when it is damaged; E_IO."""
    path = layout.try_dir(try_id) / NAME
    try:
        record: Try = records.load(path, FIELDS, PartialSnapshot)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"there is no try '{try_id}'", hint="'jvs try --list' shows those that are pending") from error
    whole = record["state"] == RUNNING or (record["root_hash"] is not None and record["exit"] is not None)
    if record["operation_id"] != try_id or not whole or (record["kind"] == OVERLAY) != _has_delta(record):
        raise PartialSnapshot(
            f"'tries/{try_id}/{NAME}' is not the record of that try",
            hint=f"what it made is below '{layout.try_dir(try_id)}'; 'jvs doctor --repair clean_intents' sets it aside",
        )
    return record


def _has_delta(record: Try) -> bool:
    """Answer whether a record has what one of an overlay has; one that runs has either."""
    return record["delta_sha256"] is not None or (record["state"] == RUNNING and record["kind"] == OVERLAY)


def ids(layout: Layout) -> list[str]:
    """Return the ids of all tries, oldest first."""
    try:
        return sorted(name for name in listing.names(layout.tries) if is_operation_id(name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def load_all(layout: Layout) -> list[Try]:
    """Return the records of all tries, oldest first. Errors: E_PARTIAL_SNAPSHOT when one is damaged; E_IO."""
    found = []
    for try_id in ids(layout):
        try:
            found.append(load(layout, try_id))
        except NotFound:  # one that is being removed, or its debris
            continue
    return found


def is_running(layout: Layout, try_id: str) -> bool:
    """Answer whether somebody holds the lock of a try: its command runs, or it is being made use of."""
    try:
        locks.acquire_directory(layout.try_dir(try_id), wait=0).close()
    except Busy:
        return True
    return False


def write_delta(layout: Layout, record: Try, whole: Iterable[bytes], removed: Iterable[bytes]) -> None:
    """Write down what of the snapshot is gone, and note that in the record. Durable: the file. Errors: OSError."""
    data = canon.cbor_encode([sorted(whole), sorted(removed)])
    record["delta_sha256"] = hashlib.sha256(data).hexdigest()
    durable.create_file(layout.try_dir(record["operation_id"]) / DELTA, data)


def load_delta(layout: Layout, record: Try) -> tuple[set[bytes], set[bytes]]:
    """Return which directories are whole, and what is gone. Errors: E_PARTIAL_SNAPSHOT when it is damaged; E_IO."""
    path = layout.try_dir(record["operation_id"]) / DELTA
    try:
        data = paths.read_file(path, MAX_DELTA_BYTES)
        fits = hashlib.sha256(data).hexdigest() == record["delta_sha256"]
        found = canon.cbor_decode(data) if fits else None
    except OSError as error:
        if error.errno != 2:
            raise from_oserror(error, f"reading '{path}'") from error
        found = None
    if not (isinstance(found, list) and len(found) == 2 and all(map(records.each(records.is_step_path), found))):
        raise PartialSnapshot(
            f"'tries/{record['operation_id']}/{DELTA}' is damaged",
            hint="what the command wrote is next to it, in 'files': copy from there what you need",
        )
    return set(found[0]), set(found[1])


def hold(layout: Layout, try_id: str) -> locks.Lock:
    """Return the lock of a try, for whoever deals with it. Errors: E_BUSY while its command runs; E_IO."""
    try:
        return locks.acquire_directory(layout.try_dir(try_id), wait=0)
    except Busy as error:
        raise Busy(f"try '{try_id}' is running", hint="wait for its command to end, or end it", lock="try") from error


def elsewhere(try_id: str) -> str:
    """Return where a try that runs has its files when the filesystem of `.jvs` can hold no upper layer."""
    import tempfile

    return os.path.join(tempfile.gettempdir(), f"jvs-try-{try_id}")


def make_elsewhere(try_id: str) -> Below:
    """Make the temporary directory of a try, which only we can enter. Errors: OSError."""
    os.mkdir(elsewhere(try_id), 0o700)
    return rooted.at(elsewhere(try_id))


def discard(store: Store, try_id: str) -> None:
    """Remove a try with all that it made. The record goes first, so that a crash leaves debris. Durable: yes."""
    layout = store.layout
    home = layout.try_dir(try_id)
    if paths.is_dir(home):
        durable.unlink(home / NAME, missing_ok=True)
        durable.fsync_dir(home)
    _remove(store, home)
    durable.fsync_dir(layout.tries)
    remove_elsewhere(store, try_id)


def remove_elsewhere(store: Store, try_id: str) -> None:
    """Remove what a try has in a temporary directory, if that is ours; what cannot be removed stays."""
    place = elsewhere(try_id)
    try:
        st = os.lstat(place)
        if st.st_uid == os.geteuid() and os.path.isdir(place) and not os.path.islink(place):
            _remove(store, rooted.at(place))
    except OSError:
        return


def _remove(store: Store, place: Below) -> None:
    try:
        with contextlib.suppress(JvsError):
            registry.remove_any(place / FILES, store.settings.engine_options())
        removal.remove_tree(place)
    except (OSError, JvsError):
        removal.remove_possible(place)


def sweep(store: Store) -> list[str]:
    """Remove tries that died while they ran, and debris; return their ids. What is damaged stays. Errors: OSError."""
    if not ids(store.layout):
        return []
    with _ordered(store.layout):
        return _sweep(store)


def _sweep(store: Store) -> list[str]:
    gone = []
    for try_id in ids(store.layout):
        try:
            lock = locks.acquire_directory(store.layout.try_dir(try_id), wait=0)
        except (Busy, JvsError):
            continue
        with lock:
            try:
                if load(store.layout, try_id)["state"] == PENDING:
                    continue
            except PartialSnapshot:
                continue
            except NotFound:
                pass
            discard(store, try_id)
            gone.append(try_id)
    return gone
