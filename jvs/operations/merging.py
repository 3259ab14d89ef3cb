"""Bringing the work of one worktree into another: finding where they meet, merging the files, taking the snapshot.

Source: jvs-merge(1), jvs-protocol(7), Merge.
"""

from __future__ import annotations

from jvs import names
from jvs.errors import Ambiguous, NotFound, UsageError
from jvs.operations import context
from jvs.store import changing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from jvs.restore.merging import Outcome
    from jvs.store.store import Store
    from jvs.tree.merge import Merger

WORDS = ("ours", "theirs", "both")


def merge(
    store: Store,
    source: str,
    into: str | None = None,
    *,
    base: str | None = None,
    paths: list[bytes] | None = None,
    now: bool = False,
    choices: Mapping[str, Iterable[str]] | None = None,
    note: str | None = None,
    tags: Iterable[str] = (),
    environment: Mapping[str, str],
) -> Outcome:
    """Merge a worktree's last snapshot (`now`: its files), or a snapshot, into a worktree, and take a snapshot.

    `choices` decides conflicts: `ours`, `theirs` or `both`, each with patterns (an empty one: all). With `paths` only
    these are merged, and the snapshot names no second parent, for the rest of the other side is yet to come.
    Durable: yes. With conflicts nothing is changed: see `Outcome.complaint`. Errors: E_NOT_FOUND, E_AMBIGUOUS for a
    word that is a worktree and a snapshot, or several bases; E_LINEAGE_BROKEN for a base that is gone; those of
    restoring and publishing.
    """
    from jvs.publish import run as publishing
    from jvs.restore import merging

    name, listed = context.worktree(store, into), names.check_listed(tags, "tags")
    choose = chooser(choices or {})
    theirs, label = _source(store, source, name, now=now, environment=environment)
    text = names.check_note(f"merge {label}" if note is None else note)
    with context.hooked(store, "snapshot", name, environment, note=text) as facts, changing.worktree(store, name):
        outcome = _plan(store, name, label, theirs, base, choose, paths)
        if outcome.plan is None:
            _look_at(store, source, theirs)
        if outcome.plan is None or outcome.plan.conflicts:
            return outcome
        whole = paths is None
        if outcome.plan.actions:
            outcome.done = merging.carry_out(store, name, outcome.plan, records_parent=whole)
        elif not whole:
            return outcome
        merged = [theirs] if whole else []
        made = publishing.publish(store, name, note=text, tags=listed, merged=merged)
        if outcome.done is not None and outcome.done.operation_id is not None:
            merging.note_snapshot(store, outcome.done.operation_id, made["snapshot_id"])
        outcome.snapshot = made
        facts["snapshot_id"] = made["snapshot_id"]
    if outcome.done is not None:
        context.thin(store, name, outcome.done.operation_id)
    context.prune(store, name)
    return outcome


def plan_merge(
    store: Store,
    source: str,
    into: str | None = None,
    *,
    base: str | None = None,
    paths: list[bytes] | None = None,
    choices: Mapping[str, Iterable[str]] | None = None,
) -> Outcome:
    """Return what a merge would do. Writes nothing, and runs no hooks. Errors: as `merge`."""
    name = context.worktree(store, into)
    with store.reading():
        theirs, label = _source(store, source, name, now=False, environment={})
        return _plan(store, name, label, theirs, base, chooser(choices or {}), paths)


def _plan(
    store: Store,
    name: str,
    label: str,
    theirs: str,
    base: str | None,
    choose: Callable[[bytes], str | None],
    paths: list[bytes] | None,
) -> Outcome:
    from jvs.restore import merging
    from jvs.store import refs

    ours, _ = store.head_of(name)
    if ours is None:
        raise refs.no_snapshot(name)
    base_id = refs.resolve(store, base, name) if base is not None else _base(store, ours, theirs)
    outcome = merging.Outcome(name, label, theirs, base_id)
    if base_id != theirs:
        outcome.plan = merging.make(store, name, theirs, base_id, choose=choose, paths=paths)
    return outcome


def _base(store: Store, ours: str, theirs: str) -> str:
    """Return where two lines meet. Errors: E_NOT_FOUND, E_AMBIGUOUS, E_LINEAGE_BROKEN."""
    found = merge_bases(store, ours, theirs)
    if not found:
        raise NotFound(
            f"'{theirs}' and '{ours}' have no snapshot in common",
            hint="name the snapshot that both sides began with: '--base SNAPSHOT'",
        )
    if len(found) > 1:
        raise Ambiguous(
            f"the two lines meet at {len(found)} snapshots: they were merged into each other",
            hint=f"name one of them: '--base {found[-1]}' or {', '.join(found[:-1])}",
            candidates=found,
        )
    return found[0]


