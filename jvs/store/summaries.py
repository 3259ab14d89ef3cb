r"""What many descriptors and annotations say, in short, kept in the index: thousands are chosen from without a read.

The words by which snapshots are chosen and ordered are kept with the stamp of the file that says them: inode, size and
ctime, which every change of it moves. A stamp is asked for each time; a file with another one, or that is not known,
is read in the ordinary way, and what is shown in the end always is. So the answer is the same without the index.
Source: jvs-format(5), Index; jvs-history(1).
"""

from __future__ import annotations

import json
import os
import struct

from jvs import canon
from jvs.errors import JvsError
from jvs.store import annotation, descriptor, lineage, records
from jvs.tree import racy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeGuard

    from jvs.fs.rooted import Below
    from jvs.store.descriptor import Descriptor, Summary
    from jvs.store.shapes import Annotation
    from jvs.store.store import Store

    Stamp = tuple[int, int, int]
    """Shape: inode, size in bytes, ctime in nanoseconds."""
    Fields = tuple[str, ...]
    Kept = dict[str, tuple[Stamp, Fields]]

FEW = 32
"""So many are read before the index is asked, and no fewer new ones are kept: opening and writing cost as much."""
MOST_BYTES = 64 << 20
_STAMP = struct.Struct("<QQq")
_COLUMN, _FILE, _TAG = "\x1d", "\x1e", "\x1f"
_SEPARATORS = frozenset((_COLUMN, _FILE))
_NONE: Kept = {}
_ID = "[0-9]{13}-[0-9a-f]{8}"


