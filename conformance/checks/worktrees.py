"""Worktrees: made, removed, detached, attached again, forked."""

from __future__ import annotations

import os
import shutil

from lib.harness import Env, mode_of, worktree_dir, write
from lib.reader import payload_hash, read_file
from lib.records import NAME, TIME, UUID
from lib.treehash import hash_tree


def check_18_init_makes_a_valid_repository(env: Env) -> None:
    """init leaves the documented files, a valid configuration of main, mode 0700, and refuses what it must."""
    said = env.jvs("init", "repo")
    root = os.path.join(env.work, "repo")
    env.check(f"Initialized JVS repository in {root}" in said.text, f"{said}")
    env.equal(sorted(os.listdir(root)), [".jvs", "main", "worktrees"], "names")
    env.equal(mode_of(f"{root}/.jvs"), 0o700, "mode of .jvs")
    env.equal(read_file(f"{root}/.jvs/format_version"), b"2\n", "format_version")
    env.check(UUID.match(read_file(f"{root}/.jvs/repo_id").decode().rstrip("\n")), "repo_id is not a UUID")
    config = env.config(root)
    env.equal([config[f"{k}_snapshot_id"] for k in ("base", "head", "latest")], [None] * 3, "base, head, latest")
    env.check(NAME.match(config["name"]) and TIME.match(config["created_at"]), f"{config}")
    env.healthy(root)
    shown = env.jvs("init", "second", "--json").json()
    env.check(set(shown) >= {"repo_root", "format_version", "repo_id", "engine"}, f"{shown}")
    env.equal(shown["format_version"], 2, "format_version in JSON")
    before = env.frozen(env.work)
    env.refused("E_EXISTS", 7, "init", "repo")
    for inside in ("repo/main/x", "repo/x", "repo/.jvs/x"):
        said = env.jvs("init", inside, code=None)
        env.check(said.code in (7, 11), f"init inside a repository: {said}")
    for place in ("/", env.home):
        said = env.jvs("init", place, code=None)
        env.check(said.code in (2, 7, 10), f"init {place}: {said}")
    env.unchanged(env.work, before, "a refused init")
    env.equal(os.listdir(env.home), [n for n in os.listdir(env.home) if n != ".jvs"], "home")
    write(f"{env.work}/source/f", "x")
    os.symlink("f", f"{env.work}/source/l")
    env.jvs("init", "third", "--from", "source")
    env.equal(env.tree(f"{env.work}/third/main"), env.tree(f"{env.work}/source"), "main after --from")
    env.healthy(f"{env.work}/third")


def check_63_init_in_place(env: Env) -> None:
    """init without a name keeps a directory what it is; `.jvs` is in no snapshot, and forks lie inside it."""
    root = f"{env.work}/project"
    write(f"{root}/dir/file", "one\n")
    write(f"{root}/.git/HEAD", "ref\n")
    before, inode = env.tree(root), os.stat(root).st_ino
    shown = env.jvs("init", "--json", cwd=root).json()
    env.equal(
        (shown["repo_root"], shown["captures"]), (root, {"entries": 4, "bytes": 8, "excluded": []}), "what init says"
    )
    env.equal((env.tree(root), os.stat(root).st_ino), (before, inode), "the directory")
    env.equal(mode_of(f"{root}/.jvs"), 0o700, "mode of .jvs")
    env.equal(env.config(root)["path"], ".", "path of main")
    first = env.snapshot(root, "first")
    env.equal(payload_hash(root, first), before, "the root hash")
    env.equal(sorted(os.listdir(f"{root}/.jvs/snapshots/{first}")), [".git", "dir"], "names in the payload")
    write(f"{root}/dir/file", "two\n")
    write(f"{root}/new", "x\n")
    broken = env.tree(root)
    env.jvs("restore", first, cwd=f"{root}/dir")
    env.equal(env.tree(root), before, "after restore")
    env.jvs("undo", cwd=f"{root}/dir")
    env.equal(env.tree(root), broken, "after undo")
    env.jvs("fork", first, "side", cwd=root)
    env.equal(env.tree(f"{root}/.jvs/forks/side"), before, "the fork")
    env.healthy(root)
    for place in (root, f"{root}/dir", f"{root}/.jvs/forks/side", env.work):
        env.refused("E_EXISTS", 7, "init", "--here", place)
    for words in (("snapshot", "--", ".jvs"), ("restore", first, "--", ".jvs/repo_id")):
        env.refused("E_PATH_ESCAPE", 11, *words, cwd=root)
    env.jvs("init", "classic")
    write(f"{env.work}/classic/main/.jvs/mine", "x")
    env.refused("E_PATH_ESCAPE", 11, "snapshot", "x", cwd=f"{env.work}/classic/main")


