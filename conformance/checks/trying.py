"""Commands that run on a throwaway copy, or see a fork, at main's own path: main never changes unasked."""

from __future__ import annotations

import os

from lib.harness import Env, write
from lib.reader import read_file


def check_67_what_is_tried_changes_nothing_until_it_is_applied(env: Env) -> None:
    """`try` shows what a command changed, at main's own path; applying merges it, conflicts change nothing."""
    root = env.repository()
    env.history(root, 1)
    main = f"{root}/main"
    if env.jvs("try", "--discard", "--", "true", cwd=main, code=None).code == 125:
        return  # the system allows no namespaces, and says so
    write(f"{main}/mine", "in no snapshot\n")
    was = env.tree(main)
    script = f"cd {main}; rm dir/b.txt; mv dir moved; echo new > new; echo tried > {main}/a.txt; exit 3"
    answer = env.jvs("try", "--json", "--", "sh", "-c", script, cwd=main, code=3).json()
    env.equal(answer["state"], "pending", "what became of it")
    gone = [change["path"] for change in answer["changes"] if change["change"] == "removed"]
    env.check("dir/b.txt" in gone and answer["changes"][0]["change"] == "removed", f"removals come first: {gone}")
    env.equal(env.tree(main), was, "main while it is pending")
    base = answer["snapshot_id"]
    env.jvs("gc", "drop", base, cwd=main, code=None)
    env.check(os.path.isdir(f"{root}/.jvs/snapshots/{base}"), "a pending try does not protect its snapshot")
    write(f"{main}/a.txt", "ours\n")
    before = env.frozen(root)
    said = env.jvs("try", "--apply", answer["try_id"], cwd=main, code=7)
    env.check("E_CONFLICT" in said.err.decode() and "a.txt" in said.err.decode(), "the conflict is not told")
    env.unchanged(root, before, "a conflict")
    write(f"{main}/a.txt", "tried\n")
    now = env.tree(main)
    env.jvs("try", "--apply", answer["try_id"], cwd=main)
    env.equal(read_file(f"{main}/new"), b"new\n", "what the command made")
    env.check(os.path.isdir(f"{main}/moved") and not os.path.exists(f"{main}/dir"), "the renamed directory")
    env.jvs("undo", cwd=main)
    env.equal(env.tree(main), now, "main after undo")
    env.jvs("try", "--apply", "--", "sh", "-c", f"rm {main}/mine; kill -9 $$", cwd=main, code=137)
    env.equal(env.tree(main), now, "main after a command that was killed")
    env.equal(os.listdir(f"{root}/.jvs/tries"), [], "what is left of it")
    env.healthy(root)


def check_68_a_fork_is_seen_at_the_path_of_main(env: Env) -> None:
    """`enter` shows a fork at main's own path: absolute paths lead into it, and the repository is out of sight."""
    root = env.repository()
    base = env.history(root, 1)[0]
    main = f"{root}/main"
    env.jvs("worktree", "fork", base, "side", cwd=root)
    if env.jvs("enter", "side", "--", "true", cwd=main, code=None).code == 4:
        return  # the system allows no namespaces, and says so
    was = env.tree(main)
    script = f"echo side > {main}/a.txt; ls -A {root}/.jvs > {main}/seen; ! {env.bin}/jvs status 2> {main}/said"
    env.jvs("enter", "side", "--", "sh", "-c", script, cwd=main)
    env.equal(env.tree(main), was, "main")
    side = f"{root}/worktrees/side"
    env.equal(read_file(f"{side}/a.txt"), b"side\n", "what was written by an absolute path")
    env.equal(read_file(f"{side}/seen"), b"", "what is seen of the control directory")
    env.check(b"E_NOT_A_REPOSITORY" in read_file(f"{side}/said"), "jvs finds a repository inside")
    env.jvs("enter", base, "--", "sh", "-c", f"! touch {main}/x 2> /dev/null", cwd=main)
    env.healthy(root)
