"""Operations of repositories in place, and with files that are excluded, ready to be interrupted."""

from __future__ import annotations

import os

from lib import odd_files
from lib.harness import Env, write

Words = tuple[str, ...]


def _in_place(env: Env) -> tuple[str, list[str]]:
    """A repository in place with two snapshots and a fork, then changes that no snapshot holds."""
    root = f"{env.work}/repo"
    write(f"{root}/a.txt", "alpha\n")
    write(f"{root}/dir/b.txt", "beta\n")
    odd_files.add(root)
    env.jvs("init", "--here", root)
    ids = [env.snapshot(root, "one")]
    write(f"{root}/a.txt", "changed\n")
    ids.append(env.snapshot(root, "two"))
    env.jvs("worktree", "fork", ids[0], "side", cwd=root)
    write(f"{root}/a.txt", "not in any snapshot\n")
    os.unlink(f"{root}/dir/b.txt")
    write(f"{root}/new/file", "new\n")
    odd_files.edit(root)
    return root, ids


def _excluding(env: Env) -> list[str]:
    """A repository in place in which rules exclude files at the top, and in a directory that a restore removes."""
    root, ids = _in_place(env)
    write(f"{root}/.jvsignore", "*.log\n/cache/\n")
    write(f"{root}/cache/big", "excluded\n")
    write(f"{root}/new/run.log", "excluded\n")
    return ids


def snapshot_excluding(env: Env) -> Words:
    """A snapshot that leaves files out."""
    _excluding(env)
    return ("snapshot", "N")


def restore_excluding(env: Env) -> Words:
    """A restore that leaves them alone."""
    return ("restore", _excluding(env)[0])


def init_here(env: Env) -> Words:
    """A directory with files becomes a repository."""
    write(f"{env.work}/repo/dir/file", "mine\n")
    return ("init", "--here", "repo")


def snapshot_in_place(env: Env) -> Words:
    """A snapshot of a directory that holds its own control directory."""
    _in_place(env)
    return ("snapshot", "N")


def restore_in_place(env: Env) -> Words:
    """A restore of one."""
    _, ids = _in_place(env)
    return ("restore", ids[0])


def fork_in_place(env: Env) -> Words:
    """A fork inside the control directory."""
    _in_place(env)
    return ("fork", "LATEST", "forked")


BUILDS = {
    "snapshot-in-place": snapshot_in_place,
    "restore-in-place": restore_in_place,
    "fork-in-place": fork_in_place,
    "snapshot-excluding": snapshot_excluding,
    "restore-excluding": restore_excluding,
}
