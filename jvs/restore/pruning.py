"""What goes from `undo/` by itself: operations that are old and many, and what nobody will come back to.

An operation goes when it is older than `undo.max_age_days`, one day at the least, and `undo.max_operations` newer ones
of its own worktree are kept. Its age is not what the clock says: within a boot it is at most what the boot lasted, and
from one boot to the next at most a day counts, so that no setting of the clock makes anything old.
Source: jvs-undo(1), jvs-protocol(7), Undo.
"""

from __future__ import annotations

from jvs import clock, progress, system, units
from jvs.errors import Busy, JvsError
from jvs.fs import locks, paths
from jvs.restore import belonging, journal, release
from jvs.store import held, tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from jvs.restore.journal import Operation
    from jvs.store.store import Store
    from jvs.store.tries import Try

DAY_NS = 86_400_000_000_000
Moment = tuple[int, str, int]
"""Shape: the wall clock, the boot, how long that had lasted. Units: nanoseconds."""


def prune(store: Store, name: str) -> int:
    """Remove operations that are too old and too many, and debris; return how many bytes went.

    Whatever goes wrong is left for the next time: what was asked for is done already. Operations of a worktree
    where somebody is at work are left alone.
    """
    try:
        with (
            locks.acquire_repository(store.layout.locks, exclusive=False, wait=0, command="prune"),
            locks.acquire(store.layout.lock(f"worktree-{name}"), wait=0, command="prune"),
        ):
            gone = [record for record in expired(store, name) if _discard(store, record)]
            _sweep(store)
            _prune_tries(store, name)
    except (OSError, Busy, JvsError):
        return 0
    return sum(record["bytes"] for record in gone)


def expired(store: Store, name: str) -> list[Operation]:
    """Return the operations that are old and many, newest first, of a worktree and of earlier ones of its name."""
    most = store.settings.get("undo.max_operations")
    days = max(store.settings.get("undo.max_age_days"), 1)
    ids = journal.ids(store.layout)
    if len(ids) <= most or _all_young(ids, days):
        return []
    found = journal.load_all(store.layout)
    if len(found) <= most:
        return []
    age_ns = ages(found, (clock.now_ns(), system.boot_id(), clock.boottime_ns()))
    worktrees = belonging.Worktrees(store.layout)
    counts: dict[str | None, int] = {}
    gone = []
    for record in found:
        if (worktrees.owner(record) or record["worktree"]) != name:
            continue
        place = counts[record["identity"]] = counts.get(record["identity"], 0) + 1
        if place > most and age_ns[record["operation_id"]] > days * DAY_NS:
            gone.append(record)
    return gone


def _all_young(ids: list[str], days: int) -> bool:
    """Answer by their ids alone whether the wall clock calls all operations too young; ids begin with milliseconds.

    So no journal is read by each of a thousand restores of one day. Where the clock was put back between them `ages`
    may call some older than that: these stay until the clock does so too, which is later and never too early.
    """
    return not ids or int(ids[0][:13]) * 1_000_000 > clock.now_ns() - days * DAY_NS


def _prune_tries(store: Store, name: str) -> None:
    """Discard pending tries of a worktree that are old and many, by the same rules, and say so."""
    found = [record for record in reversed(tries.load_all(store.layout)) if record["state"] == tries.PENDING]
    most = store.settings.get("undo.max_operations")
    if len(found) <= most:
        return
    days = max(store.settings.get("undo.max_age_days"), 1)
    age_ns = ages(found, (clock.now_ns(), system.boot_id(), clock.boottime_ns()))
    for record in [record for record in found if record["worktree"] == name][most:]:
        number = record["operation_id"]
        if age_ns[number] > days * DAY_NS and not tries.is_running(store.layout, number):
            tries.discard(store, number)
            size = units.size(record["bytes"])
            progress.remark(f"try {number} was pending for too long: discarded {size}")


def ages(newest_first: Sequence[Operation | Try], now: Moment) -> dict[str, int]:
    """Return how old operations are at the least.

    The age is the sum of the gaps between all operations since. A gap is what the wall clock says, but never below
    zero, at most what the boot lasted meanwhile, and at most a day where the system was booted between; two
    operations of one boot are never further apart than that boot lasted, whatever lies between them (a repository
    can be used from several hosts). Units: nanoseconds, by operation id.
    """
    found: dict[str, int] = {}
    newer, age = now, 0
    last_of: dict[str, int] = {now[1]: now[2]} if now[1] else {}
    for record in newest_first:
        here = _moment(record)
        age += _gap(here, newer)
        if here[1]:
            last_of[here[1]] = min(last_of.get(here[1], age + here[2]), age + here[2])
            age = min(age, max(last_of[here[1]] - here[2], 0))
            last_of[here[1]] = min(last_of[here[1]], age + here[2])
        found[record["operation_id"]] = age
        newer = here
    return found


def _moment(record: Operation | Try) -> Moment:
    boot, lasted = record["clock"].get("boot"), record["clock"].get("boottime_ns")
    wall = clock.parse_rfc3339(record["created_at"])
    return (wall, boot, lasted) if isinstance(boot, str) and isinstance(lasted, int) else (wall, "", 0)


def _gap(older: Moment, newer: Moment) -> int:
    most = newer[2] - older[2] if older[1] and older[1] == newer[1] else DAY_NS
    return max(min(newer[0] - older[0], most), 0)


def _discard(store: Store, record: Operation) -> bool:
    """Remove an operation and say so; what cannot be removed is said as well, and stops nothing."""
    what = f"the {journal.describe(record)} (operation {record['operation_id']})"
    try:
        freed = release.discard(store, record["operation_id"])
    except (OSError, JvsError) as error:
        progress.remark(f"{what} is too old to be undone, but could not be removed: {error}")
        return False
    size = f"{units.size(record['bytes'])} of files that it had displaced"
    frees = f"{'' if freed.exact else 'about '}{units.size(freed.bytes)}"
    progress.remark(f"{what} is too old to be undone: removed {size}, which frees {frees}")
    return True


def _sweep(store: Store) -> None:
    """Remove what began and has no journal: an intent is written first, so without one nobody will come back to it."""
    layout = store.layout
    for operation_id in journal.ids(layout):
        if paths.exists(layout.undo_dir(operation_id) / "op.json"):
            continue
        if not paths.exists(layout.intent(operation_id)):
            release.sweep(store, operation_id)
    held.sweep(layout)
