"""What an operation displaced and a snapshot holds as well: it is not kept twice, the operation says where it is.

`undo/OP/held.cbor` names the snapshot, the path and the digest of each such entry. A collection that takes the
snapshot moves what an operation needs of it to `undo/held/ID`, so that `undo/` keeps no snapshot.
Source: jvs-format(5), Undo; jvs-protocol(7), Undo.
"""

from __future__ import annotations

import errno
import hashlib

from jvs import canon
from jvs.errors import PartialSnapshot, from_oserror
from jvs.fs import durable, listing, moving, paths, removal
from jvs.names import is_operation_id, is_snapshot_id
from jvs.store import records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jvs.fs.rooted import Below
    from jvs.store.layout import Layout
    from jvs.store.store import Store

VERSION = 1
NAME = "held.cbor"
MAX_BYTES = 512 << 20


class HeldEntry:
    """One entry, or one whole directory, that lies in a snapshot: under the same path, with the same content."""

    __slots__ = ("digest", "path", "snapshot_id")

    def __init__(self, path: bytes, snapshot_id: str, digest: bytes) -> None:
        self.path = path
        self.snapshot_id = snapshot_id
        self.digest = digest


class Held:
    """What one operation does not keep itself.

    Shape: `dirs` gives the metadata of directories that it does keep and that lost entries; `bytes` counts contents.
    """

    def __init__(self, entries: list[HeldEntry], dirs: list[tuple[bytes, list[Any]]], size: int) -> None:
        self.entries = entries
        self.dirs = dirs
        self.bytes = size

    @property
    def snapshots(self) -> list[str]:
        """The snapshots that hold it."""
        return sorted({entry.snapshot_id for entry in self.entries})


def place(layout: Layout, operation_id: str) -> Below:
    """Return where an operation keeps what it displaced: single entries, or a removed worktree as a whole."""
    home = layout.undo_dir(operation_id)
    return home / "worktree" if paths.is_dir(home / "worktree") else home / "files"


def save(layout: Layout, operation_id: str, held: Held) -> None:
    """Write down what an operation need not keep. Durable: yes."""
    entries = [[entry.path, entry.snapshot_id.encode(), entry.digest] for entry in held.entries]
    body = canon.cbor_encode([VERSION, entries, [list(item) for item in held.dirs], held.bytes])
    data = canon.cbor_encode([hashlib.sha256(body).digest(), body])
    durable.replace_file(layout.undo_dir(operation_id) / NAME, data)


