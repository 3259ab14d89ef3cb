"""Operations on worktrees outside of their repository, on control directories kept apart, and on copies of it all."""

from __future__ import annotations

import os

from lib import odd_files
from lib.before import base
from lib.harness import Env, write

Words = tuple[str, ...]


def fork_path(env: Env) -> Words:
    """A fork outside of the repository."""
    _, ids = base(env)
    return ("fork", ids[0], "forked", "--path", "../../forked")


def fork_copy(env: Env) -> Words:
    """A fork that is copied, because it may be on another filesystem."""
    _, ids = base(env)
    return ("fork", ids[0], "forked", "--copy", "--path", "../../forked")


def _side_elsewhere(env: Env) -> str:
    root, _ = base(env)
    env.jvs("worktree", "move", "side", "../side", cwd=root)
    return root


def move(env: Env) -> Words:
    """A worktree with work that no snapshot holds leaves the repository."""
    base(env)
    return ("worktree", "move", "side", "../../side")


def move_on(env: Env) -> Words:
    """One that is outside moves on."""
    _side_elsewhere(env)
    return ("worktree", "move", "side", "../../on")


def move_back(env: Env) -> Words:
    """One that is outside comes back."""
    _side_elsewhere(env)
    return ("worktree", "move", "side")


def attach(env: Env) -> Words:
    """One that was moved by hand is bound again."""
    _side_elsewhere(env)
    os.rename(f"{env.work}/side", f"{env.work}/by-hand")
    return ("worktree", "attach", "../../by-hand")


def remove_elsewhere(env: Env) -> Words:
    """One that is outside is removed, and kept for an undo."""
    _side_elsewhere(env)
    return ("worktree", "remove", "side")


def init_apart(env: Env) -> Words:
    """A directory with files becomes a workspace whose history is elsewhere."""
    write(f"{env.work}/files/dir/file", "mine\n")
    return ("init", "--here", "files", "--control", "repo")


def _apart(env: Env) -> list[str]:
    """A workspace whose history is elsewhere, with two snapshots and a fork, then changes that no snapshot holds."""
    files = f"{env.work}/files"
    write(f"{files}/a.txt", "alpha\n")
    write(f"{files}/dir/b.txt", "beta\n")
    odd_files.add(files)
    env.jvs("init", "--here", "files", "--control", "repo")
    ids = [env.snapshot(f"{env.work}/repo", "one")]
    write(f"{files}/a.txt", "changed\n")
    ids.append(env.snapshot(f"{env.work}/repo", "two"))
    env.jvs("worktree", "fork", ids[0], "side", cwd=files)
    write(f"{files}/a.txt", "not in any snapshot\n")
    os.unlink(f"{files}/dir/b.txt")
    odd_files.edit(files)
    return ids


def snapshot_apart(env: Env) -> Words:
    """A snapshot of a workspace whose history is elsewhere."""
    _apart(env)
    return ("snapshot", "N")


def restore_apart(env: Env) -> Words:
    """A restore of one."""
    return ("restore", _apart(env)[0])


def clone(env: Env) -> Words:
    """A repository with forks, notes and a collected snapshot is cloned."""
    root, _ = base(env)
    env.jvs("note", "LATEST", "said later", cwd=f"{root}/main")
    plan = env.jvs("gc", "plan", "--keep-last", "2", "--drop-tagged", "--json", cwd=root).json()
    env.jvs("gc", "run", "--plan-id", plan["plan_id"], cwd=root)
    os.rename(root, f"{env.work}/source")
    return ("clone", "source", "repo")


def clone_in_place(env: Env) -> Words:
    """One in place is cloned."""
    write(f"{env.work}/source/dir/file", "mine\n")
    env.jvs("init", "--here", "source")
    env.jvs("snapshot", "one", cwd=f"{env.work}/source")
    return ("clone", "source", "repo")


INSIDE = {
    "fork-path": fork_path,
    "fork-copy": fork_copy,
    "move": move,
    "move-on": move_on,
    "move-back": move_back,
    "remove-elsewhere": remove_elsewhere,
}
"""Begun in main, and watched wherever they write."""
APART = {"snapshot-apart": snapshot_apart, "restore-apart": restore_apart}
"""Begun in the workspace `files`."""
NEW = {"init-apart": init_apart, "clone": clone, "clone-in-place": clone_in_place}
"""They make the repository; begun again after a crash, they complete it, or say that it is there."""
