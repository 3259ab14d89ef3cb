"""Bringing a worktree back to a snapshot in place: only what differs is written, and what was there is kept.

The delta is planned and checked against the snapshot's tree before anything changes; then it is journaled, carried
out, made durable, and only then the head moves. A crash leaves the intent, and the next command carries on.
Source: jvs-protocol(7), Restore.
"""

from __future__ import annotations

import os

from jvs import (
    apply,
    audit,
    canon,
    clock,
    delta,
    fidelity,
    intent,
    journal,
    lineage,
    look,
    observe,
    place,
    trees,
    walk,
    worktree,
)
from jvs.errors import JvsError, NotFound, PayloadHashMismatch, StaleHead, from_oserror
from jvs.tree import decode_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from jvs import tree
    from jvs.store import Store
    from jvs.tree import Entry

MAX_LISTED = 1000


class Target:
    """What to restore: a snapshot's record, its tree, and which of its paths count (None: all)."""

    def __init__(self, snapshot_id: str, root: tree.Root, paths: list[bytes] | None, *, forced: bool = False) -> None:
        self.snapshot_id = snapshot_id
        self.root = root
        self.paths = paths
        self.forced = forced


class Plan:
    """A delta that is ready to be carried out. `before` is the root hash of the worktree as it was found."""

    def __init__(self, target: Target, steps: delta.Delta, before: str) -> None:
        self.target = target
        self.delta = steps
        self.before = before

    def changes(self) -> list[dict[str, Any]]:
        """Return what changes, path by path. Shape: `path`, maybe `path_b64`, `change`, `size`."""
        found = []
        for step in self.delta.steps:
            word = "removed" if step.how == delta.DROP else "modified" if step.old is not None else "added"
            entry = step.old if step.how == delta.DROP else step.new
            found.append({**canon.path_json(step.path), "change": word, "size": entry[3] if entry else 0})
        return found


def find_target(
    store: Store, snapshot_id: str, known: trees.Trees, *, paths: list[bytes] | None = None, forced: bool = False
) -> Target:
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
        if not forced or not os.path.isdir(payload):
            raise
        found = trees.hash_payload(payload, jobs=os.cpu_count() or 1)
        known.add(found)
        return Target(snapshot_id, found.root, paths, forced=True)
    assert root is not None
    if forced:
        found = trees.hash_payload(store.layout.payload(snapshot_id), jobs=os.cpu_count() or 1)
        if found.root_hash != record["payload_root_hash"]:
            known.add(found)
            return Target(snapshot_id, found.root, paths, forced=True)
    if record["partial_paths"] is not None:
        own = [_stored_path(path) for path in record["partial_paths"]]
        paths = own if paths is None else _within(paths, own)
    return Target(snapshot_id, root, paths)


def _stored_path(value: Any) -> bytes:
    return canon.path_from_json(value if isinstance(value, dict) else {"path": value}).strip(b"/")


def _within(paths: list[bytes], own: list[bytes]) -> list[bytes]:
    """Return what two lists of paths have in common."""
    found = [path for path in paths if any(_covers(mine, path) for mine in own)]
    return found + [mine for mine in own if any(_covers(path, mine) for path in paths) and mine not in found]


def _covers(above: bytes, path: bytes) -> bool:
    return above in (b"", path) or path.startswith(above + b"/")


def is_pattern(path: bytes) -> bool:
    """Answer whether a path has wildcards."""
    return any(c in path for c in b"*?[")


