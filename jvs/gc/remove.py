"""Taking snapshots out: tombstones first, then descriptors, markers and payloads; at last the trash is deleted.

Each step is durable before the next, and each can be done again, so that a crash leaves a snapshot complete or deleted.
Callers hold `gc.lock`; `take_out` needs the repository lock alone as well.
Source: jvs-protocol(7), Collection; jvs-format(5), Tombstones.
"""

from __future__ import annotations

import contextlib
import errno

from jvs import canon, clock
from jvs.engine import registry
from jvs.errors import JvsError, NoSpace, from_oserror
from jvs.fs import durable, listing, moving, paths, rooted
from jvs.gc import plan as gc_plan
from jvs.gc import tombstone
from jvs.names import is_snapshot_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.gc.tombstone import Tombstone
    from jvs.store.layout import Layout
    from jvs.store.store import Store


def make_tombstone(plan: gc_plan.Plan, plan_id: str, snapshot_id: str) -> Tombstone:
    """Return the tombstone of a snapshot that is about to go."""
    return {
        "version": 1,
        "snapshot_id": snapshot_id,
        "descriptor": plan.found[snapshot_id],
        "gc_state": "marked",
        "plan_id": plan_id,
        "reason": plan.why_dropped(snapshot_id),
        "marked_at": clock.rfc3339(),
    }


def mark(store: Store, tombstones: list[Tombstone]) -> list[str]:
    """Write the tombstones; return the ids of those that are durable, on a full disk at least one. Errors: OSError."""
    written: list[Tombstone] = []
    for record in tombstones:
        try:
            _write_tombstone(store.layout, record)
        except OSError as error:
            if not isinstance(from_oserror(error, ""), NoSpace):
                raise
            if written:
                break  # what goes first makes space for the others
            if not gc_plan.make_room(store):
                raise
            _write_tombstone(store.layout, record)
        written.append(record)
    _publish_tombstones(store, written)
    return [record["snapshot_id"] for record in written]


def _write_tombstone(layout: Layout, record: Tombstone) -> None:
    temporary = layout.tombstone(record["snapshot_id"]).plus(".tmp")
    durable.unlink(temporary, missing_ok=True)
    durable.create_file(temporary, canon.encode(record) + b"\n", sync=False)


def write_tombstones(store: Store, tombstones: list[Tombstone]) -> None:
    """Write tombstones, or put others in their place, with one barrier for all. Durable: yes. Errors: OSError."""
    for record in tombstones:
        _write_tombstone(store.layout, record)
    _publish_tombstones(store, tombstones)


def _publish_tombstones(store: Store, tombstones: list[Tombstone]) -> None:
    """Give written tombstones their final names. Durable: content before name, both on return."""
    final = [store.layout.tombstone(record["snapshot_id"]) for record in tombstones]
    with durable.Barrier(store.layout.tombstones, each=store.settings.get("durability") == "each") as barrier:
        barrier.sync_trees([], [path.plus(".tmp") for path in final])
    for path in final:
        durable.rename(path.plus(".tmp"), path)  # replaces the state before: after a crash it is the old or the new one
    durable.fsync_dir(store.layout.tombstones)


def is_marked(layout: Layout, snapshot_id: str) -> bool:
    """Answer whether a snapshot has a tombstone."""
    return paths.exists(layout.tombstone(snapshot_id))


def take_out(layout: Layout, ids: list[str]) -> None:
    """Take marked snapshots out of sight, each wholly or, after a crash, so that doing it again completes it.

    Durable: yes. A descriptor is durably deleted before its marker goes, and that before the payload is moved.
    """
    for snapshot_id in ids:
        durable.unlink(layout.descriptor(snapshot_id), missing_ok=True)
    durable.fsync_dir(layout.descriptors)  # or a crash could bring a descriptor back whose payload was deleted
    for snapshot_id in ids:
        durable.unlink(layout.leaves(snapshot_id), missing_ok=True)
        durable.unlink(layout.ready(snapshot_id), missing_ok=True)
    durable.fsync_dir(layout.snapshots)
    for snapshot_id in ids:
        with contextlib.suppress(PermissionError):  # immutable, or of somebody else: `is_stuck` until it can be moved
            move_payload(layout, snapshot_id)
    durable.fsync_dir(layout.trash)  # the new name first: a payload without any name would be lost bytes
    durable.fsync_dir(layout.snapshots)


