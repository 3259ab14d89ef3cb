"""Files are kept as they are, and written only where they differ."""

from __future__ import annotations

import os
import shutil
import socket
import stat

from lib.harness import Env, write
from lib.reader import payload_hash, read_file
from lib.treehash import hash_tree
from lib.violations import Expect


def check_12_equal_payloads_have_equal_hashes(env: Env) -> None:
    """The root hash depends on content, names, modes and links alone: not on time, inode, place or repository."""
    root, other = env.repository("one"), env.repository("two")
    first = env.snapshot(root, "one")
    os.utime(f"{root}/main/a.txt", (1, 1))
    second = env.snapshot(root, "two")
    third = env.snapshot(other, "three")
    hashes = [
        payload_hash(root, first),
        payload_hash(root, second),
        payload_hash(other, third),
        env.tree(f"{root}/main"),
    ]
    env.equal(len(set(hashes)), 1, f"different hashes of equal trees {hashes}; their number")
    for options in ((), ("--no-index",)):
        env.equal(env.step("hash-tree", *options, f"{root}/main").text.split()[0], hashes[0], "jvs-hash-tree")
    os.chmod(f"{root}/main/a.txt", 0o640)
    env.check(payload_hash(root, env.snapshot(root, "mode")) != hashes[0], "a mode does not count")


def check_17_payloads_hold_no_control_files(env: Env) -> None:
    """A snapshot and a fork hold exactly the user's files, also such that look like ours; worktrees gain nothing."""
    root = env.repository()
    odd = (".READY", ".jvs-tmp-x", ".git/config", "intents/x.json", "config.json", ".jvs/format_version")
    for name in odd:
        write(f"{root}/main/sub/{name}", name)
    write(f"{root}/main/.READY", "mine")
    write(f"{root}/main/.jvs-tmp-1", "mine too")
    before = env.tree(f"{root}/main")
    first = env.snapshot(root, "one")
    env.equal(env.tree(f"{root}/.jvs/snapshots/{first}"), before, "the payload's hash")
    env.equal(sorted(os.listdir(f"{root}/.jvs/snapshots/{first}")), sorted(os.listdir(f"{root}/main")), "names")
    env.jvs("worktree", "fork", first, "w", cwd=root)
    env.equal(env.tree(f"{root}/worktrees/w"), before, "the fork's hash")
    write(f"{root}/main/a.txt", "changed")
    shutil.rmtree(f"{root}/main/sub")
    env.snapshot(root, "two")
    env.jvs("restore", first, cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), before, "the restored worktree's hash")
    env.equal(sorted(os.listdir(root)), [".jvs", "main", "worktrees"], "names in the repository's root")
    env.healthy(root)


