"""Pins: snapshots that no collection takes, until the pin is removed or expires.

One file `gc/pins/ID.json` each. A pin that cannot be read stops every collection: it might protect anything.
Source: jvs-gc-pin(1), jvs-format(5).
"""

from __future__ import annotations

import contextlib

from jvs import clock, units
from jvs.errors import NotFound, PartialSnapshot, UsageError, from_oserror
from jvs.fs import durable, listing, locks, paths, removal
from jvs.names import check_snapshot_id, is_snapshot_id
from jvs.store import audit, changing, lineage, records, write_ahead

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.store.layout import Layout
    from jvs.store.shapes import Pin, PinIntent
    from jvs.store.store import Store


def load(layout: Layout, snapshot_id: str) -> Pin:
    """Read one pin. Errors: FileNotFoundError; E_PARTIAL_SNAPSHOT when damaged; E_IO."""
    pin: Pin = records.load_of(
        snapshot_id,
        layout.pin(snapshot_id),
        records.PIN_FIELDS,
        PartialSnapshot,
        kind="pin",
        hint=f"pin the snapshot again ('jvs gc pin {snapshot_id}'), or take the pin away ('jvs gc unpin')",
    )
    return pin


def list_all(layout: Layout) -> list[Pin]:
    """Read every pin, oldest snapshot first. Errors: E_PARTIAL_SNAPSHOT when one is damaged or of an odd name; E_IO."""
    try:
        names = listing.names(layout.pins)
    except OSError as error:
        raise from_oserror(error, "listing the pins") from error
    found = []
    for name in names:
        if name.endswith(".json.tmp") and is_snapshot_id(name[:-9]):
            continue  # a pin that was never made: its writer died before the rename
        if not (name.endswith(".json") and is_snapshot_id(name[:-5])):
            raise PartialSnapshot(
                f"'gc/pins/{name}' is not a pin",
                hint=f"move '{layout.pins / name}' out of the repository if nothing needs it",
                path=str(layout.pins / name),
            )
        try:
            found.append(load(layout, name[:-5]))
        except FileNotFoundError:  # taken away since we listed
            continue
    return found


def has_expired(pin: Pin, now_ns: int) -> bool:
    """Answer whether a pin protects no more."""
    return pin["expires_at"] is not None and clock.parse_rfc3339(pin["expires_at"]) <= now_ns


def parse_expiry(text: str) -> str:
    """Return when a pin ends: after a duration (`30d`), or at a day or time of UTC. Errors: E_USAGE."""
    candidate = text.strip().removesuffix("Z").replace(" ", "T")
    if len(candidate) == 10:
        candidate += "T00:00:00"
    if "." not in candidate:
        candidate += ".000000"
    try:
        return clock.rfc3339(clock.parse_rfc3339(candidate + "Z"))
    except ValueError:
        pass
    try:
        ends = clock.rfc3339(clock.now_ns() + units.duration_ns(text.strip(), "--expires"))
        clock.parse_rfc3339(ends)  # years of five digits are no time that can be stored
        return ends
    except (UsageError, OverflowError, ValueError, OSError) as error:
        raise UsageError(
            f"--expires: '{text[:40]}' is neither a duration nor a time",
            hint="write 30d, 12h, 2030-01-31 or 2030-01-31T12:00:00Z",
        ) from error


def add(store: Store, snapshot_id: str, *, reason: str | None = None, expires_at: str | None = None) -> Pin:
    """Pin a visible snapshot, or change its pin; return the pin.

    Durable: pin and audit record. Errors: E_NOT_FOUND, E_PARTIAL_SNAPSHOT, E_BUSY, E_IO, E_NO_SPACE.
    """
    with _changing(store):
        lineage.load_visible(store, snapshot_id)
        pin: Pin = {
            "snapshot_id": snapshot_id,
            "created_at": clock.rfc3339(),
            "actor": store.actor,
            "reason": reason,
            "expires_at": expires_at,
        }
        _carry_out(store, "pin", snapshot_id, reason, {"expires_at": expires_at}, pin)
    return pin


def remove(store: Store, snapshot_id: str) -> None:
    """Take a pin away, a damaged one too.

    Durable: yes, with its audit record. Errors: E_NOT_FOUND when there is none; E_BUSY, E_IO, E_NO_SPACE.
    """
    with _changing(store):
        if not paths.exists(store.layout.pin(snapshot_id)):
            raise NotFound(f"snapshot '{snapshot_id}' is not pinned", hint="'jvs gc pins' lists the pins")
        _carry_out(store, "unpin", snapshot_id, None, {}, None)


@contextlib.contextmanager
def _changing(store: Store) -> Iterator[None]:
    """Share the repository, recover, and hold the lock that orders changes to pins and guards a live one's intent."""
    wait, command = store.settings.wait, store.settings.command
    with locks.acquire_repository(store.layout.locks, exclusive=False, wait=wait, command=command):
        changing.recover(store)
        with locks.acquire(store.layout.lock("pins"), wait=wait, command=command):
            yield


def _carry_out(
    store: Store,
    operation: str,
    snapshot_id: str,
    reason: str | None,
    details: audit.Details,
    pin: Pin | None,
) -> None:
    """Set or remove a pin; after an error nothing of it is left, or the next command completes it."""
    event = audit.event(operation, store.actor, target=snapshot_id, reason=reason, details=details)
    with write_ahead.operation(
        store,
        operation,
        None,
        event,
        roll_back=lambda pending: _roll_back(store.layout, pending),
        snapshot_id=snapshot_id,
        pin=pin,
    ) as pending:
        _apply(store.layout, pending)


def _roll_back(layout: Layout, pending: PinIntent) -> bool:
    """Answer whether a pin is as it was, for good."""
    if _is_applied(layout, pending):
        return False
    durable.fsync_dir(layout.pins)  # or a crash brings a half-made pin back that no intent names
    return True


def _apply(layout: Layout, pending: PinIntent) -> None:
    path = layout.pin(pending["snapshot_id"])
    if pending["pin"] is not None:
        records.save(path, pending["pin"])
        return
    removal.remove_tree(path)  # it may be anything: a damaged pin is taken away like any other
    durable.fsync_dir(layout.pins)  # a crash before this may bring the pin back, and the intent takes it away again


def _is_applied(layout: Layout, pending: PinIntent) -> bool:
    try:
        return load(layout, pending["snapshot_id"]) == pending["pin"]
    except FileNotFoundError:
        return pending["pin"] is None
    except PartialSnapshot:
        return False


def recover(store: Store, pending: PinIntent) -> str:
    """Complete what a dead process began with a pin; returns what was done, or nothing when its owner lives."""
    with write_ahead.abandoned(store, pending, "pins") as dead:
        if not dead:
            return ""
        check_snapshot_id(pending["snapshot_id"])
        _apply(store.layout, pending)
        write_ahead.complete(store, pending)
    verb = "removed" if pending["pin"] is None else "completed"
    return f"{verb} the pin of {pending['snapshot_id']}"
