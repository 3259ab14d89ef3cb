"""Sending snapshots to another repository as a stream, and receiving them.

Source: jvs-send(1), jvs-receive(1), jvs-stream(5).
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvs.store.store import Store
    from jvs.stream.items import Readable, Writable
    from jvs.stream.receiving import Received as Received
    from jvs.stream.sending import Sent as Sent


def send(
    store: Store,
    targets: Iterable[str],
    file: Writable,
    *,
    since: str | None = None,
    have: Iterable[str] = (),
    only: bool = False,
    worktree: str | None = None,
) -> Sent:
    """Write snapshots with their lines to a file as a stream, without what the other side has.

    Errors: E_NOT_FOUND, E_AMBIGUOUS, E_LINEAGE_BROKEN; E_PAYLOAD_HASH_MISMATCH, E_CLONE_INCOMPLETE; E_BUSY, E_IO.
    """
    from jvs.stream import sending

    selection = sending.select(store, targets, since=since, have=have, only=only, worktree=worktree)
    return sending.write(store, selection, file)


def receive(store: Store, file: Readable) -> Received:
    """Receive a stream: all of its snapshots, or none.

    Durable: yes. Errors: E_FORMAT_UNSUPPORTED, E_PARTIAL_SNAPSHOT, E_PATH_ESCAPE, E_DESCRIPTOR_CORRUPT, E_EXISTS,
    E_PAYLOAD_HASH_MISMATCH, E_NOT_FOUND, E_LINEAGE_BROKEN, E_BUSY, E_NO_SPACE, E_IO.
    """
    from jvs.stream import receiving

    return receiving.receive(store, file)


def read_have(data: bytes) -> list[str]:
    """Return the ids in a list of what the other side has: the first word of each line. Errors: E_USAGE."""
    from jvs import names
    from jvs.errors import UsageError

    found = []
    for line in data.decode("utf-8", "replace").splitlines():
        word = line.split()[0] if line.split() else ""
        if word and not names.is_snapshot_id(word):
            raise UsageError(
                f"'{word[:40]}' is not the id of a snapshot", hint="make the list by 'jvs-list-snapshots --ids'"
            )
        if word:
            found.append(word)
    return found
