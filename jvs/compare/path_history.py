"""A path through time: which snapshots changed its content, told by descending the trees where they differ.

Each snapshot is compared with the nearest one before it that still has its files. No payload is read when the index
knows the trees; a partial snapshot counts as the one that it lies on with its own paths in place.
Source: jvs-history(1); jvs-format(5), Tree hash.
"""

from __future__ import annotations

import itertools

from jvs import canon
from jvs.errors import JvsError, NotFound
from jvs.fs import listing
from jvs.store import annotation, lineage, node_store, partial
from jvs.tree import alike, node, path_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jvs.store.descriptor import Descriptor, PathVersion
    from jvs.store.store import Store
    from jvs.tree.node import Entry


FIRST_AHEAD, MOST_AHEAD, MOST_BYTES_AHEAD = 8, 512, 4 << 20
"""So many snapshots are read ahead, the first number at first. With 1 none is: the answer is the same."""


class Walker:
    """Compares the trees of neighbours at some paths and patterns; `seen` are those that were found so far."""

    def __init__(self, store: Store, paths: list[bytes]) -> None:
        self.store = store
        self.known = node_store.Trees(store)
        self.plain = [path for path in paths if not path_filter.is_pattern(path)]
        self.patterns = [path for path in paths if path_filter.is_pattern(path)]
        self.seen: set[bytes] = set()
        self._whole: dict[tuple[str, bool], bytes] = {}
        self._finders: dict[tuple[bytes, int], alike.Finder] = {}
        self._found: dict[tuple[bytes, bytes], Entry | None] = {}
        self._loaded: dict[bytes, list[Entry]] = {}
        self._before: dict[bytes, list[Entry]] = {}

    def changes(self, record: Descriptor, before: Descriptor | None) -> list[PathVersion]:
        """Return what a snapshot changed at the paths against another one, or against nothing; sorted by path."""
        plain = node.is_plain(record["hash_algorithm"])
        old, new = None if before is None else self.whole(before, plain=plain), self.whole(record, plain=plain)
        if old == new:
            return []
        pairs = {path: (self._entry(old, path), self._entry(new, path)) for path in self.plain}
        if self.patterns:
            pairs |= {path: (a, b) for path, a, b in node.compare(self._load, old, new) if self._fits(path)}
            self._before, self._loaded = self._loaded, {}
        versions = (_version(path, a, b) for path, (a, b) in sorted(pairs.items()))
        return [version for version in versions if version is not None]

    def whole(self, record: Descriptor, *, plain: bool) -> bytes:
        """Return the digest of a snapshot's tree, a partial one laid over what it lies on. Errors: as `partial`.

        `plain`: as `sha256-tree-1` has it; where the algorithm changed large files of one snapshot are read for that.
        """
        missing = []
        for layer in [record] if record["partial_paths"] is None else partial.layers(self.store, record):
            if (layer["snapshot_id"], plain) in self._whole:
                break
            missing.append(layer)
        for layer in reversed(missing):
            key, parent = (layer["snapshot_id"], plain), (layer["parent_id"] or "", plain)
            below = self._whole.get(parent) if layer["partial_paths"] is not None else None
            if below is not None:
                self._whole[key] = partial.lay_over(self.known, below, layer, plain=plain)
            else:
                self._whole[key] = self.known.root_as(layer, plain=plain)[2]
        return self._whole[record["snapshot_id"], plain]

    def check(self) -> None:
        """Refuse paths that no snapshot held. Errors: E_NOT_FOUND."""
        for path in (*self.plain, *self.patterns):
            if path not in self.seen:
                shown = path.decode("utf-8", "backslashreplace")
                raise NotFound(
                    f"no snapshot held '{shown}'",
                    hint="'jvs ls -r TARGET' lists what a snapshot holds; '--all' looks at every snapshot",
                    path=shown,
                )

    def _load(self, digest: bytes) -> list[Entry]:
        """Return the entries of a node; what this comparison loads the next one need not."""
        found = self._loaded.get(digest) or self._before.get(digest)
        if found is None:
            data = self.known.data(digest)  # proved by its digest
            found = self.known.load(digest) if data is None else node.decode_proved(data)
        self._loaded[digest] = found
        return found

    def _fits(self, path: bytes) -> bool:
        import fnmatch

        fitting = [p for p in self.patterns if path == p or fnmatch.fnmatchcase(path, p)]
        self.seen.update(fitting)
        return bool(fitting)

    def _entry(self, digest: bytes | None, path: bytes) -> Entry | None:
        """Return the entry of a path below a directory; each directory is searched once for each name."""
        entry: Entry | None = None if digest is None else (b"", listing.DIR, 0, 0, digest, None)
        for depth, part in enumerate(path.split(b"/") if path else ()):
            if entry is None or entry[1] != listing.DIR:
                return None
            key = entry[4], part
            if key not in self._found:
                data = self.known.data(entry[4])
                if data is not None:
                    self._found[key] = self._finder(path, depth, part).find(data)
                else:
                    self._found[key] = next((one for one in self.known.load(entry[4]) if one[0] == part), None)
            entry = self._found[key]
        if entry is not None:
            self.seen.add(path)
        return entry

    def _finder(self, path: bytes, depth: int, part: bytes) -> alike.Finder:
        """Return what finds one component of a path in the directory that holds it, in all snapshots."""
        finder = self._finders.get((path, depth))
        if finder is None:
            finder = self._finders[path, depth] = alike.Finder(part)
        return finder