def match_paths(load: Callable[[bytes], list[Entry]], roots: list[bytes], paths: list[bytes]) -> list[bytes]:
    """Replace patterns by the paths that they match in any of some trees, topmost first.

    A path that is there by that very name is no pattern. `*` matches across directories, as in git.
    Errors: E_NOT_FOUND for a path or pattern that neither the snapshot nor the worktree has.
    """
    import fnmatch

    plain = [path for path in paths if not is_pattern(path) or any(find_entry(load, root, path) for root in roots)]
    patterns = [path for path in paths if path not in plain]
    chosen = list(plain)
    missing = [path for path in plain if path and not any(find_entry(load, root, path) for root in roots)]
    for pattern in patterns:
        matched = [path for root in roots for path in all_paths(load, root) if fnmatch.fnmatchcase(path, pattern)]
        if not matched:
            missing.append(pattern)
        chosen += matched
    if missing:
        shown = missing[0].decode("utf-8", "backslashreplace")
        raise NotFound(
            f"neither the snapshot nor the worktree has '{shown}'",
            hint="'jvs-ls-tree -r SNAPSHOT' lists what a snapshot holds",
            path=shown,
        )
    return sorted(set(chosen))


def find_entry(load: Callable[[bytes], list[Entry]], root: bytes, path: bytes) -> Entry | None:
    """Return the entry of a path in a tree, or None."""
    found: Entry | None = None
    digest: bytes | None = root
    for part in path.split(b"/"):
        if digest is None:
            return None
        found = next((entry for entry in load(digest) if entry[0] == part), None)
        if found is None:
            return None
        digest = found[4] if found[1] == walk.DIR else None
    return found


def all_paths(load: Callable[[bytes], list[Entry]], root: bytes) -> list[bytes]:
    """Return every path of a tree."""
    found = []
    stack = [(b"", root)]
    while stack:
        above, digest = stack.pop()
        for entry in load(digest):
            path = walk.relative(above, entry[0])
            found.append(path)
            if entry[1] == walk.DIR:
                stack.append((path, entry[4]))
    return found


class _Planner:
    """Compares two trees and writes down steps; whole directories that come or go are one step."""

    def __init__(self, load: Callable[[bytes], list[Entry]], wanted: list[bytes] | None) -> None:
        self.load = load
        self.wanted = wanted
        self.steps: list[delta.Step] = []
        self.dirs: dict[bytes, Entry | None] = {}
        """Directories that need care, each with its entry in the target when it becomes like that."""

    def chosen(self, path: bytes) -> bool:
        """Answer whether a path is to become like the target."""
        return self.wanted is None or any(_covers(want, path) for want in self.wanted)

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
            if a != b and self._one(walk.relative(path, name), a, b):
                direct = True
        if direct or (count == len(self.steps) and path in self.dirs):
            self.dirs[path] = here

    def _one(self, path: bytes, a: Entry | None, b: Entry | None) -> bool:
        """Compare one entry; answers whether the directory that holds it changes."""
        chosen = self.chosen(path)
        if not chosen and not self.leads(path):
            return False
        a_dir = a[4] if a is not None and a[1] == walk.DIR else None
        b_dir = b[4] if b is not None and b[1] == walk.DIR else None
        if a_dir is not None and b_dir is not None:
            assert a is not None and b is not None
            if a_dir != b_dir:
                self.compare(path, a_dir, b_dir, b if chosen else None)
            if chosen and (a[2], a[5]) != (b[2], b[5]):
                self.dirs[path] = b
            return False
        if chosen:
            how = delta.DROP if b is None else delta.COPY
            self.steps.append(delta.Step(path, how, a, b))
            return True
        if b_dir is not None:  # a chosen path lies in a directory that the worktree does not have
            self.steps.append(delta.Step(path, delta.MAKE, a, b))
            self.dirs[path] = b
            self.compare(path, None, b_dir, b)
            return True
        if a_dir is not None:
            self.compare(path, a_dir, None, None)
        return False


