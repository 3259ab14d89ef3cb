"""Forks whose work comes back: nothing is lost, nothing is half merged, and a conflict changes nothing."""

from __future__ import annotations

import os

from lib.harness import Env, write
from lib.reader import payload_hash, read_file


def check_62_forks_are_merged_and_conflicts_change_nothing(env: Env) -> None:
    """`merge` brings what only one side changed, refuses what both did, is undone as a whole, and is in the lineage."""
    root = env.repository()
    base = env.history(root, 1)[0]
    for name in ("one", "two"):
        env.jvs("worktree", "fork", base, name, cwd=root)
        write(f"{root}/worktrees/{name}/by-{name}", name)
        write(f"{root}/worktrees/{name}/a.txt", f"{name}\n")
    os.unlink(f"{root}/worktrees/two/dir/b.txt")
    write(f"{root}/main/mine", "in no snapshot\n")
    theirs = {name: env.snapshot(root, name, worktree=name) for name in ("one", "two")}
    merged = env.jvs("merge", "one", "--json", cwd=f"{root}/main").json()
    env.equal(read_file(f"{root}/main/a.txt"), b"one\n", "what one changed")
    env.equal(read_file(f"{root}/main/mine"), b"in no snapshot\n", "what nobody else has")
    record = env.jvs("history", "-n", "1", "--json", cwd=root).json()[0]
    env.equal(record["merged"], [theirs["one"]], "the second parent")
    env.equal(record["parent_id"], base, "the first parent")
    env.equal(payload_hash(root, merged["snapshot_id"]), env.tree(f"{root}/main"), "what the snapshot holds")
    before = env.frozen(root)
    said = env.jvs("merge", "two", cwd=f"{root}/main", code=7)
    env.check("E_CONFLICT" in said.err.decode() and "a.txt" in said.text, f"the conflict is not told: {said}")
    answer = env.jvs("merge", "two", "--json", cwd=f"{root}/main", code=7).json()
    env.equal([c["path"] for c in answer["conflicts"]], ["a.txt"], "the conflicts")
    env.unchanged(root, before, "a conflict")
    was = env.tree(f"{root}/main")
    env.jvs("merge", "two", "--both", cwd=f"{root}/main")
    env.equal(read_file(f"{root}/main/a.txt.theirs"), b"two\n", "the other side of the conflict")
    env.check(not os.path.exists(f"{root}/main/dir/b.txt"), "what two removed is still there")
    now = env.tree(f"{root}/main")
    env.jvs("undo", cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), was, "the files after undo")
    env.jvs("undo", "--redo", cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), now, "the files after redo")
    env.equal(env.step("merge-base", "HEAD", theirs["two"], cwd=root).text.strip(), theirs["two"], "where they meet")
    env.healthy(root)
