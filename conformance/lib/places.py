"""Where a repository and its worktrees are: main next to `.jvs`, in place the directory that holds it, or elsewhere."""

from __future__ import annotations

import glob
import os
import stat
from typing import Any

from lib.canonical import Malformed, json_object


def control_of(root: str) -> str:
    """Return the control directory of a repository: `.jvs` in it, or itself when it is kept apart from the files."""
    inside = os.path.join(root, ".jvs")
    apart = os.path.lexists(os.path.join(root, "format_version")) and not os.path.lexists(inside)
    return root if apart else inside


def is_repository(root: str) -> bool:
    """Answer whether there is a control directory."""
    return os.path.isdir(root) and os.path.isdir(control_of(root))


def is_apart(root: str) -> bool:
    """Answer whether a repository is a control directory alone, whose main worktree is elsewhere."""
    return control_of(root) == root


def config_of(root: str, name: str) -> dict[str, Any] | None:
    """Return the configuration of a worktree as it is; None when it cannot be read."""
    return _read(os.path.join(control_of(root), f"worktrees/{name}/config.json"))


def _read(path: str) -> dict[str, Any] | None:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise OSError(22, "not a regular file")
            return json_object(file.read())
    except (OSError, Malformed):
        return None


def parked_places(root: str) -> list[str]:
    """Return where the worktrees elsewhere are whose configurations lie in `undo/OP/config` for the time being."""
    found = []
    for path in glob.glob(f"{glob.escape(control_of(root))}/undo/*/config/config.json"):
        config = _read(path) or {}
        if str(config.get("path") or "").startswith("../"):
            found.append(_place(root, str(config.get("name")), config["path"]))
    return found


def is_in_place(root: str) -> bool:
    """Answer whether the configuration of main says that its files are next to `.jvs`."""
    if is_apart(root):
        return False
    config = config_of(root, "main")
    if config is None:
        return os.path.isdir(os.path.join(root, ".jvs/forks"))
    path = str(config.get("path"))  # that of a workspace that is about to be detached leads to itself
    return path == "." or (path.startswith("../") and os.path.normpath(os.path.join(root, path)) == root)


def forks_of(root: str) -> str:
    """Return where worktrees other than main are."""
    inside = is_in_place(root) or is_apart(root)
    return os.path.join(control_of(root), "forks") if inside else os.path.join(root, "worktrees")


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
