"""Entries that differ: one change, renames among many, and folding what came or went as a whole.

Source: jvs-diff(1), jvs-status(1).
"""

from __future__ import annotations

from jvs import canon
from jvs.fs import listing
from jvs.tree.leaves import LEAF_BYTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NotRequired, TypedDict

    from jvs.tree.node import Entry

    class OldPath(TypedDict, total=False):
        """Where a renamed file was before."""

        old_path: str
        old_path_b64: str

    class ChangeDocument(canon.PathJSON, OldPath):
        """One change as `--json` prints it: modes are octal text, hashes hex; null where there is no entry."""

        kind: str
        mode: str | None
        old_mode: str | None
        size: int | None
        old_size: int | None
        old_hash: str | None
        new_hash: str | None
        changed: NotRequired[list[str]]
        changed_bytes: NotRequired[int]

    class ChangeItem(ChangeDocument):
        """One change as `--jsonl` prints it."""

        change: str


ADDED, REMOVED, MODIFIED, RENAMED = "added", "removed", "modified", "renamed"
LETTERS = {ADDED: "A", REMOVED: "D", MODIFIED: "M", RENAMED: "R"}


class Change:
    """One entry that differs. Shape: `old_path` is the path before, which only a renamed file has another of."""

    __slots__ = ("changed_bytes", "metadata", "new", "old", "old_path", "path", "what")

    def __init__(self, path: bytes, old: Entry | None, new: Entry | None, old_path: bytes | None = None) -> None:
        self.path = path
        self.metadata: list[str] = []
        """What differs of the metadata that the tree hash does not cover: owner, mtime, xattrs, links."""
        self.changed_bytes: int | None = None
        """How many bytes of a large file are in leaves that differ, when that is known."""
        self.old = old
        self.new = new
        self.old_path = path if old_path is None else old_path
        if old_path is not None:
            self.what = RENAMED
        else:
            self.what = ADDED if old is None else REMOVED if new is None else MODIFIED

    @property
    def letter(self) -> str:
        """Return A, D, M or R."""
        return LETTERS[self.what]

    @property
    def entry(self) -> Entry:
        """Return the entry as it is now, or as it was when it was deleted."""
        entry = self.new if self.new is not None else self.old
        assert entry is not None
        return entry

    @property
    def is_dir(self) -> bool:
        """Answer whether the path is, or was, a directory."""
        return self.entry[1] == listing.DIR

    def is_large(self) -> bool:
        """Answer whether this is a change of the content of a file of more than one leaf."""
        if self.old is None or self.new is None or not self.old[1] == self.new[1] == listing.FILE:
            return False
        return self.old[4] != self.new[4] and max(self.old[3], self.new[3]) > LEAF_BYTES

    def how(self) -> list[str]:
        """Say what of a modified entry differs: kind, content, mode, xattrs, owner, mtime, links."""
        if self.old is None or self.new is None:
            return []
        words = ["kind"] if self.old[1] != self.new[1] else []
        if not words and self.old[1] != listing.DIR and self.old[4] != self.new[4]:
            words.append("content")
        if self.old[2] != self.new[2] and "kind" not in words:
            words.append("mode")
        if self.old[5] != self.new[5]:
            words.append("xattrs")
        return words + [word for word in self.metadata if word not in words]

    def as_json(self) -> ChangeDocument:
        """Return the object for `--json`. Shape: modes are octal text, hashes hex; null where there is none."""
        value: ChangeDocument = {
            **canon.path_json(self.path),
            **_old_path(self.old_path if self.what == RENAMED else None),
            "kind": listing.KIND_NAMES[self.entry[1]],
            "mode": show_mode(self.new),
            "old_mode": show_mode(self.old),
            "size": _size(self.new),
            "old_size": _size(self.old),
            "old_hash": _hash(self.old),
            "new_hash": _hash(self.new),
        }
        if self.what in (MODIFIED, RENAMED):
            value["changed"] = self.how()
        if self.changed_bytes is not None:
            value["changed_bytes"] = self.changed_bytes
        return value


def _old_path(path: bytes | None) -> OldPath:
    """Return the path that a renamed file had before, as `canon.path_json` writes it; nothing without one."""
    if path is None:
        return {}
    old = canon.path_json(path)
    if "path_b64" in old:
        return {"old_path": old["path"], "old_path_b64": old["path_b64"]}
    return {"old_path": old["path"]}


def show_mode(entry: Entry | None) -> str | None:
    """Return the permission bits of an entry as four octal digits, or None."""
    return None if entry is None else f"{entry[2]:04o}"


def _size(entry: Entry | None) -> int | None:
    return None if entry is None else entry[3]


def _hash(entry: Entry | None) -> str | None:
    return None if entry is None else entry[4].hex()


def is_below(path: bytes, wanted: Iterable[bytes]) -> bool:
    """Answer whether a path is one of some paths, or lies below one; the empty path is the root."""
    return any(not w or path == w or path.startswith(w + b"/") for w in wanted)


def pair_renames(changes: list[Change]) -> list[Change]:
    """Turn files that vanished and came up elsewhere with the same content into renames.

    Shape: only regular files that are not empty. Of several that could pair, those with the same name go first, then
    by path, so that the same two trees always give the same answer.
    """
    gone: dict[bytes, list[Change]] = {}
    for change in changes:
        if change.what == REMOVED and _can_move(change.old):
            assert change.old is not None
            gone.setdefault(change.old[4], []).append(change)
    if not gone:
        return changes
    came = [c for c in changes if c.what == ADDED and _can_move(c.new) and c.new is not None and c.new[4] in gone]
    paired: dict[int, Change] = {}
    used: set[int] = set()
    for by_name in (True, False):
        for change in came:
            assert change.new is not None
            if id(change) in paired:
                continue
            for old in gone[change.new[4]]:
                if id(old) not in used and (not by_name or _base(old.path) == _base(change.path)):
                    used.add(id(old))
                    paired[id(change)] = Change(change.path, old.old, change.new, old.path)
                    break
    return [paired.get(id(change), change) for change in changes if id(change) not in used]


def _can_move(entry: Entry | None) -> bool:
    return entry is not None and entry[1] == listing.FILE and entry[3] > 0


def _base(path: bytes) -> bytes:
    return path.rsplit(b"/", 1)[-1]


class Folded:
    """A change for a short list: a directory that came or went as a whole represents everything below it."""

    def __init__(self, change: Change) -> None:
        self.change = change
        self.files = 0
        self.bytes = 0


def fold(changes: list[Change]) -> list[Folded]:
    """Fold directories that came or went as a whole into one row each. Shape: `changes` are sorted by path."""
    result: list[Folded] = []
    tops: dict[bytes, Folded] = {}
    for change in sorted(changes, key=lambda c: c.path.split(b"/")):
        top = _top_of(change, tops)
        if top is None:
            top = Folded(change)
            result.append(top)
            if change.is_dir and change.what in (ADDED, REMOVED):
                tops[change.path] = top
        if not change.is_dir:
            top.files += 1
            top.bytes += change.entry[3]
    return result


def _top_of(change: Change, tops: dict[bytes, Folded]) -> Folded | None:
    path = change.path
    while b"/" in path:
        path = path.rsplit(b"/", 1)[0]
        top = tops.get(path)
        if top is not None:
            return top if top.change.what == change.what else None
    return None
