"""Whether several worktrees are clean: several processes look, each at a share of whole worktrees.

Of one worktree alone several processes look at a share of its directories each (`tree.parallel`); where there are many
worktrees of about the same size, one fork for all of them costs less than one for each.
Source: jvs-worktree-list(1).
"""

from __future__ import annotations

import contextlib
import functools

from jvs import progress
from jvs.errors import JvsError
from jvs.operations import looking
from jvs.store import descriptor
from jvs.tree import parallel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from jvs.store.store import Store

    State = tuple[bool, int]
    """Shape: whether a worktree is clean, and how many entries changed since its head."""

processes = 0
"""How many processes look, this one included; 0: one for each processor. The answer is the same."""


def states(store: Store, names: list[str]) -> dict[str, State]:
    """Return the state of each of some worktrees. Errors: as `looking.status`, for the first of them that has any."""
    found: dict[str, State] = {}
    first, *others = _shares(store, names)
    if others:
        store.close()  # a connection to the index must not be used by two processes
        helpers = [parallel.Helper(functools.partial(_look_away, store, share)) for share in others]
        try:
            found = _look(store, first)
            for helper in helpers:
                theirs, entries = helper.answer() or ({}, 0)
                found |= theirs
                progress.advance("scan", entries)
        finally:
            for helper in helpers:
                helper.end()
    return {name: found.get(name) or _state(store, name) for name in names}


def _state(store: Store, name: str) -> State:
    found = looking.status(store, name)
    return found.clean, len(found.diff.changes)


def _look(store: Store, names: Iterable[str]) -> dict[str, State]:
    """Return the states of those worktrees that can be looked at; what is wrong with the others is said later."""
    found = {}
    with parallel.alone():
        for name in names:
            with contextlib.suppress(JvsError, OSError):
                found[name] = _state(store, name)
    return found


class _Listener(progress.Observer):
    """Hears in another process what nobody can be told there."""

    def __init__(self) -> None:
        self.remarks = 0
        self.entries = 0

    def remark(self, text: str) -> None:
        self.remarks += 1

    def advance(self, phase: str, amount: int, total: int | None = None, unit: str = "files") -> None:
        self.entries += amount if phase == "scan" else 0


def _look_away(store: Store, names: list[str]) -> tuple[dict[str, State], int]:
    """Look in another process; a worktree of which there is something to remark is left to the first one."""
    listener = _Listener()
    found: dict[str, State] = {}
    progress.set_observer(listener)
    for name in names:
        before = listener.remarks
        state = _look(store, [name])
        if listener.remarks == before:
            found |= state
    return found, listener.entries


def _shares(store: Store, names: list[str]) -> list[list[str]]:
    """Return the worktrees in parts of about as many entries; one part where that does not pay, or cannot be."""
    sizes = {name: _size(store, name) for name in names}
    count = processes or parallel.most_processes(store.settings.jobs())
    total = sum(sizes.values())
    if count < 2 or parallel.has_threads() or total < parallel.LEAST_ENTRIES:
        return [names]
    if max(sizes.values()) * count > total:  # the processes look at a share of the largest one each, and then at others
        return [names]
    shares: list[list[str]] = [[] for _ in range(count)]
    filled = [0] * count
    for name in sorted(names, key=lambda name: -sizes[name]):
        at = filled.index(min(filled))
        shares[at].append(name)
        filled[at] += sizes[name]
    return shares


def _size(store: Store, name: str) -> int:
    """Return how many entries the head of a worktree has; 0 where there is no telling."""
    try:
        head, _ = store.head_of(name)
        counts = descriptor.load(store.layout, head)["payload"] if head is not None else None
    except JvsError:
        return 0
    return 0 if counts is None else counts["files"] + counts["dirs"]