def check_64_what_is_excluded_is_left_alone(env: Env) -> None:
    """Rules keep files out of snapshots; restore and undo leave them as they are; the descriptor says the rules."""
    root = env.repository()
    main = f"{root}/main"
    write(f"{main}/.jvsignore", "*.log\n/cache/\n")
    write(f"{main}/cache/big", "1\n")
    write(f"{main}/dir/x.log", "1\n")
    first = env.snapshot(root, "first")
    record = env.repo(root).visible()[first]
    env.equal(record["excluded"]["rules"], ["*.log", "/cache/"], "the rules in the descriptor")
    env.equal(record["excluded"]["top"], [{"path": "cache"}], "what was left out at the top")
    payload = f"{root}/.jvs/snapshots/{first}"
    env.check(not os.path.lexists(f"{payload}/cache"), "the cache was captured")
    env.check(not os.path.lexists(f"{payload}/dir/x.log"), "a log was captured")
    write(f"{main}/cache/big", "2\n")
    write(f"{main}/fresh/y.log", "2\n")
    write(f"{main}/fresh/file", "2\n")
    write(f"{main}/a.txt", "changed\n")
    env.jvs("restore", first, cwd=main)
    env.equal(read_file(f"{main}/a.txt"), b"alpha\n", "a captured file after restore")
    env.check(not os.path.lexists(f"{main}/fresh/file"), "a new file is still there after restore")
    for path in ("cache/big", "fresh/y.log"):
        env.equal(read_file(f"{main}/{path}"), b"2\n", f"{path} after restore")
    env.jvs("undo", cwd=main)
    env.equal(read_file(f"{main}/fresh/file"), b"2\n", "a new file after undo")
    for path in ("cache/big", "fresh/y.log"):
        env.equal(read_file(f"{main}/{path}"), b"2\n", f"{path} after undo")
    env.jvs("snapshot", cwd=main)
    said = env.jvs("snapshot", "--if-changed", "--json", cwd=main).json()
    env.equal(said["changed"], False, "a snapshot of what did not change")
    write(f"{main}/.jvsignore", "*.log\n")
    env.check("changed" not in env.jvs("snapshot", "--if-changed", "--json", cwd=main).json(), "changed rules")
    env.healthy(root)


