"""A memory of the audit log outside of the repository: per user, the furthest record that this user has seen.

A repository that was rewritten as a whole, log and all, agrees with itself; only something outside of it can tell.
With `audit.remember` the file `$XDG_STATE_HOME/jvs/REPO_ID-PLACE` holds seq and hash of the last record seen; PLACE
identifies where the repository is, so that a copy of it has a memory of its own. It is off unless asked for, because
whoever puts an older copy back in the same place on purpose would be told that the log was cut. It is a help, never a
need: what cannot be read or written is left out.
Source: jvs-audit(5), jvs-threats(7).
"""

from __future__ import annotations

import hashlib
import os

from jvs import canon
from jvs.fs import durable, paths
from jvs.store import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypedDict

    from jvs.fs.rooted import Below
    from jvs.store.audit_check import ChainReport
    from jvs.store.store import Store

    class Anchor(TypedDict):
        """The furthest record that a user has seen."""

        hash: str
        seq: int


def place(store: Store, suffix: str = "", *, make: bool = False) -> Below | None:
    """Return a file of a repository in the user's own state directory; None when there is no such directory."""
    directory = store.settings.state_dir
    if not directory:
        return None
    where = hashlib.sha256(os.fsencode(store.root)).hexdigest()[:16]
    try:
        return durable.open_directory(directory, make=make) / f"{store.repo_id}-{where}{suffix}"
    except OSError:  # not there yet, or a home that is read-only
        return None


def remember(store: Store, seq: int, record_hash: str) -> None:
    """Note the record as seen, unless one further on was. Durable: no."""
    path = place(store, make=True)
    if path is None:
        return
    try:
        known = _load(path)
        if known is not None and known[0] >= seq:
            return
        seen: Anchor = {"hash": record_hash, "seq": seq}
        durable.replace_file(path, canon.encode(seen) + b"\n", sync=False)
    except OSError:  # a full disk or a home that is read-only must not fail what already succeeded
        return


def _load(path: Below) -> tuple[int, str] | None:
    try:
        value: Anchor = canon.decode_object(paths.read_file(path, 4096))
    except (OSError, canon.BadJSON):
        return None
    fits = records.shaped({"seq": records.is_count, "hash": records.is_hash})(value)
    return (value["seq"], value["hash"]) if fits else None


def check(store: Store, chain: ChainReport) -> list[str]:
    """Return a sentence when the log does not hold the record that this user saw before, if that was noted."""
    path = place(store) if store.settings.get("audit.remember") else None
    known = _load(path) if path is not None else None
    if known is None:
        return []
    seq, record_hash = known
    if any(record["seq"] == seq and record["record_hash"] == record_hash for record in chain.records):
        return []
    return [f"record {seq} of the log, which you saw before, is not there any more: the log was cut or rewritten"]