def _zoo(env: Env, directory: str) -> None:
    """Fill a directory with what filesystems allow."""
    base = os.fsencode(directory)
    write(f"{directory}/plain", "plain\n")
    for name in (
        b"new\nline",
        b"\xff\xfe",
        b"x" * 255,
        "é".encode(),
        "e\u0301".encode(),
        b"-rf",
        b" ",
        b"*",
        b"\\",
        b"a\tb",
    ):
        with open(base + b"/" + name, "wb") as file:
            file.write(b"named " + name)
    os.makedirs(base + b"/deep" + b"/d" * 60)
    os.mkfifo(f"{directory}/fifo")
    server = socket.socket(socket.AF_UNIX)
    os.chdir(directory)
    server.bind("sock")
    os.chdir("/")
    server.close()
    os.symlink("nowhere", f"{directory}/dangling")
    os.symlink("loop", f"{directory}/loop")
    os.symlink("/etc", f"{directory}/absolute")
    os.symlink(b"\xff\n", base + b"/odd-target")
    write(f"{directory}/sub/exe", "#!/bin/sh\n")
    os.chmod(f"{directory}/sub/exe", 0o4755)
    os.mkdir(f"{directory}/sticky")
    os.chmod(f"{directory}/sticky", 0o1777)
    write(f"{directory}/readonly/file", "x")
    os.chmod(f"{directory}/readonly/file", 0o444)
    os.chmod(f"{directory}/readonly", 0o555)
    write(f"{directory}/linked", "one inode, two names\n")
    os.link(f"{directory}/linked", f"{directory}/sub/linked-too")
    with open(f"{directory}/hole", "wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 19)
        file.write(b"island")
    write(f"{directory}/big", os.urandom(3 << 20))
    write(f"{directory}/empty-file", "")
    if os.geteuid() == 0:
        os.mknod(f"{directory}/null", stat.S_IFCHR | 0o600, os.makedev(1, 3))
        write(f"{directory}/secret", "nobody reads this")
        os.chmod(f"{directory}/secret", 0)
    try:
        os.setxattr(f"{directory}/plain", "user.colour", b"\x00\xffblue")
        os.setxattr(f"{directory}/sub", "user.d", b"d")  # JuiceFS on SQL cannot clone one without a value
    except OSError:
        pass


def check_39_everything_a_filesystem_holds_is_kept(env: Env) -> None:
    """Snapshot, restore, fork and undo keep odd names, kinds, modes, targets and attributes; no fifo hangs them."""
    root = env.repository(files=False)
    _zoo(env, f"{root}/main")
    wanted = env.tree(f"{root}/main")
    first = env.snapshot(root, "zoo")
    descriptor = env.repo(root).visible()[first]
    env.equal(descriptor["payload_root_hash"], wanted, f"hash of the snapshot (degraded: {descriptor['degraded']})")
    env.equal(env.step("hash-tree", f"{root}/main").text.split()[0], wanted, "jvs-hash-tree")
    env.jvs("worktree", "fork", first, "w", cwd=root)
    env.equal(env.tree(f"{root}/worktrees/w"), wanted, "hash of the fork")
    env.run("chmod", "-R", "u+w", f"{root}/main/readonly")
    for entry in sorted(os.listdir(os.fsencode(f"{root}/main"))):
        env.run("rm", "-rf", "--", os.fsencode(f"{root}/main/").decode() + os.fsdecode(entry))
    write(f"{root}/main/other", "x")
    second = env.snapshot(root, "other")
    env.jvs("restore", first, cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), wanted, "hash after restore")
    env.jvs("undo", cwd=f"{root}/main")
    env.equal(env.tree(f"{root}/main"), env.repo(root).visible()[second]["payload_root_hash"], "hash after undo")
    env.jvs("diff", first, second, cwd=root)
    env.jvs("diff", first, second, "--name-status", "-z", cwd=root)
    env.healthy(root)


def check_40_looking_changes_nothing(env: Env) -> None:
    """Snapshot, verify, diff, status and history change no file, directory or time stamp below a worktree."""
    root = env.repository()
    ids = env.history(root)

    def stamps() -> dict[str, tuple[int, ...]]:
        found: dict[str, tuple[int, ...]] = {}
        for directory, _, files in os.walk(f"{root}/main"):
            for path in (directory, *(os.path.join(directory, name) for name in files)):
                st = os.lstat(path)
                read_ns = 0 if stat.S_ISLNK(st.st_mode) else st.st_atime_ns  # readlink(2) has no way not to touch it
                found[path] = (st.st_ino, st.st_mode, st.st_size, st.st_mtime_ns, st.st_ctime_ns, read_ns)
        return found

    write(f"{root}/main/changed", "x")
    for directory, _, files in os.walk(f"{root}/main"):
        for path in (*(os.path.join(directory, name) for name in files), directory):
            os.utime(path, ns=(1_000_000_000, os.lstat(path).st_mtime_ns), follow_symlinks=False)
    before = stamps()
    for words in (
        ("snapshot", "x"),
        ("verify", "--all"),
        ("diff",),
        ("diff", ids[0]),
        ("status",),
        ("history",),
        ("doctor",),
    ):
        env.jvs(*words, cwd=f"{root}/main")
        after = stamps()
        moved = {p: (before.get(p), after.get(p)) for p in {*before, *after} if before.get(p) != after.get(p)}
        env.check(not moved, f"`jvs {' '.join(words)}` changed stamps: {list(moved.items())[:3]}")


def check_41_restore_writes_only_what_differs(env: Env) -> None:
    """Unchanged files keep inode and times, surviving directories their inode; restored files get their times back."""
    root = env.repository()
    main = f"{root}/main"
    os.utime(f"{main}/a.txt", (1_500_000_000, 1_500_000_000))
    first = env.snapshot(root, "one")
    write(f"{main}/a.txt", "changed\n")
    write(f"{main}/dir/new", "new\n")
    env.snapshot(root, "two")
    kept = {
        n: os.lstat(f"{main}/{n}") for n in ("dir/b.txt", "dir/deep/c.bin", "link", "dir", "dir/deep", "empty", ".")
    }
    env.jvs("restore", first, cwd=f"{main}/dir/deep")
    for name, old in kept.items():
        new = os.lstat(f"{main}/{name}")
        env.equal(new.st_ino, old.st_ino, f"inode of {name}")
        if not stat.S_ISDIR(old.st_mode):
            env.equal((new.st_mtime_ns, new.st_ctime_ns), (old.st_mtime_ns, old.st_ctime_ns), f"times of {name}")
    env.equal(os.stat(f"{main}/a.txt").st_mtime, 1_500_000_000, "mtime of a restored file")
    env.check(not os.path.exists(f"{main}/dir/new"), "a file of the later snapshot is still there")


