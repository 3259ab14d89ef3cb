"""What may be in the way: a lost index, links in place of directories, missing permissions."""

from __future__ import annotations

import os

from lib.harness import Env, Skip, copy_repository, write
from lib.reader import read_file


def check_47_the_index_can_always_go(env: Env) -> None:
    """Deleting, damaging or not using the index changes no answer and is never an error."""
    root = env.repository()
    env.history(root)
    write(f"{root}/main/later", "x")
    found = sorted(name for name in os.listdir(f"{root}/.jvs") if name.startswith("index.sqlite"))
    index = f"{root}/.jvs/{found[0] if found else 'index.sqlite'}"  # on JuiceFS that of the mount has a longer name
    wanted = env.jvs("status", "--json", cwd=f"{root}/main").out
    complete = read_file(index) if os.path.exists(index) else b""
    for what, data in (
        ("deleted", None),
        ("empty", b""),
        ("garbage", b"\xff" * 8192),
        ("cut", complete[: len(complete) // 2]),
    ):
        if os.path.lexists(index):
            os.unlink(index)
        if data is not None:
            write(index, data)
        env.equal(env.jvs("status", "--json", cwd=f"{root}/main").out, wanted, f"status with the index {what}")
        write(f"{root}/main/file-{what}", what)
        made = env.snapshot(root, what)
        env.equal(
            env.repo(root).visible()[made]["payload_root_hash"], env.tree(f"{root}/main"), f"hash with the index {what}"
        )
        env.healthy(root)
        wanted = env.jvs("status", "--json", cwd=f"{root}/main").out
    env.equal(env.jvs("--no-index", "status", "--json", cwd=f"{root}/main").out, wanted, "status without the index")


def check_48_links_do_not_lead_out(env: Env) -> None:
    """A symbolic link in place of a control directory or worktree is refused, and nothing behind it is touched."""
    origin = env.repository("origin")
    first = env.snapshot(origin, "one")
    write(f"{origin}/main/a.txt", "later\n")
    env.snapshot(origin, "two")
    outside = f"{env.work}/outside"
    for victim in (
        ".jvs",
        ".jvs/snapshots",
        ".jvs/descriptors",
        ".jvs/intents",
        ".jvs/audit",
        ".jvs/worktrees",
        "main",
    ):
        root = f"{env.work}/repo"
        copy_repository(origin, root)
        os.rename(f"{root}/{victim}", outside)
        os.symlink(outside, f"{root}/{victim}")
        before = env.frozen(outside)
        for words in (("snapshot", "x"), ("restore", first), ("worktree", "fork", first, "w")):
            said = env.jvs(*words, cwd=root, code=None)
            if victim != "main" or words[0] == "snapshot" or words[0] == "restore":
                env.check(said.code not in (0, 1, 70), f"{victim} is a link: {said}")
        env.unchanged(outside, before, f"commands with a link at {victim}")
        env.run("rm", "-rf", root, outside)
    root = f"{env.work}/repo"
    copy_repository(origin, root)
    write(f"{outside}/keep", "x")
    env.run("rm", "-rf", f"{root}/main/dir")
    os.symlink(outside, f"{root}/main/dir")
    env.jvs("restore", first, cwd=f"{root}/main")
    env.equal(os.listdir(outside), ["keep"], "names in the target of a link that was in the way of a restore")
    env.equal(env.tree(f"{root}/main"), env.repo(root).visible()[first]["payload_root_hash"], "hash")
    env.healthy(root)


def check_49_a_read_only_repository_can_be_read(env: Env) -> None:
    """Without the right to write, looking works and changing is E_IO."""
    if os.geteuid() == 0:
        raise Skip("the permissions of files do not bind root")
    root = env.repository()
    ids = env.history(root)
    directories = [root, f"{root}/main", *(path for path, _, _ in os.walk(f"{root}/.jvs") if "/snapshots/" not in path)]
    for path in directories:
        os.chmod(path, 0o500)
    try:
        for words in (("history",), ("status",), ("diff", ids[0], ids[1]), ("verify", "--all"), ("show",), ("info",)):
            env.jvs(*words, cwd=f"{root}/main")
        env.jvs("snapshot", "x", cwd=f"{root}/main", code=4)
    finally:
        for path in directories:
            os.chmod(path, 0o700)
    os.chmod(f"{root}/main", 0o755)
    env.healthy(root)