def check_19_removing_a_worktree_removes_both_halves(env: Env) -> None:
    """`worktree remove` takes configuration and directory, keeps unsaved files in undo, and undo brings them back."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    env.jvs("worktree", "fork", snapshot_id, "w", cwd=root)
    write(f"{root}/worktrees/w/unsaved", "no snapshot holds this\n")
    before = env.tree(f"{root}/worktrees/w")
    said = env.jvs("worktree", "remove", "w", cwd=root)
    env.check("Removed worktree 'w'" in said.text, f"{said}")
    env.check(not os.path.lexists(f"{root}/worktrees/w"), "the directory is still there")
    env.check(not os.path.lexists(f"{root}/.jvs/worktrees/w"), "the configuration is still there")
    env.healthy(root)
    env.jvs("undo", cwd=root)
    env.equal(env.tree(f"{root}/worktrees/w"), before, "the worktree after undo")
    env.healthy(root)
    env.jvs("worktree", "remove", "w", "--discard", cwd=root)
    env.check(not os.path.lexists(f"{root}/worktrees/w"), "the directory is still there")
    env.refused("E_NOT_FOUND", 5, "worktree", "remove", "w", cwd=root)
    for words in (("remove", "main"), ("rename", "main", "x")):
        said = env.jvs("worktree", *words, cwd=root, code=None)
        env.check(said.code in (2, 7, 10), f"{said}")
    env.healthy(root)


def check_21_restoring_an_old_snapshot_detaches(env: Env) -> None:
    """The files are those of the snapshot, head names it, latest stays, and the text says so with the ways on."""
    root = env.repository()
    ids = env.history(root)
    said = env.jvs("restore", ids[0], cwd=f"{root}/main")
    env.check("Restored" in said.text and "Worktree is now in DETACHED state." in said.text, f"{said}")
    env.check("jvs restore LATEST" in said.text and "fork" in said.text, f"the ways on are not named: {said}")
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[0], ids[2]), "head and latest")
    env.equal(env.tree(f"{root}/main"), payload_hash(root, ids[0]), "the worktree's hash")
    env.check("detached" in env.jvs("status", cwd=f"{root}/main").text.lower(), "status does not say detached")
    env.healthy(root)
    env.jvs("undo", cwd=f"{root}/main")
    config = env.config(root)
    env.equal(
        (config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[2], ids[2]), "head and latest after undo"
    )
    env.equal(env.tree(f"{root}/main"), payload_hash(root, ids[2]), "the worktree's hash after undo")


def check_22_restore_head_attaches_again(env: Env) -> None:
    """`restore HEAD` returns to latest, and what was changed meanwhile is kept for undo."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    write(f"{root}/main/work", "work that no snapshot holds\n")
    inode = os.stat(f"{root}/main/dir").st_ino
    said = env.jvs("restore", "HEAD", cwd=f"{root}/main")
    env.check("Worktree is at HEAD state." in said.text, f"{said}")
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (ids[2], ids[2]), "head and latest")
    env.equal(env.tree(f"{root}/main"), payload_hash(root, ids[2]), "the worktree's hash")
    env.equal(os.stat(f"{root}/main/dir").st_ino, inode, "the inode of a directory that both have")
    env.jvs("undo", cwd=f"{root}/main")
    env.equal(read_file(f"{root}/main/work"), b"work that no snapshot holds\n", "the kept file")
    env.jvs("undo", "--redo", cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), payload_hash(root, ids[2]), "the worktree's hash after taking the undo back")
    env.healthy(root)


def check_23_the_detached_policy(env: Env) -> None:
    """Detached, `branch` makes a new line and keeps the old tip in view; `refuse` is E_DETACHED and changes nothing."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("restore", ids[0], cwd=f"{root}/main")
    write(f"{root}/main/new", "x")
    before = env.frozen(root)
    words = ("-c", "snapshot.when_detached=refuse", "snapshot", "no")
    env.refused("E_DETACHED", 7, *words, cwd=f"{root}/main")
    env.unchanged(root, before, "a refused snapshot")
    made = env.snapshot(root, "branch")
    config = env.config(root)
    env.equal((config["head_snapshot_id"], config["latest_snapshot_id"]), (made, made), "head and latest")
    env.equal(env.repo(root).visible()[made]["parent_id"], ids[0], "the parent of the new line")
    listed = {d["snapshot_id"] for d in env.jvs("history", "--all", "--json", cwd=root).json()}
    env.equal(listed, {*ids, made}, "history --all")
    line = [d["snapshot_id"] for d in env.jvs("history", "--json", cwd=root).json()]
    env.equal(line, [made, ids[0]], "history")
    plan = env.jvs("gc", "plan", "--json", cwd=root).json()
    env.check(set(ids) <= set(plan["protected_set"]), f"the former tip is not protected: {plan}")
    env.healthy(root)


def check_24_a_fork_starts_from_a_snapshot(env: Env) -> None:
    """A fork has the snapshot's files and its head, base and latest; work there does not touch the origin."""
    root = env.repository()
    ids = env.history(root)
    said = env.jvs("worktree", "fork", ids[1], "w", cwd=root)
    env.check("Created worktree 'w' from snapshot" in said.text, f"{said}")
    env.equal(env.tree(f"{root}/worktrees/w"), payload_hash(root, ids[1]), "the fork's hash")
    config = env.config(root, "w")
    for key in ("base", "head", "latest"):
        env.equal(config[f"{key}_snapshot_id"], ids[1], key)
    main = env.tree(f"{root}/main")
    write(f"{root}/worktrees/w/a.txt", "forked\n")
    made = env.snapshot(root, "in the fork", worktree="w")
    env.equal(env.repo(root).visible()[made]["parent_id"], ids[1], "parent of the first snapshot in the fork")
    env.equal(env.tree(f"{root}/main"), main, "main")
    env.equal(env.config(root)["head_snapshot_id"], ids[2], "head of main")
    env.jvs("worktree", "fork", "new-name", cwd=f"{root}/main")
    env.equal(env.config(root, "new-name")["base_snapshot_id"], ids[2], "base of a fork of the head")
    env.jvs("fork", "t0", "by-tag", cwd=root)
    env.equal(env.tree(worktree_dir(root, "by-tag")), payload_hash(root, ids[0]), "hash of a fork by tag")
    env.refused("E_EXISTS", 7, "worktree", "fork", ids[0], "w", cwd=root)
    env.refused("E_NOT_FOUND", 5, "worktree", "fork", "nothing", "x", cwd=root)
    env.jvs("worktree", "create", "plain", cwd=root)
    env.equal(os.listdir(f"{root}/worktrees/plain"), [], "a worktree made empty")
    env.healthy(root)