def load(layout: Layout, operation_id: str) -> Held | None:
    """Read what an operation does not keep itself; None when it keeps all. Errors: E_PARTIAL_SNAPSHOT, E_IO."""
    path = layout.undo_dir(operation_id) / NAME
    try:
        data = paths.read_file(path, MAX_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (IsADirectoryError, PermissionError) as error:
        raise _damaged(operation_id) from error
    except OSError as error:
        if error.errno in (errno.EINVAL, errno.ELOOP, errno.EFBIG):
            raise _damaged(operation_id) from error
        raise from_oserror(error, f"reading '{path}'") from error
    try:
        digest, body = canon.cbor_decode(data)
        if hashlib.sha256(body).digest() != digest:
            raise ValueError("the digest is another")
        version, entries, dirs, size = canon.cbor_decode(body)
        if version != VERSION or not records.is_count(size):
            raise ValueError("an unknown version")
        made = [HeldEntry(_path(path), _snapshot(owner), _bytes(digest)) for path, owner, digest in entries]
        return Held(made, [(_path(path) if path != b"" else b"", _meta(meta)) for path, meta in dirs], size)
    except (ValueError, TypeError) as error:
        raise _damaged(operation_id) from error


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("not bytes")
    return value


def _path(value: Any) -> bytes:
    path = _bytes(value)
    if b"\0" in path or any(part in (b"", b".", b"..") for part in path.split(b"/")):
        raise ValueError("a path leads elsewhere")
    return path


def _meta(value: Any) -> list[Any]:
    if not records.is_metadata(value):
        raise ValueError("not the metadata of a directory")
    return list(value)


def _snapshot(value: Any) -> str:
    text = _bytes(value).decode("ascii")
    if not is_snapshot_id(text):
        raise ValueError("not the id of a snapshot")
    return str(text)


def _damaged(operation_id: str) -> PartialSnapshot:
    return PartialSnapshot(
        f"'undo/{operation_id}/{NAME}' is damaged",
        hint="'jvs doctor --repair clean_intents' sets it aside; that operation cannot be undone completely then",
    )


def needed(layout: Layout, snapshot_ids: set[str] | None = None) -> dict[str, list[bytes]]:
    """Return what operations need of snapshots: by id, the paths of entries, none below another.

    Errors: E_PARTIAL_SNAPSHOT when one says so in a way that cannot be read; E_IO.
    """
    found: dict[str, set[bytes]] = {}
    try:
        names = listing.names(layout.undo)
    except OSError as error:
        raise from_oserror(error, "listing the operations that can be undone") from error
    for name in names:
        held = load(layout, name) if is_operation_id(name) else None
        for entry in held.entries if held is not None else ():
            if snapshot_ids is None or entry.snapshot_id in snapshot_ids:
                found.setdefault(entry.snapshot_id, set()).add(entry.path)
    return {snapshot_id: _topmost(wanted) for snapshot_id, wanted in found.items()}


def _topmost(wanted: set[bytes]) -> list[bytes]:
    return [
        path
        for path in sorted(wanted)
        if not any(path[:i] in wanted for i, byte in enumerate(path) if byte == ord("/"))
    ]


def places(layout: Layout, snapshot_id: str) -> list[Below]:
    """Return where the files of a snapshot may be: its payload, what was moved out of it, what is in the trash."""
    found = [layout.payload(snapshot_id), layout.held(snapshot_id)]
    found += [layout.trash / name for name in listing.names(layout.trash) if name.startswith(snapshot_id)]
    return [place for place in found if paths.is_dir(place)]


def lost(layout: Layout, held: Held) -> HeldEntry | None:
    """Return an entry that is in none of the places where it should be; None when all are there. Errors: OSError."""
    found = {snapshot_id: places(layout, snapshot_id) for snapshot_id in held.snapshots}
    for entry in held.entries:
        if not any(paths.exists(paths.below(place, entry.path)) for place in found[entry.snapshot_id]):
            return entry
    return None


def rescue(store: Store, snapshot_ids: list[str]) -> None:
    """Move what operations need of snapshots that are in the trash to where a collection does not delete it.

    The caller holds `gc.lock`; nobody can be undoing anything, or whoever is looks in all `places`. Can be repeated.
    Durable: yes. Errors: E_PARTIAL_SNAPSHOT, E_IO, E_NO_SPACE: then the trash is to stay.
    """
    if not snapshot_ids:
        return
    layout = store.layout
    wanted = needed(layout, set(snapshot_ids))
    for snapshot_id, entries in wanted.items():
        try:
            for path in entries:
                _rescue_entry(store, snapshot_id, path)
        except OSError as error:
            raise from_oserror(error, f"keeping what an undo needs of snapshot '{snapshot_id}'") from error
    if wanted:
        durable.fsync_dir(layout.undo)


def _rescue_entry(store: Store, snapshot_id: str, path: bytes) -> None:
    kept = store.layout.held(snapshot_id)
    target = paths.below(kept, path)
    for place in places(store.layout, snapshot_id):
        source = paths.below(place, path)
        if place == kept or not paths.exists(source) or paths.exists(target):
            continue
        _make_way(store.layout, target)
        moving.move(source, target, keep_source=True)
        durable.fsync_dir(target.parent)


def _make_way(layout: Layout, target: Below) -> None:
    """Make the directories that a rescued entry goes to, each durable before the next."""
    missing = []
    above = target.parent
    while above != layout.undo and not paths.is_dir(above):
        missing.append(above)
        above = above.parent
    for place in reversed(missing):
        durable.make_dir(place)
        durable.fsync_dir(place.parent)


def sweep(layout: Layout) -> None:
    """Remove what was moved out of collected snapshots and no operation needs any more. Errors: OSError, JvsError."""
    home = layout.undo / "held"
    if not paths.exists(home):
        return
    wanted = needed(layout)
    for name in listing.names(home):
        if name not in wanted:
            removal.remove_tree(home / name)
    if not listing.names(home):
        durable.rmdir(home, missing_ok=True)
    durable.fsync_dir(layout.undo)
