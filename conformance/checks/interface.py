"""What callers rely on: exit statuses, JSON, one line of history under concurrency, files kept as they are."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import time
from typing import Any

from lib import oracle
from lib.harness import Env, Skip, copy_repository, write
from lib.reader import read_file
from lib.treehash import hash_tree

NOT_THERE = "1500000000000-deadbeef"


def check_34_exit_statuses_and_error_objects(env: Env) -> None:
    """Each failure has its class and exit status, as text with a hint and as one JSON object on stderr."""
    root = env.repository()
    main = f"{root}/main"
    snapshot_id = env.snapshot(root, "one")
    env.jvs("worktree", "fork", snapshot_id, "w", cwd=root)
    before = env.frozen(root)
    cases: list[tuple[str, int, tuple[str, ...], str]] = [
        ("E_USAGE", 2, ("snapshot", "--no-such-option"), main),
        ("E_USAGE", 2, ("no-such-command",), main),
        ("E_USAGE", 2, ("worktree", "no-such-word"), main),
        ("E_USAGE", 2, ("restore",), main),
        ("E_USAGE", 2, ("config", "set", "no.such.key", "1"), main),
        ("E_NOT_FOUND", 5, ("restore", "nothing"), main),
        ("E_NOT_FOUND", 5, ("restore", NOT_THERE), main),
        ("E_NOT_FOUND", 5, ("verify", NOT_THERE), main),
        ("E_NOT_FOUND", 5, ("worktree", "remove", "nothing"), main),
        ("E_NOT_FOUND", 5, ("worktree", "rename", "nothing", "x"), main),
        ("E_NOT_FOUND", 5, ("gc", "unpin", snapshot_id), main),
        ("E_NOT_FOUND", 5, ("restore", "HEAD~7"), main),
        ("E_NOT_A_REPOSITORY", 5, ("history",), env.work),
        ("E_NOT_A_REPOSITORY", 5, ("snapshot", "x"), env.home),
        ("E_EXISTS", 7, ("worktree", "rename", "w", "main"), main),
        ("E_EXISTS", 7, ("worktree", "create", "w"), main),
        ("E_NAME_INVALID", 10, ("worktree", "create", "a b"), main),
        ("E_NAME_INVALID", 10, ("snapshot", "--tag", "a/b"), main),
        ("E_PATH_ESCAPE", 11, ("snapshot", "x", "--", "../../outside"), main),
        ("E_PATH_ESCAPE", 11, ("restore", snapshot_id, "--", "/etc/passwd"), main),
    ]
    wrong = []
    for wanted, code, words, cwd in cases:
        try:
            env.refused(wanted, code, *words, cwd=cwd)
        except AssertionError as error:
            wrong.append(str(error))
    env.check(not wrong, "\n".join(wrong))
    env.unchanged(root, before, "a refused command")
    said = env.jvs("restore", "nothing", cwd=main, code=5)
    env.check("\nhint: " in said.errors and said.errors.startswith("jvs restore: E_NOT_FOUND: "), f"{said}")


def check_35_output_that_cannot_be_written_is_an_error(env: Env) -> None:
    """A full stdout is exit 4; a closed pipe ends quietly; what was done stays done."""
    root = env.repository()
    env.snapshot(root, "one")
    for words in ("history", "status --json", "--version", "info", "verify --all"):
        done = env.run("sh", "-c", f"jvs {words} > /dev/full", cwd=root, code=None)
        env.equal(done.code, 4, f"exit of `jvs {words} > /dev/full` ({done.errors.strip()})")
    done = env.run("sh", "-c", "jvs history | true", cwd=root, code=None)
    env.check(b"Traceback" not in done.err, f"{done}")
    done = env.run("sh", "-c", "jvs snapshot two > /dev/full", cwd=root, code=None)
    env.equal(done.code, 4, "exit of a snapshot whose id could not be printed")
    env.healthy(root)


def check_36_json_documents(env: Env) -> None:
    """Every lookup takes --json before or after its word and prints one document with the documented keys."""
    root = env.repository()
    ids = env.history(root)
    env.jvs("worktree", "fork", ids[0], "w", cwd=root)
    env.jvs("gc", "pin", ids[0], cwd=root)
    write(f"{root}/main/later", "x")
    descriptor = {"snapshot_id", "parent_id", "note", "tags", "payload_root_hash", "created_at", "descriptor_checksum"}
    diff = {"from_snapshot_id", "to_snapshot_id", "from_time", "to_time", "added", "removed", "modified", "renamed"}
    verify = {"snapshot_id", "checksum_valid", "payload_hash_valid", "tamper_detected", "severity", "error"}
    plan = {"plan_id", "candidate_count", "candidates", "protected_by_pin", "protected_by_lineage", "protected_set"}
    info = {"format_version", "snapshot_engine", "total_snapshots", "total_worktrees", "repo_root", "repo_id"}
    cases: list[tuple[tuple[str, ...], set[str]]] = [
        (("history",), descriptor),
        (("show", ids[0]), descriptor),
        (("status",), set()),
        (("diff",), diff),
        (("diff", ids[0]), diff),
        (("diff", ids[0], ids[1]), diff),
        (("verify",), verify),
        (("verify", ids[0]), verify),
        (("verify", "--all"), set()),
        (("doctor",), {"healthy", "findings"}),
        (("gc", "plan"), plan | {"protected_by_retention", "deletable_bytes_estimate", "retention_policy"}),
        (("gc", "pins"), set()),
        (("info",), info),
        (("worktree", "list"), set()),
        (("undo", "--list"), set()),
        (("config", "list"), set()),
        (("snapshot", "four"), descriptor),
    ]
    wrong = []
    for words, keys in cases:
        after = env.jvs(*words, "--json", cwd=f"{root}/main", code=None)
        if words[0] != "snapshot":
            before = env.jvs("--json", *words, cwd=f"{root}/main", code=None)
            if words != ("gc", "plan") and before.out != after.out:
                wrong.append(f"{words}: --json before and after the word differ")
        try:
            value = after.json()
        except AssertionError as error:
            wrong.append(str(error))
            continue
        first = value[0] if isinstance(value, list) and value else value
        if keys and not (isinstance(first, dict) and keys <= set(first)):
            wrong.append(f"{words}: lacks {sorted(keys - set(first))}")
        if isinstance(value, dict) and not after.out.startswith(b'{\n  "'):
            wrong.append(f"{words}: not indented by two blanks")
        if after.err:
            wrong.append(f"{words}: something on stderr: {after.errors}")
    env.check(not wrong, "\n".join(wrong))
    lines = env.jvs("history", "--jsonl", cwd=root).out.splitlines()
    env.equal([json.loads(line)["snapshot_id"] for line in lines][1:], ids[::-1], "history --jsonl")


def check_37_concurrent_snapshots_stand_in_one_line(env: Env) -> None:
    """Eight snapshots started at once all succeed, and history from the head reaches every one."""
    root = env.repository()
    env.snapshot(root, "first")
    started = [
        subprocess.Popen(
            [f"{env.bin}/jvs", "snapshot", f"number {number}", "--json"],
            cwd=f"{root}/main",
            env=env.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in range(8)
    ]
    ids = []
    for process in started:
        out, err = process.communicate(timeout=120)
        env.equal(process.returncode, 0, f"exit of a concurrent snapshot ({err.decode()})")
        ids.append(json.loads(out)["snapshot_id"])
    line = [d["snapshot_id"] for d in env.jvs("history", "--json", cwd=root).json()]
    env.equal(len(line), 9, "snapshots in the line")
    env.check(set(ids) < set(line), "an acknowledged snapshot is not in the line")
    env.sound(root, expect=oracle.Expect(linear=True))
    env.healthy(root)


def check_38_readers_raise_no_false_alarms_beside_writers(env: Env) -> None:
    """While snapshots and restores run, verify --all and history find nothing wrong and do not block them."""
    root = env.repository()
    ids = env.history(root)
    script = (
        "set -e; for i in 1 2 3 4 5 6; do echo $i > new; jvs snapshot s$i; jvs restore HEAD~1; jvs restore HEAD; done"
    )
    writer = subprocess.Popen(
        ["sh", "-c", script],
        cwd=f"{root}/main",
        env=env.variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    looks = 0
    while writer.poll() is None:
        env.jvs("verify", "--all", cwd=root)
        listed = {d["snapshot_id"] for d in env.jvs("history", "--all", "--json", cwd=root).json()}
        env.check(set(ids) <= listed, "history lost an acknowledged snapshot")
        env.jvs("status", cwd=f"{root}/main")
        looks += 1
    errors = writer.stderr.read() if writer.stderr else b""
    env.equal(writer.returncode, 0, f"exit of the writer ({errors.decode()})")
    env.check(looks > 2, "too few looks to say anything")
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
    for name in ("big", "empty-file"):
        write(f"{directory}/{name}", os.urandom(3 << 20) if name == "big" else "")
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
        found = {}
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
        env.sound(root, expect=oracle.Expect(contents=contents))

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


def check_44_gc_frees_what_nothing_protects(env: Env) -> None:
    """Collected snapshots are gone whole, pins and lines stay, and history and verify agree afterwards."""
    root = env.repository()
    ids = env.history(root, 5)
    env.jvs("gc", "pin", ids[1], "--reason", "keep", cwd=root)
    before = env.frozen(f"{root}/.jvs/snapshots")
    plan = env.jvs("gc", "plan", "--keep-last", "2", "--json", cwd=root).json()
    env.unchanged(f"{root}/.jvs/snapshots", before, "gc plan")
    candidates = [c["snapshot_id"] if isinstance(c, dict) else c for c in plan["candidates"]]
    env.equal(sorted(candidates), sorted([ids[0], ids[2]]), "candidates")
    env.jvs("gc", "run", "--plan-id", plan["plan_id"], cwd=root)
    visible = set(env.repo(root).visible())
    env.equal(visible, {ids[1], ids[3], ids[4]}, "what is left")
    for gone in candidates:
        env.check(not os.path.exists(f"{root}/.jvs/snapshots/{gone}"), f"the payload of {gone} is still there")
        env.jvs("restore", gone, cwd=f"{root}/main", code=5)
    env.check("(collected)" in env.jvs("history", cwd=root).text, "history does not show what was collected")
    env.healthy(root)
    write(f"{root}/main/new", "x")
    env.snapshot(root, "after")
    env.healthy(root)


def check_45_notes_are_kept_as_given(env: Env) -> None:
    """Long, multi-line and strange notes come back unchanged in JSON and never drive the terminal."""
    root = env.repository()
    notes = ["", "a\nb", "tab\there", "\x1b[31mred\x07", "ü\u2028\U0001f600", "x" * 100_000, "- dash", '"quotes"', "{}"]
    ids = [_noted(env, root, note) for note in notes]
    shown = {d["snapshot_id"]: d["note"] for d in env.jvs("history", "--all", "--json", cwd=root).json()}
    for snapshot_id, note in zip(ids, notes, strict=True):
        env.equal(
            shown.get(snapshot_id, "?")[:100],
            note[:100] if not note.startswith("-") else shown[snapshot_id][:100],
            "note",
        )
    for words in (("history",), ("history", "--oneline"), ("history", "--graph"), ("show", ids[3]), ("status",)):
        said = env.jvs(*words, cwd=root)
        env.check(b"\x1b" not in said.out and b"\x07" not in said.out, f"escape codes in {words}")
    env.healthy(root)


def _noted(env: Env, root: str, note: str) -> str:
    made: dict[str, Any] = env.jvs("snapshot", "-", "--json", cwd=root, stdin=note).json()
    return made["snapshot_id"]


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


def check_47_the_index_can_always_go(env: Env) -> None:
    """Deleting, damaging or not using the index changes no answer and is never an error."""
    root = env.repository()
    env.history(root)
    write(f"{root}/main/later", "x")
    index = f"{root}/.jvs/index.sqlite"
    wanted = env.jvs("status", "--json", cwd=f"{root}/main").out
    whole = read_file(index) if os.path.exists(index) else b""
    for what, data in (("gone", None), ("empty", b""), ("garbage", b"\xff" * 8192), ("cut", whole[: len(whole) // 2])):
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
    env.equal(os.listdir(outside), ["keep"], "names behind a link that was in the way of a restore")
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


def check_50_a_signal_ends_a_command_cleanly(env: Env) -> None:
    """INT and TERM end a snapshot with 128+n and roll it back, or it is whole."""
    root = env.repository()
    env.snapshot(root, "one")
    write(f"{root}/main/big", os.urandom(64 << 20))
    for number in (2, 15):
        process = subprocess.Popen(
            [f"{env.bin}/jvs", "snapshot", "--engine", "copy", "cut short"],
            cwd=f"{root}/main",
            env=env.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        deadline = time.monotonic() + 20
        while not os.listdir(f"{root}/.jvs/intents") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        env.check(process.returncode in (0, 128 + number), f"exit {process.returncode} after signal {number}: {err!r}")
        env.check(b"Traceback" not in err, f"after signal {number}: {err!r}")
        if process.returncode:
            env.equal(out, b"", "stdout of an interrupted snapshot")
        env.sound(root)
    env.healthy(root)


def check_59_options_may_stand_anywhere(env: Env) -> None:
    """An option between, before or after the arguments means the same; behind `--` everything is an argument."""
    root = env.repository()
    main = f"{root}/main"
    ids = env.history(root)
    wrong = []
    for words in (
        ("diff", ids[0], "--json", ids[1]),
        ("diff", ids[0], ids[1], "--json"),
        ("restore", ids[0], "--dry-run", "a.txt"),
        ("restore", "--dry-run", ids[0], "--", "a.txt"),
        ("restore", ids[0], "--dry-run", "--", "a.txt"),
        ("status", "a.txt", "--json", "dir"),
        ("worktree", "fork", ids[0], "--json", "one"),
        ("worktree", "--json", "fork", ids[0], "two"),
        ("worktree", "rename", "one", "--json", "three"),
        ("snapshot", "--tag", "x", "note", "--json", "--", "a.txt"),
        ("show", "--json", ids[0]),
        ("gc", "pin", ids[0], "--json", "--reason", "why"),
    ):
        said = env.jvs(*words, cwd=main, code=None)
        if said.code != 0:
            wrong.append(str(said).split("\n")[0])
    env.check(not wrong, "\n".join(wrong))
    env.healthy(root)
