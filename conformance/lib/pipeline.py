"""The pipeline of a snapshot: its steps as separate programs, in their order."""

from __future__ import annotations

PIPELINE = (
    "jvs-check-worktree --record main",
    "jvs-write-intent --record",
    "jvs-clone-tree --record",
    "jvs-hash-tree --record",
    "jvs-sync-tree --record",
    "jvs-write-descriptor --record --note N",
    "jvs-write-ready --record",
    "jvs-rename-ready --record",
    "jvs-update-head --record",
    "jvs-chain-append --record",
    "jvs-clear-intent --record",
)
PUBLISHED = 8  # after this many commands the descriptor has its final name, and recovery goes forward
