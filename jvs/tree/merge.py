"""Merging three trees: what of theirs has to come into ours, and what cannot be decided.

Each path is judged by itself, with its kind, content, mode and attributes: changed on one side, that side counts; the
same on both is fine; different on both is a conflict. A directory is its mode and attributes; what is in it are paths
of their own. Directories whose digests say that nothing differs are not looked into.
Source: jvs-merge(1), jvs-merge-tree(1).
"""

from __future__ import annotations

from jvs.fs import listing
from jvs.tree import path_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from jvs.tree import node
    from jvs.tree.node import Entry

COPY, MAKE, DROP, META = "copy", "make", "drop", "meta"
"""What happens at a path: theirs is copied, a directory is made, ours goes, or only metadata come."""
OURS, THEIRS, BOTH = "ours", "theirs", "both"
_SUFFIX = b".theirs"
_LONGEST_NAME = 255


class Action:
    """One thing to do. Shape: `old` is what ours has, `new` what comes; `source` is the path in theirs."""

    __slots__ = ("how", "new", "old", "path", "source")

    def __init__(
        self, path: bytes, how: str, old: Entry | None, new: Entry | None, source: bytes | None = None
    ) -> None:
        self.path = path
        self.how = how
        self.old = old
        self.new = new
        self.source = path if source is None else source


class MergeConflict:
    """One path that both sides changed differently. Shape: an entry is None where a side has nothing."""

    __slots__ = ("base", "ours", "path", "theirs")

    def __init__(self, path: bytes, base: Entry | None, ours: Entry | None, theirs: Entry | None) -> None:
        self.path = path
        self.base = base
        self.ours = ours
        self.theirs = theirs