def check_42_nothing_a_user_wrote_is_lost(env: Env) -> None:
    """After restore, undo, fork and removal every byte is in a worktree, a snapshot or undo."""
    root = env.repository()
    ids = env.history(root)

    def judged(worktree: str, *words: str) -> None:
        """Run a command and require that all that was in the worktree before is still somewhere."""
        contents = hash_tree(worktree).contents()
        env.jvs(*words, cwd=f"{root}/main")
        env.sound(root, expect=Expect(contents=contents))

    main = f"{root}/main"
    for number, words in enumerate(
        (
            ("restore", ids[0]),
            ("undo",),
            ("undo", "--redo"),
            ("restore", ids[1], "--", "a.txt"),
            ("restore", "HEAD"),
            ("undo",),
        )
    ):
        write(f"{main}/a.txt", f"unsaved {number}\n")
        write(f"{main}/dir/only-here-{number}", f"only here {number}\n")
        write(f"{main}/empty/sub{number}/x", f"nested {number}\n")
        judged(main, *words)
    env.jvs("worktree", "fork", ids[0], "w", cwd=root)
    write(f"{root}/worktrees/w/mine", "in the fork\n")
    judged(f"{root}/worktrees/w", "worktree", "rename", "w", "v")
    judged(f"{root}/worktrees/v", "worktree", "remove", "v")
    env.healthy(root)


def check_43_partial_snapshots_and_restores(env: Env) -> None:
    """With PATHs only those are taken or brought back; head stays; the snapshot says that it is partial."""
    root = env.repository()
    first = env.snapshot(root, "one")
    write(f"{root}/main/a.txt", "changed\n")
    write(f"{root}/main/dir/b.txt", "changed\n")
    for words in (("part", "--json", "--", "dir"), ("--json", "--", "dir"), ("part", "--paths", "dir", "--json")):
        made = env.jvs("snapshot", *words, cwd=f"{root}/main").json()
        env.equal(made["partial_paths"], ["dir"], f"partial_paths of snapshot {words}")
        env.equal(made["note"], "part" if words[0] == "part" else "", f"note of snapshot {words}")
    made = env.jvs("snapshot", "one level down", "--json", "--", "deep", cwd=f"{root}/main/dir").json()
    env.equal(made["partial_paths"], ["dir/deep"], "partial_paths from below")
    payload = f"{root}/.jvs/snapshots/{made['snapshot_id']}"
    env.equal(sorted(os.listdir(payload)), ["dir"], "what a partial snapshot holds")
    names = env.jvs("diff", "--name-only", "--", "dir", cwd=f"{root}/main").text.split()
    env.check(all(name.startswith("dir") for name in names), f"diff -- dir names {names}")
    env.jvs("restore", first, "--", "a.txt", cwd=f"{root}/main")
    env.equal(read_file(f"{root}/main/a.txt"), b"alpha\n", "the path that was named")
    env.equal(read_file(f"{root}/main/dir/b.txt"), b"changed\n", "a path that was not named")
    env.equal(env.config(root)["head_snapshot_id"], made["snapshot_id"], "head")
    env.healthy(root)


def check_46_if_changed_and_interrupted_clocks(env: Env) -> None:
    """--if-changed takes a snapshot exactly when something differs, also where size and mtime were put back."""
    root = env.repository()
    first = env.snapshot(root, "one")
    said = env.jvs("snapshot", "two", "--if-changed", cwd=root)
    env.check(f"No changes since {first}" in said.text, f"{said}")
    env.equal(len(env.repo(root).visible()), 1, "snapshots")
    path = f"{root}/main/a.txt"
    old = os.stat(path)
    write(path, "ALPHA\n")
    os.utime(path, ns=(old.st_atime_ns, old.st_mtime_ns))
    second = env.snapshot(root, "three", "--if-changed")
    env.check(second != first, "a change of equal size and mtime was missed")
    env.equal(env.repo(root).visible()[second]["payload_root_hash"], env.tree(f"{root}/main"), "hash")
    for number in range(20):
        write(path, f"{number:05d}\n")
        made = env.snapshot(root, "quick", "--if-changed")
        env.equal(
            env.repo(root).visible()[made]["payload_root_hash"], env.tree(f"{root}/main"), f"hash of write {number}"
        )
    env.healthy(root)
