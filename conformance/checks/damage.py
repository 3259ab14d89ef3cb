"""The damage table: every control file, damaged in every way, is reported by verify and doctor, and never used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

from lib.canonical import json_encode, json_object
from lib.harness import Env, Failure, Skip, copy_repository, write
from lib.reader import read_file

DAMAGES = ("missing", "empty", "truncated", "garbage", "wrong type", "duplicate key", "directory", "link", "fifo")
_JSON_ONLY = ("wrong type", "duplicate key")


def damage(path: str, what: str, elsewhere: str) -> bool:
    """Damage one file; False when this damage makes no sense for it. A link leads to its content `elsewhere`."""
    data = read_file(path)
    is_json = data[:1] == b"{" and data.count(b"\n") <= 1
    if what in _JSON_ONLY and not is_json:
        return False
    os.unlink(path)
    if what == "missing":
        return True
    if what == "directory":
        os.mkdir(path)
    elif what == "link":
        write(elsewhere, data)
        os.symlink(elsewhere, path)
    elif what == "fifo":
        os.mkfifo(path)
    else:
        write(
            path,
            {
                "empty": b"",
                "truncated": data[: len(data) // 2],
                "garbage": b"\x00\xff\xfe{" * 100,
                "wrong type": b"[]\n",
                "duplicate key": data.split(b":")[0] + b":null," + data[1:],
            }[what],
        )
    return True


def _table(env: Env, origin: str, files: list[str], probe: Callable[[str, str], None]) -> None:
    """Try every damage on every file, each on a copy, and collect what was not noticed."""
    wrong = []
    for file in files:
        for what in DAMAGES:
            root = os.path.join(env.work, "repo")
            copy_repository(origin, root)
            if damage(f"{root}/.jvs/{file}", what, f"{env.work}/linked"):
                try:
                    probe(root, f"{file} {what}")
                except Failure as error:
                    wrong.append(f"{file} {what}: {str(error).splitlines()[0]}")
            shutil.rmtree(root)
            if os.path.exists(f"{env.work}/linked"):
                os.unlink(f"{env.work}/linked")
    if wrong:
        raise Failure(f"{len(wrong)} rows:\n  " + "\n  ".join(wrong))


def _origin(env: Env) -> tuple[str, list[str]]:
    origin = env.repository("origin")
    ids = env.history(origin)
    env.jvs("worktree", "fork", ids[0], "w", cwd=origin)
    env.jvs("gc", "pin", ids[0], "--reason", "keep", cwd=origin)
    return origin, ids


def check_51_every_damaged_record_is_noticed(env: Env) -> None:
    """Descriptors, markers, configurations, audit log, identity: verify and doctor say no, with and without --json."""
    origin, ids = _origin(env)
    files = [
        f"descriptors/{ids[1]}.json",
        f"snapshots/{ids[1]}.READY",
        "worktrees/main/config.json",
        "worktrees/w/config.json",
        "audit/audit.jsonl",
        "format_version",
        "repo_id",
    ]
    _table(env, origin, files, lambda root, what: env.noticed(root, what))


def check_52_damaged_snapshots_are_not_used(env: Env) -> None:
    """Restore and fork refuse a snapshot whose descriptor or marker is damaged, and change nothing."""
    origin, ids = _origin(env)

    def probe(root: str, what: str) -> None:
        before = env.frozen(f"{root}/main")
        for words in (("restore", ids[1]), ("worktree", "fork", ids[1], "x")):
            said = env.jvs(*words, cwd=f"{root}/main", code=None)
            env.check(said.code not in (0, 1, 70), f"a damaged snapshot was used: {said}")
        env.unchanged(f"{root}/main", before, what)
        env.check(not os.path.exists(f"{root}/worktrees/x"), "a directory of the refused fork is left over")

    _table(env, origin, [f"descriptors/{ids[1]}.json", f"snapshots/{ids[1]}.READY"], probe)


def check_53_a_damaged_configuration_stops_changes(env: Env) -> None:
    """With a damaged worktree configuration a snapshot there fails and changes nothing; it is never begun anew."""
    origin, _ = _origin(env)

    def probe(root: str, what: str) -> None:
        before = env.frozen(root)
        said = env.jvs("snapshot", "x", cwd=f"{root}/main", code=None)
        env.check(said.code not in (0, 1, 70), f"a snapshot was taken: {said}")
        env.unchanged(root, before, what)

    _table(env, origin, ["worktrees/main/config.json"], probe)


def check_54_gc_fails_closed(env: Env) -> None:
    """With a damaged configuration, descriptor or pin gc plans nothing more away: what was protected stays so."""
    origin, ids = _origin(env)
    pins = sorted(os.listdir(f"{origin}/.jvs/gc/pins"))
    env.check(pins, "there is no pin file")
    policy = ("gc", "plan", "--keep-last", "1", "--drop-tagged", "--json")
    plan = env.jvs(*policy, cwd=origin).json()
    usual = {c["snapshot_id"] if isinstance(c, dict) else c for c in plan["candidates"]}
    env.check(ids[0] not in usual, "the pinned snapshot is a candidate")

    def probe(root: str, what: str) -> None:
        said = env.jvs(*policy, cwd=root, code=None)
        if said.code != 0:
            return
        found = {c["snapshot_id"] if isinstance(c, dict) else c for c in said.json()["candidates"]}
        env.check(found <= usual, f"with {what} gc would collect {sorted(found - usual)} as well")

    files = [
        "worktrees/main/config.json",
        "worktrees/w/config.json",
        f"descriptors/{ids[2]}.json",
        f"gc/pins/{pins[0]}",
    ]
    _table_but_missing_pin(env, origin, files, probe)


def _table_but_missing_pin(env: Env, origin: str, files: list[str], probe: Callable[[str, str], None]) -> None:
    """A pin that is missing altogether cannot be known to have been there."""

    def unless(root: str, what: str) -> None:
        if not (what.startswith("gc/pins/") and what.endswith(" missing")):
            probe(root, what)

    _table(env, origin, files, unless)


def check_55_damaged_intents_do_not_wedge(env: Env) -> None:
    """A damaged intent is reported by doctor and set aside by its repair; then everything works again."""
    origin, _ = _origin(env)
    ghost = "1500000000000-deadbeef"
    intent = {"version": 1, "operation": "snapshot", "operation_id": ghost, "snapshot_id": ghost}
    write(f"{origin}/.jvs/intents/{ghost}.json", json_encode(intent))

    def probe(root: str, what: str) -> None:
        if what.endswith(" missing"):
            return
        said = env.jvs("doctor", cwd=root, code=None)
        env.check(said.code not in (0, 1, 2, 70), f"doctor: {said}")
        env.jvs("history", cwd=root, code=None)
        env.jvs("doctor", "--repair", "clean_intents", cwd=root, code=None)
        env.snapshot(root, "after the repair")
        env.healthy(root)

    _table(env, origin, [f"intents/{ghost}.json"], probe)


def check_56_forged_descriptors_are_refused(env: Env) -> None:
    """NaN, floats, huge numbers, deep nesting, wrong types and foreign ids in a descriptor are E_DESCRIPTOR_CORRUPT."""
    root = env.repository()
    ids = env.history(root)
    path = f"{root}/.jvs/descriptors/{ids[1]}.json"
    original = read_file(path)
    text = original.decode()
    forged = {
        "NaN": text.replace('"format":2', '"format":NaN'),
        "float": text.replace('"format":2', '"format":2.0'),
        "huge": text.replace('"format":2', '"format":' + "9" * 5000),
        "deep": '{"a":' + "[" * 100_000 + "]" * 100_000 + "}",
        "bool": text.replace('"format":2', '"format":true'),
        "another's": read_file(f"{root}/.jvs/descriptors/{ids[0]}.json").decode(),
        "surrogate": text.replace('"note":"', '"note":"\\ud800'),
        "two documents": text.strip() + text,
    }
    wrong = []
    for what, data in forged.items():
        env.check(data != text, f"{what}: nothing was forged")
        write(path, data)
        said = env.jvs("verify", ids[1], cwd=root, code=None)
        if said.code != 20:
            wrong.append(f"{what}: {said}")
        try:
            env.noticed(root, what)
        except Failure as error:
            wrong.append(str(error))
    env.check(not wrong, "\n".join(wrong))
    write(path, original)
    env.healthy(root)


def check_57_erased_swapped_and_resurrected_snapshots_are_noticed(env: Env) -> None:
    """A snapshot that goes, comes back or trades places with another, all files of it, is noticed by verify --all."""
    root = env.repository()
    ids = env.history(root)
    jvs = f"{root}/.jvs"
    spare = f"{env.directory}/spare"
    copy_repository(root, spare)

    def again() -> None:
        shutil.rmtree(root)
        copy_repository(spare, root)

    shutil.rmtree(f"{jvs}/snapshots/{ids[0]}")
    os.unlink(f"{jvs}/snapshots/{ids[0]}.READY")
    os.unlink(f"{jvs}/descriptors/{ids[0]}.json")
    env.noticed(root, "an erased snapshot")
    again()
    for name in ("{}", "{}.READY"):
        one, two = (f"{jvs}/snapshots/{name.format(i)}" for i in ids[:2])
        os.rename(one, one + "x")
        os.rename(two, one)
        os.rename(one + "x", two)
    env.noticed(root, "two snapshots that traded places")
    again()
    log = read_file(f"{jvs}/audit/audit.jsonl").splitlines(keepends=True)
    write(f"{jvs}/audit/audit.jsonl", b"".join(log[:-1]))
    config = json_object(read_file(f"{jvs}/worktrees/main/config.json"))
    write(
        f"{jvs}/worktrees/main/config.json",
        json_encode(config | {"head_snapshot_id": ids[1], "latest_snapshot_id": ids[1]}),
    )
    env.noticed(root, "a snapshot that no record and no head knows")
    again()
    descriptor = json_object(read_file(f"{jvs}/descriptors/{ids[0]}.json"))
    write(f"{jvs}/descriptors/{ids[0]}.json", json_encode(descriptor | {"parent_id": ids[2]}))
    env.noticed(root, "a lineage that goes in a circle")
    env.jvs("history", cwd=root, code=None, timeout=20)
    env.jvs("gc", "plan", cwd=root, code=None, timeout=20)
    again()
    env.healthy(root)


def check_58_unreadable_files_are_errors(env: Env) -> None:
    """Control files and payload that the user may not read are noticed, and named with E_IO or their class."""
    if os.geteuid() == 0:
        raise Skip("the permissions of files do not bind root")
    origin, ids = _origin(env)
    wrong = []
    records = (
        f"descriptors/{ids[1]}.json",
        f"snapshots/{ids[1]}.READY",
        "worktrees/main/config.json",
        "audit/audit.jsonl",
    )
    for file in (*records, f"snapshots/{ids[1]}/a.txt"):
        path = f"{origin}/.jvs/{file}"
        mode = os.stat(path).st_mode
        os.chmod(path, 0)
        try:
            env.noticed(origin, f"unreadable {file}", codes=None if file in records else {4, 21})
        except Failure as error:
            wrong.append(str(error))
        os.chmod(path, mode)
    env.check(not wrong, "\n".join(wrong))
    env.healthy(origin)
    write(f"{origin}/main/secret", "nobody reads this\n")
    os.chmod(f"{origin}/main/secret", 0)
    before = env.frozen(f"{origin}/.jvs")
    env.refused("E_IO", 4, "snapshot", "x", cwd=f"{origin}/main")
    env.unchanged(f"{origin}/.jvs", before, "a snapshot that could not read everything")
    made = env.jvs("snapshot", "x", "--allow-unreadable", "--json", cwd=f"{origin}/main").json()
    env.check(any(lost["path"] == "secret" for lost in made["degraded"]), f"not reported: {made['degraded']}")
    os.chmod(f"{origin}/main/secret", 0o600)
    env.healthy(origin)