def move_payload(layout: Layout, snapshot_id: str) -> None:
    """Move a payload to the trash. Errors: OSError; EPERM when it cannot be moved."""
    source, target = layout.payload(snapshot_id), layout.trash / snapshot_id
    if not paths.exists(source):
        return
    if paths.exists(target):  # of an earlier life of this very id, or moved by half before a crash
        target = target.plus(f".{clock.random_hex(8)}")
    try:
        durable.rename(source, target)
        return
    except OSError as error:
        if error.errno == errno.EXDEV:  # a directory of an overlay's lower layer: what is in it is moved
            with rooted.changing(source) as (above, name), rooted.changing(target) as (trash, new):
                moving.shift(above, name, trash, new)
            return
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
    # A read-only subvolume, or a directory whose mode is 0555, cannot get another parent (EROFS; EACCES, because its
    # '..' would change): its owner opens it up.
    _open_up(source)
    durable.rename(source, target)


def _open_up(path: Below) -> None:
    from jvs.engine.btrfs import ioctl

    if ioctl.is_subvolume(path):
        ioctl.set_flags(path, 0)
    elif paths.is_dir(path):
        with rooted.changing(path) as (above, name):
            paths.open_up(name, above)


def is_out(layout: Layout, snapshot_id: str) -> bool:
    """Answer whether nothing of a snapshot is left but a tombstone, and perhaps trash."""
    of_snapshot = (layout.descriptor, layout.ready, layout.leaves, layout.payload)
    names = [place(snapshot_id) for place in of_snapshot]
    return paths.exists(layout.tombstone(snapshot_id)) and not any(paths.exists(name) for name in names)


def is_stuck(layout: Layout, snapshot_id: str) -> bool:
    """Answer whether a snapshot is taken out, but for its payload, which could not be moved."""
    taken = is_marked(layout, snapshot_id) and not paths.exists(layout.descriptor(snapshot_id))
    return taken and paths.exists(layout.payload(snapshot_id))


def note_failure(store: Store, snapshot_id: str, error: JvsError) -> None:
    """Let a tombstone say why the trash of its snapshot could not be deleted."""
    record = tombstone.load(store.layout, snapshot_id)
    record.update({"gc_state": "failed", "reason": f"{error.name}: {error.message}"})
    write_tombstones(store, [record])


def commit_tombstones(store: Store, candidates: list[str]) -> None:
    """Commit the tombstones of what is out and clean; remove those of what is complete and stays."""
    layout = store.layout
    commit: list[Tombstone] = []
    stay: list[str] = []
    trash = listing.names(layout.trash)
    for snapshot_id in candidates:
        try:
            record = tombstone.load(layout, snapshot_id)
        except FileNotFoundError:
            continue
        if paths.exists(layout.descriptor(snapshot_id)):
            stay.append(snapshot_id)
        elif is_stuck(layout, snapshot_id):
            commit.append({**record, "gc_state": "failed", "reason": "its payload could not be moved"})
        elif record["gc_state"] == "marked" or not any(name.startswith(snapshot_id) for name in trash):
            commit.append({**record, "gc_state": "committed"})
    for snapshot_id in stay:
        durable.unlink(layout.tombstone(snapshot_id), missing_ok=True)
    if commit:
        write_tombstones(store, [record for record in commit if _differs(layout, record)])
    elif stay:
        durable.fsync_dir(layout.tombstones)


def _differs(layout: Layout, record: Tombstone) -> bool:
    return tombstone.load(layout, record["snapshot_id"])["gc_state"] != record["gc_state"]


def sweep_tombstones(layout: Layout) -> None:
    """Remove tombstones that were not given their final names; the caller holds `gc.lock` and syncs the directory."""
    for name in listing.names(layout.tombstones):
        if name.endswith(".json.tmp") and is_snapshot_id(name[:-9]):
            durable.unlink(layout.tombstones / name, missing_ok=True)


def delete_trash(store: Store, snapshot_id: str) -> None:
    """Delete what the trash holds of one snapshot; what an undo needs of it was moved away. Errors: E_IO."""
    for name in listing.names(store.layout.trash):
        if name.startswith(snapshot_id):
            remove(store, store.layout.trash / name)


def remove(store: Store, path: Below) -> None:
    """Remove a payload or anything else in the fastest way. Errors: E_IO."""
    try:
        registry.remove_any(path, store.settings.engine_options())
    except OSError as error:
        raise from_oserror(error, f"removing '{path}'") from error
