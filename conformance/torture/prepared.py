"""An operation that is ready to be interrupted: the repository before it, and its state done and undone."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

from lib import odd_files, oracle
from lib.harness import Env, copy_repository, remove_repository, worktree_dir
from lib.scenarios import Scenario
from lib.treehash import Tree, hash_tree
from supervisor.standby import Standby


@dataclass
class Prepared:
    """The repository of a scenario as it is before the operation, and what may come of the operation.

    `events`: the calls of a run without interruption; `shape`: the same without ids; `warm`: a fork of the process on
    standby makes the same calls. `sibling`: what may be next to the repository. `endings`: the summaries of done and
    undone, after recovery.
    """

    scenario: Scenario
    base: str
    words: tuple[str, ...]
    events: list[str] = field(default_factory=list)
    shape: list[str] = field(default_factory=list)
    warm: bool = False
    sibling: set[str] = field(default_factory=set)
    known: set[bytes] = field(default_factory=set)
    recovered: dict[tuple[str, bool], list[str]] = field(default_factory=dict)
    snapshots: dict[str, str] = field(default_factory=dict)
    trees: dict[str, list[Tree]] = field(default_factory=dict)
    contents: set[tuple[int, bytes]] = field(default_factory=set)
    after_command: dict[str, Any] = field(default_factory=dict)
    endings: list[dict[str, Any]] = field(default_factory=list)

    def learn_state(self, root: str) -> None:
        """Note the snapshots, worktrees and contents of the repository before the operation."""
        state = oracle.state(root)
        self.snapshots = {i: s["payload_root_hash"] for i, s in state["snapshots"].items()}
        self.trees = {name: [hash_tree(worktree_dir(root, name), skip=b".jvs")] for name in state["worktrees"]}
        self.contents = {content for trees in self.trees.values() for content in trees[0].contents()}

    def learn_trees(self, root: str) -> None:
        """Add the worktrees as they are now to what is allowed."""
        for name, known in self.trees.items():
            if os.path.isdir(worktree_dir(root, name)):
                tree = hash_tree(worktree_dir(root, name), skip=b".jvs")
                if tree.root_hash not in {other.root_hash for other in known}:
                    known.append(tree)


class Place:
    """A copy of a scenario's base, removed at the end unless it is kept under another name."""

    def __init__(self, bin_dir: str, base: str, directory: str, *, keep: bool, standby: Standby | None) -> None:
        self.bin, self.base, self.directory, self.keep, self.standby = bin_dir, base, directory, keep, standby
        self.kept = ""

    def __enter__(self) -> Env:
        remove_repository(self.directory)  # what is left would be copied into, not replaced
        copy_repository(self.base, self.directory)
        return Env(self.bin, self.directory, standby=self.standby)

    def keep_as(self, directory: str) -> None:
        """Keep the copy under a name, if copies with violations are kept at all."""
        self.kept = directory

    def __exit__(self, *_: object) -> None:
        if self.kept and self.keep:
            remove_repository(self.kept)
            os.rename(self.directory, self.kept)
            self.directory = self.kept
            odd_files.release(self.kept)  # whoever looks at it can remove it
        else:
            remove_repository(self.directory)
