"""The repository that an interrupted operation finds: with history, a fork, and work that no snapshot holds."""

from __future__ import annotations

import os

from lib import odd_files
from lib.harness import Env, write


def base(env: Env) -> tuple[str, list[str]]:
    """A repository with three snapshots and a fork, then changes that no snapshot holds."""
    root = env.repository()
    odd_files.add(f"{root}/main")
    ids = env.history(root, 3)
    env.jvs("worktree", "fork", ids[1], "side", cwd=root)
    write(f"{root}/worktrees/side/mine", "only in side\n")
    odd_files.edit(f"{root}/worktrees/side")
    odd_files.fix(f"{root}/worktrees/side/dir/fixed")
    edit(root)
    odd_files.edit(f"{root}/main")
    return root, ids


def edit(root: str) -> None:
    """Change, add, remove and replace entries of every kind."""
    main = f"{root}/main"
    write(f"{main}/a.txt", "not in any snapshot\n")
    write(f"{main}/dir/new/file", "new\n")
    os.unlink(f"{main}/dir/deep/c.bin")
    os.chmod(f"{main}/dir/b.txt", 0o600)
    os.unlink(f"{main}/link")
    write(f"{main}/link", "a file now\n")
    os.rmdir(f"{main}/empty")
    write(f"{main}/empty", "a file in place of a directory\n")
    os.chmod(f"{main}/dir", 0o711)