class Texts:
    """The texts, `width` of each, of the files `ID.json` of a directory, proved by the stamps of these files.

    `read` makes the texts of a file anew; `is_right` says of a column of texts, by its number, whether we wrote it.
    """

    def __init__(
        self,
        store: Store,
        directory: Below,
        kind: str,
        width: int,
        read: Callable[[str], Fields],
        is_right: Callable[[int, str], bool],
    ) -> None:
        self._store = store
        self._directory = directory
        self._kind = kind
        self._width = width
        self._is_right = is_right
        self._read = read
        self._fd = -1
        self._known: Kept | None = None
        self._early: list[str] = []
        self._new: Kept = {}
        self._moment_ns: int | None = None
        self._asked: tuple[str, Stamp] | None = None

    def get(self, snapshot_id: str) -> Fields | None:
        """Return what a file says, or None where it has to be read; that is noted, so that it is known next time."""
        if self._fd < 0:
            if self._known is None and len(self._early) < FEW:
                self._early.append(snapshot_id)
                return None
            if self._known is None:
                self._known = self._open()
            if self._fd < 0:
                return None
        try:
            st = os.lstat(snapshot_id + ".json", dir_fd=self._fd)
        except OSError:  # it may be collected, or not be shown yet: whoever reads it finds out
            return None
        known = (self._known or _NONE).get(snapshot_id)
        if known is not None and known[0] == _stamp(st):
            return known[1]
        self._miss(snapshot_id, st)
        return None

    def _miss(self, snapshot_id: str, st: os.stat_result) -> None:
        """Note what the index did not know; once it is much, what is read from then on can be kept as it is."""
        if self._moment_ns is None:
            self._early.append(snapshot_id)
            if len(self._early) >= 2 * FEW:
                self._moment_ns = self._moment()
        elif racy.lasting(b"\1", st, self._moment_ns, slow_directories=False) != racy.NO_STAMP:
            self._asked = snapshot_id, _stamp(st)

    def learn(self, snapshot_id: str, make: Callable[[], Fields]) -> None:
        """Note what a file says that was just asked for and read."""
        if self._asked is not None and self._asked[0] == snapshot_id:
            self._add(snapshot_id, self._asked[1], make())
            self._asked = None

    def _add(self, snapshot_id: str, stamp: Stamp, texts: Fields) -> None:
        if not any(separator in text for text in texts for separator in _SEPARATORS):
            self._new[snapshot_id] = stamp, texts

    def _moment(self) -> int:
        """Write back dirty pages, and return what `racy.lasting` needs: any later change moves a stamp."""
        from jvs import clock
        from jvs.engine import traits

        if not self._store.index().keeps:
            return racy.NEVER_NS
        juicefs = not traits.scan_flags(self._directory)[0]
        try:
            # A store into a page that is dirty already would move no ctime.
            return racy.writeback(self._directory, clock.now_ns(), juicefs=juicefs)
        except (OSError, JvsError):
            return racy.NEVER_NS

    def _open(self) -> Kept:
        """Open the directory, and return what the index knows of it."""
        from jvs.fs import paths

        index = self._store.index()
        found = index.said(self._kind)
        if found is None and not index.keeps:
            return {}
        try:
            self._fd = paths.open_dir(self._directory)
        except OSError:
            return {}
        return {} if found is None else self._decode(*found)

    def keep(self) -> None:
        """Keep what was not known, when it is much. Nothing is raised for that."""
        try:
            if self._moment_ns not in (None, racy.NEVER_NS):
                self._read_early(self._moment_ns or 0)
            if len(self._new) >= FEW:
                there = {name[:-5] for name in os.listdir(self._fd) if name.endswith(".json")}
                kept = {i: pair for i, pair in (self._known or {}).items() if i in there}
                self._store.index().keep_said(self._kind, *_encode(kept | self._new))
        except (OSError, JvsError):  # no listing, or something is damaged that the next one reads again
            pass
        finally:
            if self._fd >= 0:
                os.close(self._fd)
            self._fd, self._known, self._early, self._new, self._moment_ns = -1, None, [], {}, None

    def _read_early(self, moment_ns: int) -> None:
        """Read those once more that were read before anything was written back."""
        for snapshot_id in self._early:
            try:
                st = os.lstat(f"{snapshot_id}.json", dir_fd=self._fd)
                texts = self._read(snapshot_id)
            except (OSError, JvsError):
                continue
            if racy.lasting(b"\1", st, moment_ns, slow_directories=False) != racy.NO_STAMP:
                self._add(snapshot_id, _stamp(st), texts)

    def _decode(self, stamps: bytes, data: bytes) -> Kept:
        """Return what `_encode` was given, or nothing; that takes but a few times the memory of what lies there."""
        count, rest = divmod(len(stamps), _STAMP.size)
        separators = (data.count(_COLUMN.encode()), data.count(_FILE.encode()))
        if rest or len(data) > MOST_BYTES or separators != (self._width, (self._width + 1) * (count - 1)):
            return {}
        try:
            columns = data.decode("utf-8").split(_COLUMN)
        except UnicodeDecodeError:
            return {}
        if not all(self._is_right(number, column) for number, column in enumerate(columns[1:])):
            return {}
        ids, *texts = (column.split(_FILE) for column in columns)
        try:
            fields = zip(*texts, strict=True)
            return dict(zip(ids, zip(_STAMP.iter_unpack(stamps), fields, strict=True), strict=True))
        except ValueError:  # columns of different lengths
            return {}


def _stamp(st: os.stat_result) -> Stamp:
    return st.st_ino, st.st_size, st.st_ctime_ns


def _encode(kept: Kept) -> tuple[bytes, bytes]:
    stamps = b"".join(_STAMP.pack(*stamp) for stamp, _ in kept.values())
    columns = [list(kept), *zip(*(texts for _, texts in kept.values()), strict=True)]
    data = _COLUMN.join(map(_FILE.join, columns)).encode()
    return (stamps, data) if len(data) <= MOST_BYTES else (b"", b"")