def merge_bases(store: Store, a: str, b: str) -> list[str]:
    """Return the best common ancestors of two snapshots, by id. Errors: E_LINEAGE_BROKEN, E_DESCRIPTOR_CORRUPT."""
    from jvs.store import ancestry

    return ancestry.Ancestry(store.layout).merge_bases(a, b)


def merge_trees(store: Store, base: str, ours: str, theirs: str) -> Merger:
    """Merge the trees of three snapshots. Writes nothing. Errors: E_PAYLOAD_HASH_MISMATCH, E_IO, E_NOT_FOUND."""
    from jvs.restore import merging
    from jvs.store import lineage, node_store
    from jvs.tree import merge as tree_merge

    known = node_store.Trees(store)
    with store.reading():
        roots = [merging.root_of(store, known, lineage.load_visible(store, i)) for i in (base, ours, theirs)]
        return tree_merge.Merger(known.load).run(*roots)


def _source(store: Store, source: str, name: str, *, now: bool, environment: Mapping[str, str]) -> tuple[str, str]:
    """Return the snapshot that is merged, and what it is called. Errors: E_AMBIGUOUS, E_NOT_FOUND, E_USAGE."""
    from jvs.operations import snapshots
    from jvs.store import refs, worktree

    is_worktree = source in worktree.names(store.layout)
    snapshot_id = named(store, source) if is_worktree else refs.resolve(store, source, name)
    if is_worktree and snapshot_id is not None:
        raise Ambiguous(
            f"'{source}' is a worktree and names a snapshot",
            hint=f"name the snapshot by its id, or the last one of the worktree: {snapshot_id}",
            candidates=[snapshot_id],
        )
    if not is_worktree:
        if now:
            raise UsageError(f"--now takes the files of a worktree, and '{source}' is a snapshot", hint="leave it out")
        assert snapshot_id is not None
        return snapshot_id, source
    if source == name:
        raise UsageError(f"'{source}' cannot be merged into itself", hint="name another worktree, or '--into NAME'")
    if now:
        made, _ = snapshots.snapshot(
            store, source, note=f"before merging into {name}", if_changed=True, environment=environment
        )
        return made["snapshot_id"], source
    latest = store.head_of(source)[1]
    if latest is None:
        raise refs.no_snapshot(source)
    return latest, source


def _look_at(store: Store, source: str, latest: str) -> None:
    """Say what may be missed when there is nothing to merge: files of the other worktree that no snapshot holds."""
    from jvs import progress
    from jvs.store import worktree, worktree_scan

    if source in worktree.names(store.layout) and worktree_scan.unchanged_since(store, source) != latest:
        progress.remark(f"what changed in '{source}' since its last snapshot is not merged: '--now' takes one first")


def named(store: Store, word: str) -> str | None:
    """Return the snapshot that a word names by its id or a tag, or None; notes are too often called like a worktree."""
    from jvs.store import annotation, lineage, refs

    overlay = annotation.Overlay(store.layout)
    records = lineage.all_records(store.layout, tolerant=True)
    for snapshot_id, record in records.items():
        if word in overlay.over(record)["tags"] or refs.has_prefix(snapshot_id, word):
            return snapshot_id
    return None


def chooser(choices: Mapping[str, Iterable[str]]) -> Callable[[bytes], str | None]:
    """Return what decides a conflict: the first pattern that fits its path; one for all comes last. Errors: E_USAGE."""
    import fnmatch
    import os

    rules: list[tuple[bytes, str]] = []
    for word, patterns in choices.items():
        if word not in WORDS:
            raise UsageError(f"'{word}' decides nothing", hint="one of: ours, theirs, both")
        rules += [(os.fsencode(pattern).strip(b"/"), word) for pattern in names.check_listed(patterns, word)]
    if len([word for pattern, word in rules if not pattern]) > 1:
        raise UsageError("more than one side is to win everywhere", hint="leave all but one of them out")
    rules.sort(key=lambda rule: not rule[0])

    def choose(path: bytes) -> str | None:
        for pattern, word in rules:
            if not pattern or path == pattern or path.startswith(pattern + b"/") or fnmatch.fnmatchcase(path, pattern):
                return word
        return None

    return choose