def check_66_worktrees_elsewhere(env: Env) -> None:
    """A worktree anywhere on the filesystem is made, removed, given back, moved and copied by hand, and never mixed."""
    root, side, moved = env.repository(), f"{env.work}/side", f"{env.work}/moved"
    first = env.snapshot(root, "first")
    files = env.tree(f"{root}/main")
    env.equal(env.jvs("fork", first, "side", "--path", side, "--json", cwd=root).json()["path"], side, "path")
    env.equal(hash_tree(side, skip=b".jvs").root_hash, files, "the fork")
    env.equal(env.jvs("status", "--json", cwd=side).json()["worktree"], "side", "the worktree that it is")
    env.jvs("worktree", "remove", "side", cwd=root)
    env.check(not os.path.lexists(side), "a removed worktree is gone from its place")
    env.jvs("undo", cwd=root)
    env.equal(hash_tree(side, skip=b".jvs").root_hash, files, "given back")
    os.rename(side, moved)
    env.refused("E_PATH_ESCAPE", 11, "snapshot", cwd=moved)
    env.refused("E_NOT_FOUND", 5, "restore", "-w", "side", first, cwd=f"{root}/main")
    env.check(not os.path.lexists(side), "nothing is made in the place of a worktree that is away")
    env.jvs("worktree", "attach", moved, cwd=root)
    shutil.copytree(moved, side, symlinks=True)
    for place in (side, moved):
        env.refused("E_PATH_ESCAPE", 11, "status", cwd=place)
    env.jvs("worktree", "attach", side, cwd=root)
    env.jvs("worktree", "move", "side", f"{env.work}/last", cwd=root)
    env.snapshot(root, "there", worktree="side")
    env.refused("E_PATH_ESCAPE", 11, "status", cwd=moved)
    env.healthy(root)


def check_75_a_clone_has_the_history_and_an_id_of_its_own(env: Env) -> None:
    """A clone has every snapshot as it is and a log of its own; work in either changes nothing of the other."""
    root, copy = env.repository(), f"{env.work}/copy"
    ids = env.history(root)
    env.jvs("fork", "side", cwd=root)
    write(f"{root}/worktrees/side/theirs", "theirs\n")
    ids.append(env.snapshot(root, "theirs", worktree="side"))
    env.jvs("note", ids[1], "said later", cwd=root)
    write(f"{root}/main/unkept", "in no snapshot\n")
    before = env.frozen(root)
    env.jvs("clone", root, copy)
    env.unchanged(root, before, "clone")
    one, other = env.repo(root), env.repo(copy)
    env.equal(set(other.visible()), set(ids), "the snapshots of a clone")
    env.equal((other.descriptors, other.annotations), (one.descriptors, one.annotations), "what is said of them")
    env.check(one.repo_id != other.repo_id, "a clone has the id of its source")
    env.equal(list(other.configs), ["main"], "the worktrees of a clone")
    env.equal(env.tree(f"{copy}/main"), payload_hash(copy, ids[2]), "main of a clone")
    env.healthy(copy)
    write(f"{copy}/main/a.txt", "changed in the clone\n")
    env.snapshot(copy, "of the clone")
    env.jvs("restore", ids[0], cwd=f"{copy}/main")
    env.healthy(copy)
    env.unchanged(root, before, "work in a clone")
    env.healthy(root)
    env.refused("E_EXISTS", 7, "clone", root, copy)
    env.equal(sorted(os.listdir(env.work)), ["copy", "repo"], "what is next to them")
