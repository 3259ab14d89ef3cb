"""What the oracle finds, and what its caller knows that the disk alone does not show."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from lib.treehash import Tree


class Violation(NamedTuple):
    """One broken promise: which invariant, where, and what was found."""

    invariant: str
    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.invariant} {self.path}: {self.what}"


@dataclass
class Expect:
    """What the caller knows that the disk alone does not say.

    `snapshots`: root hashes of acknowledged snapshots, by id. `gone`: those that were deleted on purpose.
    `worktrees`: allowed trees of each worktree (a mixture of them passes only while an intent is pending).
    `offline`: worktrees elsewhere that may be away.
    `contents`: kinds and digests of everything the user had written (invariant 5); `outside`: what was next to the
    repository. `linear`: every visible snapshot of a worktree must be an ancestor of its latest.
    """

    snapshots: dict[str, str] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    worktrees: dict[str, list[Tree]] = field(default_factory=dict)
    contents: set[tuple[int, bytes]] = field(default_factory=set)
    may_detach: set[str] = field(default_factory=set)
    offline: set[str] = field(default_factory=set)
    outside: dict[str, str] | None = None
    linear: bool = False
