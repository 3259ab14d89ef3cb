"""What things are called, and how they are found: names, ids, tags, formats, the directory one is in."""

from __future__ import annotations

import os
import re

from lib.canonical import json_object
from lib.harness import Env, write
from lib.reader import read_file

BAD_NAMES = ("", ".", "..", "-x", "a/b", "a b", "a\nb", "x" * 65, "ü", "a\x01", "../up", "/abs", "*", "a\\b", "C:")


def check_01_bad_names_are_refused(env: Env) -> None:
    """Names of worktrees and tags that break the rule are refused with E_NAME_INVALID before anything changes."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    before = env.frozen(root)
    for name in BAD_NAMES:
        for words in (
            ("worktree", "create", "--", name),
            ("worktree", "fork", "--", snapshot_id, name),
            ("snapshot", f"--tag={name}", "note"),
        ):
            said = env.jvs(*words, cwd=f"{root}/main", code=None)
            env.check(said.code in (10, 2), f"{name!r} was not refused: {said}")
            env.check(said.code == 10 or name.startswith("-"), f"{name!r} is not E_NAME_INVALID: {said}")
    env.jvs("snapshot", "--tag=HEAD", "note", cwd=root, code=10)
    env.unchanged(root, before, "a refused name")
    env.refused("E_NAME_INVALID", 10, "worktree", "create", "a b", cwd=root)
    for name in ("a b", "-x"):
        said = env.jvs("init", "--", name, code=None)
        env.check(said.code in (2, 10), f"init {name!r}: {said}")
        env.check(not os.path.exists(os.path.join(env.work, name)), f"init {name!r} left something")
    env.healthy(root)


def check_10_unknown_formats_are_refused(env: Env) -> None:
    """A repository of another format is E_FORMAT_UNSUPPORTED for every command, and stays as it is."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    for version in ("1\n", "3\n", "", "two\n", "2", "22\n", "2\n2\n", "\x00", " 2\n"):
        write(f"{root}/.jvs/format_version", version)
        before = env.frozen(root)
        for words in (
            ("snapshot", "x"),
            ("restore", snapshot_id),
            ("history",),
            ("gc", "plan"),
            ("worktree", "create", "w"),
        ):
            said = env.jvs(*words, cwd=f"{root}/main", code=None)
            env.check(said.code == 12, f"format {version!r}: {said}")
        env.unchanged(root, before, f"commands on format {version!r}")
        said = env.jvs("doctor", cwd=root, code=None)
        env.check(said.code != 0, f"doctor calls format {version!r} healthy: {said}")
    write(f"{root}/.jvs/format_version", "1\n")
    env.refused("E_FORMAT_UNSUPPORTED", 12, "snapshot", "x", cwd=root)
    write(f"{root}/.jvs/format_version", "2\n")
    env.healthy(root)


def check_11_snapshot_ids_have_their_shape(env: Env) -> None:
    """Ids are 13 digits, '-', 8 lowercase hex, all different, and resolve by unique prefix of either part."""
    root = env.repository()
    ids = env.history(root, 6)
    env.equal(len(set(ids)), 6, "different ids")
    printed = env.jvs("snapshot", "text", cwd=root).text
    env.check(re.search(r"^Created snapshot \d{13}-[0-9a-f]{8}$", printed, re.MULTILINE), f"printed {printed!r}")
    for snapshot_id in ids:
        for target in (snapshot_id, snapshot_id[14:], snapshot_id[:-1]):
            env.equal(env.step("resolve", target, cwd=root).text.strip(), snapshot_id, f"resolve {target}")
    prefix = ids[0][:6]  # of a clock in milliseconds: the same for years
    env.refused("E_AMBIGUOUS", 5, "show", prefix, cwd=root)
    env.refused("E_NOT_FOUND", 5, "show", "no-such-thing", cwd=root)


def check_13_tags_are_stored_and_validated(env: Env) -> None:
    """Tags are kept in order without doubles, found by history and as targets; bad ones are refused."""
    root = env.repository()
    first = env.snapshot(root, "one", "--tag", "v1", "--tag", "stable", "--tag", "v1")
    descriptor = json_object(read_file(f"{root}/.jvs/descriptors/{first}.json"))
    env.equal(descriptor["tags"], ["v1", "stable"], "tags")
    second = env.snapshot(root, "two", "--tag", "v2")
    found = [d["snapshot_id"] for d in env.jvs("history", "--tag", "v1", "--json", cwd=root).json()]
    env.equal(found, [first], "history --tag v1")
    env.equal(env.step("resolve", "stable", cwd=root).text.strip(), first, "resolve by tag")
    third = env.snapshot(root, "three", "--tag", "v2")
    env.equal(env.step("resolve", "v2", cwd=root).text.strip(), third, "the newest that has the tag")
    env.refused("E_NAME_INVALID", 10, "snapshot", "--tag", "a b", cwd=root)
    env.equal(len(env.repo(root).visible()), 3, "snapshots")
    env.check(second != third, "ids")
    env.jvs("config", "set", "default_tags", '["auto"]', cwd=root)
    fourth = env.snapshot(root, "four", "--tag", "mine")
    tags = json_object(read_file(f"{root}/.jvs/descriptors/{fourth}.json"))["tags"]
    env.equal(sorted(tags), ["auto", "mine"], "default tags are added")
    env.healthy(root)


def check_16_the_worktree_is_found_from_nested_directories(env: Env) -> None:
    """Commands below a worktree work on that worktree; elsewhere in the repository on main; outside they say so."""
    root = env.repository()
    snapshot_id = env.snapshot(root, "one")
    env.jvs("worktree", "fork", snapshot_id, "w", cwd=root)
    deep = f"{root}/worktrees/w/dir/deep"
    write(f"{root}/worktrees/w/new", "x")
    made = env.jvs("snapshot", "from below", "--json", cwd=deep).json()
    env.equal(made["worktree_name"], "w", "worktree of a snapshot taken below it")
    env.equal(env.config(root, "w")["head_snapshot_id"], made["snapshot_id"], "head of w")
    env.equal(env.config(root)["head_snapshot_id"], snapshot_id, "head of main")
    for cwd in (root, f"{root}/main/dir/deep", f"{root}/.jvs", f"{root}/worktrees"):
        status = env.jvs("status", "--json", cwd=cwd).json()
        env.equal(status.get("worktree", status.get("worktree_name")), "main", f"worktree seen from {cwd}")
    env.refused("E_NOT_A_REPOSITORY", 5, "status")
    path = env.jvs("worktree", "path", "w", cwd=root).text.strip()
    env.equal(path, f"{root}/worktrees/w", "worktree path w")
    env.equal(env.jvs("worktree", "path", cwd=deep).text.strip(), f"{root}/worktrees/w", "worktree path")
    env.equal(env.jvs("-C", deep, "status", "--json").json(), env.jvs("status", "--json", cwd=deep).json(), "-C")
