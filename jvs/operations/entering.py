"""Showing a worktree, or a snapshot, at another worktree's own path: what is mounted where, for one command.

Source: jvs-enter(1).
"""

from __future__ import annotations

import contextlib
import os

from jvs.errors import Ambiguous, UsageError
from jvs.fs import namespace
from jvs.operations import context, merging
from jvs.store.layout import CONTROL, MAIN
from jvs.store.settings import INSIDE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jvs.fs.namespace import Mount
    from jvs.store.layout import Layout
    from jvs.store.store import Store


class Entered:
    """What a command sees. Shape: `worktree` or `snapshot_id` is what is shown, `at` the path where it is seen.

    `mounts` show it, `directory` is where the command begins.
    """

    def __init__(self, worktree: str | None, snapshot_id: str | None, at: str, mounts: list[Mount]) -> None:
        self.worktree = worktree
        self.snapshot_id = snapshot_id
        self.at = at
        self.mounts = mounts
        self.directory = at

    def environment(self, store: Store, environment: Mapping[str, str]) -> dict[str, str]:
        """Return the environment of the command: jvs in it finds no repository."""
        return {**environment, INSIDE: store.root, "PWD": self.directory}


@contextlib.contextmanager
def entered(store: Store, word: str | None, at: str | None = None, *, current: str) -> Iterator[Entered]:
    """Give what shows a worktree, writable, or a snapshot, read-only, at the path of the worktree `at` (main).

    Without a word it is the worktree around the directory `current`. What is shown is not collected meanwhile.
    Errors: E_USAGE, E_NOT_FOUND, E_AMBIGUOUS, E_IO where the system lets nobody see another directory there.
    """
    at = context.worktree(store, at or MAIN)
    name, snapshot_id = _meant(store, word)
    place = str(store.layout.worktree_dir(at))
    if name == at:
        raise UsageError(f"'{at}' is at its own path already", hint="name a fork or a snapshot: 'jvs enter fork-1'")
    if name is not None:
        context.worktree(store, name)
        source = str(store.layout.worktree_dir(name))
    else:
        assert snapshot_id is not None
        source = context.whole_payload(store, snapshot_id, hint="name another one, or make a fork of it")
    made = Entered(name, snapshot_id, place, shown(store.layout, source, place, writable=name is not None))
    made.directory = directory(source, place, current)
    refused = namespace.refusal(made.mounts)
    if refused is not None:
        raise namespace.refused(refused)
    if name is None:
        with store.reading():
            yield made
    else:
        with _excluded(store, at, name, made):
            yield made


@contextlib.contextmanager
def _excluded(store: Store, at: str, name: str, made: Entered) -> Iterator[None]:
    """Show throwaway copies of the excluded directories that the fork has none of, where the system allows that.

    They need places in the fork: empty directories, which are excluded there as well, and are removed at the end.
    """
    from jvs import clock, progress
    from jvs.operations.excluded_copies import ExcludedCopies
    from jvs.store import tries

    if not store.exclusion(at).has_rules:
        yield
        return
    operation_id, fork = clock.new_operation_id(), store.layout.worktree_dir(name)
    copies = ExcludedCopies(store, at, tries.make_elsewhere(operation_id), fork)
    try:
        others = copies.prepare(fork)
        if namespace.refusal([*made.mounts, *others]) is None:
            made.mounts += others
        yield
        for path in copies.remove(fork, only_empty=True):
            shown = path.decode("utf-8", "backslashreplace")
            progress.remark(f"'{shown}' is excluded and not in the fork: what changed in it is not kept")
    finally:
        copies.remove(fork, only_empty=True)
        tries.remove_elsewhere(store, operation_id)


def _meant(store: Store, word: str | None) -> tuple[str | None, str | None]:
    """Return the worktree or the snapshot that a word names. Errors: E_USAGE, E_AMBIGUOUS, E_NOT_FOUND."""
    from jvs.store import refs, worktree

    if word is None:
        if store.worktree_here in (None, MAIN):
            raise UsageError("name the fork or the snapshot to see", hint="'jvs worktree list' shows the worktrees")
        return store.worktree_here, None
    if word not in worktree.names(store.layout):
        return None, refs.resolve(store, word, store.worktree_name())
    also = merging.named(store, word)
    if also is not None:
        raise Ambiguous(
            f"'{word}' is a worktree and names a snapshot",
            hint=f"name the snapshot by its id: {also}",
            candidates=[also],
        )
    return word, None


def shown(layout: Layout, source: str, place: str, *, writable: bool) -> list[Mount]:
    """Return the mounts that show a directory at the path of a worktree, with the control directory out of sight."""
    return [*covers(layout, place), namespace.Bind(source, place, writable=writable), *_pointer(source, place)]


def covers(layout: Layout, place: str) -> list[Mount]:
    """Return what covers the control directory, unless what is shown at `place` does; comes before that."""
    control = str(layout.jvs)
    if control.startswith(place + "/"):
        return []
    inner = place.removeprefix(control + "/") if place.startswith(control + "/") else None
    return [namespace.Cover(control, inner)]


def _pointer(source: str, place: str) -> list[Mount]:
    """Return what covers the file of a worktree that leads to its repository."""
    pointer = os.path.join(place, CONTROL)
    return [namespace.Bind(os.devnull, pointer)] if os.path.isfile(os.path.join(source, CONTROL)) else []


def directory(source: str, place: str, current: str) -> str:
    """Return where a command begins: the same place below what is shown as the current directory has, or its top."""
    for above in (source, place):
        if current == above or current.startswith(above + "/"):
            below = os.path.relpath(current, above)
            if os.path.isdir(os.path.join(source, below)):
                return os.path.normpath(os.path.join(place, below))
    return place
