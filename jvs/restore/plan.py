"""Planning a restore: which steps make a worktree like a snapshot, checked before anything changes.

Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import os

from jvs import canon, progress
from jvs.errors import JvsError, NotFound, PayloadHashMismatch, from_oserror
from jvs.fs import listing
from jvs.fs import paths as fs_paths
from jvs.fs.xattrs import covered
from jvs.restore import delta, entries
from jvs.restore.spared import Spared, refuse_replacing
from jvs.store import exclusion, lineage, node_store, reserved, worktree_scan
from jvs.tree import kept, node, path_filter
from jvs.tree.node import decode_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Literal

    from jvs.fs.rooted import Below
    from jvs.store.store import Store
    from jvs.tree.node import Entry

    class PathChange(canon.PathJSON):
        """One path that changes."""

        change: Literal["added", "modified", "removed"]
        size: int


class RestoreTarget:
    """What to restore: a snapshot's record, its tree, and which of its paths count (None: all).

    `plain`: the tree is one of `sha256-tree-1`.
    """

    def __init__(
        self,
        snapshot_id: str,
        root: node.Root,
        paths: list[bytes] | None,
        *,
        forced: bool = False,
        plain: bool = False,
    ) -> None:
        self.snapshot_id = snapshot_id
        self.root = root
        self.paths = paths
        self.forced = forced
        self.plain = plain


class RestorePlan:
    """A delta that is ready to be carried out. `before` is the root hash of the worktree as it was found."""

    def __init__(self, target: RestoreTarget, steps: delta.Delta, before: str) -> None:
        self.target = target
        self.delta = steps
        self.before = before

    def changes(self) -> list[PathChange]:
        """Return what changes, path by path. Shape: `path`, maybe `path_b64`, `change`, `size`."""
        found: list[PathChange] = []
        for step in self.delta.steps:
            word: Literal["added", "modified", "removed"]
            word = "removed" if step.how == delta.DROP else "modified" if step.old is not None else "added"
            entry = step.old if step.how == delta.DROP else step.new
            found.append({**canon.path_json(step.path), "change": word, "size": entry[3] if entry else 0})
        made = self.delta.paths
        for path in self.delta.metadata:
            if path not in made:
                found.append({**canon.path_json(path or b"."), "change": "modified", "size": 0})
        return found


def find_target(
    store: Store, snapshot_id: str, known: node_store.Trees, *, paths: list[bytes] | None = None, forced: bool = False
) -> RestoreTarget:
    """Check a snapshot and find its tree.

    `forced` takes the files as they are, whatever the checks say. `paths` may hold patterns (`*.py`), which are
    matched later; a partial snapshot counts for its own paths only.
    Errors: E_NOT_FOUND, E_DESCRIPTOR_CORRUPT, E_PARTIAL_SNAPSHOT, E_PAYLOAD_HASH_MISMATCH.
    """
    try:
        record = lineage.load_visible(store, snapshot_id)
        root = known.root(record)
    except NotFound:
        raise
    except JvsError:
        payload = store.layout.payload(snapshot_id)
        if not forced or not fs_paths.is_dir(payload):
            raise
        found = node_store.hash_payload(payload, jobs=os.cpu_count() or 1)
        known.add(found)
        return RestoreTarget(snapshot_id, found.root, paths, forced=True)
    assert root is not None
    if forced:
        plain = node.is_plain(record["hash_algorithm"])
        found = node_store.hash_payload(store.layout.payload(snapshot_id), jobs=os.cpu_count() or 1, plain=plain)
        if found.root_hash != record["payload_root_hash"]:
            known.add(found)
            return RestoreTarget(snapshot_id, found.root, paths, forced=True, plain=plain)
    if record["partial_paths"] is not None:
        own = [path_filter.stored_path(path) for path in record["partial_paths"]]
        paths = own if paths is None else path_filter.within(paths, own)
    return RestoreTarget(snapshot_id, root, paths, plain=node.is_plain(record["hash_algorithm"]))


class _Planner:
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

    def chosen(self, path: bytes) -> bool:
        """Answer whether a path is to become like the target."""
        return self.wanted is None or any(path_filter.covers(want, path) for want in self.wanted)

    def leads(self, path: bytes) -> bool:
        """Answer whether something below a path is chosen."""
        return any(want.startswith(path + b"/") for want in self.wanted or ())

    def compare(self, path: bytes, before: bytes | None, after: bytes | None, here: Entry | None) -> None:
        """Compare two directories; `here` is the target's entry of this one when it is to become like that."""
        old = {entry[0]: entry for entry in self.load(before)} if before is not None else {}
        new = {entry[0]: entry for entry in self.load(after)} if after is not None else {}
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
            old, new = self._entry(before, path), self._entry(root[4], path) if path else root
            if not self.chosen(path) or new is None or above & there or (path and old is None):
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
            entry = next((e for e in self.load(entry[4] if entry else digest) if e[0] == part), None)
            if entry is None:
                return None
        return entry

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


