"""Hooks: programs of the user's own that run before and after snapshots and restores.

`NAME` is looked for as `jvs/hooks/NAME` in the user's configuration directory, then as `.jvs/hooks/NAME`. Both must
be regular files that can be executed; the repository's must also belong to us, and neither it nor its directory may be
writable by others: a repository that somebody sends must not run anything.
Source: jvs-config(5), Hooks.
"""

from __future__ import annotations

import os
import stat

from jvs import progress
from jvs.errors import Dirty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from jvs.store.store import Store

NAMES = ("pre-snapshot", "post-snapshot", "pre-restore", "post-restore")
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def find(store: Store, name: str) -> list[str]:
    """Return the hooks of that name that may run: the user's, then the repository's."""
    found = []
    if store.settings.user_file is not None:
        path = os.path.join(os.path.dirname(store.settings.user_file), "hooks", name)
        if _can_run(path):
            found.append(path)
    path = os.path.join(store.layout.jvs, "hooks", name)
    if _can_run(path):
        if _is_ours(path) and _is_ours(os.path.dirname(path)):
            found.append(path)
        else:
            progress.remark(f"hook '{path}' was not run: it, or its directory, can be changed by others")
    return found


def _can_run(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode) and os.access(path, os.X_OK)
    except OSError:
        return False


def _is_ours(path: str) -> bool:
    info = os.lstat(path)
    return info.st_uid == os.geteuid() and not info.st_mode & _WRITABLE_BY_OTHERS and not stat.S_ISLNK(info.st_mode)


def run(store: Store, name: str, worktree: str, environment: Mapping[str, str], **facts: str | None) -> None:
    """Run the hooks of one name in the worktree, before any lock is taken or after all are let go.

    They get `JVS_HOOK`, `JVS_REPO`, `JVS_WORKTREE` and the facts (`JVS_SNAPSHOT_ID`, `JVS_NOTE`, ...) in their
    environment; what they print goes to stderr. A `pre-` hook that fails stops the command; a `post-` hook that
    fails is remarked on, for what it comes after is done.
    Errors: E_DIRTY when a `pre-` hook refuses.
    """
    hooks = find(store, name)
    if not hooks:
        return
    import subprocess

    known = {"JVS_HOOK": name, "JVS_REPO": store.root, "JVS_WORKTREE": worktree}
    known.update({f"JVS_{key.upper()}": value for key, value in facts.items() if value is not None})
    for path in hooks:
        try:
            code = subprocess.run(
                [path],
                check=False,
                cwd=store.layout.worktree_dir(worktree),
                env={**environment, **known},
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a hook prints is not the command's result
            ).returncode
            problem = f"ended with exit code {code}" if code else ""
        except OSError as error:
            problem = f"cannot be run ({error.strerror})"
        if problem and name.startswith("pre-"):
            raise Dirty(
                f"hook '{path}' refused: it {problem}",
                hint="do what it asks for, or take the hook away",
                hook=name,
            )
        if problem:
            progress.remark(f"hook '{path}' failed: it {problem}; what it came after is done")