def _version(path: bytes, old: Entry | None, new: Entry | None) -> PathVersion | None:
    """Return what happened to a path, or None when its content is the same: modes and times are no content."""
    entry = new or old
    if entry is None or (old is not None and new is not None and (old[1], old[4]) == (new[1], new[4])):
        return None
    return {
        **canon.path_json(path or b"."),
        "change": "added" if old is None else "removed" if new is None else "changed",
        "kind": listing.KIND_NAMES[entry[1]],
        "size": None if new is None else new[3],
        "old_size": None if old is None else old[3],
        "digest": None if new is None else new[4].hex(),
        "old_digest": None if old is None else old[4].hex(),
    }


def ahead(known: node_store.Trees, snapshots: Iterable[Descriptor]) -> Iterator[Descriptor]:
    """Yield snapshots; the trees of several are fetched together, of few at first: somebody may want only those.

    An error comes where it would come without that. Errors: those of `snapshots`.
    """
    coming, size, failure = iter(snapshots), min(FIRST_AHEAD, MOST_AHEAD), None
    while failure is None and size:
        batch: list[Descriptor] = []
        try:
            for record in itertools.islice(coming, size):
                batch.append(record)
        except (JvsError, OSError) as error:
            failure = error
        fetched = 0
        if MOST_AHEAD > 1:
            fetched = known.preload_roots(record for record in batch if not record.get("collected"))
        yield from batch
        size = min(_next_size(size, fetched), MOST_AHEAD) if len(batch) == size else 0
    if failure is not None:
        raise failure


def _next_size(size: int, fetched_bytes: int) -> int:
    """Return how many snapshots are read ahead after that many, which took so much memory."""
    if fetched_bytes > MOST_BYTES_AHEAD:
        return max(size // 2, 1)
    return size if 2 * fetched_bytes > MOST_BYTES_AHEAD else 2 * size


def along_line(store: Store, start: str | None, paths: list[bytes]) -> Iterator[Descriptor]:
    """Yield the snapshots from `start` back to the first that changed one of some paths, with `path_changes`.

    Errors: E_NOT_FOUND at the end for a path or pattern that none of them held; E_LINEAGE_BROKEN,
    E_DESCRIPTOR_CORRUPT; E_PAYLOAD_HASH_MISMATCH, E_IO when a payload had to be read.
    """
    yield from _compared(store, lineage.line(store.layout, start), paths)


def _compared(store: Store, line: Iterable[Descriptor], paths: list[bytes]) -> Iterator[Descriptor]:
    walker, overlay = Walker(store, paths), annotation.Overlay(store.layout)
    child: Descriptor | None = None
    for record in ahead(walker.known, line):
        if record.get("collected"):  # its files are gone: what it changed counts as changed by the one after it
            continue
        if child is not None:
            yield from _changed(walker, overlay, child, record)
        child = record
    if child is not None:
        yield from _changed(walker, overlay, child, None)
    walker.check()


def _changed(
    walker: Walker, overlay: annotation.Overlay, record: Descriptor, before: Descriptor | None
) -> Iterator[Descriptor]:
    found = walker.changes(record, before)
    if found:
        yield {**overlay.over(record), "path_changes": found}


def everywhere(
    store: Store, found: dict[str, Descriptor], in_order: list[Descriptor], paths: list[bytes]
) -> Iterator[Descriptor]:
    """Yield those of all snapshots that changed one of some paths against what they were taken on. Errors: as above."""
    walker, overlay = Walker(store, paths), annotation.Overlay(store.layout)
    for record in ahead(walker.known, in_order):
        if record.get("collected"):
            continue
        before, seen = found.get(record["parent_id"] or ""), {record["snapshot_id"]}
        while before is not None and before.get("collected") and before["snapshot_id"] not in seen:
            seen.add(before["snapshot_id"])
            before = found.get(before["parent_id"] or "")
        yield from _changed(walker, overlay, record, None if before is None or before.get("collected") else before)
    walker.check()
