"""Planning a restore: which steps make a worktree like a snapshot, checked before anything changes.

Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import contextlib
import os
import stat

from jvs import canon, progress
from jvs.errors import JvsError, NotFound, PayloadHashMismatch, from_oserror
from jvs.fs import listing
from jvs.fs import paths as fs_paths
from jvs.fs.xattrs import covered
from jvs.restore import delta, entries
from jvs.restore.planner import Planner
from jvs.restore.spared import Spared
from jvs.store import exclusion, lineage, node_store, worktree_scan
from jvs.tree import node, path_filter
from jvs.tree.leaves import LEAF_BYTES
from jvs.tree.node import decode_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    from jvs.fs.rooted import Below
    from jvs.store.store import Store
    from jvs.tree.node import Entry
    from jvs.tree.shared_leaves import SharedLeaves

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
        found = node_store.hash_payload(payload, jobs=store.settings.jobs())
        known.add(found)
        return RestoreTarget(snapshot_id, found.root, paths, forced=True)
    assert root is not None
    if forced:
        plain = node.is_plain(record["hash_algorithm"])
        found = node_store.hash_payload(store.layout.payload(snapshot_id), jobs=store.settings.jobs(), plain=plain)
        if found.root_hash != record["payload_root_hash"]:
            known.add(found)
            return RestoreTarget(snapshot_id, found.root, paths, forced=True, plain=plain)
    if record["partial_paths"] is not None:
        own = [path_filter.stored_path(path) for path in record["partial_paths"]]
        paths = own if paths is None else path_filter.within(paths, own)
    return RestoreTarget(snapshot_id, root, paths, plain=node.is_plain(record["hash_algorithm"]))


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
        planner = Planner(known.load, wanted, spared)
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
            with (
                progress.step("check the snapshot"),
                contextlib.closing(SharedWith(store, target, here)) as shared,
            ):
                check_sources(made, payload, target.snapshot_id, shared)
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


class SharedWith:
    """Tells the leaves of a large file that the worktree shares with a snapshot, at the path of a step.

    Where both lie in one place the restore changes nothing there: what it does change is read and proved.
    """

    def __init__(self, store: Store, target: RestoreTarget, here: entries.RootedDir) -> None:
        self._here = here
        self._shared: SharedLeaves | None = None
        wanted = not target.forced and not target.plain
        self._give = node_store.shared_leaves(store, target.snapshot_id) if wanted else None

    def known(self, step: delta.Step) -> dict[int, bytes]:
        """Return them by their numbers, with their digests. Errors: OSError."""
        if self._give is None or step.new is None or step.new[1] != listing.FILE or step.new[3] <= LEAF_BYTES:
            return {}
        there = self._here.lstat(step.path)
        if there is None or not stat.S_ISREG(there.st_mode):
            return {}
        if self._shared is None:
            self._shared = self._give()
        parent, name = self._here.parent(step.path)
        fd = fs_paths.open_file(name, parent)
        try:
            return self._shared.known(fd, step.path, step.new)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the payload."""
        if self._shared is not None:
            self._shared.close()


def check_sources(
    made: delta.Delta,
    payload: entries.RootedDir,
    snapshot_id: str,
    shared: SharedWith | None = None,
) -> None:
    """Read what will change, and hold it against the tree; `shared` tells the leaves that do not change.

    Errors: E_PAYLOAD_HASH_MISMATCH.
    """
    for step in made.steps:
        if step.how != delta.COPY:
            continue
        try:
            known = shared.known(step) if shared is not None else None
            good = entries.is_entry(*payload.parent(step.path), step.new, known)
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
    planner = Planner(lambda digest: decode_node(known[digest]), None)
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