class Summaries:
    """The summaries of snapshots, with what was said of them later; one at a time, and each when it is asked for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._layout = store.layout
        self._descriptors = Texts(store, store.layout.descriptors, "descriptors", 5, self._read, _is_right)
        self._annotations = Texts(
            store, store.layout.annotations, "annotations", 1, self._read_annotation, lambda number, column: True
        )
        self._overlay = annotation.Overlay(store.layout, read=self._annotation)

    def __enter__(self) -> Summaries:
        return self

    def __exit__(self, *_: object) -> None:
        self._descriptors.keep()
        self._annotations.keep()

    def line(self, start: str | None) -> Iterator[Summary]:
        """Yield the summaries from `start` back to the first snapshot. Errors: as `lineage.line`."""
        found = lineage.line_by(self._load_any, start)
        return found if self._overlay.is_empty else map(self._overlay.over, found)

    def of_visible(self, ids: list[str]) -> dict[str, Summary]:
        """Return the summaries of visible snapshots, by id; damaged ones are left out."""
        found = lineage.all_by(self._load, ids, tolerant=True)
        if self._overlay.is_empty:
            return found
        return {snapshot_id: self._overlay.over(record) for snapshot_id, record in found.items()}

    def complete(self, found: Summary) -> Descriptor:
        """Return the descriptor that a summary is of, with what was said later, read and checked. Errors: as `line`."""
        if _is_descriptor(found):
            return found
        return annotation.shown(self._layout, lineage.load_any(self._layout, found["snapshot_id"]))

    def _load(self, snapshot_id: str) -> Summary:
        texts = self._descriptors.get(snapshot_id)
        known = None if texts is None else _summary(snapshot_id, texts)
        if known is not None and records.is_time(known["created_at"]):
            return known
        return self._learned(descriptor.load(self._layout, snapshot_id))

    def _load_any(self, snapshot_id: str) -> Summary:
        texts = self._descriptors.get(snapshot_id)
        known = None if texts is None else _summary(snapshot_id, texts)
        return known or self._learned(lineage.load_any(self._layout, snapshot_id))

    def _learned(self, record: Descriptor) -> Descriptor:
        if not record.get("collected"):
            self._descriptors.learn(record["snapshot_id"], lambda: _texts_of(record))
        return record

    def _annotation(self, snapshot_id: str) -> Annotation:
        texts = self._annotations.get(snapshot_id)
        known = None if texts is None else _said(snapshot_id, *texts)
        if known is not None:
            return known
        found = annotation.load(self._layout, snapshot_id)
        self._annotations.learn(snapshot_id, lambda: (canon.encode(found).decode(),))
        return found

    def _read(self, snapshot_id: str) -> Fields:
        return _texts_of(descriptor.load(self._layout, snapshot_id))

    def _read_annotation(self, snapshot_id: str) -> Fields:
        return (canon.encode(annotation.load(self._layout, snapshot_id)).decode(),)


def _texts_of(record: Descriptor) -> Fields:
    """Return what is kept of a descriptor; of one with odd tags something that is not kept."""
    meta, tags = record.get("meta", {}), record["tags"]
    if any(_TAG in tag or not tag for tag in tags):
        return (_COLUMN,)
    facts = canon.encode(meta).decode() if meta else ""
    return (record["parent_id"] or "", record["created_at"], record["note"], _TAG.join(tags), facts)


def _is_right(number: int, column: str) -> bool:
    """Answer whether the column of parents holds ids, or nothing, and no name that could be part of a path."""
    import re

    return number > 0 or re.fullmatch(f"(?:{_ID})?(?:{_FILE}(?:{_ID})?)*", column) is not None


def _summary(snapshot_id: str, texts: Fields) -> Summary | None:
    """Return the summary that texts are; None for what nobody but a forger writes."""
    parent, created, note, tags, meta = texts
    made: Summary = {
        "snapshot_id": snapshot_id,
        "parent_id": parent or None,
        "created_at": created,
        "note": note,
        "tags": tags.split(_TAG) if tags else [],
    }
    if meta:
        facts = _decoded(meta)
        if not records.is_meta(facts):
            return None
        made["meta"] = facts
    return made


def _said(snapshot_id: str, text: str) -> Annotation | None:
    """Return the annotation that a text is; None for what nobody but a forger writes."""
    found = _decoded(text)
    return found if records.is_annotation(found) and found["snapshot_id"] == snapshot_id else None


def _is_descriptor(found: Summary) -> TypeGuard[Descriptor]:
    """Answer whether a summary is a descriptor that was read."""
    return "descriptor_checksum" in found


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
