"""What a snapshot holds at a path: an entry of its tree, and the content of a file, proved against its hash.

A partial snapshot counts as the one that it lies on with its own paths in place.
Source: jvs-cat(1), jvs-ls(1), jvs-cat-file(1).
"""

from __future__ import annotations

import contextlib
import os

from jvs.compare import listing as tree_listing
from jvs.errors import JvsError, NotFound, PathEscape, PayloadHashMismatch, UsageError, from_oserror
from jvs.fs import listing
from jvs.fs import paths as fs_paths
from jvs.store import lineage, node_store, partial, refs
from jvs.tree import hasher, leaves, node, path_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor
    from jvs.store.store import Store
    from jvs.tree.node import Entry


class FoundEntry:
    """An entry that a snapshot holds. Shape: `path` is empty, and `entry` a directory without a name, for the root."""

    def __init__(self, known: node_store.Trees, record: Descriptor, path: bytes, entry: Entry) -> None:
        self.known = known
        self.record = record
        self.path = path
        self.entry = entry

    @property
    def is_dir(self) -> bool:
        """Answer whether it is a directory."""
        return self.entry[1] == listing.DIR

    @property
    def is_link(self) -> bool:
        """Answer whether it is a symbolic link."""
        return self.entry[1] == listing.SYMLINK

    def listing(self, *, recursive: bool = False) -> list[tuple[bytes, Entry]]:
        """Return what it holds, sorted, each with its path from the root; what is no directory is itself."""
        if not self.is_dir:
            return [(self.path, self.entry)]
        found = tree_listing.entries(self.known.load, self.entry[4], recursive=recursive)
        return [(listing.relative(self.path, path), entry) for path, entry in found]


def split_word(store: Store, word: str, worktree: str | None = None) -> tuple[str, str | None]:
    """Return the snapshot and the path that `TARGET:PATH` names; the path of `TARGET` alone is None.

    A note may hold a colon, and a path too: of several ways to divide the word the first that names what is there
    counts. Errors: E_NOT_FOUND, E_AMBIGUOUS.
    """
    parts = word.split(":")
    found: list[tuple[str, str | None]] = []
    first: JvsError | None = None
    for count in range(1, len(parts)):
        try:
            target = refs.resolve(store, ":".join(parts[:count]), worktree, suggest=False)
        except NotFound as error:
            first = first or error
            continue
        found.append((target, ":".join(parts[count:])))
    if not found:
        try:
            return refs.resolve(store, word, worktree), None
        except NotFound as error:
            raise first or error from None
    return found[0] if len(found) == 1 else next((pair for pair in found if _is_there(store, *pair)), found[0])


def _is_there(store: Store, snapshot_id: str, path: str | None) -> bool:
    try:
        find(store, snapshot_id, os.fsencode(path or ""))
    except (NotFound, PathEscape):
        return False
    return True


def find(store: Store, snapshot_id: str, path: bytes) -> FoundEntry:
    """Return what a snapshot holds at a path. Reads no payload when the index knows the tree.

    Errors: E_NOT_FOUND, E_PATH_ESCAPE; E_PAYLOAD_HASH_MISMATCH, E_IO when the payload had to be read.
    """
    record = lineage.load_visible(store, snapshot_id)
    known = node_store.Trees(store)
    digest, _ = partial.whole_tree(store, known, record)
    root = known.root(record)
    path = b"/".join(fs_paths.split_relative(path))
    entry: Entry | None = (b"", listing.DIR, root[0] if root else 0, 0, digest, root[1] if root else None)
    if path:
        entry = path_filter.find_entry(known.load, digest, path)
    if entry is None:
        shown = path.decode("utf-8", "backslashreplace")
        raise NotFound(
            f"snapshot '{snapshot_id}' holds no '{shown}'",
            hint=f"'jvs ls {snapshot_id}' lists what it holds, 'jvs history -- PATH' which snapshots hold a path",
            path=shown,
        )
    return FoundEntry(known, record, path, entry)


def listed(store: Store, word: str, *, recursive: bool) -> tuple[FoundEntry, list[tuple[bytes, Entry]]]:
    """Return `TARGET:PATH` and what it holds, with paths that begin there; a file is itself. Errors: as `find`."""
    snapshot_id, path = split_word(store, word)
    held = find(store, snapshot_id, os.fsencode(path or ""))
    skipped = len(held.path) + 1 if held.path and held.is_dir else 0
    return held, [(path[skipped:], entry) for path, entry in held.listing(recursive=recursive)]