class Merger:
    """Merges trees. `choose` says for a conflict which side counts, or None; without `paths` all paths count.

    After `run`: `actions` sorted so that directories come before what is in them, `conflicts`, and `decided`, the
    conflicts that `choose` decided with its word.
    """

    def __init__(
        self,
        load: Callable[[bytes], list[Entry]],
        choose: Callable[[bytes], str | None] = lambda path: None,
        paths: list[bytes] | None = None,
    ) -> None:
        self.load = load
        self.choose = choose
        self.paths = paths
        self.actions: list[Action] = []
        self.conflicts: list[MergeConflict] = []
        self.decided: list[tuple[bytes, str]] = []

    def run(self, base: node.Root, ours: node.Root, theirs: node.Root) -> Merger:
        """Merge three trees; returns itself. Errors: what loading a node raises."""
        b, o, t = ((b"", listing.DIR, root[0], 0, root[2], root[1]) for root in (base, ours, theirs))
        self._descend(b"", b, o, t)
        return self

    def _chosen(self, path: bytes) -> bool:
        return self.paths is None or any(path_filter.covers(want, path) for want in self.paths)

    def _leads(self, path: bytes) -> bool:
        return path == b"" or any(want.startswith(path + b"/") for want in self.paths or ())

    def _children(self, entry: Entry | None) -> dict[bytes, Entry]:
        if entry is None or entry[1] != listing.DIR:
            return {}
        return {child[0]: child for child in self.load(entry[4])}

    def _one(self, path: bytes, b: Entry | None, o: Entry | None, t: Entry | None, names: set[bytes]) -> None:
        """Merge one path; `names` are all names next to it."""
        whole = self._chosen(path)
        if is_same(o, t) or is_same(t, b) or not (whole or self._leads(path)):
            return
        if whole and is_same(o, b):
            self._take(path, o, t)
            return
        are_dirs = [entry[1] == listing.DIR for entry in (o, t) if entry is not None]
        if all(are_dirs) and (len(are_dirs) == 2 or _is_dir(b) or not whole):
            self._descend(path, b, o, t)
        elif whole and o is not None and t is not None and self._adds_nothing(b, t):
            return  # theirs only removed what was in a directory in whose place ours has something else
        elif whole and o is not None and t is not None and self._adds_nothing(b, o):
            self._take(path, o, t)
        elif whole or any(are_dirs):
            self._conflict(path, b, o, t, names)

    def _adds_nothing(self, b: Entry | None, side: Entry) -> bool:
        """Answer whether a directory is that of the base with nothing but removals in it."""
        if b is None or not _is_dir(b) or not _is_dir(side) or _meta(b) != _meta(side):
            return False
        before = self._children(b)
        return all(
            is_same(child, before.get(name)) or self._adds_nothing(before.get(name), child)
            for name, child in self._children(side).items()
        )

    def _descend(self, path: bytes, b: Entry | None, o: Entry | None, t: Entry | None) -> None:
        """Merge a directory that is one on each side that has it."""
        began, disputed = len(self.actions), len(self.conflicts)
        if o is not None and t is not None and self._chosen(path):
            self._metadata(path, b, o, t)
        below = self._children(b), self._children(o), self._children(t)
        names = set().union(*below)
        for name in sorted(names):
            b_below, o_below, t_below = (side.get(name) for side in below)
            self._one(listing.relative(path, name), b_below, o_below, t_below, names)
        if o is None and t is not None:
            self._finish_made(path, b, t, began, disputed)
        elif t is None and o is not None and self._chosen(path):
            self._finish_dropped(path, b, o, began, disputed, set(below[1]))

    def _metadata(self, path: bytes, b: Entry | None, o: Entry, t: Entry) -> None:
        """Merge mode and attributes of a directory that both sides have."""
        mine, other = _meta(o), _meta(t)
        before = _meta(b) if b is not None and _is_dir(b) else None
        if mine == other or other == before:
            return
        word = THEIRS if mine == before else self.choose(path)
        if word is None:
            self.conflicts.append(MergeConflict(path, b, o, t))
            return
        if mine != before:
            self.decided.append((path, word))
        if word == THEIRS:
            self.actions.append(Action(path, META, o, t))

    def _finish_made(self, path: bytes, b: Entry | None, t: Entry, began: int, disputed: int) -> None:
        """Make a directory that ours removed when something of theirs comes into it."""
        if len(self.actions) > began:
            self.actions.insert(began, Action(path, MAKE, None, t))
        elif len(self.conflicts) == disputed and self._chosen(path) and b is not None and _meta(t) != _meta(b):
            self._conflict(path, b, None, t, set())

    def _finish_dropped(
        self, path: bytes, b: Entry | None, o: Entry, began: int, disputed: int, names: set[bytes]
    ) -> None:
        """Remove a directory that theirs removed, as a whole, when nothing of ours stays in it."""
        gone = {action.path for action in self.actions[began:] if action.how == DROP}
        if len(self.conflicts) > disputed or gone != {listing.relative(path, name) for name in names}:
            return
        if b is not None and _meta(o) == _meta(b):
            self.actions[began:] = [Action(path, DROP, o, None)]
            return
        word = self.choose(path)
        if word is None:
            self.conflicts.append(MergeConflict(path, b, o, None))
        else:
            self.decided.append((path, word))
            if word == THEIRS:
                self.actions[began:] = [Action(path, DROP, o, None)]

    def _take(self, path: bytes, o: Entry | None, t: Entry | None) -> None:
        """Take what theirs has; directories that both have stay the same directories."""
        if o is not None and t is not None and _is_dir(o) and _is_dir(t):
            if _meta(o) != _meta(t):
                self.actions.append(Action(path, META, o, t))
            mine, other = self._children(o), self._children(t)
            for name in sorted(mine.keys() | other.keys()):
                if not is_same(mine.get(name), other.get(name)):
                    self._take(listing.relative(path, name), mine.get(name), other.get(name))
        elif t is None:
            self.actions.append(Action(path, DROP, o, None))
        else:
            self.actions.append(Action(path, COPY, o, t))

    def _conflict(self, path: bytes, b: Entry | None, o: Entry | None, t: Entry | None, names: set[bytes]) -> None:
        word = self.choose(path)
        if word is None:
            self.conflicts.append(MergeConflict(path, b, o, t))
            return
        self.decided.append((path, word))
        if word == THEIRS:
            self._take(path, o, t)
        elif word == BOTH and t is not None:
            above, _, last = path.rpartition(b"/")
            name = free_name(last, names)
            names.add(name)
            self.actions.append(Action(listing.relative(above, name), COPY, None, (name, *t[1:]), path))


def is_same(a: Entry | None, b: Entry | None) -> bool:
    """Answer whether two entries are the same in all that a tree holds, but for their names."""
    if a is None or b is None:
        return a is b
    return (a[1], a[4], *_meta(a)) == (b[1], b[4], *_meta(b))


def _is_dir(entry: Entry | None) -> bool:
    return entry is not None and entry[1] == listing.DIR


def _meta(entry: Entry) -> tuple[int, dict[bytes, bytes] | None]:
    return entry[2], entry[5] or None


def free_name(name: bytes, taken: Iterable[bytes]) -> bytes:
    """Return under which name the other side of a conflict is kept: `NAME.theirs`, or with a number when that is taken.

    A name that would be too long for a filesystem is cut first.
    """
    number, known = 1, set(taken)
    while True:
        suffix = _SUFFIX if number == 1 else _SUFFIX + b"%d" % number
        found = _cut(name, _LONGEST_NAME - len(suffix)) + suffix
        if found not in known:
            return found
        number += 1


def _cut(name: bytes, length: int) -> bytes:
    """Return the beginning of a name, cut between characters where it is UTF-8."""
    if len(name) <= length:
        return name
    return name[:length].decode("utf-8", "ignore").encode("utf-8") or name[:length]
