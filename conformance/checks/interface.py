"""What callers rely on: exit statuses, error objects, JSON, options, notes."""

from __future__ import annotations

import json

from lib.harness import Env, write

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


def _noted(env: Env, root: str, note: str) -> str:
    snapshot_id: str = env.jvs("snapshot", "-", "--json", cwd=root, stdin=note).json()["snapshot_id"]
    return snapshot_id


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
