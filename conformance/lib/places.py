"""Where the worktrees of a repository are: main next to `.jvs`, in place the directory that holds it, or elsewhere."""

from __future__ import annotations

import os
import stat
from typing import Any

from lib.canonical import Malformed, json_object


def config_of(root: str, name: str) -> dict[str, Any] | None:
    """Return the configuration of a worktree as it is; None when it cannot be read."""
    path = os.path.join(root, f".jvs/worktrees/{name}/config.json")
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(22, "not a regular file")
            return json_object(file.read())
    except (OSError, Malformed):
        return None


def is_in_place(root: str) -> bool:
    """Answer whether the configuration of main says that its files are next to `.jvs`."""
    config = config_of(root, "main")
    return os.path.isdir(os.path.join(root, ".jvs/forks")) if config is None else config.get("path") == "."


def forks_of(root: str) -> str:
    """Return where worktrees other than main are."""
    return os.path.join(root, ".jvs/forks") if is_in_place(root) else os.path.join(root, "worktrees")


def worktree_dir(root: str, name: str) -> str:
    """Return where a worktree's files are; of one that is being moved, the place that has its pointer."""
    config = config_of(root, name) or {}
    was = config.get("was")
    places = [_place(root, name, config.get("path")), *([_place(root, name, was.get("path"))] if was else [])]
    return next((place for place in places if os.path.lexists(place)), places[0])


def _place(root: str, name: str, path: object) -> str:
    if isinstance(path, str) and path.startswith("../"):
        return os.path.normpath(os.path.join(root, path))
    if name != "main":
        return os.path.join(forks_of(root), name)
    return root if is_in_place(root) else os.path.join(root, "main")
