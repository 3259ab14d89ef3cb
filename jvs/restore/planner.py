"""The steps that make one tree like another: what comes, what goes, and which directories need care.

Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import os

from jvs.fs import listing
from jvs.restore import delta, entries
from jvs.restore.spared import Spared, refuse_replacing
from jvs.store import reserved
from jvs.tree import kept, path_filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from jvs.tree.node import Entry

LATELY = 16
"""How many directories a plan keeps at hand, by name: enough for two trees of usual depth."""


class Planner:
    """Compares two trees and writes down steps; whole directories that come or go are one step."""

    def __init__(
        self, load: Callable[[bytes], list[Entry]], wanted: list[bytes] | None, spared: Spared | None = None
    ) -> None:
        self.load = load
        self.wanted = wanted
        self.spared = spared
        self.steps: list[delta.Step] = []
        self.dirs: dict[bytes, Entry | None] = {}
        """Directories that need care, each with its entry in the target when it becomes like that."""
        self.metadata: list[bytes] = []
        """What differs in nothing that the trees hold."""
        self._lately: dict[bytes, dict[bytes, Entry]] = {}

    def chosen(self, path: bytes) -> bool:
        """Answer whether a path is to become like the target."""
        return self.wanted is None or any(path_filter.covers(want, path) for want in self.wanted)

    def leads(self, path: bytes) -> bool:
        """Answer whether something below a path is chosen."""
        return any(want.startswith(path + b"/") for want in self.wanted or ())

    def compare(self, path: bytes, before: bytes | None, after: bytes | None, here: Entry | None) -> None:
        """Compare two directories; `here` is the target's entry of this one when it is to become like that."""
        old = self._by_name(before) if before is not None else {}
        new = self._by_name(after) if after is not None else {}
        count = len(self.steps)
        direct = False
        for name in sorted(old.keys() | new.keys()):
            a, b = old.get(name), new.get(name)
            if a != b and self._one(listing.relative(path, name), a, b):
                direct = True
        if direct or (count == len(self.steps) and path in self.dirs):
            self.dirs[path] = here

    def add_twins(self, made: delta.Delta, here: entries.RootedDir, before: bytes) -> None:
        """Add what has to make way where case is folded: an entry whose name is another spelling of one that comes.

        It is a step of its own, so that an undo gives it back its name.
        """
        added: list[delta.Step] = []
        for step in made.steps:
            there = here.lstat(step.path) if step.how in (delta.COPY, delta.MAKE) and step.old is None else None
            if there is None:
                continue
            parent, wanted = here.parent(step.path)
            names = [os.fsencode(name) for name in os.listdir(parent)]
            other = next((name for name in names if name != wanted and delta.fold(name) == delta.fold(wanted)), None)
            if wanted in names or other is None or os.lstat(other, dir_fd=parent).st_ino != there.st_ino:
                continue
            if step.how == delta.MAKE and listing.kind_of(there.st_mode) == listing.DIR:
                added.append(step)  # it is that directory already, and what is inside keeps its place
                continue
            path = listing.relative(step.path.rpartition(b"/")[0], other)
            reserved.check_paths([path])  # another spelling of '.jvs' would take the place of the control directory
            if path not in made.paths:
                added.append(delta.Step(path, delta.DROP, self._entry(before, path), None))
        if added:
            unneeded = {step.path for step in added if step.how == delta.MAKE}
            for path in unneeded:
                self.dirs.pop(path, None)
            new = [step for step in added if step.how == delta.DROP]
            made.replace_steps([step for step in made.steps if step.path not in unneeded] + new)

    def add_metadata(self, differs: dict[bytes, list[str]], before: bytes, root: Entry) -> None:
        """Add what differs in metadata that the trees do not hold; names of broken link groups are made anew."""
        there = {step.path for step in self.steps}
        for path, words in sorted(differs.items()):
            parts = path.split(b"/")
            above = {b"/".join(parts[:depth]) for depth in range(1, len(parts) + 1)}
            if not self.chosen(path) or above & there:
                continue  # asked first: most of what differs here is what comes anyway
            old, new = self._entry(before, path), self._entry(root[4], path) if path else root
            if new is None or (path and old is None):
                continue
            if self.spared is not None and any(self.spared.covers(one, old) for one in above - {b""}):
                continue
            if kept.shown_words(words):
                self.metadata.append(path)
            if kept.LINKS in words:
                self.steps.append(delta.Step(path, delta.COPY, old, new))
                parent = path.rpartition(b"/")[0]
                self.dirs.setdefault(parent, self._chosen_entry(parent, root))
            else:
                self.dirs[path] = new

    def _chosen_entry(self, path: bytes, root: Entry) -> Entry | None:
        if not self.chosen(path):
            return None
        return self._entry(root[4], path) if path else root

    def _entry(self, digest: bytes, path: bytes) -> Entry | None:
        """Return the entry of a path below a directory, or None."""
        entry: Entry | None = None
        for part in path.split(b"/"):
            if entry is not None and entry[1] != listing.DIR:
                return None
            entry = self._by_name(entry[4] if entry else digest).get(part)
            if entry is None:
                return None
        return entry

    def _by_name(self, digest: bytes) -> dict[bytes, Entry]:
        """Return a directory's entries by name; the last few are kept: paths come sorted, many of one directory."""
        found = self._lately.get(digest)
        if found is None:
            if len(self._lately) == LATELY:
                self._lately.clear()
            found = self._lately[digest] = {entry[0]: entry for entry in self.load(digest)}
        return found

    def _one(self, path: bytes, a: Entry | None, b: Entry | None) -> bool:
        """Compare one entry; answers whether the directory that holds it changes."""
        chosen = self.chosen(path)
        if (not chosen and not self.leads(path)) or (self.spared is not None and self.spared.covers(path, a, b)):
            return False
        a_dir = a[4] if a is not None and a[1] == listing.DIR else None
        b_dir = b[4] if b is not None and b[1] == listing.DIR else None
        if a_dir is not None and b_dir is not None:
            assert a is not None and b is not None
            if a_dir != b_dir:
                self.compare(path, a_dir, b_dir, b if chosen else None)
            if chosen and (a[2], a[5]) != (b[2], b[5]):
                self.dirs[path] = b
            return False
        if chosen:
            if self.spared is not None and self.spared.any and self.spared.holds(self.load, path, a_dir, b_dir):
                return self._around_spared(path, a, b)
            how = delta.DROP if b is None else delta.COPY
            self.steps.append(delta.Step(path, how, a, b))
            return True
        if a is None and b_dir is not None and self.spared is not None and self.spared.is_named_dir(path):
            self.compare(path, None, b_dir, None)
            return False
        if b_dir is not None:  # a chosen path lies in a directory that the worktree does not have
            self.steps.append(delta.Step(path, delta.MAKE, a, b))
            self.dirs[path] = b
            self.compare(path, None, b_dir, b)
            return True
        if a_dir is not None:
            self.compare(path, a_dir, None, None)
        return False

    def _around_spared(self, path: bytes, a: Entry | None, b: Entry | None) -> bool:
        """Add the steps that bring back, or displace, a directory but for what in it is left as it is.

        Errors: E_EXISTS when something else is to take the place of such a directory.
        """
        if b is None:
            assert a is not None
            self.compare(path, a[4], None, None)
            return False
        if a is not None and a[1] == listing.DIR:
            raise refuse_replacing(path)
        self.steps.append(delta.Step(path, delta.MAKE, a, b))
        self.dirs[path] = b
        self.compare(path, None, b[4], b)
        return True
