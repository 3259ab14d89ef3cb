"""Where a worktree is made that is to be on another filesystem: next to its place, in a directory that leads to us.

No rename leads there from inside the repository. The directory `.jvs-tmp-OP` gets a pointer with the token of the new
worktree before anything else is made in it; a recovery removes it only when that pointer is there, so that no record
of a repository that somebody else made can name what is removed.
Source: jvs-protocol(7), Worktrees elsewhere; jvs-threats(7).
"""

from __future__ import annotations

import contextlib

from jvs import canon
from jvs.engine import registry
from jvs.fs import durable, paths
from jvs.names import check_snapshot_id
from jvs.store import attaching, placement, pointer, records
from jvs.tree.exclusion import RESERVED
from jvs.worktrees import registration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.store.store import Store

_FILES = "files"


def _beside(place: Below, operation_id: str) -> Below:
    return place.parent / f".jvs-tmp-{check_snapshot_id(operation_id)}"


def make(store: Store, place: Below, operation_id: str, token: str) -> Below:
    """Make the directory, and return where in it the files are to be made. Durable: yes. Errors: OSError."""
    home = _beside(place, operation_id)
    durable.make_dir(home)
    pointer.write(home, store.repo_id, attaching.way_to_control(store, place), token, operation_id)
    durable.fsync_dir(home.parent)
    return home / _FILES


def _known(store: Store, operation_id: str) -> tuple[Below, str] | None:
    """Return the directory and the token of an operation by the configuration that it parked; None without one."""
    path = registration.parked(store, operation_id) / "config.json"
    try:
        config = canon.decode_object(paths.read_file(path, records.MAX_BYTES))
    except (OSError, canon.BadJSON):
        return None
    token = config.get("token")
    if not placement.is_elsewhere(config) or not pointer.is_token(token):
        return None
    place = placement.at(store.root, str(config["path"]))
    return (_beside(place, operation_id), str(token)) if paths.is_dir(place.parent) else None


def is_begun(store: Store, operation_id: str) -> bool:
    """Answer whether the files of an operation are being made there, and have not got their name."""
    known = _known(store, operation_id)
    return known is not None and paths.is_dir(known[0]) and paths.exists(known[0] / _FILES)


def remove(store: Store, operation_id: str) -> None:
    """Remove the directory of an operation when it is ours; one without a pointer only when it is empty.

    Can be repeated. Durable: yes. Errors: OSError, E_IO.
    """
    known = _known(store, operation_id)
    if known is None or not paths.is_dir(known[0]):
        return
    home, token = known
    if placement.holds(home, store.layout.control, [token]):
        registry.remove_any(home / _FILES, store.settings.engine_options())
        durable.unlink(home / RESERVED, missing_ok=True)
    pointer.sweep(home, operation_id)
    with contextlib.suppress(OSError):  # what is in it is not ours
        durable.rmdir(home)
    durable.fsync_dir(home.parent)