def plan(store: Store, name: str, target: Target, known: trees.Trees) -> Plan:
    """Find out what has to change, and check in the payload all that will be copied. Changes nothing.

    Errors: E_PAYLOAD_HASH_MISMATCH when the snapshot's files are not what was published; E_NOT_FOUND for paths.
    """
    with observe.step("look at the worktree"):
        found = look.walk_now(store, name)
    known.add(found)
    wanted = target.paths
    if wanted is not None:
        wanted = match_paths(known.load, [target.root[2], found.digest], wanted)
    planner = _Planner(known.load, wanted)
    root_entry: Entry = (b"", walk.DIR, target.root[0], 0, target.root[2], target.root[1])
    whole = planner.chosen(b"")
    if found.digest != target.root[2]:
        planner.compare(b"", found.digest, target.root[2], root_entry if whole else None)
    if whole and (found.root[0], found.root[1]) != (target.root[0], target.root[1]):
        planner.dirs[b""] = root_entry
    made = delta.Delta()
    made.steps = sorted(planner.steps, key=lambda step: step.path)
    directory = store.layout.worktree_dir(name)
    try:
        with place.Place(directory) as here, place.Place(store.layout.payload(target.snapshot_id)) as payload:
            with observe.step("check the snapshot"):
                _check_sources(made, payload, target.snapshot_id)
            _add_directories(made, planner.dirs, here, payload, target)
            for step in made.steps:
                st = here.lstat(step.path)
                step.old_ino = st.st_ino if st is not None else 0
    except OSError as error:
        raise from_oserror(error, f"planning the restore of '{name}'") from error
    return Plan(target, made, found.root_hash)


def _check_sources(made: delta.Delta, payload: place.Place, snapshot_id: str) -> None:
    """Read everything that will be copied, and hold it against the tree. Errors: E_PAYLOAD_HASH_MISMATCH."""
    for step in made.steps:
        if step.how != delta.COPY:
            continue
        try:
            have = place.entry_at(*payload.parent(step.path))
        except OSError as error:
            if not walk.is_vanished(error):
                raise
            have = None
        if not place.same_entry(have, step.new):
            raise _mismatch(snapshot_id, step.path)
        observe.advance("check", 1, len(made.steps))


def _mismatch(snapshot_id: str, path: bytes) -> PayloadHashMismatch:
    shown = path.decode("utf-8", "backslashreplace") or "."
    return PayloadHashMismatch(
        f"'{shown}' in snapshot '{snapshot_id}' is not what was published; nothing was restored",
        hint=f"'jvs verify {snapshot_id}' names all that differs; '--force-tampered REASON' restores it as it is",
        snapshot_id=snapshot_id,
        path=shown,
    )


def _add_directories(
    made: delta.Delta, dirs: dict[bytes, Entry | None], here: place.Place, payload: place.Place, target: Target
) -> None:
    """Write down the metadata of directories before and, where they become like the target's, after."""
    for path, entry in sorted(dirs.items()):
        after = place.meta_at(payload, path) if entry is not None else None
        if entry is not None and after is None:
            raise _mismatch(target.snapshot_id, path)
        if entry is not None and after is not None:
            attributes = {os.fsdecode(name): value for name, value in after[5].items()}
            if after[0] != entry[2] or fidelity.covered(attributes) != (entry[5] or None):
                raise _mismatch(target.snapshot_id, path)
        before = place.meta_at(here, path) or after
        if before is not None:
            made.dirs.append((path, before, after))


class Done:
    """What a restore or an undo did."""

    def __init__(self, operation_id: str | None, planned: Plan | None, config: dict[str, Any]) -> None:
        self.operation_id = operation_id
        self.plan = planned
        self.config = config
        self.displaced_bytes = 0
        self.discarded = False
        self.degraded: list[dict[str, str]] = []

    @property
    def detached(self) -> bool:
        """Whether the head is not the latest snapshot."""
        return self.config["head_snapshot_id"] != self.config["latest_snapshot_id"]


