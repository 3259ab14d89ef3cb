"""What this user verified, and when: a memory outside of the repository, as that of the audit log is.

A descriptor says that a snapshot was complete when it was published, not that it still is; only reading all of it
again can tell. `$XDG_STATE_HOME/jvs/REPO_ID-PLACE.verified` holds for each snapshot when its files were last read
whole, and the error class when they were not what was published. It is a help, never a need: what cannot be read or
written is left out.
Source: jvs-verify(1), jvs-show(1).
"""

from __future__ import annotations

import math

from jvs import canon, clock
from jvs.fs import durable, paths
from jvs.store import anchor, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from jvs.store.store import Store

    class Verified(TypedDict):
        """When a snapshot was last read whole; `error` is the class of what was wrong, or null."""

        at: str
        error: str | None


_SUFFIX = ".verified"
_FITS = records.shaped({"at": records.is_time, "error": records.is_text_or_null})


def recall(store: Store) -> dict[str, Verified]:
    """Return what this user verified here, by snapshot; nothing where there is no memory."""
    path = anchor.place(store, _SUFFIX)
    if path is None:
        return {}
    try:
        value = canon.decode_object(paths.read_file(path, records.MAX_BYTES))
    except (OSError, canon.BadJSON):
        return {}
    return {i: found for i, found in value.items() if records.is_id(i) and _FITS(found)}


def due(store: Store, ids: list[str], *, percent: float | None = None, older_ns: int | None = None) -> list[str]:
    """Return those of some snapshots whose verification is due, the longest ago first; never comes before that.

    `older_ns` leaves out what was verified since; `percent` takes that share of all snapshots, one at least. Where
    nothing is remembered the share is taken at random.
    """
    known = recall(store)
    ages = {i: known[i]["at"] if i in known else "" for i in ids}
    chosen = sorted(ids, key=lambda i: (ages[i], clock.random_hex()))
    if older_ns is not None:
        limit = clock.now_ns() - older_ns
        chosen = [i for i in chosen if not ages[i] or clock.parse_rfc3339(ages[i]) <= limit]
    if percent is not None:
        chosen = chosen[: max(1, math.ceil(len(ids) * percent / 100))]
    return chosen


def remember(store: Store, found: Mapping[str, str | None], *, only: bool = False) -> None:
    """Note that snapshots were read whole just now, each with the class of what was wrong, or None. Durable: no.

    `only` says that there are no other snapshots, so that all else is forgotten.
    """
    if not found and not only:
        return
    path = anchor.place(store, _SUFFIX, make=True)
    if path is None:
        return
    now = clock.rfc3339()
    made: dict[str, Verified] = {i: {"at": now, "error": error} for i, error in found.items()}
    known = recall(store)
    kept = {i: before for i, before in known.items() if not only or i in made}
    try:
        durable.replace_file(path, canon.encode({**kept, **made}) + b"\n", sync=False)
    except OSError:  # a full disk, a home that is read-only, or another verification at the same moment
        return
