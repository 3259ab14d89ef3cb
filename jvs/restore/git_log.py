"""What a restore would take off a branch: commits that were made in the worktree's `.git` since a snapshot.

Only git's own log of HEAD is read, and no git is run: a repository may be somebody else's.
Source: git-reflog(1), `.git/logs/HEAD`: old id, new id, who, when, a tab, what was done.
"""

from __future__ import annotations

import os

from jvs.fs import paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from jvs.fs.rooted import Below
    from jvs.restore.delta import Delta

_LOG = (b".git", b"logs", b"HEAD")
_MAX_BYTES = 16 << 20


def commits_since(worktree: Below, payload: Below, steps: Delta) -> int:
    """Return how many commits the worktree's `.git` has that a restore is about to displace with it; 0 when unknown."""
    if not any(step.path == b".git" or step.path.startswith(b".git/") for step in steps.steps):
        return 0
    now, then = _read(worktree), _read(payload)
    if not now.startswith(then):  # another repository, or one whose log was cut
        return 0
    return sum(b"\tcommit" in line for line in now[len(then) :].splitlines())


def _read(directory: Below) -> bytes:
    try:
        return paths.read_file(paths.below(directory, os.path.join(*_LOG)), _MAX_BYTES)
    except OSError:
        return b""