def restore(
    store: Store,
    name: str,
    snapshot_id: str,
    *,
    paths: list[bytes] | None = None,
    forced: str | None = None,
    discard: bool = False,
) -> Done:
    """Restore a worktree whose lock the caller holds, or only some of its paths.

    `forced` is the reason for restoring a snapshot that fails its checks. `discard` keeps nothing of what is
    displaced. With `paths` the head stays.
    Durable: yes. Errors: those of `find_target` and `plan`; E_NO_SPACE, E_IO, after which all is as before, or the
    next command carries on.
    """
    store.require_worktree(name)
    known = trees.Trees(store)
    target = find_target(store, snapshot_id, known, paths=paths, forced=forced is not None)
    planned = plan(store, name, target, known)
    before = worktree.load(store.layout, name)
    heads = _heads_after(before, snapshot_id, moves=paths is None and not target.forced)
    details = {"paths": None if paths is None else [canon.path_json(path) for path in paths], **planned.delta.counts()}
    event = audit.event(
        "restore",
        store.actor,
        target=snapshot_id,
        worktree=name,
        reason=forced,
        details={**details, "forced": target.forced, "discard": discard, "before": _heads(before), "after": heads},
    )
    if not planned.delta.steps and not planned.delta.dirs and heads == _heads(before):
        store.log().append(event)
        return Done(None, planned, before)
    seq, _ = store.log().tail()
    record = journal.new(
        "restore",
        name,
        clock.new_operation_id(),
        seq=seq,
        before=_heads(before),
        after=heads,
        target=snapshot_id,
        details={"tree_before": planned.before, "discard": discard, **details},
    )
    done = carry_out(store, record, planned.delta, event, operation="restore")
    done.plan = planned
    return done


def _heads(config: dict[str, Any]) -> dict[str, Any]:
    return {"head": config["head_snapshot_id"], "latest": config["latest_snapshot_id"]}


def _heads_after(config: dict[str, Any], snapshot_id: str, *, moves: bool) -> dict[str, Any]:
    """Return head and latest after a restore; a worktree without a line of its own goes on from the target."""
    if not moves:
        return _heads(config)
    return {"head": snapshot_id, "latest": config["latest_snapshot_id"] or snapshot_id}


def carry_out(
    store: Store, record: dict[str, Any], steps: delta.Delta, event: dict[str, Any], *, operation: str
) -> Done:
    """Do what a plan says, from the intent to its removal. Durable: yes; errors: as `restore`."""
    layout, operation_id = store.layout, record["operation_id"]
    event["details"]["operation_id"] = operation_id
    record["bytes"] = sum(step.old[3] for step in steps.steps if step.old is not None)
    pending = intent.new(
        operation,
        record["worktree"],
        operation_id=operation_id,
        owner=intent.owner(locked=True),
        audit=event,
        audit_seq=record["seq"],
        phase="apply",
        snapshot_id=record["target"],
        undoes=record["of"],
    )
    intent.write(layout, pending)
    try:
        journal.begin(layout, record, steps)
    except BaseException as error:
        _give_up(store, operation_id)
        if isinstance(error, OSError):
            raise from_oserror(error, "writing the journal") from error
        raise
    return _apply(store, pending, record, steps, resume=False)


def _apply(store: Store, pending: dict[str, Any], record: dict[str, Any], steps: delta.Delta, *, resume: bool) -> Done:
    layout, operation_id = store.layout, record["operation_id"]
    source = layout.payload(record["target"]) if record["of"] is None else journal.files(layout, record["of"])
    applier = apply.Applier(
        steps,
        operation_id,
        layout.worktree_dir(record["worktree"]),
        layout.undo_dir(operation_id),
        source if os.path.isdir(source) else None,
        each=store.settings.get("durability") == "each",
    )
    with applier:
        try:
            applier.resume() if resume else applier.run()
        except BaseException as error:
            if applier.rolled_back:
                _give_up(store, operation_id, record if applier.kept_aside else None)
            if isinstance(error, OSError):
                what = "and all was put back" if applier.rolled_back else "and the next command carries on"
                raise from_oserror(error, f"restoring was stopped {what}") from error
            raise
    done = Done(operation_id, None, _finish(store, pending, record))
    done.degraded = applier.losses.as_json()
    done.displaced_bytes = record["bytes"]
    done.discarded = bool(record["details"].get("discard"))
    return done