def is_plain(held: FoundEntry) -> bool:
    """Answer whether the digests of large files are the SHA-256 of their content, too."""
    return node.is_plain(held.record["hash_algorithm"])


def with_sha256(store: Store, held: FoundEntry, path: bytes, entry: Entry) -> Entry:
    """Return an entry of what `listed` found with the SHA-256 of its content, for which a large file is read.

    Errors: as `opened`.
    """
    if is_plain(held) or entry[3] <= leaves.LEAF_BYTES:
        return entry
    whole = listing.relative(held.path, path) if held.is_dir else held.path
    with opened(store, FoundEntry(held.known, held.record, whole, entry)) as (fd, _):
        return (*entry[:4], leaves.hash_open_file(fd, plain=True)[0], entry[5])


@contextlib.contextmanager
def opened(store: Store, held: FoundEntry) -> Iterator[tuple[int, int]]:
    """Give the open file of an entry, read once and proved to be what was published, and its size in bytes.

    Errors: E_USAGE for what is no regular file; E_PAYLOAD_HASH_MISMATCH, E_IO.
    """
    _check_file(held)
    with _holding(store, held) as (parent, name):
        fd = fs_paths.open_file(name, parent)
        try:
            digest, size = hasher.hash_quickly(fd, plain=is_plain(held))
            if digest != held.entry[4]:
                raise _mismatch(held)
            yield fd, size
        finally:
            os.close(fd)


def chunks(fd: int) -> Iterator[bytes]:
    """Yield the content of an open file from its start. Errors: OSError."""
    os.lseek(fd, 0, os.SEEK_SET)
    while chunk := os.read(fd, leaves.CHUNK_BYTES):
        yield chunk


def link_target(store: Store, held: FoundEntry) -> bytes:
    """Return where a symbolic link leads to, proved. Errors: E_PAYLOAD_HASH_MISMATCH, E_IO."""
    with _holding(store, held) as (parent, name):
        st = os.lstat(name, dir_fd=parent)
        kind = listing.kind_of(st.st_mode)
        if kind != held.entry[1] or node.special_digest(kind, name, st, parent) != held.entry[4]:
            raise _mismatch(held)
        return os.readlink(name, dir_fd=parent)


@contextlib.contextmanager
def _holding(store: Store, held: FoundEntry) -> Iterator[tuple[int, bytes]]:
    """Give the open directory of a payload that holds an entry, and its name; what is gone is no more as published."""
    parts = held.path.split(b"/")
    with contextlib.ExitStack() as stack:
        try:
            payload = fs_paths.open_dir(_payload_of(store, held))
            stack.callback(os.close, payload)
            parent = fs_paths.open_below(payload, parts[:-1])
            stack.callback(os.close, parent)
            yield parent, parts[-1]
        except OSError as error:
            if listing.is_absent(error):
                raise _mismatch(held) from error
            raise from_oserror(error, f"reading '{held.path.decode('utf-8', 'backslashreplace')}'") from error


def _payload_of(store: Store, held: FoundEntry) -> Below:
    """Return the payload that holds a path: that of the snapshot, or of one that a partial snapshot lies on."""
    lying = partial.layers(store, held.record)
    for layer in lying:
        own = layer["partial_paths"]
        if own is None or any(path_filter.covers(path_filter.stored_path(path), held.path) for path in own):
            return store.layout.payload(layer["snapshot_id"])
    return store.layout.payload(lying[-1]["snapshot_id"])


def _check_file(held: FoundEntry) -> None:
    kind = held.entry[1]
    if kind == listing.FILE:
        return
    shown = held.path.decode("utf-8", "backslashreplace") or "."
    hint = "name a file; 'jvs ls' lists what a directory holds" if kind == listing.DIR else "name a regular file"
    raise UsageError(f"'{shown}' is a {listing.KIND_NAMES[kind]}, not a file", hint=hint)


def _mismatch(held: FoundEntry) -> PayloadHashMismatch:
    shown, snapshot_id = held.path.decode("utf-8", "backslashreplace"), held.record["snapshot_id"]
    return PayloadHashMismatch(
        f"'{shown}' in snapshot '{snapshot_id}' is not what was published",
        hint=f"'jvs verify {snapshot_id}' names all that differs; another snapshot may hold it",
        snapshot_id=snapshot_id,
        path=shown,
    )