def make(
    store: Store,
    name: str,
    target: RestoreTarget,
    known: node_store.Trees,
    *,
    excepted: list[bytes] | None = None,
) -> RestorePlan:
    """Find out what has to change, and check in the payload all that will be copied. Changes nothing.

    What `excepted` names is left as it is, whatever the snapshot holds.
    Errors: E_PAYLOAD_HASH_MISMATCH when the snapshot's files are not what was published; E_NOT_FOUND for paths;
    E_EXISTS when something is to take the place of a directory with what is left as it is.
    """
    with progress.step("look at the worktree"):
        record = None if target.forced else lineage.load_visible(store, target.snapshot_id)
        found = worktree_scan.walk_now(store, name, compare=record, plain=target.plain)
    known.add(found)
    wanted = target.paths
    if wanted is not None:
        wanted = path_filter.match_paths(known.load, [target.root[2], found.digest], wanted)
    directory = store.layout.worktree_dir(name)
    patterns = [*(excepted or ()), *map(os.fsencode, store.settings.get("restore.protect"))]
    then = exclusion.of_snapshot(record) if record is not None else None
    root_entry: Entry = (b"", listing.DIR, target.root[0], 0, target.root[2], target.root[1])
    with Spared(directory, patterns, now=store.exclusion(name), then=then, wanted=wanted) as spared:
        planner = _Planner(known.load, wanted, spared)
        whole = planner.chosen(b"")
        if found.digest != target.root[2]:
            planner.compare(b"", found.digest, target.root[2], root_entry if whole else None)
        if whole and (found.root[0], found.root[1]) != (target.root[0], target.root[1]):
            planner.dirs[b""] = root_entry
        planner.add_metadata(found.differs, found.digest, root_entry)
    made = delta.Delta()
    made.steps = sorted(planner.steps, key=lambda step: step.path)
    made.metadata = planner.metadata
    try:
        with (
            entries.RootedDir(directory) as here,
            entries.RootedDir(store.layout.payload(target.snapshot_id)) as payload,
        ):
            with progress.step("check the snapshot"):
                check_sources(made, payload, target.snapshot_id)
            planner.add_twins(made, here, found.digest)
            add_directories(made, planner.dirs, here, payload, target)
            note_inodes(made, here)
    except OSError as error:
        raise from_oserror(error, f"planning the restore of '{name}'") from error
    return RestorePlan(target, made, found.root_hash)


def note_inodes(made: delta.Delta, here: entries.RootedDir) -> None:
    """Note in each step the inode of what is there now, so that a recovery can tell it from what comes."""
    for i, step in enumerate(made.steps):
        st = here.lstat_spelled(step.path) if i in made.twins else here.lstat(step.path)
        step.old_ino = st.st_ino if st is not None else 0


def check_sources(made: delta.Delta, payload: entries.RootedDir, snapshot_id: str) -> None:
    """Read everything that will be copied, and hold it against the tree. Errors: E_PAYLOAD_HASH_MISMATCH."""
    for step in made.steps:
        if step.how != delta.COPY:
            continue
        try:
            good = entries.is_entry(*payload.parent(step.path), step.new)
        except OSError as error:
            if not listing.is_absent(error):
                raise
            good = False
        if not good:
            raise _mismatch(snapshot_id, step.path)
        progress.advance("check", 1, len(made.steps))


def _mismatch(snapshot_id: str, path: bytes) -> PayloadHashMismatch:
    shown = path.decode("utf-8", "backslashreplace") or "."
    return PayloadHashMismatch(
        f"'{shown}' in snapshot '{snapshot_id}' is not what was published; nothing was restored",
        hint=f"'jvs verify {snapshot_id}' names all that differs; '--force-tampered REASON' restores it as it is",
        snapshot_id=snapshot_id,
        path=shown,
    )


def add_directories(
    made: delta.Delta,
    dirs: dict[bytes, Entry | None],
    here: entries.RootedDir,
    payload: entries.RootedDir,
    target: RestoreTarget,
) -> None:
    """Write down the metadata of directories before and, where they become like the target's, after."""
    for path, entry in sorted(dirs.items()):
        kind = entry[1] if entry is not None else listing.DIR
        after = entries.meta_at(payload, path, kind) if entry is not None else None
        if entry is not None and after is None:
            raise _mismatch(target.snapshot_id, path)
        if entry is not None and after is not None:
            attributes = {os.fsdecode(name): value for name, value in after[5].items()}
            if after[0] != entry[2] or covered(attributes) != (entry[5] or None):
                raise _mismatch(target.snapshot_id, path)
        before = entries.meta_at(here, path, kind) or after
        if kind != listing.DIR and before is not None and after is not None:
            after[3] = before[3]  # when it was read last is no business of a snapshot
        if before is not None:
            made.dirs.append((path, before, after))


def between(source: Below, target: Below) -> delta.Delta:
    """Find out what makes one directory equal to another, without any repository; both are read whole.

    Errors: OSError, E_IO.
    """
    jobs = os.cpu_count() or 1
    here, wanted = node_store.hash_payload(target, jobs=jobs), node_store.hash_payload(source, jobs=jobs)
    known = {**here.nodes, **wanted.nodes}
    goal = RestoreTarget("", wanted.root, None)
    planner = _Planner(lambda digest: decode_node(known[digest]), None)
    root_entry: Entry = (b"", listing.DIR, wanted.root[0], 0, wanted.digest, wanted.root[1])
    if here.digest != wanted.digest:
        planner.compare(b"", here.digest, wanted.digest, root_entry)
    if here.root[:2] != wanted.root[:2]:
        planner.dirs[b""] = root_entry
    made = delta.Delta()
    made.steps = sorted(planner.steps, key=lambda step: step.path)
    with entries.RootedDir(target) as have, entries.RootedDir(source) as payload:
        add_directories(made, planner.dirs, have, payload, goal)
        for step in made.steps:
            st = have.lstat(step.path)
            step.old_ino = st.st_ino if st is not None else 0
    return made
