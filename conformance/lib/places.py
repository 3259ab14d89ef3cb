"""Where the worktrees of a repository are: main next to `.jvs`, or in place the directory that holds it."""

from __future__ import annotations

import os
import stat

from lib.canonical import Malformed, json_object


def is_in_place(root: str) -> bool:
    """Answer whether the configuration of main says that its files are next to `.jvs`."""
    path = os.path.join(root, ".jvs/worktrees/main/config.json")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(22, "not a regular file")
            return bool(json_object(file.read()).get("path") == ".")
    except (OSError, Malformed):
        return os.path.isdir(os.path.join(root, ".jvs/forks"))


def forks_of(root: str) -> str:
    """Return where worktrees other than main are."""
    return os.path.join(root, ".jvs/forks") if is_in_place(root) else os.path.join(root, "worktrees")


def worktree_dir(root: str, name: str) -> str:
    """Return where a worktree's files are."""
    if name != "main":
        return os.path.join(forks_of(root), name)
    return root if is_in_place(root) else os.path.join(root, "main")
