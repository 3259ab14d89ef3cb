"""A memory of workspaces outside of them: per user, which repository each root led to, and in which way.

Authority never comes from a workspace: whoever can write there, an agent in a sandbox for one, can put another `.jvs`
into it. So the file `$XDG_STATE_HOME/jvs/roots/HASH.json`, HASH being that of the path, holds the repository's id and
whether `.jvs` was a directory or a pointer. When they are others now, commands refuse until `jvs worktree attach`.
Without a home there is no such memory.
Source: jvs-threats(7), A workspace that others can write.
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
    from jvs.store.settings import Settings

    class KnownRoot(TypedDict):
        """What a root led to when it was last attached or changed; `other` is a copy of it that was met since."""

        path: str
        repo_id: str
        kind: str
        other: str | None


DIRECTORY, POINTER = "directory", "pointer"
_FIELDS: records.Fields = {
    "path": records.is_text,
    "repo_id": records.is_uuid,
    "kind": records.one_of(DIRECTORY, POINTER),
    "other": records.is_text_or_null,
}


def _place(settings: Settings, root: str, *, make: bool = False) -> Below | None:
    if not settings.state_dir:
        return None
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:32]
    try:
        return durable.open_directory(os.path.join(settings.state_dir, "roots"), make=make) / f"{name}.json"
    except OSError:  # not there yet, or a home that is read-only
        return None


def is_on(settings: Settings) -> bool:
    """Answer whether there is a place for the memory."""
    return bool(settings.state_dir)


def lookup(settings: Settings, root: str) -> KnownRoot | None:
    """Return what is remembered of a root, by its real path; None when nothing is."""
    place = _place(settings, root)
    if place is None:
        return None
    try:
        value = canon.decode_object(paths.read_file(place, 65536))
    except (OSError, canon.BadJSON):
        return None
    known: KnownRoot = value
    return known if records.shaped(_FIELDS)(value) and value["path"] == _shown(root) else None


def remember(settings: Settings, root: str, repo_id: str, kind: str, *, other: str | None = None) -> bool:
    """Note what a root leads to; False where there is no place for it. Durable: no."""
    place = _place(settings, root, make=True)
    if place is None:
        return False
    known: KnownRoot = {
        "path": _shown(root),
        "repo_id": repo_id,
        "kind": kind,
        "other": None if other is None else _shown(other),
    }
    try:
        durable.replace_file(place, canon.encode(known) + b"\n", sync=False)
    except OSError:  # a full disk or a home that is read-only must not fail what already succeeded
        return False
    return True


def _shown(path: str) -> str:
    """Return a path as text that UTF-8 can hold."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