def _give_up(store: Store, operation_id: str, kept: dict[str, Any] | None = None) -> None:
    """Forget an operation that changed nothing, or whose changes were taken back. The intent goes last."""
    if kept is None:
        journal.discard(store.layout, operation_id)
    else:  # somebody wrote to a file while it was in place: that version stays until it is pruned
        kept["undone_by"] = operation_id
        journal.save(store.layout, kept)
    intent.clear(store.layout, operation_id)


def _finish(store: Store, pending: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """Move the head, append the audit record, retire what was taken back, remove the intent. Can be repeated."""
    layout, name = store.layout, record["worktree"]
    if record["after"] != record["before"]:
        try:
            worktree.move_head(
                layout,
                name,
                record["after"]["head"],
                expected=record["before"]["head"],
                latest=record["after"]["latest"],
                event_id=pending["audit"]["event_id"],
                wait=store.settings.wait,
            )
        except StaleHead:
            # Somebody moved it without the lock, by plumbing: the files are restored, and the head is theirs.
            observe.remark(f"the head of '{name}' was moved meanwhile, and stays where it is")
    store.log().append(pending["audit"], after_seq=pending["audit_seq"])
    if record["of"] is not None:
        try:
            journal.consume(layout, journal.load(layout, record["of"]), record["operation_id"])
        except FileNotFoundError:  # a crash came while it was being cleared away: all it kept is in place
            journal.discard(layout, record["of"])
    if record["details"].get("discard"):
        journal.discard(layout, record["operation_id"])
    intent.clear(layout, record["operation_id"])
    return worktree.load(layout, name)


def settle(store: Store, pending: dict[str, Any]) -> str:
    """Carry on with a restore or undo whose owner died; returns what was done, as a sentence."""
    layout, operation_id = store.layout, pending["operation_id"]
    word, name = pending["operation"], pending["worktree"]
    try:
        record = journal.load(layout, operation_id)
    except FileNotFoundError:
        _give_up(store, operation_id)  # it had not begun, or was done and about to discard what it displaced
        return f"cleared away a {word} of '{name}' that had not begun or was done"
    steps = journal.load_steps(layout, record)
    _apply(store, pending, record, steps, resume=True)
    return f"completed the {word} of '{name}'"


def apply_directory(source: str, target: str, keep: str) -> tuple[delta.Delta, int, list[dict[str, str]]]:
    """Make one directory equal to another, in place, without any repository; both are read whole.

    `keep` is a new directory on the target's filesystem; what is displaced goes below its `files`. A crash leaves
    names that begin with `.jvs-tmp-` and whatever `keep` holds; running it again completes it.
    Returns the delta, the displaced bytes, and what could not be kept. Durable: yes.
    Errors: E_IO, E_NO_SPACE; all is put back then.
    """
    known = {}
    jobs = os.cpu_count() or 1
    here, wanted = trees.hash_payload(target, jobs=jobs), trees.hash_payload(source, jobs=jobs)
    known.update(here.nodes)
    known.update(wanted.nodes)
    goal = Target("", wanted.root, None)
    planner = _Planner(lambda digest: decode_node(known[digest]), None)
    root_entry: Entry = (b"", walk.DIR, wanted.root[0], 0, wanted.digest, wanted.root[1])
    if here.digest != wanted.digest:
        planner.compare(b"", here.digest, wanted.digest, root_entry)
    if here.root[:2] != wanted.root[:2]:
        planner.dirs[b""] = root_entry
    made = delta.Delta()
    made.steps = sorted(planner.steps, key=lambda step: step.path)
    try:
        os.makedirs(os.path.join(keep, "files"), mode=0o700)
        with place.Place(target) as have, place.Place(source) as payload:
            _add_directories(made, planner.dirs, have, payload, goal)
            for step in made.steps:
                st = have.lstat(step.path)
                step.old_ino = st.st_ino if st is not None else 0
        with apply.Applier(made, clock.new_operation_id(), target, keep, source) as applier:
            applier.run()
            return made, applier.displaced_bytes, applier.losses.as_json()
    except OSError as error:
        raise from_oserror(error, f"making '{target}' equal to '{source}'") from error
